//! A network: a bridge, its subnets, what it lets through.

use super::mac::MacText;
use super::{Id, InterfaceName, Origin, requests::DEFAULT_NETWORK};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A network's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A Linux bridge with veths.
    #[default]
    Bridge,
    /// The host's own namespace.
    Host,
    /// Nothing but a namespace.
    Null,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        })
    }
}

/// How packets of one family get out of a network and into it, Docker's gateway mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayMode {
    /// With the host's address; in by published ports of the host.
    #[default]
    Nat,
    /// With the endpoints' own addresses; in by the ports that they publish, and by echo requests.
    Routed,
    /// Not at all, and the host has no address in the network either.
    Isolated,
}

impl fmt::Display for GatewayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "nat",
            Self::Routed => "routed",
            Self::Isolated => "isolated",
        })
    }
}

/// What connects the endpoints of a network with its bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A pair of virtual Ethernet devices.
    #[default]
    Veth,
    /// A pair of netkit devices, whose program runs in the sender's own context (Linux 6.7).
    Netkit,
}

impl Device {
    /// As the kernel names the kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A subnet of a network; at most one of each family.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subnet {
    /// The subnet, its host bits zero.
    pub net: IpNet,
    /// The gateway, inside it.
    pub gateway: IpAddr,
    /// Where addresses are allocated from; the whole subnet when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IpNet>,
    /// Addresses never given to an endpoint, by the name that the user gave them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// A network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Docker's kind of identifier.
    pub id: Id,
    /// The number that stands for it in the maps: unique in the instance, never 0.
    pub number: u32,
    /// The name.
    pub name: String,
    /// Its kind.
    pub driver: Driver,
    /// The bridge device.
    pub bridge: InterfaceName,
    /// The bridge's Ethernet address: `02:42` and the IPv4 gateway, so that a network made again is
    /// the same to its neighbours.
    pub mac: MacText,
    /// One or two, IPv4 first.
    pub subnets: Vec<Subnet>,
    /// No way out and none in.
    #[serde(default)]
    pub internal: bool,
    /// Whether endpoints reach one another.
    pub peers: bool,
    /// How IPv4 gets out and in.
    #[serde(default)]
    pub gateway_mode_v4: GatewayMode,
    /// How IPv6 gets out and in.
    #[serde(default)]
    pub gateway_mode_v6: GatewayMode,
    /// Whether what leaves by [`GatewayMode::Nat`] gets the host's address; else it keeps its own, and only published
    /// ports are translated.
    #[serde(default = "yes")]
    pub masquerade: bool,
    /// The host's IPv4 address that its packets leave with; the uplink's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat_v4: Option<Ipv4Addr>,
    /// Likewise the IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat_v6: Option<Ipv6Addr>,
    /// The host's address that ports are published on where nobody says; every one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_v4: Option<Ipv4Addr>,
    /// What the names of interfaces on it begin with where nobody says, instead of [`InterfaceName::PREFIX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// Whether TCP connections between its endpoints take the socket shortcut.
    #[serde(default)]
    pub shortcut: bool,
    /// What its endpoints are connected by, where the kernel has it; else by veths.
    #[serde(default)]
    pub device: Device,
    /// The longest IP packet; the uplink's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was asked for, seconds since 1970.
    pub created: u64,
    /// Who made it.
    pub origin: Origin,
}

impl Network {
    /// Whether endpoints on it know one another by name: on every bridge but that of the network that the
    /// command line's endpoints join by default.
    pub fn has_names(&self) -> bool {
        self.driver == Driver::Bridge && self.name != DEFAULT_NETWORK
    }

    /// The subnet of a family.
    pub fn subnet(&self, v6: bool) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net.addr().is_ipv6() == v6)
    }

    /// How a family gets out and in.
    pub const fn gateway_mode(&self, v6: bool) -> GatewayMode {
        if v6 { self.gateway_mode_v6 } else { self.gateway_mode_v4 }
    }

    /// Whether what leaves keeps its source address.
    pub fn keeps_sources(&self, v6: bool) -> bool {
        self.gateway_mode(v6) == GatewayMode::Routed || !self.masquerade
    }
}

const fn yes() -> bool {
    true
}
