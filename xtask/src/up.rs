//! `cargo xtask up` and `down`: the quick start, on a throw-away host.
//!
//! ```text
//!  netebpf-demo (the host)                    netebpf-demo-lan (its neighbour)
//!   netebpf's bridges ── uplink0 ============ lan0 192.0.2.1, 2001:db8::1
//!                        192.0.2.2            lo   198.51.100.1, 2001:db8:1::1 ("outside")
//!                        2001:db8::2
//! ```
//!
//! **Invariant**: without `--host` nothing is touched but two network namespaces and the instance `demo`.

use crate::{build::Build, run, setup::Setup};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

const HOST: &str = "netebpf-demo";
const LAN: &str = "netebpf-demo-lan";
const INSTANCE: &str = "demo";
const FILE: &str = "examples/quickstart.yaml";
/// An address that is not on the link: behind the default route.
const OUTSIDE: &str = "198.51.100.1";

/// Set up, build, and bring up examples/quickstart.yaml on a throw-away host
#[derive(clap::Args)]
pub(crate) struct Up {
    /// On this machine itself, on its own uplinks
    #[arg(long)]
    host: bool,
}

impl Up {
    pub(crate) fn run(self) -> Result<()> {
        Setup { tests: false }.run()?;
        let netebpf = Build::default().run()?;
        if self.host {
            return up_here(&netebpf);
        }
        make_host()?;
        let mut up = inside(HOST, &netebpf);
        up.args(["--instance", INSTANCE, "up", "--file", FILE]);
        show(&mut up)?;
        let sudo = if run::is_root() { "" } else { "sudo " };
        let netebpf = shorter(&netebpf);
        let demo = format!("{sudo}nsenter --net=/run/netns/{HOST} {netebpf} --instance {INSTANCE}");
        println!(
            "
A host with two networks is up, in a network namespace of its own. Three things to try:

  The published port, from another machine of its LAN:
    {sudo}nsenter --net=/run/netns/{LAN} curl http://192.0.2.2:8080/

  Out into the world, masqueraded, and what became of it:
    {demo} exec app -- ping -c 3 {OUTSIDE}
    {demo} conntrack ls

  From one network to the other, which is refused:
    {demo} exec store -- curl --max-time 3 http://192.0.2.2/

Take it down again:
    cargo xtask down"
        );
        Ok(())
    }
}

/// On this machine: only what the user would type.
fn up_here(netebpf: &Path) -> Result<()> {
    show(run::root(netebpf).args(["up", "--file", FILE]))?;
    let sudo = if run::is_root() { "" } else { "sudo " };
    let netebpf = shorter(netebpf);
    println!(
        "
Three things to try:

  The published port, from another machine of your LAN:
    curl http://THIS-MACHINE:8080/

  Out into the world, masqueraded, and what became of it:
    {sudo}{netebpf} exec app -- ping -c 3 1.1.1.1
    {sudo}{netebpf} conntrack ls

  Which hook carries what, and why:
    {sudo}{netebpf} status

Take it down again:
    {sudo}{netebpf} down --file {FILE}"
    );
    Ok(())
}

/// Takes down what [`Up`] made on the throw-away host; fine when there is nothing.
pub(crate) fn down() -> Result<()> {
    let netebpf = ["release", "debug"]
        .iter()
        .map(|profile| run::target_dir().join(profile).join("netebpf"))
        .find(|path| path.exists());
    if namespace(HOST).exists() {
        let netebpf =
            netebpf.context("the binary that brought it up is gone: `cargo xtask build` first")?;
        let mut down = inside(HOST, &netebpf);
        show(down.args(["--instance", INSTANCE, "down", "--all"]))?;
    }
    for name in [HOST, LAN] {
        if namespace(name).exists() {
            run::output(&mut run::root_line(&format!("ip netns delete {name}")))?;
            println!("removed namespace {name}");
        }
    }
    Ok(())
}

fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// A command in a namespace. Not `ip netns exec`: that hides the pinned objects under a fresh /sys.
fn inside(name: &str, program: &Path) -> std::process::Command {
    let mut command = run::root("nsenter");
    command.arg(format!("--net={}", namespace(name).display())).arg(program);
    command
}

/// Runs a command whose output is for the reader.
fn show(command: &mut std::process::Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot run `{}`", run::shown(command)))?;
    anyhow::ensure!(status.success(), "`{}` failed ({status})", run::shown(command));
    Ok(())
}

/// A path as one would type it in the workspace's root.
fn shorter(path: &Path) -> String {
    path.strip_prefix(run::workspace()).unwrap_or(path).display().to_string()
}

/// The two namespaces and the wire between them; what is there already is left as it is.
fn make_host() -> Result<()> {
    if namespace(HOST).exists() && namespace(LAN).exists() {
        eprintln!("Throw-away host: there");
        return Ok(());
    }
    for name in [HOST, LAN] {
        if namespace(name).exists() {
            run::output(&mut run::root_line(&format!("ip netns delete {name}")))?;
        }
    }
    for line in [
        format!("ip netns add {HOST}"),
        format!("ip netns add {LAN}"),
        format!("ip link add uplink0 netns {HOST} type veth peer name lan0 netns {LAN}"),
    ] {
        run::output(&mut run::root_line(&line))?;
    }
    for (namespace, lines) in [
        (
            HOST,
            &[
                "link set lo up",
                // No duplicate address detection: traffic flows at once.
                "address add 192.0.2.2/24 dev uplink0",
                "address add 2001:db8::2/64 dev uplink0 nodad",
                "link set uplink0 up",
                "route add default via 192.0.2.1",
                "route add default via 2001:db8::1",
            ][..],
        ),
        (
            LAN,
            &[
                "link set lo up",
                "address add 198.51.100.1/32 dev lo",
                "address add 2001:db8:1::1/128 dev lo",
                "address add 192.0.2.1/24 dev lan0",
                "address add 2001:db8::1/64 dev lan0 nodad",
                "link set lan0 up",
            ],
        ),
    ] {
        for line in lines {
            run::output(&mut run::root_line(&format!("ip -n {namespace} {line}")))
                .with_context(|| format!("setting up {namespace}"))?;
        }
    }
    eprintln!("Throw-away host: made (namespaces {HOST} and {LAN})");
    Ok(())
}
