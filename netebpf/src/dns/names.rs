//! Who knows which name: what is desired, turned into tables.
//!
//! **Invariant**: pure. Each network's names are in one table, which all its endpoints' views share; so a
//! view costs no more than the networks that its endpoint is on.

use super::question::{self, Key};
use crate::model::{Attachment, Desired, Driver, Endpoint, Network};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// The addresses of a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Addresses {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
}

/// The names of one network.
#[derive(Debug, Default)]
pub(super) struct NetworkNames {
    names: HashMap<Key, Addresses>,
    /// The name of an address, as it stands in an answer.
    reverse: HashMap<IpAddr, Key>,
}

/// Who is asked for what is nobody's name here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Forward {
    /// Nobody: no network of the endpoint leads outside.
    Never,
    /// The host's resolvers.
    Host,
    /// Those that the endpoint's user named.
    To(Arc<[SocketAddr]>),
}

/// What one endpoint sees.
#[derive(Clone, Debug)]
pub struct View {
    networks: Vec<Arc<NetworkNames>>,
    /// The subnets of all networks: nobody outside knows the names of addresses in them.
    ours: Arc<[IpNet]>,
    pub(super) forward: Forward,
}

impl View {
    /// What is known of a name on the networks of the asker, a piece for each of them.
    pub(super) fn find(&self, key: &[u8]) -> Vec<&Addresses> {
        self.networks.iter().filter_map(|network| network.names.get(key)).collect()
    }

    /// The name of an address, where the asker may know it.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&[u8]> {
        self.networks.iter().find_map(|network| network.reverse.get(&address)).map(AsRef::as_ref)
    }

    /// Whether an address belongs to one of our networks.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        self.ours.iter().any(|net| net.contains(&address))
    }
}

/// The views of all endpoints that ask us. One that is on no network with names is among them only where
/// `for_all`: nothing but us leads to the host's resolvers then.
pub fn views(desired: &Desired, for_all: bool) -> BTreeMap<String, View> {
    let ours: Arc<[IpNet]> = desired
        .networks
        .values()
        .flat_map(|network| network.subnets.iter().map(|subnet| subnet.net))
        .collect();
    let tables = tables(desired);
    let view = |endpoint: &Endpoint| {
        let on_it = || endpoint.attachments.iter();
        let networks: Vec<_> =
            on_it().filter_map(|on| tables.get(on.network.as_str()).cloned()).collect();
        let alone = for_all && endpoint.dns.servers.is_empty() && has_a_bridge(desired, endpoint);
        let asks = alone || !networks.is_empty();
        let forward = forward(desired, endpoint);
        asks.then(|| (endpoint.name.clone(), View { networks, ours: Arc::clone(&ours), forward }))
    };
    desired.endpoints.values().filter_map(view).collect()
}

/// Whether an endpoint has an interface of ours, and so an /etc/resolv.conf.
pub(super) fn has_a_bridge(desired: &Desired, endpoint: &Endpoint) -> bool {
    endpoint.attachments.iter().any(|on| {
        desired.networks.get(&on.network).is_some_and(|network| network.driver == Driver::Bridge)
    })
}

fn forward(desired: &Desired, endpoint: &Endpoint) -> Forward {
    let leads_outside = |on: &Attachment| {
        desired.networks.get(&on.network).is_some_and(|network| !network.internal)
    };
    if !endpoint.attachments.iter().any(leads_outside) {
        return Forward::Never;
    }
    match endpoint.dns.servers.as_slice() {
        [] => Forward::Host,
        servers => Forward::To(servers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect()),
    }
}

/// The tables of all networks that have names.
fn tables(desired: &Desired) -> HashMap<&str, Arc<NetworkNames>> {
    let mut tables: HashMap<&str, NetworkNames> = desired
        .networks
        .values()
        .filter(|network| network.has_names())
        .map(|network: &Network| (network.name.as_str(), NetworkNames::default()))
        .collect();
    for endpoint in desired.endpoints.values() {
        for on in &endpoint.attachments {
            if let Some(table) = tables.get_mut(on.network.as_str()) {
                table.add(endpoint, on);
            }
        }
    }
    tables.into_iter().map(|(name, table)| (name, Arc::new(table))).collect()
}

impl NetworkNames {
    fn add(&mut self, endpoint: &Endpoint, on: &Attachment) {
        let mut names: Vec<&str> = vec![&endpoint.name, endpoint.id.short()];
        names.extend(on.aliases.iter().map(String::as_str));
        let both = |name: &&str| [(*name).to_owned(), format!("{name}.{}", on.network)];
        // A set, so that an alias that is the name as well gives no address twice.
        let keys: std::collections::BTreeSet<Key> =
            names.iter().flat_map(both).filter_map(|name| key_of(&name)).collect();
        for key in keys {
            let addresses = self.names.entry(key).or_default();
            addresses.v4.extend(on.v4);
            addresses.v6.extend(on.v6);
        }
        if let Some(name) = key_of(&format!("{}.{}", endpoint.name, on.network)) {
            self.reverse.extend(on.addresses().map(|address| (address, name.clone())));
        }
    }
}

/// A name as a query has it; none where no query can: a label of more than 63 bytes.
fn key_of(name: &str) -> Option<Key> {
    let name = Name::from_ascii(name).ok()?;
    Some(question::key(&name))
}
