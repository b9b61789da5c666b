//! When a flow's time is over.

use super::{OPENING, Place, remove_entry, remove_marks, retire, snapshot::PlainFlow};
use crate::kernel::{BpfError, bpf::Maps};
use netebpf_common::{
    abi::{Protocol, is_live, map},
    datapath::TcpPhase,
};
use std::collections::BTreeMap;

const SECOND: u64 = 1_000_000_000;

/// How long an ended flow's place rests before it gets a new owner.
const REST: u64 = SECOND;

/// How long a flow lives without a packet, in nanoseconds: of Linux's timer and the RFC's the larger.
///
/// | | Linux | RFC | here |
/// |---|---|---|---|
/// | TCP, opening | 120 s | 240 s (5382 REQ-5) | 240 s |
/// | TCP, established | 432,000 s | 7,440 s (5382 REQ-5) | 432,000 s |
/// | …, after a reset that was not believed, and nothing since | 432,000 s | 7,440 s | 7,440 s |
/// | TCP, closing, closed, reset | 120 s | 240 s (5382 REQ-5, 7857 §2.2) | 240 s |
/// | UDP, unanswered | 30 s | 120 s (4787 REQ-5) | 120 s |
/// | UDP, answered | 120 s | 300 s (4787 REQ-5 c) | 300 s |
/// | ICMP echo | 30 s | 60 s (5508 REQ-1) | 60 s |
///
/// When seven eighths of the table are taken, what is closed anyway goes after ten seconds: a new flow
/// is worth more than a late duplicate of an old one's last segment.
pub(super) fn lifetime(flow: &PlainFlow, pressed: bool) -> u64 {
    let seconds = match flow.protocol() {
        Some(Protocol::Tcp) => match flow.phase() {
            TcpPhase::Established if flow.doubted() => 7_440,
            TcpPhase::Established => 432_000,
            TcpPhase::TimeWait | TcpPhase::Closed if pressed => 10,
            TcpPhase::SynSent
            | TcpPhase::SynReceived
            | TcpPhase::Closing
            | TcpPhase::TimeWait
            | TcpPhase::Closed => 240,
        },
        Some(Protocol::Udp) if flow.replied() => 300,
        Some(Protocol::Udp) => 120,
        Some(Protocol::Icmp) | None => 60,
    };
    seconds * SECOND
}

/// Ended flows whose places rest, and since when.
#[derive(Default)]
pub(crate) struct Retired {
    since: BTreeMap<u32, u64>,
    /// Whether those that an earlier process left were looked for.
    adopted: bool,
}

impl Retired {
    pub(super) fn push(&mut self, place: u32, now: u64) {
        self.since.insert(place, now);
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
    /// Flows that live on.
    pub live: usize,
    /// Flows that were ended: their time was over, or their endpoint is gone.
    pub ended: usize,
    /// Places that were given back.
    pub freed: usize,
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
    let flows: Vec<_> =
        Place::all(maps).filter_map(|place| Some((place.number, place.read()?))).collect();
    let pressed = flows.len() as u64 > u64::from(maps.flows.len()) * 7 / 8;
    let mut round = Expired { live: flows.len(), ..Expired::default() };
    for (number, flow) in &flows {
        let over = flow.idle(now) >= lifetime(flow, pressed) || !flow.endpoints_are_there(maps);
        if over && now.saturating_sub(flow.created) >= OPENING {
            retire(maps, *number, flow)?;
            retired.push(*number, now);
            round.ended += 1;
        }
    }
    round.live -= round.ended;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::flows::snapshot::PlainWay;
    use netebpf_common::abi::{FlowKey, TcpSeen};

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
            assert_eq!(lifetime(&flow, false), calm * SECOND, "{state}");
            assert_eq!(lifetime(&flow, true), pressed * SECOND, "{state}");
        }
    }

    #[test]
    fn idle_counts_from_the_last_packet_of_either_direction() {
        let flow = flow(Protocol::Udp, [0, 0], [1, 1]);
        assert_eq!(flow.idle(53 * SECOND), 3 * SECOND);
        assert_eq!(flow.idle(SECOND), 0);
    }
}
