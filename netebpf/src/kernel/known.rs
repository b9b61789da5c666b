//! What the kernel is known to have of ours, so that a change reads what it touches, and not a thousand endpoints.
//!
//! **Invariant**: this is what was read once and every step since. Nobody else writes our tables; what others can change
//! (interfaces, addresses, routes of the host, pins, the namespaces themselves) is read with each plan. What somebody
//! changed *within* an endpoint's namespace, in our tables or behind a pin is seen when everything is read again: at a
//! daemon's start, with `up` and with `gc`. After a step that failed nothing is known.
//!
//! An endpoint that is as it was left is not planned again (see [`Scope`]): it is, if it is desired as it was, no message
//! told of its interface, its program hangs where it hung and its namespace is the same one.

use super::{Hook, InterfaceSpec, Moved, netns};
use crate::{
    model::Desired,
    plan::{Action, Attached, Link, Others, PublishChange, Scope, Tables, Uplink},
};
use netebpf_common::abi::{INTERFACE_TABLE_SIZE, Published, PublishedKey};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    path::{Path, PathBuf},
};

/// See the module; empty where nothing is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What stands in the maps.
    pub(crate) tables: Option<Tables>,
    /// Programs of ours, by the index of their interface, which may be gone.
    pub(crate) hooks: Option<BTreeMap<(u32, Hook), Attached>>,
    /// Interfaces inside namespaces, and which namespaces these were.
    pub(crate) namespaces: HashMap<PathBuf, (netns::Stamp, BTreeMap<String, Link>)>,
    /// What the kernel was made to match the last time.
    pub(crate) settled: Option<Settled>,
    /// Endpoints of which something was found to be another than it was left.
    pub(crate) touched: BTreeSet<String>,
}

/// What a plan was made for.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) desired: Desired,
    pub(crate) uplinks: Vec<Uplink>,
}

impl Known {
    /// A step was performed.
    pub(crate) fn follow(&mut self, action: &Action) {
        if let Some(tables) = &mut self.tables {
            written(tables, action);
        }
        if let Some(hooks) = &mut self.hooks {
            hung(hooks, action);
        }
        match action {
            Action::DiscardPins { .. }
            | Action::LoadPrograms { .. }
            | Action::ForgetOldPrograms
            | Action::Unload => *self = Self::default(),
            Action::CreatePair { namespace: path, .. }
            | Action::Configure(InterfaceSpec { namespace: path, .. }) => {
                self.namespaces.remove(path);
            }
            Action::DeleteLink { index, .. } => {
                let is_peer = |link: &Link| link.peer == Some(*index);
                self.namespaces.retain(|_, (_, links)| !links.values().any(is_peer));
            }
            Action::CreateNamespace { path } | Action::RemoveNamespace { path } => {
                self.namespaces.remove(path);
            }
            _ => {}
        }
    }

    /// The interfaces of the namespace at `path`, if it is still the same one.
    pub(super) fn inside(&self, path: &Path, now: netns::Stamp) -> Option<&BTreeMap<String, Link>> {
        let (stamp, links) = self.namespaces.get(path)?;
        (*stamp == now).then_some(links)
    }

    /// A plan was performed.
    pub(super) fn settle(&mut self, settled: Settled) {
        self.settled = Some(settled);
        self.touched.clear();
    }

