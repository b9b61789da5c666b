//! A host with netebpf, two endpoints and a neighbour.
//!
//! **Invariant**: nothing of it is left when it is dropped.

use super::load::READY;
use crate::{namespace, run};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A host with endpoints `web` and `app`, and a neighbour with servers.
pub(super) struct Host {
    netebpf: PathBuf,
    servers: Vec<Child>,
}

/// Its namespace, its neighbour's, and the instance.
const HOST: &str = "netebpf-measured";
const NEIGHBOUR: &str = "netebpf-measured-lan";
const INSTANCE: &str = "measured";
/// The namespace of `app`.
pub(super) const APP: &str = "measured.app";

const TOPOLOGY: &str = r#"
name: measured
networks:
  front: {ipam: {config: [{subnet: 172.18.0.0/16, gateway: 172.18.0.1}]}}
services:
  web: {networks: {front: {ipv4_address: 172.18.0.2}}, ports: ["8080:80"]}
  app: {networks: {front: {ipv4_address: 172.18.0.3}}}
"#;

impl Host {
    /// Brings netebpf up there, with these settings (`config.toml`) or the usual ones, and not the machine's.
    pub(super) fn up(netebpf: &Path, settings: &str) -> Result<Self> {
        if namespace::path(HOST).exists() {
            down(netebpf).context("an earlier run was cut short, and what it left does not go")?;
        }
        for name in [HOST, NEIGHBOUR] {
            namespace::remove(name)?;
        }
        let host = Self { netebpf: netebpf.to_owned(), servers: Vec::new() };
        namespace::add_host(HOST, NEIGHBOUR)?;
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        file.write_all(TOPOLOGY.as_bytes())?;
        let etc = etc_with(settings)?;
        let mut up = namespace::inside(HOST, "unshare");
        up.args(["--mount", "--propagation", "unchanged", "sh", "-ec", WITH_ETC, "sh"]);
        up.arg(etc.path()).arg(netebpf);
        run::output(up.args(["--instance", INSTANCE, "up", "--file"]).arg(file.path()))?;
        Ok(host)
    }

    /// A command in the endpoint `app`.
    pub(super) fn inside_app(&self, program: impl AsRef<OsStr>) -> Command {
        namespace::inside(APP, program)
    }

    /// Starts servers at the neighbour.
    pub(super) fn serve_outside(&mut self, arguments: &[String]) -> Result<()> {
        let mut server = namespace::inside(NEIGHBOUR, std::env::current_exe()?);
        server.arg("load").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = server.spawn().context("cannot start a server")?;
        let output = child.stdout.take().context("a server has no output")?;
        self.servers.push(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == READY, "the {} does not listen", arguments.join(" "));
        Ok(())
    }
}

/// Runs a command with a directory in the place of /etc, in a mount namespace where all else is shared: namespaces and
/// pins that it makes are there for everybody.
const WITH_ETC: &str = r#"mount --make-private /; mount --bind "$1" /etc; shift; exec "$@""#;

/// An /etc with settings and nothing else.
fn etc_with(settings: &str) -> Result<tempfile::TempDir> {
    let etc = tempfile::tempdir()?;
    let ours = etc.path().join("netebpf");
    fs::create_dir(&ours)?;
    fs::write(ours.join("config.toml"), settings)?;
    Ok(etc)
}

/// What a command says of our instance.
pub(super) fn ask(netebpf: &Path, command: &str) -> Result<serde_json::Value> {
    let mut asked = namespace::inside(HOST, netebpf);
    let text = run::output(asked.args(["--instance", INSTANCE, command, "--format", "json"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Where the maps of our instance are pinned.
pub(super) fn pinned_maps() -> String {
    format!("/sys/fs/bpf/netebpf/{INSTANCE}")
}

/// Brings our instance down.
fn down(netebpf: &Path) -> Result<()> {
    let mut down = namespace::inside(HOST, netebpf);
    run::output(down.args(["--instance", INSTANCE, "down", "--all"])).map(drop)
}

impl Drop for Host {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.stdin.take());
            let _ = server.wait();
        }
        let removed = [
            down(&self.netebpf).map(|()| true),
            namespace::remove(HOST),
            namespace::remove(NEIGHBOUR),
        ];
        for error in removed.into_iter().filter_map(Result::err) {
            eprintln!("{error:#}");
        }
    }
}
