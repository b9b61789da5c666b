//! Which endpoints a plan is about.
//!
//! A plan for one endpoint among a thousand costs what one endpoint costs: the rest is known to be as it was left. All
//! that is not an endpoint's is in every plan.
//!
//! **Invariant**: a plan about some of the endpoints has the steps that one about all of them would have, where the
//! others are as they should be. Who shares a port of the host is looked at together, for the most specific binding
//! wins.

use super::{AnyAddress, Tables, Uplink, diff::any_address, published};
use crate::model::{Desired, Endpoint, Transport};
use netebpf_common::abi::{Published, PublishedKey};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// All endpoints, and whatever else carries the mark.
    #[default]
    Everything,
    /// These, be they desired or not.
    Endpoints(BTreeSet<String>),
}

/// What belongs to endpoints that a plan is not about, and must not be taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Others {
    /// Indices of interfaces.
    pub interfaces: BTreeSet<u32>,
    /// Slots of counters.
    pub slots: BTreeSet<u32>,
    /// Ports that something is published at.
    pub ports: BTreeSet<AnyAddress>,
}

impl Scope {
    /// The endpoints that differ between `before`, which is what the kernel was made to match, and `desired`, those
    /// that were `touched` since, and whoever shares a port with one of them.
    pub fn of(before: &Desired, desired: &Desired, touched: &BTreeSet<String>) -> Self {
        let host = |all: &Desired| (all.uplinks.clone(), all.xdp, all.big_tcp);
        if host(before) != host(desired) {
            return Self::Everything;
        }
        let names = before.networks.keys().chain(desired.networks.keys());
        let networks: HashSet<&String> = names
            .filter(|name| before.networks.get(*name) != desired.networks.get(*name))
            .collect();
        let on_one = |(_, endpoint): &(&String, &Arc<Endpoint>)| {
            endpoint.attachments.iter().any(|attachment| networks.contains(&attachment.network))
        };
        let mut covered = touched.clone();
        covered.extend(before.differing(desired).cloned());
        if !networks.is_empty() {
            covered.extend(desired.endpoints.iter().filter(on_one).map(|(name, _)| name.clone()));
        }
        let mut shared = HashSet::new();
        let mut new: Vec<&String> = covered.iter().collect();
        let mut sharers = BTreeSet::new();
        while !new.is_empty() {
            let both = new.iter().flat_map(|name| {
                [before, desired].into_iter().filter_map(|all| all.endpoint(name))
            });
            let count = shared.len();
            shared.extend(both.flat_map(host_ports));
            if shared.len() == count {
                break;
            }
            let shares = |name: &&String, endpoint: &Endpoint| {
                !covered.contains(*name)
                    && !sharers.contains(*name)
                    && host_ports(endpoint).any(|port| shared.contains(&port))
            };
            new = desired
                .endpoints
                .iter()
                .filter(|(name, endpoint)| shares(name, endpoint))
                .map(|(name, _)| name)
                .collect();
            sharers.extend(new.iter().copied());
        }
        let sharers: Vec<String> = sharers.into_iter().cloned().collect();
        covered.extend(sharers);
        Self::Endpoints(covered)
    }

    /// Whether the plan is about an endpoint.
    pub fn covers(&self, endpoint: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Endpoints(names) => names.contains(endpoint),
        }
    }

    /// The endpoints of `desired` that the plan is about.
    pub fn endpoints<'a>(
        &'a self,
        desired: &'a Desired,
    ) -> Box<dyn Iterator<Item = &'a Endpoint> + 'a> {
        match self {
            Self::Everything => Box::new(desired.endpoints.values().map(Arc::as_ref)),
            Self::Endpoints(names) => {
                Box::new(names.iter().filter_map(|name| desired.endpoint(name)))
            }
        }
    }
}

fn host_ports(endpoint: &Endpoint) -> impl Iterator<Item = (Transport, u16)> {
    endpoint.ports.iter().map(|mapping| (mapping.transport, mapping.host_port))
}

impl Tables {
    /// What of these a plan is about, and what the rest is. `interfaces` are those of endpoints that it is not about;
    /// `before` is what these tables were made for, by the same `uplinks`.
    pub fn narrow(
        &self,
        scope: &Scope,
        interfaces: BTreeSet<u32>,
        [before, desired]: [&Desired; 2],
        uplinks: &[Uplink],
    ) -> (Self, Others) {
        let (mut narrow, mut others) = (Self::default(), Others::default());
        for (index, entry) in &self.interfaces {
            if interfaces.contains(index) {
                others.slots.insert(entry.slot);
            } else {
                narrow.interfaces.insert(*index, *entry);
            }
        }
        let endpoints = self.endpoints.iter().map(|(address, entry)| (*address, *entry));
        narrow.endpoints =
            endpoints.filter(|(_, entry)| !interfaces.contains(&entry.ifindex)).collect();
        narrow.networks.clone_from(&self.networks);
        narrow.sources.clone_from(&self.sources);
        narrow.host_addresses.clone_from(&self.host_addresses);

        let ports = [before, desired].map(|all| published::expand(all, scope, uplinks));
        let outside = ports.iter().flat_map(|ports| ports.published.keys()).collect();
        let local = ports.iter().flat_map(|ports| ports.local.keys()).collect();
        narrow.published = those(&self.published, &outside);
        narrow.local_ports = those(&self.local_ports, &local);
        let numbers: HashSet<AnyAddress> =
            outside.iter().chain(&local).map(|key| any_address(key)).collect();
        // Most plans are about endpoints without ports, and then there is nothing to find.
        if !numbers.is_empty() {
            let rest = self.published.keys().filter(|key| !outside.contains(key));
            let rest = rest.chain(self.local_ports.keys().filter(|key| !local.contains(key)));
            others.ports = rest.map(any_address).filter(|port| numbers.contains(port)).collect();
        }
        others.interfaces = interfaces;
        (narrow, others)
    }
}

/// Where ports lead.
type Ports = HashMap<PublishedKey, Published>;

fn those(all: &Ports, keys: &HashSet<&PublishedKey>) -> Ports {
    keys.iter().filter_map(|key| Some((**key, *all.get(*key)?))).collect()
}
