//! An endpoint: a network namespace on one or more networks.

use super::{
    DnsChoice, Id, InterfaceName, Network, Origin, PortMapping,
    mac::MacText,
    predefined::{HOST, NONE},
    requests::NetworkMode,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

/// Whose namespace it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Ours, made and removed with the endpoint, at this path.
    Own(PathBuf),
    /// Somebody else's: only our interfaces in it are ours.
    Existing(PathBuf),
    /// The host's.
    Host,
    /// Another endpoint's, of this name, at this path.
    Of(String, PathBuf),
}

impl Namespace {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Existing(path) | Self::Of(_, path) => path,
            Self::Host => Path::new("/proc/self/ns/net"),
        }
    }

    /// Whether somebody else decides what is in it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Host | Self::Of(..))
    }
}

/// An endpoint's interface on one network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The interface inside the namespace: `eth0`, `eth1` …
    pub interface: InterfaceName,
    /// The host-side veth.
    pub host_interface: InterfaceName,
    /// Its own Ethernet address.
    pub mac: MacText,
    /// IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<Ipv4Addr>,
    /// IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
    /// Those of its addresses that the user chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<IpAddr>,
    /// Further names on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Sysctls of its interface, by their paths below `/proc/sys`, where `IFNAME` stands for its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The default route goes to the highest; among equals to the first name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gateway_priority: i32,
    /// Whether the default route of each family goes here: where that is changes as networks come and go.
    #[serde(default)]
    pub default_route: bool,
}

impl Attachment {
    /// Whether it has an address of a family.
    pub fn has(&self, v6: bool) -> bool {
        if v6 { self.v6.is_some() } else { self.v4.is_some() }
    }

    /// Its sysctls by their whole paths.
    pub fn own_sysctls(&self) -> BTreeMap<String, String> {
        let whole = |path: &str| path.replace("/IFNAME/", &format!("/{}/", self.interface));
        self.sysctls.iter().map(|(path, value)| (whole(path), value.clone())).collect()
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl Endpoint {
    /// Where its published ports lead, of one family: its address on a network that lets anybody in, and that network:
    /// the one of the default route, whose replies leave the way that the request came, or else the first.
    pub fn reached_at<'a>(
        &self,
        networks: &'a BTreeMap<String, Network>,
        v6: bool,
    ) -> Option<(IpAddr, &'a Network)> {
        let address = |attachment: &Attachment| -> Option<IpAddr> {
            if v6 { attachment.v6.map(Into::into) } else { attachment.v4.map(Into::into) }
        };
        let open = self.attachments.iter().filter_map(|attachment| {
            let network = networks.get(&attachment.network)?;
            let address = address(attachment).filter(|_| !network.internal)?;
            Some((!attachment.default_route, address, network))
        });
        open.min_by_key(|(other_way, ..)| *other_way)
            .map(|(_, address, network)| (address, network))
    }

    /// The identifier of its place on a network, always the same one: Docker's endpoint.
    pub fn id_on(&self, network: &Network) -> Id {
        Id::derived(&format!("{} on {}", self.id, network.id))
    }

    /// The predefined network that it is on without an interface.
    pub fn predefined(&self) -> Option<&'static str> {
        match self.namespace {
            Namespace::Host => Some(HOST),
            _ if self.alone => Some(NONE),
            _ => None,
        }
    }

    /// How it is on no network of its own, where it is.
    pub fn mode(&self) -> Option<NetworkMode> {
        match &self.namespace {
            Namespace::Host => Some(NetworkMode::Host),
            Namespace::Of(other, _) => Some(NetworkMode::Container(other.clone())),
            _ if self.alone => Some(NetworkMode::None),
            _ => None,
        }
    }

    /// Whether it is on a network of this name.
    pub fn is_on(&self, network: &str) -> bool {
        self.predefined() == Some(network)
            || self.attachments.iter().any(|attachment| attachment.network == network)
    }
}

/// What runs in the namespace, supervised by the daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Added to the daemon's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Where it starts; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<PathBuf>,
}

/// An endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Docker's kind of identifier.
    pub id: Id,
    /// The name.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its interfaces, in the order of their names.
    pub attachments: Vec<Attachment>,
    /// On the network `none`: alone, and meant to be.
    #[serde(default)]
    pub alone: bool,
    /// What is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
    /// What runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What was said about the names that it looks up.
    #[serde(default, skip_serializing_if = "DnsChoice::is_empty")]
    pub dns: DnsChoice,
    /// Removed when its command ends (`run --rm`).
    #[serde(default)]
    pub remove_on_exit: bool,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was asked for, seconds since 1970.
    pub created: u64,
    /// Who made it.
    pub origin: Origin,
}
