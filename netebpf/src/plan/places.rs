//! Who stands where in the tables: indices of new interfaces, slots of counters, generations.
//!
//! **Invariant**: no two interfaces of ours share a place (`ifindex % INTERFACE_TABLE_SIZE`) or a slot.
//! An uplink that comes later may fall on a place of ours: it is left alone then, and named.

use super::{Observed, PlanError};
use netebpf_common::abi::{INTERFACE_TABLE_SIZE, Interface, InterfaceKind, MAX_SLOTS};
use std::collections::BTreeSet;

/// Hands out places, slots and generations.
pub(super) struct Places<'a> {
    observed: &'a Observed,
    taken_places: BTreeSet<u32>,
    taken_slots: BTreeSet<u32>,
}

impl<'a> Places<'a> {
    pub(super) fn new(observed: &'a Observed) -> Self {
        let place = |index: u32| index % INTERFACE_TABLE_SIZE;
        Self {
            observed,
            // Any link of the host may become an uplink, so its place is left free as well.
            taken_places: observed
                .links
                .values()
                .map(|link| place(link.index))
                .chain(observed.tables.interfaces.keys().map(|index| place(*index)))
                .chain(observed.others.interfaces.iter().map(|index| place(*index)))
                .chain([0])
                .collect(),
            taken_slots: {
                let slots = observed.tables.interfaces.values().map(|entry| entry.slot);
                slots.chain(observed.others.slots.iter().copied()).collect()
            },
        }
    }

    /// An index for a new interface. From the top: the kernel counts its own from the bottom.
    pub(super) fn index(&mut self) -> Result<u32, PlanError> {
        let free = (1..INTERFACE_TABLE_SIZE).rev().find(|place| !self.taken_places.contains(place));
        let index = free.ok_or(PlanError::NoPlace)?;
        self.taken_places.insert(index);
        Ok(index)
    }

    /// Completes an interface's entry: the slot and generation that it has, or new ones.
    pub(super) fn settle(&mut self, entry: Interface) -> Result<Interface, PlanError> {
        let same_owner = |old: &Interface| {
            old.kind == entry.kind
                && (!entry.is(InterfaceKind::Endpoint)
                    || (old.network, old.mac, old.v4, old.v6)
                        == (entry.network, entry.mac, entry.v4, entry.v6))
        };
        let old = self.observed.tables.interfaces.get(&entry.ifindex);
        if let Some(old) = old.filter(|old| same_owner(old)) {
            return Ok(Interface { slot: old.slot, generation: old.generation, ..entry });
        }
        // Slot 0 stays nobody's, so that an entry that was never filled counts for no one.
        let free = || (1..MAX_SLOTS).find(|slot| !self.taken_slots.contains(slot));
        let slot = old.map(|old| old.slot).or_else(free).ok_or(PlanError::NoSlot)?;
        self.taken_slots.insert(slot);
        let last = self.observed.generations.get(slot as usize).copied().unwrap_or_default();
        Ok(Interface { slot, generation: last.wrapping_add(1).max(1), ..entry })
    }
}
