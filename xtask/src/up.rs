//! `cargo xtask up` and `down`: the quick start, on a throw-away host (see [`crate::namespace`]).
//!
//! **Invariant**: without `--host` nothing is touched but two network namespaces and the instance `demo`.

use crate::{
    build::{self, Build},
    namespace::{self, HOST_V4, OUTSIDE_V4},
    run,
    setup::Setup,
};
use anyhow::{Context as _, Result, ensure};
use std::{path::Path, process::Command};

const HOST: &str = "netebpf-demo";
const LAN: &str = "netebpf-demo-lan";
const INSTANCE: &str = "demo";
const FILE: &str = "examples/quickstart.yaml";
/// What that file gives `web`.
const WEB_V4: &str = "10.77.0.10";
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
        let mut up = namespace::inside(HOST, &netebpf);
        up.args(["--instance", INSTANCE, "up", "--file", FILE]);
        show(&mut up)?;
        wait_for_web();
        let sudo = if run::is_root() { "" } else { "sudo " };
        let netebpf = shorter(&netebpf);
        let demo = format!("{sudo}nsenter --net=/run/netns/{HOST} {netebpf} --instance {INSTANCE}");
        println!(
            "
A host with two networks is up, in a network namespace of its own. Three things to try:

  The published port, from another machine of its LAN:
    {sudo}nsenter --net=/run/netns/{LAN} curl http://{HOST_V4}:8080/

  Out into the world, masqueraded, and what became of it:
    {demo} exec app -- ping -c 3 {OUTSIDE_V4}
    {demo} conntrack ls

  From one network to the other, which nobody answers, and who counted it:
    {demo} exec store -- ping -c 1 -W 1 {WEB_V4}
    {demo} status

Take it down again:
    cargo xtask down"
        );
        Ok(())
    }
}

/// The first thing to try should not come before the server that it asks. One that does not come is seen then.
fn wait_for_web() {
    let mut curl = namespace::inside(LAN, "curl");
    curl.args(["--silent", "--output", "/dev/null", "--retry", "20", "--retry-connrefused"]);
    let _ = run::output(curl.args(["--retry-delay", "1", &format!("http://{HOST_V4}:8080/")]));
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
    if namespace::path(HOST).exists() {
        let netebpf = build::existing()?;
        let mut down = namespace::inside(HOST, &netebpf);
        show(down.args(["--instance", INSTANCE, "down", "--all"]))?;
    }
    for name in [HOST, LAN] {
        if namespace::remove(name)? {
            println!("removed namespace {name}");
        }
    }
    Ok(())
}

/// Runs a command whose output is for the reader.
fn show(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot run `{}`", run::shown(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", run::shown(command));
    Ok(())
}

/// A path as one would type it in the workspace's root.
fn shorter(path: &Path) -> String {
    path.strip_prefix(run::workspace()).unwrap_or(path).display().to_string()
}

/// The two namespaces and the wire between them; what is there whole is left as it is.
fn make_host() -> Result<()> {
    if namespace::path(HOST).exists() && namespace::path(LAN).exists() {
        eprintln!("Throw-away host: there");
        return Ok(());
    }
    down()?;
    namespace::add_host(HOST, LAN)?;
    eprintln!("Throw-away host: made (namespaces {HOST} and {LAN})");
    Ok(())
}
