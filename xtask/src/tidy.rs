//! `cargo xtask tidy`: formatting and lints, as continuous integration wants them.

use crate::run;
use anyhow::{Context as _, Result};

/// # Errors
/// The first check that fails, with its output printed.
pub(crate) fn run() -> Result<()> {
    run::step("Checking the formatting", run::cargo().args(["fmt", "--all", "--check"]))
        .context("`cargo fmt --all` mends it")?;
    let mut clippy = run::cargo();
    // The kernel side is no program of this machine: netebpf's build script compiles it for BPF.
    clippy.args([
        "clippy",
        "--locked",
        "--workspace",
        "--exclude",
        "netebpf-ebpf",
        "--all-targets",
    ]);
    run::step("Checking lints", clippy.args(["--", "--deny", "warnings"]))?;
    // Its build script compiles the kernel side with the log.
    let mut log = run::cargo();
    log.args(["check", "--locked", "--package", "netebpf", "--features", "packet-log"]);
    run::step("Checking the packet log", &mut log)
}
