//! Throw-away hosts: a network namespace with an uplink, and the neighbour at the wire's other end.
//!
//! ```text
//!  the host                                   its neighbour
//!   bridges ... uplink0 ===================== lan0 192.0.2.1, 2001:db8::1
//!               192.0.2.2, 2001:db8::2        lo   198.51.100.1, 2001:db8:1::1 (outside)
//! ```
//!
//! **Invariant**: a namespace goes with its [`Namespace`], and takes what is in it along.

use super::{BenchError, left::Left, process};
use crate::kernel::{KernelError, netns};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::Command,
};

/// The two families.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An address in both families.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(Ipv4Addr, Ipv6Addr);

impl Place {
    const fn new(v4: [u8; 4], v6: [u16; 8]) -> Self {
        let [a, b, c, d] = v4;
        let [e, f, g, h, i, j, k, l] = v6;
        Self(Ipv4Addr::new(a, b, c, d), Ipv6Addr::new(e, f, g, h, i, j, k, l))
    }

    pub(super) fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.0.into(),
            Family::V6 => self.1.into(),
        }
    }
}

/// The host, on its wire.
pub(super) const HOST: Place = Place::new([192, 0, 2, 2], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
/// Its neighbour there.
pub(super) const NEIGHBOUR: Place = Place::new([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
/// Behind the host's default route.
pub(super) const OUTSIDE: Place = Place::new([198, 51, 100, 1], [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]);
/// The gateway of the endpoints.
pub(super) const GATEWAY: Place = Place::new([172, 18, 0, 1], [0xfd18, 0, 0, 0, 0, 0, 0, 1]);
/// The endpoint that serves.
pub(super) const WEB: Place = Place::new([172, 18, 0, 2], [0xfd18, 0, 0, 0, 0, 0, 0, 2]);
/// The endpoint that asks.
pub(super) const APP: Place = Place::new([172, 18, 0, 3], [0xfd18, 0, 0, 0, 0, 0, 0, 3]);
/// Where the servers listen.
pub(super) const SERVED: u16 = 80;
/// Where iperf3 listens, and the host's port that leads to it in `web`.
pub(super) const STREAMS: u16 = 5201;
/// The host's port that leads to `web`.
pub(super) const PUBLISHED: u16 = 8080;

/// The two ends of a wire that is not a network card's.
pub(super) const ENDS: [&str; 2] = ["uplink0", "lan0"];

/// A namespace that we made.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) left: Left,
}

impl Namespace {
    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        path(&self.name)
    }

    /// Makes one, with loopback up, and nothing else in it.
    pub(super) fn bare(name: &str, left: &Left) -> Result<Self, BenchError> {
        create(name)?;
        Ok(Self { name: name.to_owned(), left: left.clone() })
    }

    /// The same, as all hosts and endpoints have it.
    pub(super) fn new(name: &str, left: &Left) -> Result<Self, BenchError> {
        let made = Self::bare(name, left)?;
        made.set("net.ipv4.tcp_congestion_control=reno")?;
        Ok(made)
    }

    /// Commands of `ip`, one after the other.
    pub(super) fn ip<const N: usize>(&self, lines: [&str; N]) -> Result<(), BenchError> {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name, "-batch", "-"]);
        process::told(&mut ip, &(lines.join("\n") + "\n")).map(drop)
    }

    /// Sets a sysctl, `NAME=VALUE`.
    pub(super) fn set(&self, sysctl: &str) -> Result<(), BenchError> {
        set(&self.name, sysctl)
    }
}

/// Sets a sysctl, `NAME=VALUE`, in a namespace.
pub(super) fn set(namespace: &str, sysctl: &str) -> Result<(), BenchError> {
    let mut set = process::inside(namespace, "sysctl");
    process::output(set.args(["-q", "-w", sysctl])).map(drop)
}

/// Whatever congestion control this machine prefers: some put timers into each round trip. This one is always there,
/// and every namespace may choose it.
pub(super) fn use_reno(namespace: &str) -> Result<(), BenchError> {
    set(namespace, "net.ipv4.tcp_congestion_control=reno")
}

/// Where a namespace is.
fn path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Makes a namespace, with loopback up.
pub(super) fn create(name: &str) -> Result<(), BenchError> {
    Ok(netns::create(&path(name)).map_err(KernelError::from)?)
}

/// Removes a namespace.
pub(super) fn remove(name: &str) -> Result<(), BenchError> {
    Ok(netns::remove(&path(name)).map_err(KernelError::from)?)
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.left.note(remove(&self.name));
    }
}

/// Makes a host and its neighbour, and a wire between them.
pub(super) fn pair(name: &str, left: &Left) -> Result<[Namespace; 2], BenchError> {
    let pair = apart(name, left)?;
    let [uplink, lan] = ENDS;
    let neighbour = &pair[1].name;
    pair[0].ip([&format!("link add {uplink} type veth peer name {lan} netns {neighbour}")])?;
    configure(&pair, ENDS)?;
    Ok(pair)
}

/// A host and its neighbour, without a wire.
pub(super) fn apart(name: &str, left: &Left) -> Result<[Namespace; 2], BenchError> {
    Ok([Namespace::new(name, left)?, Namespace::new(&format!("{name}-lan"), left)?])
}

/// Gives both ends of their wire what they have.
pub(super) fn configure(
    [host, neighbour]: &[Namespace; 2],
    [uplink, lan]: [&str; 2],
) -> Result<(), BenchError> {
    host.ip([
        &format!("address add 192.0.2.2/24 dev {uplink}"),
        // No duplicate address detection: traffic flows at once.
        &format!("address add 2001:db8::2/64 dev {uplink} nodad"),
        &format!("link set {uplink} up"),
        "route add default via 192.0.2.1",
        "route add default via 2001:db8::1",
    ])?;
    neighbour.ip([
        "address add 198.51.100.1/32 dev lo",
        "address add 2001:db8:1::1/128 dev lo",
        &format!("address add 192.0.2.1/24 dev {lan}"),
        &format!("address add 2001:db8::1/64 dev {lan} nodad"),
        &format!("link set {lan} up"),
    ])
}
