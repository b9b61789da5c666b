//! What a resolution has to know of the host. `kernel` gathers it.

use crate::model::Transport;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::OnceLock;

/// The host as it is.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Seconds since 1970: when what is new is made.
    pub now: u64,
    /// The host's routes, those of its own addresses included. Default routes, and those of our own
    /// bridges, may be among them and are passed over.
    pub routes: Vec<HostRoute>,
    /// The host's TCP sockets that listen and UDP sockets that are bound.
    pub sockets: HostSockets,
}

/// The host's sockets, read when somebody asks: few changes choose a port.
#[derive(Clone, Debug)]
pub struct HostSockets {
    read: fn() -> Vec<HostSocket>,
    found: OnceLock<Vec<HostSocket>>,
}

impl HostSockets {
    /// By this way of reading them, once.
    pub fn read_by(read: fn() -> Vec<HostSocket>) -> Self {
        Self { read, found: OnceLock::new() }
    }

    /// All of them.
    pub fn get(&self) -> &[HostSocket] {
        self.found.get_or_init(self.read)
    }
}

impl Default for HostSockets {
    fn default() -> Self {
        Self::read_by(Vec::new)
    }
}

impl From<Vec<HostSocket>> for HostSockets {
    fn from(found: Vec<HostSocket>) -> Self {
        Self { found: OnceLock::from(found), ..Self::default() }
    }
}

/// A route of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostRoute {
    /// Where to.
    pub net: IpNet,
    /// Through which interface; none for a route that has none or several.
    pub interface: Option<String>,
}

impl HostRoute {
    /// Whether a network's subnet may lie in it all the same: the default route, and the two halves
    /// that tunnels put in its place (`0.0.0.0/1` and `128.0.0.0/1`).
    pub(super) fn is_default(&self) -> bool {
        self.net.prefix_len() <= 1
    }
}

impl std::fmt::Display for HostRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.net.fmt(f)?;
        match &self.interface {
            Some(interface) => write!(f, " dev {interface}"),
            None => Ok(()),
        }
    }
}

/// A socket of the host that holds a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSocket {
    /// The protocol.
    pub transport: Transport,
    /// The address it is bound to, as [`crate::model::PortMapping::host_address`]: none for a socket
    /// that takes both families.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}
