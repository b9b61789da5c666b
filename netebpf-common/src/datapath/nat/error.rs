//! ICMP errors about translated packets (RFC 5508 §4).
//!
//! An error goes along one direction of a flow and quotes a packet of the other. Its own addresses are
//! translated like any packet's, where they are the flow's; a router's in between stay. The quoted
//! packet goes back to what its sender sent: addresses, ports and, as far as they are quoted, checksums.

use crate::{
    abi::{Address, FlowKey, Protocol, Way, WayKind},
    datapath::{
        FamilyId,
        conntrack::Seen,
        datagram::Datagram,
        family::{Family, V4, for_family},
        packet::{ChecksumStyle, Packet},
    },
    wire::{
        checksum::{self, Change},
        icmp, ipv4, tcp, udp,
    },
};

/// Where the quoted packet stands, and what it is.
#[derive(Clone, Copy)]
pub(in crate::datapath) struct Quoted {
    pub protocol: Protocol,
    pub network: usize,
    pub transport: usize,
}

/// Rewrites an error. `None` where the frame is shorter than it was when it was read.
#[inline(always)]
pub(in crate::datapath) fn translate_error<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    seen: &Seen,
    quoted: Quoted,
) -> Option<()> {
    let arrives = seen.flow.key(seen.direction);
    let other = seen.flow.key(seen.direction.other());
    let inner = for_family!(datagram, rewrite_quoted(packet, quoted, seen.way(), arrives, other))?;
    let source =
        if datagram.source == arrives.source { &other.destination } else { &datagram.source };
    let destination = if datagram.destination == arrives.destination {
        &other.source
    } else {
        &datagram.destination
    };
    restore_identification(packet, datagram, &seen.back(), quoted)?;
    let outer =
        Change::NONE.address(&datagram.source, source).address(&datagram.destination, destination);
    for_family!(datagram, write_outer(packet, datagram, source, destination, outer))?;
    let v6 = matches!(datagram.family, FamilyId::V6);
    packet.update_checksum(
        datagram.transport as usize + icmp::CHECKSUM,
        if v6 { outer } else { Change::NONE },
        inner,
        ChecksumStyle { v6, optional: false },
    );
    Some(())
}

/// Gives the quoted packet the identification that its sender gave it; some know their probes by it. In IPv6 only
/// fragments have one, and nobody does.
#[inline(always)]
fn restore_identification<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    sent: &Seen,
    quoted: Quoted,
) -> Option<()> {
    if matches!(datagram.family, FamilyId::V6) || sent.goes(WayKind::Inward) {
        return Some(());
    }
    let at = quoted.network;
    if !ipv4::Ipv4(packet.window::<{ ipv4::MINIMUM }>(at)?).may_be_cut() {
        return Some(());
    }
    let number = sent.sender_number().wrapping_neg();
    V4::add_to_identification(packet, at, at + ipv4::IDENTIFICATION, number)
}

#[inline(always)]
fn write_outer<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    source: &Address,
    destination: &Address,
    change: Change,
) -> Option<()> {
    F::write_addresses(packet, datagram.network as usize, source, destination, change)
}

/// Rewrites the quoted packet and returns what that adds to the checksum of the error around it.
#[inline(always)]
fn rewrite_quoted<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    quoted: Quoted,
    way: &Way,
    arrives: &FlowKey,
    other: &FlowKey,
) -> Option<Change> {
    // The quoted packet's tuple is the inverse of the error's, so the same changes are made to it.
    let addresses = Change::from_bytes(way.address_change);
    let ports = Change::from_bytes(way.port_change);
    F::write_addresses(packet, quoted.network, &other.source, &other.destination, addresses)?;
    // An IPv4 header sums up to the same as before: its checksum made up for the addresses.
    let header = match F::ID {
        FamilyId::V4 => Change::NONE,
        FamilyId::V6 => addresses,
    };
    let at = quoted.transport;
    let (field, covered, optional) = match quoted.protocol {
        Protocol::Tcp => {
            write_ports(packet, at, other)?;
            (tcp::CHECKSUM, addresses.then(ports), false)
        }
        Protocol::Udp => {
            write_ports(packet, at, other)?;
            (udp::CHECKSUM, addresses.then(ports), true)
        }
        Protocol::Icmp => {
            let request = arrives.source_port == [0, 0];
            let identifier = if request { other.source_port } else { other.destination_port };
            *packet.window::<2>(at + icmp::IDENTIFIER)? = identifier;
            let pseudo_header = if F::ICMP_PSEUDO_HEADER { addresses } else { Change::NONE };
            (icmp::CHECKSUM, pseudo_header.then(ports), false)
        }
    };
    let content = header.then(ports);
    // TCP's checksum is often beyond the quoted 8 bytes.
    let Some(bytes) = packet.window::<2>(at + field) else { return Some(content) };
    if optional && *bytes == [0, 0] {
        return Some(content);
    }
    let old = *bytes;
    let new = checksum::updated(old, covered);
    *bytes = new;
    Some(content.then(Change::NONE.word(old, new)))
}

#[inline(always)]
fn write_ports<P: Packet + ?Sized>(packet: &mut P, at: usize, other: &FlowKey) -> Option<()> {
    let [s0, s1] = other.source_port;
    let [d0, d1] = other.destination_port;
    *packet.window::<4>(at)? = [s0, s1, d0, d1];
    Some(())
}
