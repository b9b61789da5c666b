//! What cannot be, given what there is.
//!
//! **Invariant**: where Docker has words for it, they are in the message, for scripts look for them; whose it is and what
//! would be right stands beside them.

use super::facts::HostRoute;
use crate::{
    ipam::{AddressError, Unusable},
    model::{
        Driver, InterfaceName, MacText, Origin, Place, PortMapping, Transport,
        requests::{HostPort, NameError},
    },
};
use ipnet::IpNet;
use std::{net::IpAddr, path::PathBuf};

/// Something that cannot be, and where it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolveError {
    /// The place in a file; none for what the command line asks for.
    pub place: Option<Box<Place>>,
    /// What is wrong.
    pub problem: ResolveProblem,
}

impl ResolveError {
    pub(super) fn new(place: Option<&Place>, problem: ResolveProblem) -> Self {
        Self { place: place.cloned().map(Box::new), problem }
    }
}

impl std::fmt::Display for ResolveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ResolveError {}

/// What cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResolveProblem {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another network has the name.
    #[error("network with name {name} already exists: {owner} made it; choose another name")]
    NetworkExists {
        /// The name.
        name: String,
        /// Who has it.
        owner: Origin,
    },
    /// Another endpoint has the name.
    #[error("endpoint name {name:?} is already in use: {owner} made it; choose another name")]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        owner: Origin,
    },
    /// An external network that is not there.
    #[error(
        "network {0:?} is external and is not there; make it first: netebpf network create {0}"
    )]
    NoExternalNetwork(String),
    /// A network that is not there.
    #[error("network {0} not found; see netebpf network ls")]
    NoNetwork(String),
    /// An endpoint that is not there.
    #[error("endpoint {0:?} is not there; see netebpf ps")]
    NoEndpoint(String),
    /// A network that is always there.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// Somebody else is in the namespace of an endpoint that would go.
    #[error(
        "endpoint {endpoint:?}: endpoint {by:?} of {owner} is in its namespace; remove that one first, or \
         both with \"rm -f\""
    )]
    NamespaceInUse {
        /// Whose namespace.
        endpoint: String,
        /// Who is in it.
        by: String,
        /// Who made that one.
        owner: Origin,
    },
    /// An endpoint that is on the network.
    #[error("endpoint with name {endpoint} already exists in network {network}")]
    ConnectedAlready {
        /// The endpoint.
        endpoint: String,
        /// The network.
        network: String,
    },
    /// An endpoint that is not on the network.
    #[error(
        "endpoint {endpoint} is not connected to network {network}; netebpf inspect {endpoint} says to \
         which it is"
    )]
    NotConnected {
        /// The endpoint.
        endpoint: String,
        /// The network.
        network: String,
    },
    /// A port to take back that nobody published.
    #[error("endpoint {endpoint:?}: port {port} is not published; see netebpf port {endpoint}")]
    NotPublished {
        /// The endpoint.
        endpoint: String,
        /// The port.
        port: String,
    },
    /// Somebody still uses a network that would go or change.
    #[error(
        "network {network:?} has active endpoints: it is in use by {endpoint:?} of {owner}; remove that endpoint first"
    )]
    NetworkInUse {
        /// The network.
        network: String,
        /// Who uses it.
        endpoint: String,
        /// Who made the endpoint.
        owner: Origin,
    },
    /// Something wrong with a network.
    #[error("network {network:?}: {problem}")]
    Network {
        /// The network.
        network: String,
        /// What.
        problem: NetworkProblem,
    },
    /// Something wrong with an endpoint.
    #[error("endpoint {endpoint:?}: {problem}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What.
        problem: EndpointProblem,
    },
}

