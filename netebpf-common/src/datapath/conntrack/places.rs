//! Who gets a place in the table of flows, and who gives one up.
//!
//! Flows are ended by the user side when their time is over. It may not be running, and a flood is faster: so who opens
//! a flow makes room for it where there is none, of what is over or was never confirmed.
//!
//! **Invariant**: nobody loses a confirmed flow that is not over (for one that is closed anyway: ten seconds, see
//! [`super::lifetime`], or until the host itself connects with its tuple, see [`give_to_host`]), and nobody loses any
//! flow to another owner that has fewer unconfirmed ones than it may have.
//!
//! A place may get its next flow at once, while a packet on another CPU is still being translated by the one before:
//! that packet looks at the generation again when it is done, see [`super::Seen::lives_on`].

use super::{
    SECOND, endpoints_are_there,
    lifetime::{self, age},
};
use crate::{
    abi::{Direction, Flow, FlowKey, FlowRef, Settings, Usage, is_live},
    datapath::{
        host::Host,
        nat::below,
        table::{FlowStore as _, Insertion, Lookup as _, Queue as _, State, Table as _},
    },
    verdict::DropReason,
};

/// How many places are looked at for a flow that is over, and how many unconfirmed flows for one that makes room.
const LOOKS: u32 = 8;

/// How long ago the last packet of a flow that is going on may be, in nanoseconds.
const BUSY: u64 = 2 * SECOND;

/// How long a program may take to open a flow, in nanoseconds: a younger one is not ended, because the program that opens
/// it may still be about to take everything back itself.
pub const OPENING: u64 = SECOND / 10;

/// Takes a place for a flow of an owner; its number comes into `entry`.
#[inline(always)]
pub(super) fn claim<S: State, H: Host>(
    state: &S,
    host: &mut H,
    owner: u32,
    (entry, oldest): (&mut FlowRef, &mut FlowRef),
    mark: &mut FlowKey,
) -> Option<DropReason> {
    let Some(settings) = state.settings() else { return Some(DropReason::FlowTableFull) };
    let Some(usage) = state.usage().get(&owner) else { return Some(DropReason::EndpointGone) };
    let quota = u64::from(settings.flow_quota);
    if usage.live() >= quota {
        end_what_is_over(state, host, settings, oldest, mark);
        if usage.live() >= quota {
            return Some(DropReason::FlowQuota);
        }
    }
    if usage.embryonic() >= u64::from(settings.embryonic_quota) / 4 {
        pass_over(state, oldest);
    }
    if is_full(usage, settings) && !end_oldest_embryonic(state, host, settings, oldest, mark) {
        return Some(DropReason::EmbryonicQuota);
    }
    entry.slot = state.flows().claim().unwrap_or(u32::MAX);
    if entry.slot == u32::MAX {
        end_what_is_over(state, host, settings, oldest, mark);
        entry.slot = state.flows().claim().unwrap_or(u32::MAX);
    }
    (entry.slot == u32::MAX).then_some(DropReason::FlowTableFull)
}

/// Whether an owner has as many unconfirmed flows as it may have.
#[inline(always)]
fn is_full(usage: &Usage, settings: &Settings) -> bool {
    usage.embryonic() >= u64::from(settings.embryonic_quota)
}

/// Takes flows that are confirmed or gone out of the front of the queue, before an owner has too many others: they would
/// have to be passed over then, and a few looks at a time are no match for a queue of them.
#[inline(always)]
fn pass_over<S: State>(state: &S, oldest: &mut FlowRef) {
    let stands = |entry: &FlowRef| {
        state.flows().get(&entry.slot).is_some_and(|flow| is_embryonic(flow, entry))
    };
    let mut looks = 0;
    while looks < LOOKS && state.embryonic().peek(oldest) && !stands(oldest) {
        looks += 1;
        // Another CPU may have taken that one meanwhile, and this is the next.
        if state.embryonic().pop(oldest) && stands(oldest) {
            state.embryonic().push(oldest);
            return;
        }
    }
}

/// Whether an entry of the queue still stands for an unconfirmed flow.
#[inline(always)]
fn is_embryonic(flow: &Flow, entry: &FlowRef) -> bool {
    flow.generation.load() == entry.generation && flow.confirmed.load() == 0
}

/// Whether who opened a flow has gone on with it for some seconds, and just did: from outside, without numbers, that
/// confirms nothing, and yet it is not the first to go.
#[inline(always)]
fn is_busy(flow: &Flow, now: u64) -> bool {
    let [original, reply] = [Direction::Original, Direction::Reply].map(|way| flow.way(way));
    reply.packets.load() != 0
        && age(now, flow.created) > BUSY
        && age(now, original.last_seen.load()) <= BUSY
}

