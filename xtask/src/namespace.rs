//! Throw-away hosts: a network namespace with an uplink, and the neighbour at the wire's other end.
//!
//! ```text
//!  the host                                   its neighbour
//!   bridges ... uplink0 ===================== lan0 192.0.2.1, 2001:db8::1
//!               192.0.2.2, 2001:db8::2        lo   198.51.100.1, 2001:db8:1::1 (outside)
//! ```
//!
//! **Invariant**: nothing of the namespace that the task runs in is touched; names are the caller's.

use crate::run;
use anyhow::{Context as _, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The host's address on its wire.
pub(crate) const HOST_V4: &str = "192.0.2.2";

/// An address that is not on the wire: behind the host's default route.
pub(crate) const OUTSIDE_V4: &str = "198.51.100.1";

/// Where `ip netns` keeps a namespace.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes a namespace, with loopback up.
pub(crate) fn add(name: &str) -> Result<()> {
    run::output(&mut run::root_line(&format!("ip netns add {name}")))?;
    ip(name, "link set lo up")
}

/// Removes a namespace and all interfaces in it; whether there was one.
pub(crate) fn remove(name: &str) -> Result<bool> {
    if !path(name).exists() {
        return Ok(false);
    }
    run::output(&mut run::root_line(&format!("ip netns delete {name}")))?;
    Ok(true)
}

/// A command in a namespace. Not `ip netns exec`: that hides the pinned objects under a fresh /sys.
pub(crate) fn inside(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = run::root("nsenter");
    command.arg(format!("--net={}", path(name).display())).arg(program);
    command
}

/// `ip`, in a namespace.
pub(crate) fn ip(name: &str, line: &str) -> Result<()> {
    run::output(&mut run::root_line(&format!("ip -n {name} {line}"))).map(drop)
}

/// Makes a host and its neighbour.
pub(crate) fn add_host(host: &str, neighbour: &str) -> Result<()> {
    add(host)?;
    add(neighbour)?;
    add_wire(host, neighbour)
}

/// Makes the wire between a host and its neighbour, and the addresses at both ends.
pub(crate) fn add_wire(host: &str, neighbour: &str) -> Result<()> {
    let wire =
        format!("ip link add uplink0 netns {host} type veth peer name lan0 netns {neighbour}");
    run::output(&mut run::root_line(&wire)).context("making the wire")?;
    for line in [
        "address add 192.0.2.2/24 dev uplink0",
        // No duplicate address detection: traffic flows at once.
        "address add 2001:db8::2/64 dev uplink0 nodad",
        "link set uplink0 up",
        "route add default via 192.0.2.1",
        "route add default via 2001:db8::1",
    ] {
        ip(host, line)?;
    }
    for line in [
        "address add 198.51.100.1/32 dev lo",
        "address add 2001:db8:1::1/128 dev lo",
        "address add 192.0.2.1/24 dev lan0",
        "address add 2001:db8::1/64 dev lan0 nodad",
        "link set lan0 up",
    ] {
        ip(neighbour, line)?;
    }
    Ok(())
}
