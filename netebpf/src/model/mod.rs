//! What the user asked for, complete: every name, address and interface decided.
//!
//! **Invariant**: pure data; no I/O. A value of these types has passed every check that can be made
//! without the kernel (see [`crate::config`] and [`crate::ipam`]), so nothing behind the door checks
//! again. [`Desired`] is the one thing that `plan` compares with the kernel and that `state` keeps.

mod dns;
mod endpoint;
mod id;
mod mac;
mod network;
mod place;
mod port;
pub mod predefined;
pub mod requests;
pub mod resolve;

pub use dns::{DnsChoice, DnsWord, DnsWordError};
pub use endpoint::{Attachment, Endpoint, Namespace, Service};
pub use id::{Id, InterfaceName, InterfaceNameError};
pub use mac::{MacError, MacText};
pub use network::{Device, Driver, GatewayMode, Network, Subnet};
pub use place::Place;
pub use port::{PortMapping, Transport};

use imbl::{OrdMap, ordmap::DiffItem};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

/// Who made an object, and so who may take it away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `up` of the topology file of this name.
    Topology(String),
    /// `run`, `create`, `network create`.
    CommandLine,
    /// An engine, by its frontend's name; only `down --all` takes it away.
    Engine(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topology(name) => write!(f, "the topology {name:?}"),
            Self::CommandLine => f.write_str("the command line"),
            Self::Engine(name) => f.write_str(name),
        }
    }
}

/// Which interfaces are uplinks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UplinkChoice {
    /// Every Ethernet interface with an address, followed as they come and go.
    #[default]
    Automatic,
    /// These.
    Named(Vec<InterfaceName>),
}

/// `--xdp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// TC carries everything. States of before this was the default have it as `auto`.
    #[default]
    #[serde(alias = "auto")]
    Off,
    /// In the driver, of each uplink whose driver takes it.
    Native,
    /// In the stack, for tests.
    Generic,
}

/// `--big-tcp`: whether endpoints' TCP hands down packets of more than 64 KiB, to be cut where they leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BigTcp {
    /// As long as every uplink takes them, and on networks without a way out.
    #[default]
    Auto,
    /// Whatever the uplinks take: one that takes less has them cut by the kernel.
    On,
    /// As everywhere.
    Off,
}

/// The whole of an instance as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Desired {
    /// Which interfaces are uplinks.
    pub uplinks: UplinkChoice,
    /// Where the uplinks' program runs.
    pub xdp: XdpMode,
    /// How long the packets of endpoints' TCP are.
    #[serde(default)]
    pub big_tcp: BigTcp,
    /// By name.
    pub networks: BTreeMap<String, Network>,
    /// By name. What stays from one to the next is not copied, and told by its place.
    pub endpoints: Endpoints,
}

/// Endpoints by name. A copy, and what differs between two of them, take as long as what differs, not as what is there.
pub type Endpoints = OrdMap<String, Arc<Endpoint>>;

impl Desired {
    /// The endpoint of a name.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.get(name).map(Arc::as_ref)
    }

    /// The endpoint of a name, to change it.
    pub fn endpoint_mut(&mut self, name: &str) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(name).map(Arc::make_mut)
    }

    /// The names of the endpoints that are not the same in both, in order.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        self.endpoints.diff(&other.endpoints).map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name,
            DiffItem::Update { new: (name, _), .. } => name,
        })
    }

    /// Takes the endpoints away that are not to be kept.
    pub fn retain_endpoints(&mut self, keep: impl Fn(&Endpoint) -> bool) {
        let gone = self.endpoints.values().filter(|endpoint| !keep(endpoint));
        let gone: Vec<String> = gone.map(|endpoint| endpoint.name.clone()).collect();
        for name in gone {
            self.endpoints.remove(&name);
        }
    }

    /// See [`Endpoint::reached_at`].
    pub fn reached_at(&self, endpoint: &Endpoint, v6: bool) -> Option<(IpAddr, &Network)> {
        endpoint.reached_at(&self.networks, v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Of very many, which share most of what they are made of, one change is found, whichever it is.
    #[test]
    fn what_differs_is_found_among_a_thousand() {
        let endpoint = |name: &str| -> Arc<Endpoint> {
            let text = json!({
                "id": Id::random(), "name": name, "origin": "command_line", "namespace": "host",
                "attachments": [], "created": 1,
            });
            Arc::new(serde_json::from_value(text).unwrap())
        };
        let names: Vec<String> = (0..1000).map(|number| format!("e{number:03}")).collect();
        let endpoints = names.iter().map(|name| (name.clone(), endpoint(name))).collect();
        let all = Desired { endpoints, ..Desired::default() };
        let finds = |before: &Desired, after: &Desired, name: &String| {
            assert_eq!(before.differing(after).collect::<Vec<_>>(), [name]);
            assert_eq!(after.differing(before).collect::<Vec<_>>(), [name]);
            assert_ne!(before, after);
        };
        for name in &names {
            let (mut changed, mut without) = (all.clone(), all.clone());
            changed.endpoint_mut(name).unwrap().created = 2;
            finds(&all, &changed, name);
            without.endpoints.remove(name);
            finds(&all, &without, name);
            finds(&changed, &without, name);
        }
        assert_eq!(all.differing(&all.clone()).count(), 0);
    }
}
