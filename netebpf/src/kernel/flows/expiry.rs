//! When a flow's time is over.

use super::{OPENING, Place, remove_entry, remove_marks, retire, snapshot::PlainFlow};
use crate::kernel::{BpfError, bpf::Maps};
use netebpf_common::abi::{Usage, is_live, map};
use std::{collections::BTreeMap, ops::Range};

const SECOND: u64 = 1_000_000_000;

/// How many places one round looks at, so that it costs the same with a million flows: of a larger table each round
/// looks at the next share, and a flow lives a few seconds longer.
const SHARE: u32 = 131_072;

/// How many rounds a pass over the table takes at most.
const ROUNDS: u32 = 16;

/// How many flows are ended at once: some 40 ms, in which the daemon does nothing else.
pub(super) const AT_ONCE: usize = 8192;

/// How long an ended flow's place rests before it gets a new owner.
const REST: u64 = SECOND;

/// Ended flows whose places rest, and since when.
#[derive(Default)]
pub(crate) struct Retired {
    since: BTreeMap<u32, u64>,
    /// Whether those that an earlier process left were looked for.
    adopted: bool,
    /// The place that the next round begins with.
    next: u32,
    passes: u64,
}

impl Retired {
    /// How many times every flow was looked at.
    pub(super) fn passes(&self) -> u64 {
        self.passes
    }

    pub(super) fn push(&mut self, place: u32, now: u64) {
        self.since.insert(place, now);
    }

    /// The places that the next round looks at, of so many.
    fn share(&self, places: u32) -> Range<u32> {
        let end = self.next.saturating_add((places / ROUNDS).max(SHARE));
        self.next..end.min(places)
    }

    /// The round looked at the places up to this one, of so many.
    fn looked_up_to(&mut self, end: u32, places: u32) {
        self.next = if end < places { end } else { 0 };
        self.passes += u64::from(self.next == 0);
    }

    /// Places that an earlier process retired and did not give back. It may have died before it
    /// removed the index entries, so that is done again.
    fn adopt(&mut self, maps: &mut Maps, now: u64) -> Result<(), BpfError> {
        remove_marks(maps)?;
        let left: Vec<_> = Place::all(maps)
            .filter(|place| place.retired() && !is_live(place.generation()))
            .map(|place| (place.number, place.generation().wrapping_sub(1), place.keys()))
            .collect();
        for (number, generation, keys) in left {
            for key in keys {
                remove_entry(maps, &key, number, generation)?;
            }
            self.push(number, now);
        }
        self.adopted = true;
        Ok(())
    }
}

/// What one round did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expired {
    /// Flows that were ended: their time was over, or their endpoint is gone.
    pub ended: usize,
    /// Places that were given back.
    pub freed: usize,
    /// Whether more may be over already: the next round should not wait.
    pub more: bool,
}

/// Whether seven eighths are taken: of the table, or of what one endpoint may have.
fn is_nearly(taken: u64, most: u32) -> bool {
    taken > u64::from(most) * 7 / 8
}

/// One round.
pub(super) fn expire(
    maps: &mut Maps,
    retired: &mut Retired,
    now: u64,
) -> Result<Expired, BpfError> {
    if !retired.adopted {
        retired.adopt(maps, now)?;
    }
    let places = maps.flows.len();
    let quota = maps.settings().map_err(BpfError::map("read", map::SETTINGS))?.flow_quota;
    let pressed = is_nearly(live(maps), places);
    let presses =
        |owner: u32| maps.usage(owner).is_some_and(|usage| is_nearly(usage.live(), quota));
    let is_over = |flow: &PlainFlow| {
        let lifetime = flow.lifetime(pressed || presses(flow.owner()));
        now.saturating_sub(flow.created) >= OPENING
            && (flow.idle(now) >= lifetime || !flow.endpoints_are_there(maps))
    };
    let share = retired.share(places);
    let over: Vec<_> = Place::among(maps, share.clone())
        .filter_map(|place| Some((place.number, place.read().filter(is_over)?)))
        .take(AT_ONCE)
        .collect();
    let last = over.last().filter(|_| over.len() == AT_ONCE);
    let mut round = Expired { more: last.is_some(), ..Expired::default() };
    retired.looked_up_to(last.map_or(share.end, |(number, _)| number + 1), places);
    for (number, flow) in &over {
        if retire(maps, *number, flow)? {
            retired.push(*number, now);
            round.ended += 1;
        }
    }
    let rested: Vec<_> = retired
        .since
        .iter()
        .filter(|(_, since)| now.saturating_sub(**since) >= REST)
        .map(|(number, _)| *number)
        .collect();
    for number in rested {
        // The mark goes first: a process that dies in between loses one place, and does not give it
        // to two flows.
        if let Some(place) = Place::at(maps, number) {
            place.set_retired(false);
        }
        let error = BpfError::map("give back a place in", map::FREE_FLOWS);
        maps.free_flows.push(number, 0).map_err(error)?;
        retired.since.remove(&number);
        round.freed += 1;
    }
    Ok(round)
}

