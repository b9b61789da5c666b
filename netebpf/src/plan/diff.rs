//! The steps from what is observed to the target, in an order that is safe at every point.

use super::{
    Action, AnyAddress, Link, Observed, PortChanges, PublishChange, Tables,
    sysctls::{self, ALL_V6},
    target::{Bridge, Pair, Target},
};
use crate::kernel::{Hook, LinkChange};
use netebpf_common::abi::{Address, Published, PublishedKey};
use std::collections::{BTreeSet, HashMap};

/// Where ports lead.
type Ports = HashMap<PublishedKey, Published>;

/// The steps. First what stands in the way goes, then everything new is made, from the inside out;
/// what nobody needs any more goes last.
pub(super) fn diff(target: &Target, observed: &Observed) -> Vec<Action> {
    let mut steps = Steps { target, observed, actions: Vec::new() };
    steps.programs();
    // What XDP hands over is for TC to deliver, by an entry that says so: it goes before both.
    steps.detach_unwanted(|hook| hook == Hook::UplinkXdp);
    steps.unpublish_and_disconnect();
    steps.sysctls();
    steps.registrations();
    steps.bridges();
    steps.hooks();
    steps.endpoints();
    steps.publish();
    steps.clean_up();
    steps.actions
}

struct Steps<'a> {
    target: &'a Target,
    observed: &'a Observed,
    actions: Vec<Action>,
}

