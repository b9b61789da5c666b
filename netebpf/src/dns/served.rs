//! What was served the last time.
//!
//! **Invariant**: pure. Only what differs from the last time is looked at again.

use super::resolv_conf::ResolvConf;
use crate::model::{Desired, Endpoint, Network};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Served {
    networks: BTreeMap<String, Network>,
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    host: Option<Arc<ResolvConf>>,
}

/// Who has to be looked at.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Changes {
    /// Those that are not what they were, or are not any more.
    pub(super) endpoints: BTreeSet<String>,
    /// Everybody: a network or the host is not what it was.
    pub(super) all: bool,
}

impl Served {
    /// What differs from the last time, which is forgotten.
    pub(super) fn changes(&mut self, desired: &Desired, host: &Arc<ResolvConf>) -> Changes {
        let same_host = self.host.as_ref().is_some_and(|before| Arc::ptr_eq(before, host));
        let all = !same_host || self.networks != desired.networks;
        let gone = self.endpoints.keys().filter(|name| !desired.endpoints.contains_key(*name));
        let new = |(name, endpoint): &(&String, &Arc<Endpoint>)| {
            self.endpoints.get(*name) != Some(*endpoint)
        };
        let changed = desired.endpoints.iter().filter(new).map(|(name, _)| name);
        let endpoints: BTreeSet<String> = gone.chain(changed).cloned().collect();
        for name in &endpoints {
            match desired.endpoints.get(name) {
                Some(endpoint) => drop(self.endpoints.insert(name.clone(), Arc::clone(endpoint))),
                None => drop(self.endpoints.remove(name)),
            }
        }
        if all {
            self.networks.clone_from(&desired.networks);
            self.host = Some(Arc::clone(host));
        }
        Changes { endpoints, all }
    }
}
