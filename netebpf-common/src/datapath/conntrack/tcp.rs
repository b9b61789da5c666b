//! What segments say of a connection: how far it has come, and whether it may have ended.
//!
//! **Invariant**: what comes from outside ends no connection unless it has a number that only the two sides know.
//! What an endpoint sends itself is believed, so only its numbers are kept: a packet on the way in writes none.

use super::Seen;
use crate::{
    abi::{TcpSeen, Way, WayKind},
    datapath::datagram::Segment,
    wire::tcp::flag::{ACK, FIN, RST, SYN},
};

#[inline(always)]
pub(super) fn observe(seen: &Seen, segment: &Segment, flags: u8) {
    let way = seen.way();
    let other = seen.flow.way(seen.direction.other());
    let mut before = TcpSeen(way.tcp_seen.load());
    if flags & (SYN | ACK) == SYN
        && before.0 != TcpSeen::SYN
        && closed(before, TcpSeen(other.tcp_seen.load()))
    {
        // The tuple is used again (RFC 9293 §3.6.1): the binding stays, the connection is new.
        for way in [way, other] {
            way.sequence.store(0);
            way.tcp_seen.store(0);
        }
        before = TcpSeen(0);
    }
    let inward = seen.goes(WayKind::Inward);
    if !inward {
        Numbers::of(way).after(segment, flags).keep(way);
    }
    let after = if flags & RST != 0 {
        let believed = !inward || resets(other, segment, flags);
        before.0 | if believed { TcpSeen::RST } else { TcpSeen::DOUBTED }
    } else if flags & FIN == 0 && !before.any(TcpSeen::RST | TcpSeen::DOUBTED) {
        before.0 | seen_flags(flags)
    } else if !inward || Numbers::of(other).joins(segment, flags) {
        // Who goes on has not ended the connection (RFC 7857 §2.2).
        (before.0 | seen_flags(flags)) & !(TcpSeen::RST | TcpSeen::DOUBTED)
    } else {
        before.0
    };
    if after != before.0 {
        way.tcp_seen.store(after);
    }
}

/// Whether a segment of who opened the connection shows that it heard the answer: one from outside acknowledges what
/// the endpoint sent, to within one window without scaling.
#[inline(always)]
pub(super) fn confirms(seen: &Seen, segment: &Segment, flags: u8) -> bool {
    let own = Numbers::of(seen.flow.way(seen.direction.other()));
    let heard = own.next.wrapping_sub(segment.acknowledged) < 1 << 16;
    flags & (ACK | RST) == ACK && (heard || !seen.goes(WayKind::Inward))
}

/// Whether a segment answers a SYN that was none of the connection's, which is closed.
#[inline(always)]
pub(super) fn answers_another(seen: &Seen, flags: u8) -> bool {
    if flags & ACK == 0 || flags & (SYN | RST) == 0 {
        return false;
    }
    let [way, other] = [seen.way(), seen.back().way()].map(|way| TcpSeen(way.tcp_seen.load()));
    closed(way, other)
}

/// The numbers of an endpoint's side: where it goes on, and what it has acknowledged; 0 is what is not known.
struct Numbers {
    next: u32,
    acknowledged: u32,
}

/// How far one side may be behind or ahead of what the other knows of it, in bytes: the largest windows in use.
const WINDOW: u32 = 1 << 24;

impl Numbers {
    #[inline(always)]
    fn of(way: &Way) -> Self {
        let both = way.sequence.load();
        Self { next: (both >> 32) as u32, acknowledged: both as u32 }
    }

    #[inline(always)]
    fn keep(&self, way: &Way) {
        way.sequence.store(u64::from(self.next) << 32 | u64::from(self.acknowledged));
    }

    /// After a segment of the endpoint's own.
    #[inline(always)]
    fn after(self, segment: &Segment, flags: u8) -> Self {
        let end = segment.sequence.wrapping_add(segment.length);
        let further = flags & SYN != 0 || self.next == 0 || is_behind(self.next, end);
        Self {
            next: if further { end } else { self.next },
            acknowledged: if flags & ACK != 0 { segment.acknowledged } else { self.acknowledged },
        }
    }

    /// Whether a segment from outside lies near what the endpoint has acknowledged, and answers what it has sent.
    #[inline(always)]
    fn joins(&self, segment: &Segment, flags: u8) -> bool {
        let near = segment.sequence.wrapping_sub(self.acknowledged).wrapping_add(WINDOW);
        let answers = self.next.wrapping_sub(segment.acknowledged) < WINDOW;
        (self.acknowledged == 0 || near < 2 * WINDOW)
            && (self.next == 0 || flags & ACK == 0 || answers)
    }
}

/// Whether a reset from outside ends the connection. It may be forged, by somebody who knows the tuple and not the
/// numbers: it must have exactly the one that the endpoint acknowledged last (RFC 5961 §3.2), or answer its SYN. One
/// that overtakes the endpoint's acknowledgement is doubted and may be real; see [`TcpSeen::DOUBTED`].
#[inline(always)]
fn resets(endpoint: &Way, segment: &Segment, flags: u8) -> bool {
    let own = Numbers::of(endpoint);
    let answers = flags & ACK != 0
        && endpoint.tcp_seen.load() == TcpSeen::SYN
        && segment.acknowledged == own.next;
    answers || (own.acknowledged != 0 && segment.sequence == own.acknowledged)
}

/// Whether one sequence number comes before another (RFC 9293 §3.4).
#[inline(always)]
const fn is_behind(one: u32, other: u32) -> bool {
    other.wrapping_sub(one).wrapping_sub(1) < 1 << 31
}

#[inline(always)]
fn closed(one: TcpSeen, other: TcpSeen) -> bool {
    one.any(TcpSeen::RST)
        || other.any(TcpSeen::RST)
        || (one.any(TcpSeen::FIN) && other.any(TcpSeen::FIN))
}

#[inline(always)]
fn seen_flags(flags: u8) -> u64 {
    let mut seen = 0;
    if flags & SYN != 0 {
        seen |= TcpSeen::SYN;
    } else if flags & ACK != 0 {
        seen |= TcpSeen::ACK;
    }
    if flags & FIN != 0 {
        seen |= TcpSeen::FIN;
    }
    seen
}

/// A TCP connection's phase, as far as it decides how long its flow lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpPhase {
    /// One side only has spoken.
    SynSent,
    /// SYN from both sides, not yet acknowledged by both.
    SynReceived,
    /// Both sides have acknowledged.
    Established,
    /// One side has finished.
    Closing,
    /// Both sides have finished.
    TimeWait,
    /// Reset.
    Closed,
}

impl TcpPhase {
    /// The phase that the flags seen in the two directions make up.
    pub fn of(original: TcpSeen, reply: TcpSeen) -> Self {
        let both = |flags| original.any(flags) && reply.any(flags);
        if original.any(TcpSeen::RST) || reply.any(TcpSeen::RST) {
            Self::Closed
        } else if both(TcpSeen::FIN) {
            Self::TimeWait
        } else if original.any(TcpSeen::FIN) || reply.any(TcpSeen::FIN) {
            Self::Closing
        } else if both(TcpSeen::ACK) {
            Self::Established
        } else if original.any(TcpSeen::SYN) && reply.any(TcpSeen::SYN | TcpSeen::ACK) {
            // A SYN with an ACK counts as SYN; the third packet makes it established.
            if original.any(TcpSeen::ACK) { Self::Established } else { Self::SynReceived }
        } else {
            // Also picked up in the middle, as long as one side only has spoken: a late segment of a
            // connection that is gone must not live for days.
            Self::SynSent
        }
    }
}
