//! Translation: reserving an outside tuple, and rewriting packets and the errors about them.
//!
//! **Invariant**: a packet that arrives with one tuple of its flow leaves with the inverse of the other,
//! and every checksum in it stays as right or as wrong as it was (RFC 3022 §4.1): nothing is recomputed,
//! so damage is never hidden. Reply after original is the identity.

mod error;
mod opening;

pub(super) use error::{Quoted, translate_error};
pub(super) use opening::{hairpin, masquerade, publish, published_at, published_within};

use super::{
    conntrack::{self, SECOND, Seen},
    datagram::Datagram,
    family::{Family, for_family},
    host::Host,
    local,
    packet::{ChecksumStyle, Packet},
    table::{Insertion, Lookup as _, State, Table as _},
};
use crate::{
    abi::{Address, FlowKey, FlowRef, Protocol, Settings, SocketKey, WayKind},
    verdict::DropReason,
    wire::{checksum::Change, icmp, tcp, udp},
};

/// How many ports are tried before a flow is refused.
const PROBES: u32 = 32;

/// What a translation adds to checksums.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    pub addresses: Change,
    pub ports: Change,
}

impl Binding {
    /// Of a packet that arrives as `arrives` and leaves as the inverse of `other`.
    #[inline(always)]
    pub(super) fn new(arrives: &FlowKey, other: &FlowKey) -> Self {
        Self {
            addresses: Change::NONE
                .address(&arrives.source, &other.destination)
                .address(&arrives.destination, &other.source),
            ports: Change::NONE
                .word(arrives.source_port, other.destination_port)
                .word(arrives.destination_port, other.source_port),
        }
    }
}

/// How long a socket that sends to nobody new keeps a port that is not its own: as long as an answered UDP flow.
const MAPPING_LIFE: u64 = 300 * SECOND;

/// The port that a socket had to the outside before, where it was not its own (RFC 4787 REQ-1). It is tried first:
/// no more than that, so it may be lost, and somebody else's by now.
#[inline(always)]
pub(super) fn port_before<S: State, H: Host>(
    state: &S,
    host: &H,
    socket: &SocketKey,
) -> Option<[u8; 2]> {
    let mapping = state.mappings().get(socket)?;
    let port = (mapping.port as u16).to_be_bytes();
    (host.now().wrapping_sub(mapping.seen) < MAPPING_LIFE).then_some(port)
}

/// Reserves the reply tuple, by inserting it: with the port that it has if that is free, else with
/// another from the range, anywhere each time (RFC 6056 §3.3.1): ports that are taken stand side by side, since
/// endpoints count theirs up, and a search that goes on by steps, of whatever length, may not get out from among
/// them. Of two flows that want one tuple at once exactly one gets it. `ours` says that
/// the port is one of this host: a published port's flow changes the client's, which is on another machine.
#[inline(always)]
pub(super) fn reserve<S: State, H: Host>(
    state: &S,
    host: &mut H,
    settings: &Settings,
    (reply, entry, mark): (&mut FlowKey, &FlowRef, &mut FlowKey),
    search: &mut Search,
    ours: bool,
) -> Result<(), DropReason> {
    if !(ours && held_by_host(state, host, reply)) {
        match conntrack::claim_tuple(state, reply, entry, mark) {
            Insertion::Inserted => return Ok(()),
            Insertion::Full => return Err(DropReason::FlowTableFull),
            Insertion::Exists => {}
        }
    }
    // A range that is tried whole needs every port of it.
    let whole = range(settings) <= PROBES;
    search.next = below(range(settings), host.random());
    let mut probe = 0;
    while probe < PROBES {
        let port = u32::from(settings.snat_first) + search.next;
        reply.destination_port = (port as u16).to_be_bytes();
        // What a dead flow left is passed over here: older kernels' verifiers walk through every turn of
        // this loop, and there are other ports.
        if !(ours && held_by_host(state, host, reply)) {
            match state.index().insert_new(reply, entry) {
                Insertion::Inserted => return Ok(()),
                Insertion::Full => return Err(DropReason::FlowTableFull),
                Insertion::Exists => {}
            }
        }
        search.next = if whole { search.next + 1 } else { below(range(settings), host.random()) };
        if search.next >= range(settings) {
            search.next = 0;
        }
        probe += 1;
    }
    Err(DropReason::NoFreePort)
}

/// Where a search for a free port stands, in ports from the first of the range; in a program's room to work
/// in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    next: u32,
}

impl Search {
    /// Not begun.
    pub(super) const NONE: Self = Self { next: 0 };
}

