//! What the kernel has: read by `kernel`, compared by `plan`.

use super::{GsoSizes, Others, Scope};
use crate::{kernel::Hook, model::Device};
use ipnet::IpNet;
use netebpf_common::abi::{self, Address, Interface, Mac, NetworkRange, Prefix};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`, `netkit`, `wireguard` …; absent for hardware and loopback.
    pub kind: Option<String>,
    /// Whether its frames have Ethernet headers, and it is not the loopback.
    pub ethernet: bool,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// The longest packets that it is given to be cut.
    pub gso: GsoSizes,
    /// The longest that it takes.
    pub gso_limits: GsoSizes,
    /// Whether it was switched on.
    pub up: bool,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// The peer of a veth or netkit device, by its index in the peer's namespace; the device that a VLAN stands on.
    pub peer: Option<u32>,
    /// What is written on it.
    pub alias: Option<String>,
    /// Its addresses, but for those that the kernel made up by itself (link-local IPv6).
    pub addresses: BTreeSet<IpNet>,
    /// Those of them that another station has, too (duplicate address detection, RFC 4862 §5.4.5).
    pub duplicates: BTreeSet<IpNet>,
    /// Gateways of default routes that leave by it.
    pub gateways: BTreeSet<IpAddr>,
}

impl Link {
    /// Whether it is one side of a pair that connects an endpoint.
    pub fn is_of_pair(&self) -> bool {
        let kinds = [Device::Veth, Device::Netkit].map(Device::kind);
        self.kind.as_deref().is_some_and(|kind| kinds.contains(&kind))
    }
}

/// An interface to the outside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its Ethernet address.
    #[serde(with = "MacBytes")]
    pub mac: Mac,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// As [`Link::gso`].
    #[serde(default)]
    pub gso: GsoSizes,
    /// Its kind, as in [`Link::kind`].
    pub kind: Option<String>,
    /// The IPv4 address to masquerade with.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address to masquerade with.
    pub v6: Option<Ipv6Addr>,
    /// Every address that a published port answers on.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether a default route leaves by it.
    pub default_route: bool,
    /// Whether its driver joins the packets of a stream as they come in.
    #[serde(default)]
    pub joins: bool,
    /// A VLAN that stands on it, by name.
    pub vlan: Option<String>,
}

/// An Ethernet address as it is written down: whatever an interface has, also what no station may have.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Mac")]
struct MacBytes([u8; 6]);

/// What stands in the maps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// By the index of the interface.
    pub interfaces: BTreeMap<u32, Interface>,
    /// By address.
    pub endpoints: BTreeMap<Address, abi::Endpoint>,
    /// By range.
    pub networks: HashMap<Prefix, NetworkRange>,
    /// By the host's address, port and protocol.
    pub published: HashMap<abi::PublishedKey, abi::Published>,
    /// Who may use published ports that are not for everybody.
    pub sources: HashSet<SourceRange>,
    /// What [`Self::published`] is for the host itself and its endpoints; an address may be every one of its family.
    pub local_ports: HashMap<abi::PublishedKey, abi::Published>,
    /// The host's own addresses, but for loopback.
    pub host_addresses: BTreeSet<Address>,
}

/// A range of sources, and the group that it is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceRange {
    /// Group and first address.
    pub source: abi::Source,
    /// Significant bits, those of the group included.
    pub length: u32,
}

impl SourceRange {
    /// The range alone.
    pub fn prefix(&self) -> Prefix {
        let address = Address::new(self.source.address);
        Prefix { length: self.length.saturating_sub(abi::Source::GROUP_BITS), address }
    }
}

/// A program of ours on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// How it was attached.
    pub mechanism: Mechanism,
    /// Whether it is the program of this version, and not one of an earlier that still runs.
    pub current: bool,
}

/// How a program hangs on an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mechanism {
    /// A TCX link, pinned.
    Tcx,
    /// Where the endpoint's side of a netkit pair sends, a pinned link.
    Netkit,
    /// A filter of the clsact queueing discipline.
    Clsact,
    /// XDP in the driver, a pinned link.
    XdpNative,
    /// XDP in the stack, a pinned link.
    XdpGeneric,
    /// At the root of the control groups, a pinned link.
    Cgroup,
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcx => "TCX",
            Self::Netkit => "netkit",
            Self::Clsact => "clsact",
            Self::XdpNative => "XDP native",
            Self::XdpGeneric => "XDP generic",
            Self::Cgroup => "cgroup",
        })
    }
}

/// Why programs that can be done without were refused: by the index of the interface, [`Hook::NO_INTERFACE`] for the
/// host's.
pub type Refusals = BTreeMap<(u32, Hook, Mechanism), String>;

/// Everything that a plan depends on, besides what is desired.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Which endpoints it is about.
    pub scope: Scope,
    /// What belongs to those that it is not about.
    pub others: Others,
    /// The instance's mark: what the alias of each interface of ours begins with.
    pub mark: String,
    /// Whether the programs of this version are loaded and pinned.
    pub loaded: bool,
    /// Whether anything of ours is pinned.
    pub pinned: bool,
    /// Whether programs of earlier versions are, or those of another layout of the maps.
    pub old_programs: bool,
    /// What is wrong with the pinned maps, so that they have to go before anything is loaded.
    pub foreign_pin: Option<String>,
    /// Whether TC programs are attached as TCX links.
    pub tcx: bool,
    /// The host's interfaces, by name; of those of endpoints the ones that this is about.
    pub links: BTreeMap<String, Link>,
    /// Those that are uplinks.
    pub uplinks: Vec<Uplink>,
    /// The namespaces that are there, of endpoints that this is about, and their interfaces by name.
    pub namespaces: BTreeMap<PathBuf, BTreeMap<String, Link>>,
    /// Those of them that we made.
    pub own_namespaces: BTreeSet<PathBuf>,
    /// What stands in the maps.
    pub tables: Tables,
    /// Generation of each slot's last owner, indexed by slot.
    pub generations: Vec<u32>,
    /// Programs of ours, by the index of their interface.
    pub hooks: BTreeMap<(u32, Hook), Attached>,
    /// What was refused, and is not tried again.
    pub refused: Refusals,
    /// Pins of links whose interface is gone.
    pub dead_pins: Vec<PathBuf>,
    /// Sysctls of the host that may matter, by their path below `/proc/sys`; absent where the kernel
    /// has none of that name.
    pub sysctls: BTreeMap<String, String>,
    /// Values from before our change.
    pub saved_sysctls: BTreeMap<String, String>,
    /// Where packets keep their source, by the settings.
    pub no_masquerade: Vec<IpNet>,
    /// Why the programs that see sockets cannot be had, where they cannot.
    pub no_socket_hooks: Option<String>,
    /// Why there is no socket shortcut, where there is none.
    pub no_shortcut: Option<String>,
    /// Why there are no netkit devices, where some network wants them and there are none.
    pub no_netkit: Option<String>,
}

impl Observed {
    /// The instance that has networks here, while we have none. An endpoint of one may well be the host
    /// of another, so endpoints' interfaces do not count.
    pub fn other_instance(&self) -> Option<&str> {
        let instances = || {
            let bridges = self.links.values().filter(|link| link.kind.as_deref() == Some("bridge"));
            bridges.filter_map(|link| {
                let mark = link.alias.as_deref()?.strip_prefix("netebpf:")?;
                let (instance, what) = mark.split_once(':')?;
                what.starts_with("network:").then_some(instance)
            })
        };
        let ours = |instance: &str| self.mark == format!("netebpf:{instance}:");
        if instances().any(ours) { None } else { instances().next() }
    }

    /// Whether a link carries our mark.
    pub fn is_ours(&self, link: &Link) -> bool {
        link.alias.as_deref().is_some_and(|alias| alias.starts_with(&self.mark))
    }
}