impl Steps<'_> {
    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn programs(&mut self) {
        // Another link may be pinned in the same place.
        for path in &self.observed.dead_pins {
            self.push(Action::RemovePin { path: path.clone() });
        }
        if let Some(reason) = &self.observed.foreign_pin {
            self.push(Action::DiscardPins { reason: reason.clone() });
        }
        if self.target.programs && (!self.observed.loaded || self.observed.foreign_pin.is_some()) {
            let first = !self.observed.pinned || self.observed.foreign_pin.is_some();
            self.push(Action::LoadPrograms { first });
        }
    }

    /// Ports first, so that no new connection comes; then addresses; then the pairs. A pair goes
    /// before its entry, so that its program stands guard until the end.
    fn unpublish_and_disconnect(&mut self) {
        let (target, observed) = (self.target, self.observed);
        let gone = |observed: &Ports, target: &Ports| -> Vec<_> {
            let gone = observed.iter().filter(|(key, _)| !target.contains_key(*key));
            gone.map(|(key, value)| PublishChange { key: *key, new: None, earlier: Some(*value) })
                .collect()
        };
        let (now, wanted) = (&observed.tables, &target.tables);
        self.push_publish(PortChanges {
            outside: gone(&now.published, &wanted.published),
            local: gone(&now.local_ports, &wanted.local_ports),
            ..PortChanges::default()
        });
        for (address, entry) in &observed.tables.endpoints {
            if !target.tables.endpoints.contains_key(address) {
                let earlier = Some(*entry);
                self.push(Action::SetEndpoint { address: *address, new: None, earlier });
            }
        }
        let keep: BTreeSet<_> =
            target.pairs.iter().filter(|pair| pair.exists).map(|pair| &pair.spec.name).collect();
        let wanted: BTreeSet<_> = target.pairs.iter().map(|pair| &pair.spec.name).collect();
        for link in observed.links.values() {
            let ours = observed.is_ours(link) || wanted.contains(&link.name);
            if ours && link.is_of_pair() && !keep.contains(&link.name) {
                self.push(Action::DeleteLink { index: link.index, name: link.name.clone() });
            }
        }
    }

    fn push_publish(&mut self, mut changes: PortChanges) {
        let mut ports: BTreeSet<AnyAddress> =
            changes.all().map(|change| any_address(&change.key)).collect();
        if ports.is_empty() {
            return;
        }
        let in_order = |change: &PublishChange| {
            let PublishedKey { address, protocol, port, .. } = change.key;
            (address, protocol, port)
        };
        changes.outside.sort_by_key(in_order);
        changes.local.sort_by_key(in_order);
        let stays = |tables: &Tables| -> BTreeSet<AnyAddress> {
            let keys = tables.published.keys().chain(tables.local_ports.keys());
            let keys = keys.map(any_address).chain(self.observed.others.ports.iter().copied());
            keys.filter(|port| ports.contains(port)).collect()
        };
        let (before, after) = (stays(&self.observed.tables), stays(&self.target.tables));
        changes.announced = after.difference(&before).copied().collect();
        ports.retain(|port| !after.contains(port));
        changes.silenced = ports.into_iter().collect();
        self.push(Action::Publish(changes));
    }

    fn sysctls(&mut self) {
        let (target, observed) = (self.target, self.observed);
        for (name, value) in &target.host_sysctls {
            let Some(earlier) = observed.sysctls.get(name).filter(|found| *found != value) else {
                continue;
            };
            if name == ALL_V6 {
                for (name, value) in sysctls::overwritten_by_all(observed) {
                    self.push(Action::SaveSysctl { name: name.clone(), value: value.clone() });
                }
            }
            self.push(Action::SetSysctl {
                name: name.clone(),
                value: value.clone(),
                earlier: Some(earlier.clone()),
                save: true,
            });
        }
    }

    /// Networks, uplinks and gateways: entries before programs.
    fn registrations(&mut self) {
        let (target, observed) = (self.target, self.observed);
        for (prefix, range) in &target.tables.networks {
            let earlier = observed.tables.networks.get(prefix).copied();
            if earlier != Some(*range) {
                self.push(Action::SetNetwork { prefix: *prefix, new: Some(*range), earlier });
            }
        }
        for range in target.tables.sources.difference(&observed.tables.sources) {
            self.push(Action::SetSource { range: *range, present: true });
        }
        let endpoints: BTreeSet<_> = target.pairs.iter().map(|pair| pair.spec.index).collect();
        for index in target.tables.interfaces.keys().filter(|index| !endpoints.contains(index)) {
            self.register(*index);
        }
    }

    fn register(&mut self, index: u32) {
        let new = self.target.tables.interfaces.get(&index).copied();
        let earlier = self.observed.tables.interfaces.get(&index).copied();
        if new != earlier {
            let name = self.name_of(index);
            self.push(Action::SetInterface { name, new, earlier });
        }
    }

    fn name_of(&self, index: u32) -> String {
        if index == Hook::NO_INTERFACE {
            return Hook::HOST_PROGRAMS.to_owned();
        }
        let observed = || {
            let link = self.observed.links.values().find(|link| link.index == index)?;
            Some(link.name.clone())
        };
        let known = self.target.names.get(&index).cloned().or_else(observed);
        known.unwrap_or_else(|| format!("interface {index}, which is gone"))
    }

    fn bridges(&mut self) {
        for (name, bridge) in &self.target.bridges {
            let Bridge { spec, addresses, .. } = bridge;
            let link = self.observed.links.get(name);
            if link.is_none() {
                self.push(Action::CreateBridge(spec.clone()));
            }
            let prefix = format!("/{name}/");
            let sysctls = self.target.own_sysctls.iter().filter(|(path, _)| path.contains(&prefix));
            for (path, value) in sysctls {
                let earlier = link.and_then(|_| self.observed.sysctls.get(path).cloned());
                // A kernel without IPv6 has nothing to switch.
                let absent = link.is_some() && earlier.is_none();
                if !absent && earlier.as_ref() != Some(value) {
                    let (name, value) = (path.clone(), value.clone());
                    self.push(Action::SetSysctl { name, value, earlier, save: false });
                }
            }
            let none = BTreeSet::new();
            let present = link.map_or(&none, |link| &link.addresses);
            for (address, present) in addresses
                .difference(present)
                .map(|address| (*address, true))
                .chain(present.difference(addresses).map(|address| (*address, false)))
            {
                let (index, name) = (spec.index, name.clone());
                self.push(Action::SetAddress { index, name, address, present });
            }
            let wanted = LinkChange {
                up: Some(true),
                mtu: Some(spec.mtu),
                gso: None,
                mac: Some(spec.mac),
                alias: Some(spec.alias.clone()),
                master: None,
            };
            self.change_link(spec.index, name, wanted);
        }
    }

    /// Changes what differs; on a link that was just made only the switch is left.
    fn change_link(&mut self, index: u32, name: &str, wanted: LinkChange) {
        let (change, earlier) = match self.observed.links.get(name).filter(|l| l.index == index) {
            Some(link) => wanted.against(link),
            None => (
                LinkChange { up: wanted.up, ..LinkChange::default() },
                LinkChange { up: Some(false), ..LinkChange::default() },
            ),
        };
        if change != LinkChange::default() {
            self.push(Action::ChangeLink { index, name: name.to_owned(), change, earlier });
        }
    }

    fn endpoints(&mut self) {
        let (target, observed) = (self.target, self.observed);
        for path in target.namespaces.iter().filter(|p| !observed.namespaces.contains_key(*p)) {
            self.push(Action::CreateNamespace { path: path.clone() });
        }
        // Of two default routes the kernel takes only the first: the one that goes makes room.
        let (before, after): (Vec<_>, _) = target.pairs.iter().partition(|pair| {
            let found = self.inside(pair);
            found.is_some_and(|link| pair.inside.gives_up(link))
        });
        for pair in before.into_iter().chain(after) {
            self.endpoint(pair);
        }
    }

    /// The endpoint's side of a pair, as it is.
    fn inside(&self, pair: &Pair) -> Option<&Link> {
        let links = self.observed.namespaces.get(&pair.inside.namespace)?;
        links.get(&pair.spec.peer_name)
    }

    fn endpoint(&mut self, pair: &Pair) {
        let Pair { spec, inside, exists, .. } = pair;
        let namespace = inside.namespace.clone();
        if !exists {
            let spec = spec.clone();
            self.push(Action::CreatePair { spec, namespace: namespace.clone() });
        }
        self.register(spec.index);
        for address in inside.addresses.iter().map(|net| Address::from(net.addr())) {
            let new = self.target.tables.endpoints.get(&address).copied();
            let earlier = self.observed.tables.endpoints.get(&address).copied();
            if new.is_some() && earlier != new {
                self.push(Action::SetEndpoint { address, new, earlier });
            }
        }
        self.attach_at(spec.index);
        let wanted = LinkChange {
            up: Some(true),
            mtu: Some(spec.mtu),
            gso: Some(spec.gso),
            mac: None,
            alias: Some(spec.alias.clone()),
            master: Some(spec.bridge),
        };
        self.change_link(spec.index, &spec.name, wanted);
        let links = self.observed.namespaces.get(&namespace);
        let found = self.inside(pair);
        let loopback = links.and_then(|links| links.get("lo")).is_some_and(|lo| lo.up);
        if !(*exists && loopback && found.is_some_and(|link| inside.is_met_by(link))) {
            self.push(Action::Configure(inside.clone()));
        }
    }

    fn hooks(&mut self) {
        let indices: BTreeSet<_> = self.target.hooks.keys().map(|(index, _)| *index).collect();
        let endpoints: BTreeSet<_> = self.target.pairs.iter().map(|pair| pair.spec.index).collect();
        for index in indices.difference(&endpoints) {
            self.attach_at(*index);
        }
    }

    fn attach_at(&mut self, index: u32) {
        for hook in Hook::ALL {
            let Some(wanted) = self.target.hooks.get(&(index, hook)) else { continue };
            let found = self.observed.hooks.get(&(index, hook));
            let same = found.filter(|found| found.mechanism == wanted.mechanism);
            // New programs are loaded in this very plan: whatever hangs there is an earlier one's.
            let current = same.is_some_and(|found| found.current)
                && self.observed.loaded
                && self.observed.foreign_pin.is_none();
            if current {
                continue;
            }
            let name = wanted.interface.clone();
            if let Some(found) = found.filter(|found| found.mechanism != wanted.mechanism) {
                let (name, mechanism) = (name.clone(), found.mechanism);
                self.push(Action::Detach { index, name, hook, mechanism });
            }
            self.push(Action::Attach {
                index,
                name,
                hook,
                mechanism: wanted.mechanism,
                replaces: same.is_some() && self.observed.foreign_pin.is_none(),
            });
        }
    }

    fn publish(&mut self) {
        let changed = |observed: &Ports, target: &Ports| -> Vec<_> {
            let other = target.iter().filter(|(key, value)| observed.get(*key) != Some(*value));
            let change = |(key, value): (&PublishedKey, &Published)| PublishChange {
                key: *key,
                new: Some(*value),
                earlier: observed.get(key).copied(),
            };
            other.map(change).collect()
        };
        let (observed, target) = (&self.observed.tables, &self.target.tables);
        let (now, wanted) = (&observed.host_addresses, &target.host_addresses);
        // With the programs go their tables.
        if self.target.programs && now != wanted {
            let added = wanted.difference(now).copied().collect();
            let removed = now.difference(wanted).copied().collect();
            self.push(Action::SetHostAddresses { added, removed });
        }
        self.push_publish(PortChanges {
            outside: changed(&observed.published, &target.published),
            local: changed(&observed.local_ports, &target.local_ports),
            ..PortChanges::default()
        });
    }

    fn detach_unwanted(&mut self, which: impl Fn(Hook) -> bool) {
        let deleted: BTreeSet<_> = self
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::DeleteLink { index, .. } => Some(*index),
                _ => None,
            })
            .collect();
        for ((index, hook), found) in &self.observed.hooks {
            // A filter goes with its interface; the pin of a link stays.
            let with_interface =
                deleted.contains(index) && found.mechanism == super::Mechanism::Clsact;
            let wanted = self.target.hooks.contains_key(&(*index, *hook));
            if which(*hook) && !wanted && !with_interface {
                let (index, hook, mechanism) = (*index, *hook, found.mechanism);
                self.push(Action::Detach { index, name: self.name_of(index), hook, mechanism });
            }
        }
    }

    fn clean_up(&mut self) {
        let (target, observed) = (self.target, self.observed);
        for link in observed.links.values().filter(|link| observed.is_ours(link)) {
            let bridge = link.kind.as_deref() == Some("bridge");
            if bridge && !target.bridges.contains_key(&link.name) {
                self.push(Action::DeleteLink { index: link.index, name: link.name.clone() });
            }
        }
        for path in observed.own_namespaces.difference(&target.namespaces) {
            self.push(Action::RemoveNamespace { path: path.clone() });
        }
        self.detach_unwanted(|hook| hook != Hook::UplinkXdp);
        for (index, entry) in &observed.tables.interfaces {
            if !target.tables.interfaces.contains_key(index) {
                let name = self.name_of(*index);
                self.push(Action::SetInterface { name, new: None, earlier: Some(*entry) });
            }
        }
        for (prefix, range) in &observed.tables.networks {
            if !target.tables.networks.contains_key(prefix) {
                let earlier = Some(*range);
                self.push(Action::SetNetwork { prefix: *prefix, new: None, earlier });
            }
        }
        for range in observed.tables.sources.difference(&target.tables.sources) {
            self.push(Action::SetSource { range: *range, present: false });
        }
        let mut saved: Vec<_> = observed
            .saved_sysctls
            .iter()
            .filter(|(name, _)| !sysctls::still_wanted(target, name))
            .collect();
        // The switch for all interfaces overwrites theirs, so it goes first.
        saved.sort_by_key(|(name, _)| *name != ALL_V6);
        for (name, value) in saved {
            self.push(Action::RestoreSysctl { name: name.clone(), value: value.clone() });
        }
        // Also where another process has loaded ours, and died before it came to this.
        if target.programs && observed.old_programs {
            self.push(Action::ForgetOldPrograms);
        }
        if !target.programs && observed.pinned && observed.foreign_pin.is_none() {
            self.push(Action::Unload);
        }
    }
}

pub(super) fn any_address(key: &PublishedKey) -> AnyAddress {
    (key.protocol, key.port)
}