/// Why a network cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkProblem {
    /// The gateway mode of internal networks on another one.
    #[error(
        "gateway mode \"isolated\" is for internal networks; make it internal, or take \"nat\" or \"routed\""
    )]
    IsolatedNotInternal,
    /// A shortcut between endpoints that do not talk to one another.
    #[error(
        "netebpf.socket_shortcut is for connections between endpoints of the network, and with \
         com.docker.network.bridge.enable_icc=false there are none: leave one of the two out"
    )]
    ShortcutWithoutPeers,
    /// Of a driver that has one network, which is always there.
    #[error("only one instance of \"{0}\" network is allowed; it is always there")]
    OneInstance(Driver),
    /// Neither family.
    #[error("neither IPv4 nor IPv6; one of them is needed")]
    NoFamily,
    /// Two subnets of one family, or one of a family that is off.
    #[error("subnet {0} is one too many; a network has one of each of its families")]
    Surplus(IpNet),
    /// A range that means something else, or too small.
    #[error("subnet {net}: {reason}")]
    Unusable {
        /// The subnet.
        net: IpNet,
        /// Why.
        reason: Unusable,
    },
    /// Overlaps another network's.
    #[error(
        "Pool overlaps with other one on this address space: subnet {net} overlaps {other} of network \
         {network:?}; choose another range"
    )]
    OverlapsNetwork {
        /// The subnet.
        net: IpNet,
        /// The other one.
        other: IpNet,
        /// Whose that is.
        network: String,
    },
    /// Overlaps a route of the host.
    #[error("subnet {net} overlaps the host's route {route}; choose another range")]
    OverlapsRoute {
        /// The subnet.
        net: IpNet,
        /// The route.
        route: HostRoute,
    },
    /// No subnet left.
    #[error(
        "no {family} subnet is left in the address pools that overlaps neither a network nor a route of \
         the host; give the network a subnet, or more pools in /etc/netebpf/config.toml"
    )]
    PoolsExhausted {
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// A gateway that cannot be.
    #[error("gateway {0}{no_subnet}", no_subnet = NoSubnetFor(.0))]
    Gateway(AddressError),
    /// A range outside the subnet.
    #[error("ip_range {range} is outside {net}")]
    Range {
        /// The range.
        range: IpNet,
        /// The subnet.
        net: IpNet,
    },
    /// A reserved address that cannot be.
    #[error("reserved address {name:?}: {error}")]
    Reserved {
        /// What it is reserved as.
        name: String,
        /// Why not.
        error: AddressError,
    },
    /// Another network has the bridge.
    #[error("bridge {bridge} is that of network {network:?} already; choose another name")]
    BridgeTaken {
        /// The device.
        bridge: InterfaceName,
        /// Whose it is.
        network: String,
    },
    /// Packets that a family cannot live with.
    #[error("mtu {mtu}: a number of bytes from {least} to 65535 is meant")]
    Mtu {
        /// What was asked for.
        mtu: u32,
        /// 68 for IPv4 (RFC 791), 1280 for IPv6 (RFC 8200 §5).
        least: u32,
    },
    /// Host bits in a subnet.
    #[error("subnet {0} has host bits set; {right} is meant", right = .0.trunc())]
    HostBits(IpNet),
}

