//! Flows: finding one, opening one, and what its packets leave behind in it.
//!
//! **Invariant**: a flow is found only by an entry of its own generation, and only while its
//! endpoints' generations are those that it was opened with. Both tuples are in the index before a packet
//! of the flow leaves, or neither stays.

mod fragments;
mod lifetime;
mod places;
mod tcp;

pub(super) use fragments::{is_awaited, keep, release, remember, was_awaited};
pub use lifetime::lifetime;
pub use places::OPENING;
pub use tcp::TcpPhase;

use super::{
    Step,
    datagram::{Datagram, Kind, Part},
    host::Host,
    nat::{self, Binding, Search},
    table::{FlowStore as _, Insertion, Lookup as _, Memo as _, Queue as _, State, Table as _},
};
use crate::{
    abi::{
        Address, Direction, Endpoint, Flow, FlowKey, FlowKind, FlowRef, Interface, Mac, Mapping,
        PieceKey, Protocol, PublishedKey, RecentFlow, SocketKey, Way, WayKind, is_live,
    },
    verdict::{DropReason, Verdict},
};

/// A second of the flow clock.
pub(super) const SECOND: u64 = 1_000_000_000;

/// A flow, and the direction of the packet that found it.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub flow: &'a Flow,
    pub direction: Direction,
    generation: u64,
}

impl<'a> Seen<'a> {
    #[inline(always)]
    pub(super) fn way(&self) -> &'a Way {
        self.flow.way(self.direction)
    }

    /// The same flow, the other way.
    #[inline(always)]
    pub(super) const fn back(&self) -> Self {
        Self { direction: self.direction.other(), ..*self }
    }

    /// Whether the flow is still the one that was found. Asked when nothing more is read of it: its place may have
    /// got another flow meanwhile, and what was read be half of each.
    #[inline(always)]
    pub(super) fn lives_on(&self) -> Step<()> {
        if self.flow.generation.load() == self.generation {
            Ok(())
        } else {
            Err(Verdict::Drop(DropReason::NoFlow))
        }
    }

    /// What the identifications of an endpoint's packets are moved by: the packet's sender, which must be one.
    #[inline(always)]
    pub(super) const fn sender_number(&self) -> u32 {
        identification_of(match self.direction {
            Direction::Original => self.flow.owner,
            Direction::Reply => self.flow.peer,
        })
    }

    /// Whether the packet goes this kind of way.
    #[inline(always)]
    pub(super) fn goes(&self, kind: WayKind) -> bool {
        self.way().kind == kind as u16
    }
}

/// What the identifications of packets of the endpoint with this slot are moved by. The lower half is another one for
/// each slot, too: the factor is odd.
#[inline(always)]
pub const fn identification_of(slot: u32) -> u32 {
    slot.wrapping_mul(0x9e37_79b1)
}

/// The flow that a packet belongs to, of the endpoint that sends it, if one does. One that was not understood has no
/// tuple to ask for.
#[inline(always)]
pub(super) fn find<'a, S: State, H: Host>(
    state: &'a S,
    host: &H,
    datagram: &Datagram,
    sender: Option<&Interface>,
    key: &mut FlowKey,
) -> Option<Seen<'a>> {
    find_by(state, host, datagram, &datagram.key, sender, key)
}

/// The flow that a packet the other way would belong to.
#[inline(always)]
pub(super) fn find_inverse<'a, S: State, H: Host>(
    state: &'a S,
    host: &H,
    datagram: &Datagram,
    inverse: &mut FlowKey,
    key: &mut FlowKey,
) -> Option<Seen<'a>> {
    inverse.set_inverse(&datagram.key);
    find_by(state, host, datagram, inverse, None, key)
}

