//! Who knows which name: what is desired, turned into tables.
//!
//! **Invariant**: each network's names are in one table, which the views of all its endpoints share. What an endpoint
//! has on a network is entered and taken away by itself, whatever else is there, and a change of a table is seen whole
//! by everybody at once; so a change costs what it changes. Nothing waits while a table is locked.

use super::{
    MOST_SERVERS,
    question::{self, Key},
};
use crate::model::{Attachment, Desired, Driver, Endpoint};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, RwLock, RwLockReadGuard},
};

/// What an endpoint has under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Known {
    endpoint: Arc<str>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// The names of one network.
#[derive(Debug, Default)]
struct NetworkNames(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    /// In the order of the endpoints' names.
    names: HashMap<Key, Vec<Known>>,
    /// The name of an address, as it stands in an answer.
    reverse: HashMap<IpAddr, Key>,
}

/// What an endpoint has on one network.
#[derive(Debug)]
struct Entry {
    network: String,
    known: Known,
    keys: BTreeSet<Key>,
    /// Its name in reverse.
    name: Option<Key>,
}

/// All tables, and what was entered in them.
#[derive(Debug, Default)]
pub(super) struct Names {
    tables: BTreeMap<String, Arc<NetworkNames>>,
    entered: BTreeMap<String, Vec<Entry>>,
    ours: Arc<[IpNet]>,
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
    /// Whether a name is known on the networks of the asker, and the addresses that it has there, those of IPv4 first.
    pub(super) fn find(&self, key: &[u8], v4: bool, v6: bool) -> Option<Vec<IpAddr>> {
        let mut found = None;
        for network in &self.networks {
            if let Some(all) = network.read().names.get(key) {
                let found = found.get_or_insert_with(Vec::new);
                found.extend(
                    all.iter().filter_map(|known| known.v4).filter(|_| v4).map(IpAddr::from),
                );
                found.extend(
                    all.iter().filter_map(|known| known.v6).filter(|_| v6).map(IpAddr::from),
                );
            }
        }
        if v4
            && v6
            && let Some(found) = &mut found
        {
            found.sort_by_key(IpAddr::is_ipv6);
        }
        found
    }

    /// The name of an address, where the asker may know it.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<Key> {
        self.networks.iter().find_map(|network| network.read().reverse.get(&address).cloned())
    }

    /// Whether an address belongs to one of our networks.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        self.ours.iter().any(|net| net.contains(&address))
    }
}

/// The views of all endpoints that ask us. One that is on no network with names is among them only where
/// `for_all`: nothing but us leads to the host's resolvers then.
pub fn views(desired: &Desired, for_all: bool) -> BTreeMap<String, View> {
    let mut names = Names::default();
    names.follow(desired, &desired.endpoints.keys().cloned().collect());
    let view = |endpoint: &Arc<Endpoint>| {
        Some((endpoint.name.clone(), names.view(desired, endpoint, for_all)?))
    };
    desired.endpoints.values().filter_map(view).collect()
}