    /// Programs as they are now: `endpoint_of` tells whose interface has an index.
    pub(super) fn notice_hooks<'a>(
        &mut self,
        now: &BTreeMap<(u32, Hook), Attached>,
        endpoint_of: impl Fn(u32) -> Option<&'a str>,
    ) {
        let Some(before) = &self.hooks else { return };
        let differ = |(at, attached): (&(u32, Hook), &Attached), other: &BTreeMap<_, _>| {
            (other.get(at) != Some(attached)).then_some(at.0)
        };
        let gone = before.iter().filter_map(|entry| differ(entry, now));
        let other = now.iter().filter_map(|entry| differ(entry, before));
        self.touched.extend(gone.chain(other).filter_map(endpoint_of).map(ToOwned::to_owned));
    }

    /// Whose namespace is another than it was, or is not known.
    pub(super) fn notice_namespaces(&mut self, desired: &Desired, moved: &Moved) {
        for endpoint in desired.endpoints.values().filter(|e| !e.namespace.is_shared()) {
            let path = endpoint.namespace.path();
            let stays = |stamp: netns::Stamp| !moved.may_be(path) || stamp.is_still_at(path);
            if !self.namespaces.get(path).is_some_and(|(stamp, _)| stays(*stamp)) {
                self.touched.insert(endpoint.name.clone());
            }
        }
    }

    /// Which endpoints a plan for `desired` is about.
    pub(super) fn scope(&self, desired: &Desired, uplinks: &[Uplink]) -> Scope {
        match &self.settled {
            Some(settled) if settled.uplinks == uplinks => {
                Scope::of(&settled.desired, desired, &self.touched)
            }
            _ => Scope::Everything,
        }
    }

    /// What of the tables the plan is about, and what the rest is. `others` are the interfaces of endpoints that it is
    /// not about.
    pub(super) fn narrow(
        &self,
        desired: &Desired,
        scope: &Scope,
        others: BTreeSet<u32>,
    ) -> (Tables, Others) {
        let Some(tables) = &self.tables else { return Default::default() };
        match &self.settled {
            Some(Settled { desired: before, uplinks }) if *scope != Scope::Everything => {
                tables.narrow(scope, others, [before, desired], uplinks)
            }
            _ => (tables.clone(), Others::default()),
        }
    }
}

/// Programs after a step.
fn hung(hooks: &mut BTreeMap<(u32, Hook), Attached>, action: &Action) {
    match action {
        Action::Attach { index, hook, mechanism, .. } => {
            let attached = Attached { mechanism: *mechanism, current: true };
            hooks.insert((*index, *hook), attached);
        }
        Action::Detach { index, hook, .. } => {
            hooks.remove(&(*index, *hook));
        }
        _ => {}
    }
}

/// Tables after a step.
fn written(tables: &mut Tables, action: &Action) {
    match action {
        Action::SetInterface { new: Some(entry), .. } => {
            // One place is one interface's.
            let place = |index: u32| index % INTERFACE_TABLE_SIZE;
            tables.interfaces.retain(|index, _| place(*index) != place(entry.ifindex));
            tables.interfaces.insert(entry.ifindex, *entry);
        }
        Action::SetInterface { new: None, earlier, .. } => {
            tables
                .interfaces
                .retain(|index, _| earlier.is_none_or(|entry| entry.ifindex != *index));
        }
        Action::SetEndpoint { address, new: Some(entry), .. } => {
            tables.endpoints.insert(*address, *entry);
        }
        Action::SetEndpoint { address, new: None, .. } => {
            tables.endpoints.remove(address);
        }
        Action::SetNetwork { prefix, new, .. } => set(&mut tables.networks, *prefix, *new),
        Action::SetSource { range, present: true } => {
            tables.sources.insert(*range);
        }
        Action::SetSource { range, present: false } => {
            tables.sources.remove(range);
        }
        Action::Publish(changes) => {
            lead(&mut tables.published, &changes.outside);
            lead(&mut tables.local_ports, &changes.local);
        }
        Action::SetHostAddresses { added, removed } => {
            for address in removed {
                tables.host_addresses.remove(address);
            }
            tables.host_addresses.extend(added);
        }
        _ => {}
    }
}

fn lead(table: &mut HashMap<PublishedKey, Published>, changes: &[PublishChange]) {
    changes.iter().for_each(|change| set(table, change.key, change.new));
}

fn set<K: Eq + Hash, V>(table: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            table.insert(key, value);
        }
        None => {
            table.remove(&key);
        }
    }
}