/// The flow with this tuple; a later fragment has the addresses of it only.
#[inline(always)]
fn find_by<'a, S: State, H: Host>(
    state: &'a S,
    host: &H,
    datagram: &Datagram,
    tuple: &FlowKey,
    sender: Option<&Interface>,
    key: &mut FlowKey,
) -> Option<Seen<'a>> {
    let found = match datagram.kind {
        Kind::NotUnderstood => None,
        Kind::LaterFragment => fragments::find_first(state, host, datagram, tuple, sender),
        _ => find_tuple(state, tuple, sender),
    };
    if found.is_none() && matches!(datagram.part, Part::First) {
        fragments::has_no_flow(state, host, datagram, key);
    }
    found
}

/// One look-up, two array reads; and no look-up where this CPU found the same flow not long ago. The endpoint that sends
/// is known to be there.
#[inline(always)]
fn find_tuple<'a, S: State>(
    state: &'a S,
    key: &FlowKey,
    sender: Option<&Interface>,
) -> Option<Seen<'a>> {
    let spread = key.spread();
    let recent = state.recent_flow(nat::below(RecentFlow::PLACES, spread))?;
    if let Some(seen) = of_tuple(state, &recent.entry(spread), key, sender) {
        return Some(seen);
    }
    let entry = state.index().get(key)?;
    let seen = of_tuple(state, entry, key, sender)?;
    recent.set(spread, entry, seen.direction);
    // What answers this packet comes next, mostly to the same CPU.
    let back = seen.direction.other();
    let spread = seen.flow.key(back).spread();
    state.recent_flow(nat::below(RecentFlow::PLACES, spread))?.set(spread, entry, back);
    Some(seen)
}

/// The flow that an entry leads to, if it has this tuple: an entry that is removed while it is read may be another's by
/// now. That of a flow whose endpoint is gone gives way to another flow's.
#[inline(always)]
fn of_tuple<'a, S: State>(
    state: &'a S,
    entry: &FlowRef,
    key: &FlowKey,
    sender: Option<&Interface>,
) -> Option<Seen<'a>> {
    follow(state, entry).filter(|seen| {
        seen.flow.key(seen.direction) == key && endpoints_are_there(state, seen.flow, sender)
    })
}

/// The flow that an entry leads to, while it lives.
#[inline(always)]
fn follow<'a, S: State>(state: &'a S, entry: &FlowRef) -> Option<Seen<'a>> {
    let generation = entry.generation;
    if !is_live(generation) {
        return None;
    }
    let flow = state.flows().get(&entry.slot)?;
    if flow.generation.load() != generation {
        return None;
    }
    let direction = if entry.direction & 1 == 0 { Direction::Original } else { Direction::Reply };
    Some(Seen { flow, direction, generation })
}

/// Whether the endpoints of a flow are those that it was opened for, and not others with their addresses.
#[inline(always)]
fn endpoints_are_there<S: State>(state: &S, flow: &Flow, sender: Option<&Interface>) -> bool {
    let is_there = |slot: u32, generation: u32| {
        if sender.is_some_and(|sender| sender.slot == slot && sender.generation == generation) {
            return true;
        }
        let usage = state.usage().get(&slot);
        usage.is_some_and(|usage| usage.generation.load() == u64::from(generation))
    };
    is_there(flow.owner, flow.owner_generation)
        && (flow.peer == flow.owner || is_there(flow.peer, flow.peer_generation))
}

/// Puts a tuple into the index, over an entry that leads to a flow which is dead or whose owner is gone:
/// such entries stay until the user side sweeps them up, and it may not be running.
///
/// Of two CPUs that find the same entry stale, the second must not take away what the first has put there.
/// So who wants to clear a tuple first inserts a mark of it, which one can, and looks again under it.
#[inline(always)]
pub(super) fn claim_tuple<S: State>(
    state: &S,
    key: &FlowKey,
    entry: &FlowRef,
    mark: &mut FlowKey,
) -> Insertion {
    let insertion = state.index().insert_new(key, entry);
    if !matches!(insertion, Insertion::Exists) || !is_stale(state, key) {
        return insertion;
    }
    *mark = key.mark();
    if !matches!(state.index().insert_new(mark, entry), Insertion::Inserted) {
        return Insertion::Exists;
    }
    if is_stale(state, key) {
        state.index().remove(key);
    }
    let insertion = state.index().insert_new(key, entry);
    state.index().remove(mark);
    insertion
}