impl Names {
    /// Lets everybody know what is desired of some endpoints, and of those that are on a network that is new.
    pub(super) fn follow(&mut self, desired: &Desired, changed: &BTreeSet<String>) {
        let subnets = desired.networks.values().flat_map(|network| &network.subnets);
        self.ours = subnets.map(|subnet| subnet.net).collect();
        let named = |network: &str| {
            desired.networks.get(network).is_some_and(|network| network.has_names())
        };
        self.tables.retain(|network, _| named(network));
        let tables = &self.tables;
        let new: BTreeSet<&String> = desired
            .networks
            .keys()
            .filter(|name| named(name) && !tables.contains_key(*name))
            .collect();
        let on_a_new_one = |endpoint: &&Arc<Endpoint>| {
            endpoint.attachments.iter().any(|on| new.contains(&on.network))
        };
        let mut all: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
        if !new.is_empty() {
            let those = desired.endpoints.values().filter(on_a_new_one);
            all.extend(those.map(|endpoint| endpoint.name.as_str()));
        }
        for network in new {
            self.tables.insert(network.clone(), Arc::default());
        }
        let mut go: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut come: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        for name in &all {
            for entry in self.entered.remove(*name).into_iter().flatten() {
                go.entry(entry.network.clone()).or_default().push(entry);
            }
            if let Some(endpoint) = desired.endpoints.get(*name) {
                let on = endpoint.attachments.iter().filter(|on| named(&on.network));
                let entries: Vec<Entry> = on.map(|on| Entry::of(endpoint, on)).collect();
                self.entered.insert(endpoint.name.clone(), entries);
            }
        }
        for entry in all.iter().filter_map(|name| self.entered.get(*name)).flatten() {
            come.entry(entry.network.clone()).or_default().push(entry);
        }
        for (network, table) in &self.tables {
            let (go, come) = (go.remove(network), come.remove(network));
            if go.is_some() || come.is_some() {
                let mut table = table.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                go.iter().flatten().for_each(|entry| table.remove(entry));
                come.iter().flatten().for_each(|entry| table.add(entry));
            }
        }
    }

    /// What an endpoint sees, where it asks us: see [`views`].
    pub(super) fn view(
        &self,
        desired: &Desired,
        endpoint: &Endpoint,
        for_all: bool,
    ) -> Option<View> {
        let on_it = endpoint.attachments.iter();
        let networks: Vec<_> =
            on_it.filter_map(|on| self.tables.get(&on.network).cloned()).collect();
        let alone = for_all && endpoint.dns.servers.is_empty() && has_a_bridge(desired, endpoint);
        let forward = forward(desired, endpoint);
        let asks = alone || !networks.is_empty();
        asks.then(|| View { networks, ours: Arc::clone(&self.ours), forward })
    }
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
        servers => {
            let asked = servers.iter().take(MOST_SERVERS);
            Forward::To(asked.map(|ip| SocketAddr::new(*ip, 53)).collect())
        }
    }
}

impl NetworkNames {
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Entry {
    fn of(endpoint: &Endpoint, on: &Attachment) -> Self {
        let mut names: Vec<&str> = vec![&endpoint.name, endpoint.id.short()];
        names.extend(on.aliases.iter().map(String::as_str));
        let both = |name: &&str| [(*name).to_owned(), format!("{name}.{}", on.network)];
        Self {
            network: on.network.clone(),
            known: Known { endpoint: endpoint.name.as_str().into(), v4: on.v4, v6: on.v6 },
            // A set, so that an alias that is the name as well gives no address twice.
            keys: names.iter().flat_map(both).filter_map(|name| key_of(&name)).collect(),
            name: key_of(&format!("{}.{}", endpoint.name, on.network)),
        }
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let Known { v4, v6, .. } = self.known;
        v4.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from))
    }
}

impl Table {
    fn add(&mut self, entry: &Entry) {
        for key in &entry.keys {
            let all = self.names.entry(key.clone()).or_default();
            let place = all.partition_point(|other| other.endpoint < entry.known.endpoint);
            all.insert(place, entry.known.clone());
        }
        if let Some(name) = &entry.name {
            self.reverse.extend(entry.addresses().map(|address| (address, name.clone())));
        }
    }

    fn remove(&mut self, entry: &Entry) {
        for key in &entry.keys {
            if let Some(all) = self.names.get_mut(key) {
                all.retain(|known| *known != entry.known);
                if all.is_empty() {
                    self.names.remove(key);
                }
            }
        }
        for address in entry.addresses() {
            if self.reverse.get(&address) == entry.name.as_ref() {
                self.reverse.remove(&address);
            }
        }
    }
}

/// A name as a query has it; none where no query can: a label of more than 63 bytes.
fn key_of(name: &str) -> Option<Key> {
    Some(question::key(&Name::from_ascii(name).ok()?))
}
