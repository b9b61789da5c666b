//! Whether the table of flows is whole: each live flow found by both its tuples, each index entry leading to its
//! flow, no flow without its endpoint, no flow counted wrongly.
//!
//! **Invariant**: changes nothing, and is right while packets flow. A program that is just opening a flow has done one
//! step and not the next, so a single look only suspects; what is still so at another look, with no other flow in its
//! place, is a finding. No other process ends flows meanwhile: a look is one turn of the daemon that does.

use super::{
    super::BpfError,
    snapshot::{FlowTuple, PlainFlow, protocol_name},
};
use netebpf_common::abi::{Direction, FlowKey, FlowRef};
use std::{collections::HashSet, fmt};

/// The table of flows, as much of it as is looked at.
pub(super) trait Table {
    /// How many places there are.
    fn places(&self) -> u32;
    /// The flow that lives in a place.
    fn flow(&self, place: u32) -> Option<PlainFlow>;
    /// Whether the endpoints that a flow was opened for are there.
    fn endpoints_are_there(&self, flow: &PlainFlow) -> bool;
    /// Every entry of the index.
    fn each_entry(&self, each: impl FnMut(FlowKey, FlowRef)) -> Result<(), BpfError>;
    /// The entry of a tuple.
    fn entry(&self, key: &FlowKey) -> Result<Option<FlowRef>, BpfError>;
    /// How many slots there are.
    fn slots(&self) -> u32;
    /// How many flows were ever opened for the owners of a slot, and how many of them ended.
    fn counted(&self, slot: u32) -> (u64, u64);
}

/// Something that is wrong with the table, if it stays so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suspicion {
    /// A live flow that is not found by one of its tuples.
    Unfound {
        /// The tuple.
        key: FlowKey,
        /// The flow's place.
        place: u32,
        /// Its generation.
        generation: u64,
    },
    /// A live flow with a tuple that leads to another live flow, which has it too.
    Double {
        /// The tuple.
        key: FlowKey,
        /// The flow's place.
        place: u32,
        /// Its generation.
        generation: u64,
        /// The other flow's place.
        other: u32,
    },
    /// An entry that leads to no flow with its tuple.
    Astray {
        /// The tuple.
        key: FlowKey,
        /// The place that it leads to.
        place: u32,
        /// The generation of the flow that it was made for.
        generation: u64,
    },
    /// A tuple that nobody can have, because its entry is said to be being cleared.
    Marked {
        /// The mark.
        key: FlowKey,
        /// The place of the flow that it was made for.
        place: u32,
        /// The generation of that flow.
        generation: u64,
    },
    /// A live flow of an endpoint that is gone: the daemon ends such.
    Orphan {
        /// Its place.
        place: u32,
        /// Its generation.
        generation: u64,
        /// The tuple of what opened it.
        original: FlowKey,
    },
    /// More flows are counted for the owner of a slot than it has, or fewer.
    Miscounted {
        /// The slot.
        slot: u32,
        /// Whether they are more.
        more: bool,
    },
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tuple = |key: FlowKey| format!("{} {}", protocol_name(&key), FlowTuple::from(key));
        match *self {
            Self::Unfound { key, place, .. } => write!(
                f,
                "the flow in place {place} is not found by {}: an index entry that leads there would be right",
                tuple(key)
            ),
            Self::Double { key, place, other, .. } => write!(
                f,
                "the flows in places {place} and {other} have one tuple, {}: one of them would be right",
                tuple(key)
            ),
            Self::Astray { key, place, .. } => write!(
                f,
                "the index entry of {} leads to place {place}, where no such flow lives: none would be right",
                tuple(key)
            ),
            Self::Marked { key, .. } => {
                let key = FlowKey { protocol: key.protocol & !FlowKey::MARK, ..key };
                write!(f, "{} is marked as being cleared, and nobody clears it", tuple(key))
            }
            Self::Orphan { place, original, .. } => write!(
                f,
                "the flow {} in place {place} lives, and its endpoint is gone: its end would be right",
                tuple(original)
            ),
            Self::Miscounted { slot, more } => write!(
                f,
                "{} flows are counted for the owner of slot {slot} than it has: as many would be right",
                if more { "more" } else { "fewer" }
            ),
        }
    }
}

