//! Builds the kernel object with the toolchain that builds everything else, so that nothing has to be
//! pinned twice; `-Z build-std` needs `RUSTC_BOOTSTRAP` on a stable one.

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};
use std::{env, process::Command};

fn main() -> Result<()> {
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
