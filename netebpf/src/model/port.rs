//! A published port, one at a time: ranges are expanded at the door.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr};

/// A transport protocol with ports to publish.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What the user asked for: a port of the host that leads to one of the endpoint.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address; every address of both families when absent. `0.0.0.0` and `::` mean every
    /// address of their family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_address: Option<IpAddr>,
    /// The host's port; decided, where the user left it open, before the state is written.
    pub host_port: u16,
    /// The endpoint's port.
    pub endpoint_port: u16,
    /// The protocol.
    pub transport: Transport,
    /// Who may use it, in order and without host bits; everybody when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_from: Vec<IpNet>,
}
