//! A host without netebpf, whose endpoints are made by `ip`: the least that Linux needs for one.
//!
//! **Invariant**: three processes make an endpoint, and two take it away: fewer are not possible, since `ip` works in
//! one namespace at a time.

use super::attach::timed;
use crate::{namespace, run};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

const HOST: &str = "netebpf-bench-ip";

pub(super) struct Plain {
    others: u32,
    next: std::cell::Cell<u16>,
}

impl Plain {
    pub(super) fn new() -> Result<Self> {
        remove()?;
        let plain = Self { others: 0, next: std::cell::Cell::new(2) };
        namespace::add(HOST)?;
        for line in [
            "link add br0 type bridge mcast_snooping 0",
            "address add 10.78.0.1/16 dev br0",
            "address add fd78::1/64 dev br0 nodad",
            "link set br0 up",
        ] {
            namespace::ip(HOST, line)?;
        }
        Ok(plain)
    }

    /// So many other endpoints; never fewer than before.
    pub(super) fn others(&mut self, count: u32) -> Result<()> {
        for number in self.others..count {
            self.attach(&format!("o{number}"))?;
        }
        self.others = count;
        Ok(())
    }

    /// Makes an endpoint; its milliseconds.
    pub(super) fn attach(&self, name: &str) -> Result<f64> {
        let number = self.next.get();
        self.next.set(number + 1);
        let [high, low] = number.to_be_bytes();
        let inside = namespace_of(name);
        timed(|| {
            run::output(&mut run::root_line(&format!("ip netns add {inside}")))?;
            batch(
                HOST,
                &format!(
                    "link add {name} type veth peer name eth0 netns {inside}\n\
                     link set {name} master br0 up\n"
                ),
            )?;
            batch(
                &inside,
                &format!(
                    "link set lo up\n\
                     address add 10.78.{high}.{low}/16 dev eth0\n\
                     address add fd78::{number:x}/64 dev eth0 nodad\n\
                     link set eth0 up\n\
                     route add default via 10.78.0.1\n\
                     route add default via fd78::1\n"
                ),
            )
        })
    }

    /// Takes it away; its milliseconds.
    pub(super) fn detach(&self, name: &str) -> Result<f64> {
        timed(|| {
            namespace::ip(HOST, &format!("link delete {name}"))?;
            namespace::remove(&namespace_of(name)).map(drop)
        })
    }

    /// From the endpoint to its gateway.
    pub(super) fn ping(&self, name: &str) -> Command {
        let mut ping = namespace::inside(&namespace_of(name), "ping");
        ping.args(["-c", "1", "-w", "5", "10.78.0.1"]);
        ping
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        if let Err(error) = remove() {
            eprintln!("{error:#}");
        }
    }
}

fn namespace_of(name: &str) -> String {
    format!("{HOST}-{name}")
}

/// Several commands of `ip` in a namespace.
fn batch(namespace: &str, lines: &str) -> Result<()> {
    let mut ip = run::root("ip");
    ip.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped());
    let mut child = ip.spawn().context("cannot run ip")?;
    child.stdin.take().context("ip has no input")?.write_all(lines.as_bytes())?;
    ensure!(child.wait()?.success(), "ip in {namespace} fails at one of:\n{lines}");
    Ok(())
}

/// Removes all that is there, also of a run that was cut short.
fn remove() -> Result<()> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let prefix = format!("{HOST}-");
    for name in names.filter(|name| name.starts_with(&prefix) || name == HOST) {
        namespace::remove(&name)?;
    }
    Ok(())
}
