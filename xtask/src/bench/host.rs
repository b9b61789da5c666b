//! A host with netebpf, two endpoints and a neighbour.
//!
//! **Invariant**: nothing of it is left when it is dropped.

use crate::{namespace, run};
use anyhow::{Context as _, Result};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// A host with endpoints `web` and `app`, and a neighbour.
pub(super) struct Host {
    netebpf: PathBuf,
}

/// Its namespace, its neighbour's, and the instance.
const HOST: &str = "netebpf-measured";
const NEIGHBOUR: &str = "netebpf-measured-lan";
const INSTANCE: &str = "measured";
/// A file that says nothing: every setting is what it is without one.
const NO_SETTINGS: &str = "/dev/null";
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
    /// Brings netebpf up there, with the usual settings and not the machine's.
    pub(super) fn up(netebpf: &Path) -> Result<Self> {
        if namespace::path(HOST).exists() {
            down(netebpf).context("an earlier run was cut short, and what it left does not go")?;
        }
        for name in [HOST, NEIGHBOUR] {
            namespace::remove(name)?;
        }
        let host = Self { netebpf: netebpf.to_owned() };
        namespace::add_host(HOST, NEIGHBOUR)?;
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        file.write_all(TOPOLOGY.as_bytes())?;
        let mut up = namespace::inside(HOST, netebpf);
        up.args(["--instance", INSTANCE, "--settings", NO_SETTINGS, "up", "--file"]);
        run::output(up.arg(file.path()))?;
        Ok(host)
    }
}

/// What a command says of our instance.
pub(super) fn ask(netebpf: &Path, command: &str) -> Result<serde_json::Value> {
    let mut asked = namespace::inside(HOST, netebpf);
    let text = run::output(asked.args(["--instance", INSTANCE, command, "--format", "json"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Brings our instance down.
fn down(netebpf: &Path) -> Result<()> {
    let mut down = namespace::inside(HOST, netebpf);
    run::output(down.args(["--instance", INSTANCE, "down", "--all"])).map(drop)
}

impl Drop for Host {
    fn drop(&mut self) {
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