/// How many ports there are to choose from.
#[inline(always)]
fn range(settings: &Settings) -> u32 {
    u32::from(settings.snat_last).saturating_sub(u32::from(settings.snat_first)) + 1
}

/// A number below `limit`, from a random one.
#[inline(always)]
pub(super) const fn below(limit: u32, random: u32) -> u32 {
    ((random as u64 * limit as u64) >> 32) as u32
}

/// Whether the port that a reply comes to is published, or a socket of the host waits for that reply.
#[inline(always)]
fn held_by_host<S: State, H: Host>(state: &S, host: &mut H, reply: &FlowKey) -> bool {
    let published = Protocol::from_number(reply.protocol)
        .filter(|protocol| !matches!(protocol, Protocol::Icmp))
        .is_some_and(|protocol| local::is_announced(state, protocol, reply.destination_port));
    published || host.socket_receives(reply)
}

/// Rewrites a packet of a flow. `None` where the frame is shorter than it was when it was read.
#[inline(always)]
pub(super) fn translate<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    seen: &Seen,
    protocol: Protocol,
) -> Option<()> {
    translate_addresses(packet, datagram, seen)?;
    let way = seen.way();
    let addresses = Change::from_bytes(way.address_change);
    let ports = Change::from_bytes(way.port_change);
    let other = seen.flow.key(seen.direction.other());
    let at = datagram.transport as usize;
    let v6 = matches!(datagram.family, super::FamilyId::V6);
    match protocol {
        Protocol::Tcp | Protocol::Udp => {
            if !ports.is_none() {
                let [s0, s1] = other.destination_port;
                let [d0, d1] = other.source_port;
                *packet.window::<4>(at)? = [s0, s1, d0, d1];
            }
            let tcp = matches!(protocol, Protocol::Tcp);
            let field = if tcp { tcp::CHECKSUM } else { udp::CHECKSUM };
            let style = ChecksumStyle { v6, optional: !tcp };
            packet.update_checksum(at + field, addresses, ports, style);
        }
        Protocol::Icmp => {
            // The identifier stands in the requester's place of the tuple.
            let request = datagram.key.destination_port == [0, 0];
            let identifier = if request { other.destination_port } else { other.source_port };
            *packet.window::<2>(at + icmp::IDENTIFIER)? = identifier;
            let pseudo_header = if v6 { addresses } else { Change::NONE };
            let style = ChecksumStyle { v6, optional: false };
            packet.update_checksum(at + icmp::CHECKSUM, pseudo_header, ports, style);
        }
    }
    Some(())
}

/// Rewrites a later fragment, which has addresses only. IPv6 has no header checksum to make up for their change.
#[inline(always)]
pub(super) fn translate_fragment<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    seen: &Seen,
) -> Option<()> {
    translate_addresses(packet, datagram, seen)?;
    if matches!(datagram.family, super::FamilyId::V6) {
        packet.changed_outside_checksums(Change::from_bytes(seen.way().address_change));
    }
    Some(())
}

#[inline(always)]
fn translate_addresses<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    seen: &Seen,
) -> Option<()> {
    let change = Change::from_bytes(seen.way().address_change);
    let other = seen.flow.key(seen.direction.other());
    for_family!(
        datagram,
        write_addresses(packet, datagram, &other.destination, &other.source, change)
    )
}

#[inline(always)]
fn write_addresses<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    source: &Address,
    destination: &Address,
    change: Change,
) -> Option<()> {
    F::write_addresses(packet, datagram.network as usize, source, destination, change)
}

/// Changes the identification of a packet that an endpoint sent. Those of several endpoints would be one packet to who
/// puts their fragments together, now that they have one source (RFC 6864 §5.3); so each endpoint's are moved by a
/// number of its own, which is the same for all fragments without anything remembered.
#[inline(always)]
pub(super) fn change_identification<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    seen: &Seen,
) -> Option<()> {
    if datagram.identification_at == 0 || seen.goes(WayKind::Inward) {
        return Some(());
    }
    let at = datagram.identification_at as usize;
    for_family!(datagram, add_to_identification(packet, datagram, at, seen.sender_number()))
}

#[inline(always)]
fn add_to_identification<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    at: usize,
    number: u32,
) -> Option<()> {
    F::add_to_identification(packet, datagram.network as usize, at, number)
}

/// Lowers the hop limit of a packet that we forward in the kernel's stead.
#[inline(always)]
pub(super) fn lower_hop_limit<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
) -> Option<()> {
    for_family!(datagram, lower(packet, datagram))
}

#[inline(always)]
fn lower<F: Family, P: Packet + ?Sized>(packet: &mut P, datagram: &Datagram) -> Option<()> {
    F::lower_hop_limit(packet, datagram.network as usize)
}
