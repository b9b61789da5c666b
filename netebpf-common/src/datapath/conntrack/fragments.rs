//! Packets in pieces: only the first one has ports, so the others follow it.
//!
//! A later one that comes before its first is kept by the programs; when the first has come, and is of a flow, it and
//! what is kept come in again, in order.
//!
//! **Invariant**: no fragment is translated, or let into a network, but by the flow of its own packet's first one.

use super::{SECOND, Seen, endpoints_are_there, follow};
use crate::{
    abi::{FirstFragment, FlowKey, FlowRef, Interface, Piece, PieceKey},
    datapath::{
        Step,
        datagram::{Datagram, Part},
        host::Host,
        table::{Lookup as _, Memo as _, State},
    },
    verdict::Verdict,
};

/// How long a first fragment speaks for the later ones, and they wait for it: the time that Linux gives to reassembly.
const REASSEMBLY: u64 = 30 * SECOND;

/// The flow that the first fragment of a packet belongs to, if it has the addresses of this tuple.
#[inline(always)]
pub(super) fn find_first<'a, S: State, H: Host>(
    state: &'a S,
    host: &H,
    datagram: &Datagram,
    tuple: &FlowKey,
    sender: Option<&Interface>,
) -> Option<Seen<'a>> {
    let first = known(state, host, &datagram.key)?;
    if first.flow == FlowRef::NONE {
        return None;
    }
    let seen = follow(state, &first.flow)?;
    let key = seen.flow.key(seen.direction);
    // As in `find_tuple`, an entry may have become another's while it was read.
    let same = key.source == tuple.source && key.destination == tuple.destination;
    (same && endpoints_are_there(state, seen.flow, sender)).then_some(seen)
}

/// What is known of a packet's first fragment, and not too old.
#[inline(always)]
fn known<'a, S: State, H: Host>(
    state: &'a S,
    host: &H,
    key: &FlowKey,
) -> Option<&'a FirstFragment> {
    let first = state.fragments().get(key)?;
    (host.now().wrapping_sub(first.seen) < REASSEMBLY).then_some(first)
}

/// The key that all fragments of a packet have in common.
#[inline(always)]
fn set_packet(datagram: &Datagram, key: &mut FlowKey) {
    key.source = datagram.source;
    key.destination = datagram.destination;
    key.set_fragment(datagram.fragment_protocol(), datagram.identification);
}

/// Notes that a first fragment has no flow, or none yet: its later ones are not those of an earlier packet with its
/// identification, and are not awaiting anything. Those that are kept stay so until it has one.
#[inline(always)]
pub(super) fn has_no_flow<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    key: &mut FlowKey,
) {
    set_packet(datagram, key);
    if known(state, host, key).is_none_or(|first| first.awaited_by == 0) {
        let first = FirstFragment { flow: FlowRef::NONE, seen: host.now(), awaited_by: 0 };
        state.fragments().put(key, &first);
    }
}

/// Remembers the flow of a first fragment, which was found by this tuple, for the later ones.
#[inline(always)]
pub(in crate::datapath) fn remember<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    tuple: &FlowKey,
    key: &mut FlowKey,
) {
    if !matches!(datagram.part, Part::First) {
        return;
    }
    if let Some(flow) = state.index().get(tuple) {
        set_packet(datagram, key);
        state.fragments().put(key, &FirstFragment { flow: *flow, seen: host.now(), awaited_by: 0 });
    }
}

/// Whether later fragments are kept for this first one: it has to come in again before them.
#[inline(always)]
pub(in crate::datapath) fn was_awaited<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    key: &mut FlowKey,
) -> Step<()> {
    if !matches!(datagram.part, Part::First) {
        return Ok(());
    }
    set_packet(datagram, key);
    if known(state, host, key).is_some_and(|first| first.awaited_by != 0) {
        Err(Verdict::Release)
    } else {
        Ok(())
    }
}

/// Whether the first fragment of a later one's packet may still come.
#[inline(always)]
pub(in crate::datapath) fn is_awaited<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
) -> bool {
    known(state, host, &datagram.key).is_none_or(|first| first.awaited_by != 0)
}

/// Finds a place for a fragment that is to be kept. `false` when its packet has too many.
#[inline(always)]
pub(in crate::datapath) fn keep<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    piece: &mut PieceKey,
) -> bool {
    piece.packet = datagram.key;
    piece.number = known(state, host, &datagram.key).map_or(0, |first| first.awaited_by);
    if piece.number >= Piece::MOST {
        return false;
    }
    let awaited_by = piece.number + 1;
    let first = FirstFragment { flow: FlowRef::NONE, seen: host.now(), awaited_by };
    state.fragments().put(&piece.packet, &first);
    true
}

/// How many fragments are kept for a first one that is about to come in again. Its flow is remembered before it does:
/// fragments that come in meanwhile follow it, and nothing is kept for it, and released, once more.
#[inline(always)]
pub(in crate::datapath) fn release<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    piece: &mut PieceKey,
) -> u64 {
    set_packet(datagram, &mut piece.packet);
    let kept = known(state, host, &piece.packet).map_or(0, |first| first.awaited_by);
    let flow = state.index().get(&datagram.key).copied().unwrap_or(FlowRef::NONE);
    state.fragments().put(&piece.packet, &FirstFragment { flow, seen: host.now(), awaited_by: 0 });
    kept
}
