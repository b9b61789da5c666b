//! Builds the kernel object with the toolchain that builds everything else, so that nothing has to be
//! pinned twice; `-Z build-std` needs `RUSTC_BOOTSTRAP` on a stable one.

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};
use std::{env, path::Path, process::Command};

fn main() -> Result<()> {
    println!("cargo:rustc-env=NETEBPF_COMMIT={}", commit().unwrap_or("unknown".to_owned()));
    println!("cargo:rerun-if-changed=../netebpf-common/src");
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-env-changed=RUSTUP_TOOLCHAIN");
    let linker = Command::new("bpf-linker").arg("--version").output();
    ensure!(
        linker.is_ok_and(|output| output.status.success()),
        "bpf-linker is not installed: `cargo xtask setup` installs it and whatever else is missing"
    );
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    // SAFETY: a build script has one thread here.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let features: &[&str] =
        if env::var_os("CARGO_FEATURE_PACKET_LOG").is_some() { &["packet-log"] } else { &[] };
    aya_build::build_ebpf(
        [Package {
            name: "netebpf-ebpf",
            root_dir: "../netebpf-ebpf",
            no_default_features: false,
            features,
        }],
        Toolchain::Custom(&toolchain),
    )
    .context("the kernel side does not build")
}

/// What is built, as git knows it: a commit, and whether there is more than that. Not where this is no checkout of its own, but
/// was unpacked in somebody else's.
fn commit() -> Option<String> {
    if !Path::new("../.git").exists() {
        return None;
    }
    // Every commit and checkout is written there; cargo would look again each time for what is not there.
    let log = "../.git/logs/HEAD";
    if Path::new(log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    // What is not committed yet counts, too.
    println!("cargo:rerun-if-changed=src");
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]);
    let output = git.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