/// One look at the whole table.
pub(super) fn look(table: &impl Table) -> Result<HashSet<Suspicion>, BpfError> {
    let counted = || (0..table.slots()).map(|slot| table.counted(slot)).collect::<Vec<_>>();
    let before = counted();
    let mut suspicions = HashSet::new();
    let found = follow_entries(table, &mut suspicions)?;
    let mut live = vec![0; before.len()];
    for (place, found) in (0..).zip(found) {
        let Some(flow) = table.flow(place) else { continue };
        if let Some(live) = live.get_mut(flow.owner() as usize) {
            *live += 1;
        }
        if table.endpoints_are_there(&flow) {
            for direction in [Direction::Original, Direction::Reply] {
                if !found.contains(direction) {
                    suspicions.extend(unfound(table, place, &flow, direction)?);
                }
            }
        } else {
            // Its tuples may be others' by now.
            let PlainFlow { generation, original, .. } = flow;
            suspicions.insert(Suspicion::Orphan { place, generation, original });
        }
    }
    // A flow lives before it is counted, and others are opened while we look: between the fewest and the most that
    // may have been live is right.
    for (slot, ((before, after), live)) in (0..).zip(before.into_iter().zip(counted()).zip(live)) {
        let ((opened_before, closed_before), (opened, closed)) = (before, after);
        let fewest = opened_before.saturating_sub(closed);
        let most = opened.saturating_sub(closed_before);
        if !(fewest..=most).contains(&live) {
            suspicions.insert(Suspicion::Miscounted { slot, more: live < fewest });
        }
    }
    Ok(suspicions)
}

/// By which of its tuples a flow was found.
#[derive(Clone, Copy, Default)]
struct Found(u8);

impl Found {
    const fn contains(self, direction: Direction) -> bool {
        self.0 & (1 << direction as u32) != 0
    }
}

/// Goes where each index entry leads; answers with what was found in each place.
fn follow_entries(
    table: &impl Table,
    suspicions: &mut HashSet<Suspicion>,
) -> Result<Vec<Found>, BpfError> {
    let mut found = vec![Found::default(); table.places() as usize];
    table.each_entry(|key, entry| {
        let FlowRef { slot: place, generation, direction } = entry;
        if key.protocol & FlowKey::MARK != 0 {
            suspicions.insert(Suspicion::Marked { key, place, generation });
        } else if leads_home(table, &key, &entry)
            && let Some(found) = found.get_mut(place as usize)
        {
            found.0 |= 1 << direction;
        } else {
            suspicions.insert(Suspicion::Astray { key, place, generation });
        }
    })?;
    Ok(found)
}

/// Whether an entry leads to a live flow that has its tuple.
fn leads_home(table: &impl Table, key: &FlowKey, entry: &FlowRef) -> bool {
    let direction = match entry.direction {
        0 => Direction::Original,
        1 => Direction::Reply,
        _ => return false,
    };
    table
        .flow(entry.slot)
        .is_some_and(|flow| flow.generation == entry.generation && flow.key(direction) == *key)
}

