//! `cargo xtask setup`: what building, running and testing need, on Debian 12 and Ubuntu 24.04.
//!
//! **Invariant**: what is there is left alone, and nothing is installed without a line that says so.

use crate::{apt::Apt, run};
use anyhow::{Context as _, Result, ensure};
use std::fs;

/// `bpf-linker`'s version: the newest that links against the LLVM of rustc 1.95 itself.
const BPF_LINKER: &str = "0.10.3";

/// What building and a quick start need.
const PACKAGES: &[&str] =
    &["ca-certificates", "curl", "gcc", "iproute2", "iputils-ping", "libc6-dev", "python3"];

/// What tests, virtual machines and the benchmark need beyond that; the same names on Debian and Ubuntu.
const TEST_PACKAGES: &[&str] = &[
    "binutils",
    "busybox-static",
    "conntrack",
    "cpio",
    "debian-archive-keyring",
    "iperf3",
    "iptables",
    "hostname",
    "kmod",
    "libdevmapper1.02.1",
    "libseccomp2",
    "nftables",
    "procps",
    "qemu-system-x86",
    "util-linux",
    "xz-utils",
];

/// Install what building and running need, and only what is missing
#[derive(clap::Args)]
pub(crate) struct Setup {
    /// What the tests need, too
    #[arg(long)]
    pub(crate) tests: bool,
}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        packages(self.tests)?;
        rust(self.tests)?;
        bpf_linker()?;
        if self.tests { docker() } else { Ok(()) }
    }
}

/// Debian packages, through apt-get.
fn packages(tests: bool) -> Result<()> {
    let wanted = PACKAGES.iter().chain(if tests { TEST_PACKAGES } else { &[] });
    let missing: Vec<&str> = wanted.copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        eprintln!("Debian packages: all there");
        return Ok(());
    }
    ensure!(
        run::succeeds(run::command("apt-get").arg("--version")),
        "this is no Debian or Ubuntu: install what these packages hold, then go on with `cargo xtask \
         build`: {}",
        missing.join(" ")
    );
    eprintln!("Debian packages missing: {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = run::root("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"]).args(arguments);
        command
    };
    run::step("Updating the package lists", &mut apt(&["update"]))?;
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    run::step("Installing Debian packages", install.args(missing))
}

/// Debian 12's Docker, 20.10, which netebpf is compared with. Unpacked and not installed: its daemon must not run on the
/// machine, now or after the next boot, and another Docker that is installed stays.
fn docker() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("Docker 20.10: not for this processor; what needs it is skipped");
        return Ok(());
    }
    let directory = run::target_dir().join("docker");
    if directory.exists() {
        eprintln!("Docker 20.10: there");
        return Ok(());
    }
    let made = directory.with_extension("part");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    fs::create_dir_all(&made)?;
    let packages = ["docker.io", "containerd", "runc"];
    let label = "Downloading Docker 20.10 (about 70 MB)";
    Apt::new(&made, "bookworm")?.unpack(label, &packages, &made)?;
    Ok(fs::rename(made, directory)?)
}

fn is_installed(package: &str) -> bool {
    let mut query = run::command("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    run::output(&mut query).is_ok_and(|status| status == "installed")
}

/// The standard library's source, which the kernel side is built from, and the target of static binaries.
fn rust(tests: bool) -> Result<()> {
    let rustc = || run::command("rustc");
    let sysroot =
        run::output(rustc().args(["--print", "sysroot"])).context("rustup's rustc is needed")?;
    let sysroot = std::path::Path::new(sysroot.trim());
    let has_target = |name: &str| sysroot.join("lib/rustlib").join(name).join("lib").exists();
    if sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
        eprintln!("rust-src: there");
    } else {
        run::step(
            "Installing rust-src",
            run::command("rustup").args(["component", "add", "rust-src"]),
        )?;
    }
    if !tests {
        return Ok(());
    }
    for (component, program) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
        if sysroot.join("bin").join(program).exists() {
            eprintln!("{component}: there");
        } else {
            let mut add = run::command("rustup");
            run::step(
                &format!("Installing {component}"),
                add.args(["component", "add", component]),
            )?;
        }
    }
    let musl = crate::build::STATIC_TARGET;
    if has_target(musl) {
        eprintln!("{musl}: there");
        return Ok(());
    }
    run::step(&format!("Installing {musl}"), run::command("rustup").args(["target", "add", musl]))
}

fn bpf_linker() -> Result<()> {
    let version = run::output(run::command("bpf-linker").arg("--version")).unwrap_or_default();
    if version.trim() == format!("bpf-linker {BPF_LINKER}") {
        eprintln!("bpf-linker {BPF_LINKER}: there");
        return Ok(());
    }
    let mut install = run::cargo();
    // Its own target directory: a workspace's profile or target settings are none of its business.
    install.args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force"]);
    run::step(&format!("Installing bpf-linker {BPF_LINKER} (about a minute)"), &mut install)
}
