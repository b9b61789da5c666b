//! Packets that were translated already, and are met again on their way to an endpoint.
//!
//! **Invariant**: one is known by its flow, as the inverse of what the endpoint sends, and by nothing that a sender could
//! write into it.

use super::{
    conntrack::{self, New},
    datagram::Datagram,
    host::Host,
    table::{Lookup as _, State},
};
use crate::{
    abi::WayKind,
    verdict::{DeliverReason, PassReason, Verdict},
    wire::ethernet::Ethernet,
};

/// What comes in by an uplink with XDP, in a frame for another station.
///
/// It may be one that XDP has translated, and said so in metadata that are lost: the kernel forgets them when it copies a
/// packet for a program that writes to it, which it does while anybody captures at the uplink. It is in a frame of the
/// gateway's for the endpoint then, and the inverse of what the endpoint sends. Who makes up such a frame on
/// the wire reaches nobody by it: it has to be of a flow, and could as well have the flow's outside addresses.
#[inline(always)]
pub(super) fn by_xdp<S: State, H: Host>(
    state: &S,
    host: &H,
    frame: &Ethernet,
    datagram: &Datagram,
    new: &mut New,
) -> Verdict {
    let not_ours = Verdict::Pass(PassReason::NotOurs);
    let Some(endpoint) = state.endpoints().get(&datagram.destination) else { return not_ours };
    if frame.destination != endpoint.mac || frame.source != endpoint.gateway_mac {
        return not_ours;
    }
    let ifindex = endpoint.ifindex;
    if is(state, host, datagram, new) {
        Verdict::Deliver { ifindex, reason: DeliverReason::Inward }
    } else {
        not_ours
    }
}

/// Whether it is the inverse of what an endpoint sends: it was translated already; and the stack may have cut it since.
#[inline(always)]
pub(super) fn is<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    new: &mut New,
) -> bool {
    // An error speaks of the flow of whom it is addressed to.
    if datagram.destination != datagram.key.destination {
        return false;
    }
    let (inverse, key) = (&mut new.reply, &mut new.piece.packet);
    match conntrack::find_inverse(state, host, datagram, inverse, key) {
        Some(seen) if seen.goes(WayKind::Outward) => {
            conntrack::remember(state, host, datagram, inverse, key);
            true
        }
        _ => false,
    }
}