/// A flow that was not come by: its entry may have been put in after the walk came by its bucket.
fn unfound(
    table: &impl Table,
    place: u32,
    flow: &PlainFlow,
    direction: Direction,
) -> Result<Option<Suspicion>, BpfError> {
    let (key, generation) = (flow.key(direction), flow.generation);
    Ok(match table.entry(&key)? {
        Some(entry) if leads_home(table, &key, &entry) => (entry.slot != place)
            .then_some(Suspicion::Double { key, place, generation, other: entry.slot }),
        _ => Some(Suspicion::Unfound { key, place, generation }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::flows::snapshot::PlainWay;
    use netebpf_common::abi::{Address, Protocol};
    use std::collections::HashMap;

    /// Flows of the endpoint in slot 1, whose generation is 1.
    #[derive(Clone, Default)]
    struct Memory {
        flows: HashMap<u32, PlainFlow>,
        index: HashMap<FlowKey, FlowRef>,
        /// Put in after the walk came by.
        late: HashMap<FlowKey, FlowRef>,
        opened: u64,
        closed: u64,
    }

    impl Table for Memory {
        fn places(&self) -> u32 {
            8
        }

        fn flow(&self, place: u32) -> Option<PlainFlow> {
            self.flows.get(&place).copied()
        }

        fn endpoints_are_there(&self, flow: &PlainFlow) -> bool {
            flow.endpoints == [(1, 1); 2]
        }

        fn each_entry(&self, mut each: impl FnMut(FlowKey, FlowRef)) -> Result<(), BpfError> {
            self.index.iter().for_each(|(key, entry)| each(*key, *entry));
            Ok(())
        }

        fn entry(&self, key: &FlowKey) -> Result<Option<FlowRef>, BpfError> {
            Ok(self.index.get(key).or(self.late.get(key)).copied())
        }

        fn slots(&self) -> u32 {
            2
        }

        fn counted(&self, slot: u32) -> (u64, u64) {
            if slot == 1 { (self.opened, self.closed) } else { (0, 0) }
        }
    }

    const GENERATION: u64 = 5;

    /// A flow that was opened from this port.
    fn flow(port: u16) -> PlainFlow {
        let [inside, outside, server] =
            [[10, 0, 0, 2], [192, 0, 2, 1], [192, 0, 2, 9]].map(Address::v4);
        let original = FlowKey {
            source: inside,
            destination: server,
            source_port: port.to_be_bytes(),
            destination_port: 53_u16.to_be_bytes(),
            protocol: Protocol::Udp as u32,
        };
        PlainFlow {
            generation: GENERATION,
            created: 0,
            kind: 1,
            endpoints: [(1, 1); 2],
            original,
            reply: FlowKey { source: outside, ..original }.inverse(),
            ways: [PlainWay::default(); 2],
            uplink: Some(2),
        }
    }

    fn entry(place: u32, direction: Direction) -> FlowRef {
        FlowRef { generation: GENERATION, slot: place, direction: direction as u32 }
    }

    /// Flows in places 3 and 4, opened from ports 3000 and 4000, and everything in order; others came and went.
    fn whole() -> Memory {
        let mut table = Memory { opened: 12, closed: 10, ..Memory::default() };
        for (place, port) in [(3, 3000), (4, 4000)] {
            table.flows.insert(place, flow(port));
            table.index.insert(flow(port).original, entry(place, Direction::Original));
            table.index.insert(flow(port).reply, entry(place, Direction::Reply));
        }
        table
    }

    /// What is said of a table in which one thing was changed.
    fn said(change: impl FnOnce(&mut Memory)) -> Vec<String> {
        let mut table = whole();
        change(&mut table);
        let mut said: Vec<_> = look(&table).unwrap().iter().map(ToString::to_string).collect();
        said.sort();
        said
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_whole_table_is_not_suspected() {
        assert_eq!(said(|_| {}), NONE);
        assert_eq!(said(|table| *table = Memory::default()), NONE);
    }

    #[test]
    fn a_flow_that_a_tuple_does_not_find() {
        let said = said(|table| {
            table.index.remove(&flow(3000).reply);
        });
        assert_eq!(
            said,
            [
                "the flow in place 3 is not found by udp 192.0.2.9:53 -> 192.0.2.1:3000: an index entry \
              that leads there would be right"
            ]
        );
    }

    #[test]
    fn an_entry_that_is_put_in_while_we_look() {
        let late = |table: &mut Memory| {
            let (key, entry) = table.index.remove_entry(&flow(3000).reply).unwrap();
            table.late.insert(key, entry);
        };
        assert_eq!(said(late), NONE);
    }

    #[test]
    fn an_entry_that_leads_to_no_flow_of_its_own() {
        let dead = "the index entry of udp 10.0.0.2:3000 -> 192.0.2.9:53 leads to place 6, where no such flow \
                    lives: none would be right";
        let other = dead.replace("place 6", "place 4");
        for (leads_to, sentence) in [(6, dead), (4, &other)] {
            let said = said(|table| {
                let key = flow(3000).original;
                table.flows.remove(&3);
                table.index.remove(&flow(3000).reply);
                table.index.insert(key, entry(leads_to, Direction::Original));
                table.closed += 1;
            });
            assert_eq!(said, [sentence]);
        }
        // Of an earlier flow in the same place, which had the same tuple: the one that lives there has none.
        let said = said(|table| {
            let earlier = FlowRef { generation: GENERATION - 2, ..entry(3, Direction::Original) };
            table.index.insert(flow(3000).original, earlier);
        });
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn two_flows_with_one_outside_tuple() {
        let said = said(|table| {
            let [original, reply] = [flow(4000).original, flow(3000).reply];
            table.index.remove(&flow(4000).reply);
            table.flows.insert(4, PlainFlow { original, reply, ..flow(4000) });
        });
        assert_eq!(
            said,
            [
                "the flows in places 4 and 3 have one tuple, udp 192.0.2.9:53 -> 192.0.2.1:3000: one of them \
              would be right"
            ]
        );
    }

    #[test]
    fn a_tuple_that_nobody_clears() {
        let said = said(|table| {
            table.index.insert(flow(9).reply.mark(), entry(3, Direction::Reply));
        });
        assert_eq!(
            said,
            ["udp 192.0.2.9:53 -> 192.0.2.1:9 is marked as being cleared, and nobody clears it"]
        );
    }

    #[test]
    fn a_flow_whose_endpoint_is_gone() {
        let said = said(|table| {
            table.flows.insert(3, PlainFlow { endpoints: [(1, 0); 2], ..flow(3000) });
            // Somebody else has its tuple: that is right.
            table.index.remove(&flow(3000).original);
        });
        assert_eq!(
            said,
            [
                "the flow udp 10.0.0.2:3000 -> 192.0.2.9:53 in place 3 lives, and its endpoint is gone: its end \
              would be right"
            ]
        );
    }

    #[test]
    fn a_count_that_is_not_that_of_the_flows() {
        for (opened, words) in [(13, "more flows are"), (11, "fewer flows are")] {
            let said = said(|table| table.opened = opened);
            let sentence = format!(
                "{words} counted for the owner of slot 1 than it has: as many would be right"
            );
            assert_eq!(said, [sentence]);
        }
    }
}
