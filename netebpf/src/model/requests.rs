//! What a user asks for, before anything that was left open is decided: what `run`, `create` and
//! `network create` send, and what a topology file is made of.
//!
//! **Invariant**: each value is well-formed by itself (an address is an address, a name can be one);
//! whether it fits what else there is, [`super::resolve`] says.

use super::{
    Device, DnsChoice, Driver, GatewayMode, InterfaceName, MacText, Place, Service, Transport,
    predefined::is_predefined,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

/// The network that an endpoint of the command line joins when none is named.
pub const DEFAULT_NETWORK: &str = "bridge";

/// The host's side of a published port, as far as the user decided it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPort {
    /// Any free port.
    Any,
    /// This one.
    One(u16),
    /// A free one between these two, both included.
    Within(u16, u16),
}

/// One port to publish; the host's port may be open.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PublishSpec {
    /// As [`super::PortMapping::host_address`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
    /// The host's port.
    pub host_port: HostPort,
    /// The endpoint's port.
    pub endpoint_port: u16,
    /// The protocol.
    pub transport: Transport,
    /// Who may use it; everybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<IpNet>,
}

impl PublishSpec {
    /// Whether its ports are ports, and its range has one.
    pub fn is_valid(&self) -> bool {
        let host = match self.host_port {
            HostPort::Any => true,
            HostPort::One(port) => port > 0,
            HostPort::Within(first, last) => 0 < first && first <= last,
        };
        host && self.endpoint_port > 0
    }
}

/// A subnet that the user chose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SubnetRequest {
    /// The subnet, its host bits zero.
    pub net: IpNet,
    /// The gateway; the first address of the subnet when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where addresses are allocated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<IpNet>,
    /// Addresses never given to an endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A network to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// The name.
    pub name: String,
    /// Its kind.
    #[serde(default)]
    pub driver: Driver,
    /// Whether it has IPv4; the subnet is taken from the pools when `subnets` has none.
    pub ipv4: bool,
    /// Whether it has IPv6, likewise.
    pub ipv6: bool,
    /// The subnets that the user chose, at most one of each family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<SubnetRequest>,
    /// No way out and none in.
    #[serde(default)]
    pub internal: bool,
    /// Whether endpoints reach one another.
    pub peers: bool,
    /// As [`super::Network::gateway_mode_v4`].
    #[serde(default)]
    pub gateway_mode_v4: GatewayMode,
    /// As [`super::Network::gateway_mode_v6`].
    #[serde(default)]
    pub gateway_mode_v6: GatewayMode,
    /// As [`super::Network::masquerade`].
    pub masquerade: bool,
    /// The host's IPv4 address that its packets leave with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat_v4: Option<Ipv4Addr>,
    /// Likewise the IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat_v6: Option<Ipv6Addr>,
    /// As [`super::Network::binding_v4`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_v4: Option<Ipv4Addr>,
    /// As [`super::Network::interface_prefix`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_prefix: Option<String>,
    /// As [`super::Network::shortcut`].
    #[serde(default)]
    pub shortcut: bool,
    /// As [`super::Network::device`].
    #[serde(default)]
    pub device: Device,
    /// The longest IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The bridge device's name, where the user chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<InterfaceName>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl NetworkRequest {
    /// A bridge network with IPv4 and nothing else decided.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            driver: Driver::Bridge,
            ipv4: true,
            ipv6: false,
            subnets: Vec::new(),
            internal: false,
            peers: true,
            gateway_mode_v4: GatewayMode::Nat,
            gateway_mode_v6: GatewayMode::Nat,
            masquerade: true,
            snat_v4: None,
            snat_v6: None,
            binding_v4: None,
            interface_prefix: None,
            shortcut: false,
            device: Device::Veth,
            mtu: None,
            bridge: None,
            labels: BTreeMap::new(),
            place: None,
        }
    }
}

/// A network to join.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AttachmentRequest {
    /// The network's name.
    pub network: String,
    /// The IPv4 address, where the user chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address, where the user chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
    /// The Ethernet address, where the user chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacText>,
    /// Further names on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The interface's name inside; `eth0`, `eth1` … when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// As [`super::Attachment::sysctls`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Networks are joined in the order of this, the highest first, then of their names: see [`Self::turn`].
    #[serde(default)]
    pub priority: i32,
    /// The default route goes to the highest; among equals to the first name.
    #[serde(default)]
    pub gateway_priority: i32,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl AttachmentRequest {
    /// Joins a network, all else open.
    pub fn new(network: impl Into<String>) -> Self {
        Self { network: network.into(), ..Self::default() }
    }

    /// The order in which an endpoint joins its networks.
    pub fn turn(&self) -> (Reverse<i32>, &str) {
        (Reverse(self.priority), &self.network)
    }
}

/// How an endpoint is on no network of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Alone in its namespace.
    None,
    /// In the host's namespace.
    Host,
    /// In another endpoint's namespace: its name, or a unique beginning of its identifier.
    Container(String),
}

/// An endpoint to make.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EndpointRequest {
    /// The name; the identifier's first digits when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A namespace that exists; one of its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// How it is on no network of its own; then `networks` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<NetworkMode>,
    /// The networks to join; [`DEFAULT_NETWORK`] when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<AttachmentRequest>,
    /// What to publish.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<PublishSpec>,
    /// What runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What is said about the names that it looks up.
    #[serde(default, skip_serializing_if = "DnsChoice::is_empty")]
    pub dns: DnsChoice,
    /// Removed when its command ends (`run --rm`).
    #[serde(default)]
    pub remove_on_exit: bool,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A name that neither an endpoint nor a network can have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not of Docker's form.
    #[error(
        "{0:?} is no name: 1 to 128 letters, digits, \"_\", \".\" and \"-\" are allowed, the first a \
         letter or a digit"
    )]
    Malformed(String),
    /// Of a network that is there without being made.
    #[error("operation is not permitted on predefined {0} network; it is always there")]
    Predefined(String),
}

/// Whether a path below `/proc/sys` is that of a sysctl of one interface, for whose name `IFNAME` stands.
pub fn is_interface_sysctl(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match path.split('/').collect::<Vec<_>>()[..] {
        ["net", "ipv4" | "ipv6", "conf" | "neigh", "IFNAME", key] => {
            !key.is_empty() && key.chars().all(plain)
        }
        _ => false,
    }
}

/// Checks the name of an endpoint: Docker's form, which is a file name too.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.len() <= 128 && name.chars().all(good) {
        Ok(())
    } else {
        Err(NameError::Malformed(name.to_owned()))
    }
}

/// Checks the name of a network to make.
pub fn check_network_name(name: &str) -> Result<(), NameError> {
    check_name(name)?;
    if is_predefined(name) { Err(NameError::Predefined(name.to_owned())) } else { Ok(()) }
}

impl fmt::Display for PublishSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            Some(v4) => write!(f, "{v4}:")?,
            None => {}
        }
        if self.host_port != HostPort::Any {
            write!(f, "{}:", self.host_port)?;
        }
        write!(f, "{}/{}", self.endpoint_port, self.transport)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One(port) => port.fmt(f),
            Self::Within(first, last) => write!(f, "{first}-{last}"),
        }
    }
}