/// Whether a tuple leads to a flow that is dead, or whose owner is gone. An entry whose generation is still
/// ahead of its object's is a reservation that another CPU is about to use.
#[inline(always)]
fn is_stale<S: State>(state: &S, key: &FlowKey) -> bool {
    let Some(holder) = state.index().get(key) else { return false };
    let Some(flow) = state.flows().get(&holder.slot) else { return false };
    let generation = flow.generation.load();
    generation > holder.generation
        || (generation == holder.generation && !endpoints_are_there(state, flow, None))
}

/// Ends a flow for the host, and answers whether it did: the packet from outside answers a SYN of the host's own, which has
/// a port again that an endpoint's connection had. That one is over and only remembered, and what follows would be taken
/// for late segments of it.
#[inline(always)]
pub(super) fn gives_way<S: State, H: Host>(
    state: &S,
    host: &mut H,
    seen: &Seen,
    datagram: &Datagram,
    new: &mut New,
) -> bool {
    if !matches!(datagram.kind, Kind::Transport(Protocol::Tcp))
        || !tcp::answers_another(seen, datagram.detail)
    {
        return false;
    }
    new.entry.generation = seen.generation;
    places::give_to_host(state, host, &datagram.key, &mut new.entry, &mut new.mark)
}

/// Counts a packet, and notes what it says of the connection.
#[inline(always)]
pub(super) fn observe<S: State, H: Host>(
    state: &S,
    host: &H,
    seen: &Seen,
    datagram: &Datagram,
    (bytes, now): (u32, u64),
) {
    let way = seen.way();
    match datagram.kind {
        // An error says nothing about the flow being alive, is no answer, and ends nothing (RFC 5508 REQ-6 c).
        Kind::Error { .. } | Kind::NotUnderstood => return,
        Kind::Transport(Protocol::Tcp) => tcp::observe(seen, &datagram.segment, datagram.detail),
        Kind::Transport(_) | Kind::LaterFragment => {}
    }
    host.add(&way.packets, 1);
    host.add(&way.bytes, u64::from(bytes));
    if seen.flow.confirmed.load() == 0 && confirms(seen, datagram) {
        seen.flow.confirmed.store(1);
        if let Some(usage) = state.usage().get(&seen.flow.owner) {
            host.add(&usage.confirmed, 1);
        }
    }
    if now.wrapping_sub(way.last_seen.load()) >= SECOND {
        way.last_seen.store(now);
    }
}

/// Whether who opened the flow goes on after having been answered, which a flood does not: its packets have sources of
/// their own each, where nobody hears the answer. What comes from outside without numbers shows nothing of the kind.
#[inline(always)]
fn confirms(seen: &Seen, datagram: &Datagram) -> bool {
    let answered = seen.flow.way(Direction::Reply).packets.load() != 0;
    matches!(seen.direction, Direction::Original)
        && answered
        && match datagram.kind {
            Kind::Transport(Protocol::Tcp) => {
                tcp::confirms(seen, &datagram.segment, datagram.detail)
            }
            _ => !seen.goes(WayKind::Inward),
        }
}

/// A flow that is about to be opened, in a program's room to work in.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// The tuple of the reply, whose destination port may still change.
    pub(super) reply: FlowKey,
    pub(super) opening: Opening,
    /// The port of the host that its packet is addressed to.
    pub(super) port: PublishedKey,
    /// What leads to the flow.
    entry: FlowRef,
    /// A flow that may have to make room.
    other: FlowRef,
    /// Where a fragment is kept.
    pub(super) piece: PieceKey,
    /// See [`claim_tuple`].
    mark: FlowKey,
    search: Search,
    /// Whose flow it is.
    socket: SocketKey,
    /// Why it was not opened.
    refused: Option<DropReason>,
}