/// Why an endpoint cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointProblem {
    /// A network that is not there.
    #[error("network {0} not found; see netebpf network ls")]
    NoNetwork(String),
    /// One network twice.
    #[error("network {0:?} is joined twice")]
    NetworkTwice(String),
    /// An address of a family that the network does not have.
    #[error("{address}: network {network:?} has no {family}")]
    NoFamily {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// A network without any subnet, which no network made here is.
    #[error("network {0:?} has no subnet to take an address from; make it again")]
    NoSubnet(String),
    /// An address that cannot be had.
    #[error("network {network:?}: {error}")]
    Address {
        /// The network.
        network: String,
        /// Why not.
        error: AddressError,
    },
    /// Somebody else on the network has the Ethernet address.
    #[error(
        "network {network:?}: Ethernet address {mac} is that of {owner} already; choose another one"
    )]
    MacTaken {
        /// The network.
        network: String,
        /// The Ethernet address.
        mac: MacText,
        /// Whose it is.
        owner: String,
    },
    /// An alias that is no name.
    #[error("network {network:?}: alias {error}")]
    Alias {
        /// The network.
        network: String,
        /// Why not.
        error: NameError,
    },
    /// Not on networks, and on networks.
    #[error(
        "conflicting options: cannot attach both user-defined and non-user-defined network-modes; \
         none, host and container:NAME stand alone"
    )]
    NetworksAndMode,
    /// Somebody else's namespace twice over.
    #[error("conflicting options: a namespace by its path and the network mode")]
    NetnsAndMode,
    /// Ports where none can be published.
    #[error("{0}")]
    Publishing(&'static str),
    /// Resolvers where they are another endpoint's.
    #[error("{0}")]
    Dns(&'static str),
    /// In its own namespace.
    #[error("cannot join own network; container:NAME names another endpoint")]
    OwnNamespace,
    /// In the namespace of an endpoint that is not there.
    #[error("container:{0}: there is no such endpoint; see netebpf ps")]
    NoEndpoint(String),
    /// One in the host's namespace leaves or joins a network.
    #[error("container cannot be disconnected from host network or connected to host network")]
    HostNetwork,
    /// One in somebody else's namespace joins a network.
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any \
         other network"
    )]
    SharedNamespace,
    /// `none` and another network.
    #[error(
        "container cannot be connected to multiple networks with one of the networks in private (none) \
         mode"
    )]
    NotAlone,
    /// A namespace by a relative path.
    #[error("namespace {0:?} is wrong; a path that begins with / is meant")]
    RelativePath(PathBuf),
    /// A service that runs nothing.
    #[error("its command is empty; leave it out for a namespace to work in")]
    EmptyCommand,
    /// Port 0 or a range that runs backwards.
    #[error("a published port is 0, or a range of them runs backwards; 1 to 65535 are meant")]
    PortRange,
    /// Two interfaces of one name.
    #[error("two interfaces named {0}")]
    InterfaceTwice(InterfaceName),
    /// A namespace that is an endpoint's already.
    #[error("namespace {path} is that of endpoint {endpoint:?} already", path = path.display())]
    NamespaceTaken {
        /// The namespace.
        path: PathBuf,
        /// Whose it is.
        endpoint: String,
    },
    /// Another endpoint publishes the port.
    #[error("port {port} is already allocated: endpoint {endpoint:?} has {other}")]
    PortAllocated {
        /// What was asked for.
        port: PublishedPort,
        /// What is in its way.
        other: PublishedPort,
        /// Whose that is.
        endpoint: String,
    },
    /// A socket of the host holds the port.
    #[error(
        "port {0} is already allocated: a socket of the host holds it; choose another one, or stop what holds it"
    )]
    PortInUse(PublishedPort),
    /// Not a sysctl of an interface.
    #[error("{0:?} is no sysctl of an interface; net/ipv4/conf/IFNAME/log_martians is one")]
    Sysctl(String),
    /// No port is free.
    #[error("no host port is free for {transport} port {port} in {range}")]
    NoFreePort {
        /// The endpoint's port.
        port: u16,
        /// The protocol.
        transport: Transport,
        /// Where one was looked for.
        range: HostPort,
    },
    /// A host address of a family that the endpoint does not have.
    #[error(
        "port {port} cannot be published on {address}: the endpoint has no {family} address; give its \
         network {family}, or publish it on another address",
        family = if address.is_ipv6() { "IPv6" } else { "IPv4" }
    )]
    PortFamily {
        /// The endpoint's port.
        port: u16,
        /// The host's address.
        address: IpAddr,
    },
}

/// Docker's words for a gateway that is in no subnet.
struct NoSubnetFor<'a>(&'a AddressError);

impl std::fmt::Display for NoSubnetFor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            AddressError::Outside { address, .. } => {
                write!(f, "; no matching subnet for gateway {address}")
            }
            _ => Ok(()),
        }
    }
}

/// The host's side of a mapping, as people write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedPort {
    /// As [`PortMapping::host_address`].
    pub host_address: Option<IpAddr>,
    /// The port.
    pub host_port: u16,
    /// The protocol.
    pub transport: Transport,
}

impl From<&PortMapping> for PublishedPort {
    fn from(mapping: &PortMapping) -> Self {
        let PortMapping { host_address, host_port, transport, .. } = *mapping;
        Self { host_address, host_port, transport }
    }
}

impl std::fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host_address, host_port, transport } = self;
        match host_address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:{host_port}/{transport}"),
            Some(v4) => write!(f, "{v4}:{host_port}/{transport}"),
            None => write!(f, "{host_port}/{transport}"),
        }
    }
}
