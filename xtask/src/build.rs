//! `cargo xtask build`: netebpf with its kernel programs inside, and its static twin, which virtual machines run.

use crate::run;
use anyhow::{Context as _, Result, ensure};
use std::path::PathBuf;

/// A binary for this target runs on every kernel, whatever the distribution.
pub(crate) const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// Build netebpf and its kernel programs
#[derive(clap::Args, Default)]
pub(crate) struct Build {
    /// Unoptimised, as tests use it
    #[arg(long)]
    pub(crate) dev: bool,
    /// A static binary (x86_64 musl), which runs on every distribution
    #[arg(long = "static")]
    pub(crate) is_static: bool,
}

impl Build {
    /// Builds, and returns where the binary is. `NETEBPF_BIN` names one that is there already.
    pub(crate) fn run(self) -> Result<PathBuf> {
        if !self.is_static
            && let Some(binary) = named()?
        {
            return Ok(binary);
        }
        let mut cargo = run::cargo();
        cargo.args(["build", "--locked", "--package", "netebpf"]);
        let mut directory = run::target_dir();
        if self.is_static {
            cargo.args(["--target", STATIC_TARGET]);
            directory.push(STATIC_TARGET);
        }
        if self.dev {
            directory.push("debug");
        } else {
            cargo.arg("--release");
            directory.push("release");
        }
        let kind = if self.is_static { " (static)" } else { "" };
        run::step(&format!("Building netebpf{kind}"), &mut cargo)?;
        let binary = directory.join("netebpf");
        binary.canonicalize().with_context(|| format!("{} is not there", binary.display()))
    }
}

/// What `NETEBPF_BIN` names, instead of what would be built; said, since it may be older.
pub(crate) fn named() -> Result<Option<PathBuf>> {
    let Some(binary) = std::env::var_os("NETEBPF_BIN").map(PathBuf::from) else { return Ok(None) };
    eprintln!("netebpf: {}, as NETEBPF_BIN says", binary.display());
    let there = binary.canonicalize().with_context(|| format!("{} is not there", binary.display()));
    there.map(Some)
}

/// The binary that an earlier [`Build`] made, not built again.
pub(crate) fn existing() -> Result<PathBuf> {
    if let Some(binary) = named()? {
        return Ok(binary);
    }
    let binary = run::target_dir().join("release/netebpf");
    ensure!(binary.exists(), "netebpf is not built: `cargo xtask build` first");
    Ok(binary)
}