impl New {
    /// Nothing yet.
    pub(super) const NONE: Self = Self {
        reply: FlowKey::NONE,
        opening: Opening::NONE,
        port: PublishedKey { address: Address::NONE, port: [0; 2], padding: [0; 2], protocol: 0 },
        entry: FlowRef::NONE,
        other: FlowRef::NONE,
        piece: PieceKey { packet: FlowKey::NONE, number: 0 },
        mark: FlowKey::NONE,
        search: Search::NONE,
        socket: SocketKey::NONE,
        refused: None,
    };

    /// Opens the flow of a packet, and answers with it.
    #[inline(always)]
    pub(super) fn open<'a, S: State, H: Host>(
        &mut self,
        state: &'a S,
        host: &mut H,
        datagram: &Datagram,
    ) -> Step<Seen<'a>> {
        host.claim(state, self);
        if let Some(reason) = self.refused {
            return Err(Verdict::Drop(reason));
        }
        host.open(state, datagram, self);
        match self.refused {
            Some(reason) => Err(Verdict::Drop(reason)),
            // Ours, or that of another CPU which was first; one that ended at once is no flow.
            None => find_tuple(state, &datagram.key, None).ok_or(Verdict::Drop(DropReason::NoFlow)),
        }
    }
}

/// Takes a place for a flow, or leaves in it why there is none: what [`Host::claim`] is for.
#[inline(always)]
pub(super) fn claim<S: State, H: Host>(state: &S, host: &mut H, new: &mut New) {
    let New { opening, entry, other, mark, .. } = new;
    new.refused = places::claim(state, host, opening.owner.slot, (entry, other), mark);
}

/// Opens a flow in the place that was taken for it, or leaves in it why not: what [`Host::open`] is for.
#[inline(always)]
pub(super) fn open<S: State, H: Host>(state: &S, host: &mut H, datagram: &Datagram, new: &mut New) {
    new.refused = open_at(state, host, &datagram.key, new);
}

/// What a new flow is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// A [`FlowKind`].
    pub kind: u32,
    /// The endpoint that it is counted for.
    pub owner: Party,
    /// See [`Flow::peer`].
    pub peer: Party,
    /// Where its packets go; both ways but for the translation.
    pub ways: [WayTo; 2],
}

impl Opening {
    /// Nothing yet.
    pub(super) const NONE: Self =
        Self { kind: 0, owner: Party::NONE, peer: Party::NONE, ways: [WayTo::uplink(0); 2] };
}

/// An endpoint of a flow: its slot, and the generation that tells it from the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    slot: u32,
    generation: u32,
}

impl Party {
    /// Nobody yet.
    const NONE: Self = Self { slot: 0, generation: 0 };

    /// By its host-side veth.
    #[inline(always)]
    pub(super) const fn sender(interface: &Interface) -> Self {
        Self { slot: interface.slot, generation: interface.generation }
    }

    /// By its address.
    #[inline(always)]
    pub(super) const fn at(endpoint: &Endpoint) -> Self {
        Self { slot: endpoint.slot, generation: endpoint.generation }
    }
}

/// Where the packets of one direction go.
#[derive(Clone, Copy, Debug)]
pub(super) struct WayTo {
    kind: WayKind,
    ifindex: u32,
    mtu: u16,
    mac: Mac,
    gateway_mac: Mac,
}

impl WayTo {
    /// Out of an uplink.
    #[inline(always)]
    pub(super) const fn uplink(ifindex: u32) -> Self {
        let none = Mac([0; 6]);
        Self { kind: WayKind::Outward, ifindex, mtu: 0, mac: none, gateway_mac: none }
    }

    /// To an endpoint, from an uplink or from another endpoint.
    #[inline(always)]
    pub(super) const fn endpoint(to: &Endpoint, kind: WayKind) -> Self {
        let Endpoint { ifindex, mtu, mac, gateway_mac, .. } = *to;
        // A device's is at most as long as an IP packet can be.
        Self { kind, ifindex, mtu: mtu as u16, mac, gateway_mac }
    }
}

