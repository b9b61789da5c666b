//! What the kernel is known to have of ours, so that a change reads what it touches, and not a thousand endpoints.
//!
//! **Invariant**: this is what was read once and every step since. Nobody else writes our tables; what others can change
//! (interfaces, addresses, routes of the host, pins, the namespaces themselves) is read with each plan. What somebody
//! changed *within* an endpoint's namespace, in our tables or behind a pin is seen when everything is read again: at a
//! daemon's start, with `up` and with `gc`. After a step that failed nothing is known.

use super::{Hook, InterfaceSpec, netns};
use crate::plan::{Action, Attached, Link, PublishChange, Tables};
use netebpf_common::abi::{Published, PublishedKey};
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
    /// The namespaces that we made.
    pub(crate) own_namespaces: Option<BTreeSet<PathBuf>>,
    /// Interfaces inside namespaces, and which namespaces these were.
    pub(crate) namespaces: BTreeMap<PathBuf, (netns::Stamp, BTreeMap<String, Link>)>,
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
            Action::CreateVeth { namespace: path, .. }
            | Action::Configure(InterfaceSpec { namespace: path, .. }) => {
                self.namespaces.remove(path);
            }
            Action::DeleteLink { index, .. } => {
                let is_peer = |link: &Link| link.peer == Some(*index);
                self.namespaces.retain(|_, (_, links)| !links.values().any(is_peer));
            }
            Action::CreateNamespace { path } => {
                self.namespaces.remove(path);
                self.own_namespaces.iter_mut().for_each(|own| own.extend([path.clone()]));
            }
            Action::RemoveNamespace { path } => {
                self.namespaces.remove(path);
                self.own_namespaces.iter_mut().for_each(|own| own.retain(|other| other != path));
            }
            _ => {}
        }
    }

    /// The interfaces of the namespace at `path`, if it is still the same one.
    pub(super) fn inside(&self, path: &Path, now: netns::Stamp) -> Option<&BTreeMap<String, Link>> {
        let (stamp, links) = self.namespaces.get(path)?;
        (*stamp == now).then_some(links)
    }

    /// Whether another namespace is at `path` now, or none.
    pub(super) fn is_another(&self, path: &Path, now: Option<netns::Stamp>) -> bool {
        self.namespaces.get(path).is_some_and(|(stamp, _)| Some(*stamp) != now)
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