/// Ends the oldest unconfirmed flow of an owner that has too many: mostly the one that wants another.
#[inline(always)]
fn end_oldest_embryonic<S: State, H: Host>(
    state: &S,
    host: &H,
    settings: &Settings,
    oldest: &mut FlowRef,
    mark: &mut FlowKey,
) -> bool {
    let now = host.now();
    let mut looks = 0;
    while looks < LOOKS {
        looks += 1;
        if !state.embryonic().pop(oldest) {
            return false;
        }
        let Some(flow) = state.flows().get(&oldest.slot) else { continue };
        if !is_embryonic(flow, oldest) {
            continue;
        }
        let Some(usage) = state.usage().get(&flow.owner) else { continue };
        if !is_full(usage, settings) || is_busy(flow, now) {
            state.embryonic().push(oldest);
        } else if end(state, host, flow, oldest, mark) {
            return true;
        }
    }
    false
}

/// Looks at some places, from anywhere on, for a flow that is over.
#[inline(always)]
fn end_what_is_over<S: State, H: Host>(
    state: &S,
    host: &H,
    settings: &Settings,
    place: &mut FlowRef,
    mark: &mut FlowKey,
) {
    let now = host.now();
    place.slot = below(settings.flow_capacity, host.random());
    let mut looks = 0;
    while looks < LOOKS {
        looks += 1;
        place.slot = if place.slot + 1 < settings.flow_capacity { place.slot + 1 } else { 0 };
        let Some(flow) = state.flows().get(&place.slot) else { continue };
        place.generation = flow.generation.load();
        if is_live(place.generation)
            && age(now, flow.created) >= OPENING
            && (lifetime::is_over(flow, now) || !endpoints_are_there(state, flow, None))
        {
            end(state, host, flow, place, mark);
        }
    }
}

/// Ends the flow of this generation whose answers have this tuple, if the host waits for such an answer itself. A function
/// of its own in the programs, with a frame of its own: the room on the stack that it takes is not its caller's.
#[inline(never)]
pub(super) fn give_to_host<S: State, H: Host>(
    state: &S,
    host: &mut H,
    reply: &FlowKey,
    entry: &mut FlowRef,
    mark: &mut FlowKey,
) -> bool {
    let Some(found) = state.index().get(reply) else { return false };
    if found.generation != entry.generation || found.direction != Direction::Reply as u32 {
        return false;
    }
    entry.slot = found.slot;
    let Some(flow) = state.flows().get(&entry.slot) else { return false };
    host.socket_connects(reply) && end(state, host, flow, entry, mark)
}

/// Ends a flow and gives its place back, unless somebody else is about to. Of two that want to, on two CPUs or on the
/// user side, one does, and nobody clears one of its tuples for another flow meanwhile: it first inserts a mark of
/// each, see [`super::claim_tuple`], and looks again under them.
#[inline(always)]
fn end<S: State, H: Host>(
    state: &S,
    host: &H,
    flow: &Flow,
    entry: &FlowRef,
    mark: &mut FlowKey,
) -> bool {
    let (index, [original, reply]) = (state.index(), &flow.keys);
    *mark = original.mark();
    if !matches!(index.insert_new(mark, entry), Insertion::Inserted) {
        return false;
    }
    if flow.generation.load() != entry.generation {
        index.remove(mark);
        return false;
    }
    // From here on nobody else ends it, and its tuples stay what they are.
    *mark = reply.mark();
    let alone = matches!(index.insert_new(mark, entry), Insertion::Inserted);
    if alone {
        remove_entry(state, original, entry);
        remove_entry(state, reply, entry);
        if let Some(usage) = state.usage().get(&flow.owner) {
            host.add(&usage.closed, 1);
            if flow.confirmed.load() == 0 {
                host.add(&usage.lapsed, 1);
            }
        }
        flow.generation.store(entry.generation.wrapping_add(1));
        index.remove(mark);
    }
    *mark = original.mark();
    index.remove(mark);
    if alone {
        state.flows().release(entry.slot);
    }
    alone
}

/// Removes an index entry, which the caller has marked, if it leads to this flow: one of an endpoint that is gone may
/// have lost it to another already.
#[inline(always)]
fn remove_entry<S: State>(state: &S, key: &FlowKey, entry: &FlowRef) {
    let leads_there = state
        .index()
        .get(key)
        .is_some_and(|found| found.slot == entry.slot && found.generation == entry.generation);
    if leads_there {
        state.index().remove(key);
    }
}