/// Opens a flow in the place that was claimed for it, whose first packet comes as `original` and whose reply comes as
/// [`New::reply`], with another port where that one is taken. Answers with a reason when there is none then; else there
/// is one, this or, of two CPUs at once, the other's.
///
/// The order is the point. The reply tuple goes into the index first: that reserves the outside tuple, atomically, and
/// nothing can find the flow by it yet, because the entry's generation is not the object's. Then the object is written,
/// then its generation makes it live, then the original tuple makes it known; that insertion takes a lock, which orders
/// all that was stored before it. Two CPUs with the same first packet race at the last step only, and the loser takes
/// everything back and uses the winner's.
#[inline(always)]
fn open_at<S: State, H: Host>(
    state: &S,
    host: &mut H,
    original: &FlowKey,
    new: &mut New,
) -> Option<DropReason> {
    let New { reply, opening, entry, mark, search, socket, .. } = new;
    let Some(settings) = state.settings() else { return Some(DropReason::FlowTableFull) };
    let Some(flow) = state.flows().get(&entry.slot) else {
        return Some(DropReason::FlowTableFull);
    };
    entry.generation = (flow.generation.load() | 1).wrapping_add(2);
    entry.direction = Direction::Reply as u32;
    // Neither a client's port outside, nor that of an endpoint which keeps its address.
    let ours = opening.kind != FlowKind::Published as u32 && reply.destination != original.source;
    if ours {
        *socket = SocketKey {
            address: original.source,
            port: original.source_port,
            padding: [0; 2],
            protocol: original.protocol,
        };
        if let Some(port) = nat::port_before(state, host, socket) {
            reply.destination_port = port;
        }
    }
    if let Err(reason) = nat::reserve(state, host, settings, (reply, entry, mark), search, ours) {
        state.flows().release(entry.slot);
        return Some(reason);
    }
    let now = host.now();
    if ours && reply.destination_port != original.source_port {
        let port = u64::from(u16::from_be_bytes(reply.destination_port));
        let mapping = Mapping { seen: now, port };
        state.mappings().put(socket, &mapping);
    }
    state.flows().fill(entry.slot, |flow| {
        flow.confirmed.store(0);
        flow.created = now;
        flow.kind = opening.kind;
        flow.owner = opening.owner.slot;
        flow.owner_generation = opening.owner.generation;
        flow.peer = opening.peer.slot;
        flow.peer_generation = opening.peer.generation;
        flow.keys = [*original, *reply];
        let [there, back] = &mut flow.ways;
        write_way(there, &opening.ways[0], original, reply, now);
        write_way(back, &opening.ways[1], reply, original, now);
    });
    let Some(flow) = state.flows().get(&entry.slot) else {
        return Some(DropReason::FlowTableFull);
    };
    flow.generation.store(entry.generation);
    entry.direction = Direction::Original as u32;
    match claim_tuple(state, original, entry, mark) {
        Insertion::Inserted => {
            if let Some(usage) = state.usage().get(&opening.owner.slot) {
                host.add(&usage.opened, 1);
            }
            state.embryonic().push(entry);
            None
        }
        failure => {
            // While the flow lives nobody else takes its reply tuple, so it is ours that is removed.
            state.index().remove(reply);
            flow.generation.store(entry.generation.wrapping_add(1));
            state.flows().release(entry.slot);
            (!matches!(failure, Insertion::Exists)).then_some(DropReason::FlowTableFull)
        }
    }
}

/// Field by field, in place: a whole value of it would take a fifth of a program's stack.
#[inline(always)]
fn write_way(way: &mut Way, to: &WayTo, arrives: &FlowKey, other: &FlowKey, now: u64) {
    let binding = Binding::new(arrives, other);
    way.packets.store(0);
    way.bytes.store(0);
    way.last_seen.store(now);
    way.tcp_seen.store(0);
    way.sequence.store(0);
    way.address_change = binding.addresses.to_bytes();
    way.port_change = binding.ports.to_bytes();
    way.kind = to.kind as u16;
    way.ifindex = to.ifindex;
    way.mtu = to.mtu;
    way.mac = to.mac;
    way.gateway_mac = to.gateway_mac;
}
