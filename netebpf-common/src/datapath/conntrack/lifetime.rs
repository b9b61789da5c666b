//! How long a flow lives without a packet.

use super::{SECOND, TcpPhase};
use crate::abi::{Direction, Flow, Protocol, TcpSeen};

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
/// When it is `pressed` for room, what is closed anyway goes after ten seconds: a new flow is worth more than a late
/// duplicate of an old one's last segment.
#[inline(always)]
pub fn lifetime(
    protocol: Option<Protocol>,
    [original, reply]: [TcpSeen; 2],
    answered: bool,
    pressed: bool,
) -> u64 {
    let doubted = original.any(TcpSeen::DOUBTED) || reply.any(TcpSeen::DOUBTED);
    let seconds = match protocol {
        Some(Protocol::Tcp) => match TcpPhase::of(original, reply) {
            TcpPhase::Established if doubted => 7_440,
            TcpPhase::Established => 432_000,
            TcpPhase::TimeWait | TcpPhase::Closed if pressed => 10,
            TcpPhase::SynSent
            | TcpPhase::SynReceived
            | TcpPhase::Closing
            | TcpPhase::TimeWait
            | TcpPhase::Closed => 240,
        },
        Some(Protocol::Udp) if answered => 300,
        Some(Protocol::Udp) => 120,
        Some(Protocol::Icmp) | None => 60,
    };
    seconds * SECOND
}

/// Whether a flow's time is over, where a program is pressed for room.
#[inline(always)]
pub(super) fn is_over(flow: &Flow, now: u64) -> bool {
    let (original, reply) = (flow.way(Direction::Original), flow.way(Direction::Reply));
    let seen = [TcpSeen(original.tcp_seen.load()), TcpSeen(reply.tcp_seen.load())];
    let protocol = Protocol::from_number(flow.keys[0].protocol);
    let most = lifetime(protocol, seen, reply.packets.load() != 0, true);
    age(now, original.last_seen.load()) >= most && age(now, reply.last_seen.load()) >= most
}

/// None for what another CPU saw after this one had looked at the clock.
#[inline(always)]
pub(super) const fn age(now: u64, seen: u64) -> u64 {
    let age = now.wrapping_sub(seen);
    if age > u64::MAX / 2 { 0 } else { age }
}