/// How many flows there are, as they are counted.
fn live(maps: &Maps) -> u64 {
    let usages = (0..maps.usage.len()).filter_map(|slot| maps.usage(slot));
    usages.map(Usage::live).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::flows::snapshot::PlainWay;
    use netebpf_common::abi::{FlowKey, Protocol, TcpSeen};

    fn flow(protocol: Protocol, seen: [u64; 2], packets: [u64; 2]) -> PlainFlow {
        let way = |index: usize| PlainWay {
            packets: packets[index],
            bytes: 0,
            last_seen: 50 * SECOND,
            tcp_seen: TcpSeen(seen[index]),
        };
        let key = FlowKey { protocol: protocol as u32, ..FlowKey::default() };
        PlainFlow {
            uplink: Some(2),
            generation: 1,
            created: SECOND,
            kind: 1,
            endpoints: [(1, 1); 2],
            original: key,
            reply: key,
            ways: [way(0), way(1)],
        }
    }

    #[test]
    fn every_place_is_looked_at_once_a_pass() {
        for (places, rounds) in [(1024, 1), (SHARE, 1), (SHARE + 1, 2), (1 << 24, 16)] {
            let mut retired = Retired::default();
            let mut end = 0;
            for round in 0..rounds {
                assert_eq!(retired.passes(), 0, "{places} places, round {round}");
                let share = retired.share(places);
                assert_eq!(share.start, end);
                end = share.end;
                retired.looked_up_to(end, places);
            }
            assert_eq!((end, retired.passes()), (places, 1));
            assert_eq!(retired.share(places).start, 0);
        }
    }

    #[test]
    fn each_state_has_its_time() {
        use Protocol::{Icmp, Tcp, Udp};
        let (syn, ack, fin, rst) = (TcpSeen::SYN, TcpSeen::ACK, TcpSeen::FIN, TcpSeen::RST);
        let table = [
            (Tcp, [syn, 0], [1, 0], "SYN_SENT", 240, 240),
            (Tcp, [syn, syn], [1, 1], "SYN_RECV", 240, 240),
            (Tcp, [syn | ack, syn | ack], [2, 2], "ESTABLISHED", 432_000, 432_000),
            (Tcp, [syn | ack | fin, syn | ack], [3, 3], "CLOSING", 240, 240),
            (Tcp, [syn | ack | fin, syn | ack | fin], [4, 4], "TIME_WAIT", 240, 10),
            (Tcp, [syn | ack | rst, syn | ack], [4, 4], "CLOSE", 240, 10),
            (Udp, [0, 0], [5, 0], "UNREPLIED", 120, 120),
            (Udp, [0, 0], [5, 1], "REPLIED", 300, 300),
            (Icmp, [0, 0], [1, 1], "REPLIED", 60, 60),
        ];
        for (protocol, seen, packets, state, calm, pressed) in table {
            let flow = flow(protocol, seen, packets);
            let snapshot = flow.snapshot(60 * SECOND, &BTreeMap::new());
            assert_eq!((snapshot.state.as_str(), snapshot.left), (state, calm - 10));
            assert_eq!(flow.lifetime(false), calm * SECOND, "{state}");
            assert_eq!(flow.lifetime(true), pressed * SECOND, "{state}");
        }
    }

    #[test]
    fn idle_counts_from_the_last_packet_of_either_direction() {
        let flow = flow(Protocol::Udp, [0, 0], [1, 1]);
        assert_eq!(flow.idle(53 * SECOND), 3 * SECOND);
        assert_eq!(flow.idle(SECOND), 0);
    }
}
