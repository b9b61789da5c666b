//! Which addresses a packet may have for its destination.
//!
//! **Invariant**: no packet goes from one network of ours to another, and none into a network from
//! outside, unless it belongs to a flow.

use super::{
    Step,
    datagram::Datagram,
    family::FamilyId,
    pipeline::interface,
    table::{Lookup as _, State},
};
use crate::{
    abi::{Address, Interface, InterfaceKind, InterfaceOptions, NetworkRange},
    verdict::{DropReason, Verdict},
};

/// Whether an address lies in the sender's own subnet: no look-up.
#[inline(always)]
pub(super) fn is_neighbour(sender: &Interface, datagram: &Datagram) -> bool {
    match datagram.family {
        FamilyId::V4 => {
            let own = u32::from_be_bytes(sender.v4.last_four());
            let other = u32::from_be_bytes(datagram.destination.last_four());
            let bits = sender.prefix_v4 as u32;
            // A shift by all 32 bits is none.
            !sender.v4.is_none() && bits > 0 && (own ^ other) >> ((32 - bits) & 31) == 0
        }
        FamilyId::V6 => {
            !sender.v6.is_none() && same_prefix(&sender.v6, &datagram.destination, sender.prefix_v6)
        }
    }
}

#[inline(always)]
fn same_prefix(a: &Address, b: &Address, bits: u8) -> bool {
    let (high_a, low_a) = halves(a);
    let (high_b, low_b) = halves(b);
    let bits = bits as u32;
    if bits == 0 {
        false
    } else if bits <= 64 {
        (high_a ^ high_b) >> ((64 - bits) & 63) == 0
    } else {
        high_a == high_b && (low_a ^ low_b) >> ((128 - bits) & 63) == 0
    }
}

#[inline(always)]
fn halves(address: &Address) -> (u64, u64) {
    let [high, low] = address.halves();
    (u64::from_be(high), u64::from_be(low))
}

/// Whether a packet is for every station, a group of them, or a neighbour on the same link only.
#[inline(always)]
pub(super) fn is_link_wide(datagram: &Datagram) -> bool {
    match datagram.family {
        FamilyId::V4 => {
            let [first, ..] = datagram.destination.last_four();
            // Multicast, limited broadcast, "this network".
            (224..240).contains(&first)
                || first == 0
                || datagram.destination == Address::v4([255; 4])
        }
        FamilyId::V6 => is_link_wide_v6(&datagram.destination),
    }
}

/// Multicast, link-local, unspecified and loopback.
#[inline(always)]
fn is_link_wide_v6(address: &Address) -> bool {
    let [first, second, ..] = address.octets();
    first == 0xff || (first == 0xfe && second & 0xc0 == 0x80) || halves(address).0 == 0
}

/// What comes from outside to a published port has a source that is somebody's outside: not ours, not the
/// host's, no group and no loopback. The stack would refuse those (RFC 1812 §5.3.7); it is not asked.
#[inline(always)]
pub(super) fn may_enter<S: State>(state: &S, datagram: &Datagram, own: Address) -> Step<()> {
    let source = &datagram.source;
    let nobody = match datagram.family {
        FamilyId::V4 => {
            let [first, ..] = source.last_four();
            first == 0 || first == 127 || first >= 224
        }
        FamilyId::V6 => is_link_wide_v6(source),
    };
    if nobody || *source == own || is_ours(state, source) {
        return Err(Verdict::Drop(DropReason::SpoofedAddress));
    }
    Ok(())
}

/// Whether an address lies in a network of ours.
#[inline(always)]
pub(super) fn is_ours<S: State>(state: &S, address: &Address) -> bool {
    state.range_of(address).is_some_and(|range| *range != NetworkRange::NEVER_MASQUERADED)
}

/// Whether the endpoint that a packet from outside is addressed to is known there by its own address.
#[inline(always)]
pub(super) fn keeps_its_address<S: State>(state: &S, datagram: &Datagram) -> bool {
    let Some(endpoint) = state.endpoints().get(&datagram.destination) else { return false };
    let Some(veth) = interface(state, endpoint.ifindex, InterfaceKind::Endpoint) else {
        return false;
    };
    let known_as = match datagram.family {
        FamilyId::V4 => &veth.snat_v4,
        FamilyId::V6 => &veth.snat_v6,
    };
    *known_as == datagram.destination
        || state
            .range_of(&datagram.source)
            .is_some_and(|range| *range == NetworkRange::NEVER_MASQUERADED)
}

/// What leaves a network for an address outside it. Answers with the address that it leaves with, if that does not
/// depend on the uplink.
#[inline(always)]
pub(super) fn may_leave<S: State>(
    state: &S,
    sender: &Interface,
    datagram: &Datagram,
) -> Step<Address> {
    let range = state.range_of(&datagram.destination);
    if range.is_some_and(|range| *range != NetworkRange::NEVER_MASQUERADED) {
        return Err(Verdict::Drop(DropReason::OtherNetwork));
    }
    if sender.options.contains(InterfaceOptions::INTERNAL) {
        return Err(Verdict::Drop(DropReason::InternalNetwork));
    }
    if range.is_some() {
        return Ok(datagram.source);
    }
    Ok(match datagram.family {
        FamilyId::V4 => sender.snat_v4,
        FamilyId::V6 => sender.snat_v6,
    })
}
