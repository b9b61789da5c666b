//! Who has an address of a network, for those who ask everybody: ARP requests (RFC 826) and neighbour solicitations
//! (RFC 4861 §7.2) that are addressed to a group.
//!
//! A bridge gives such a question to all its ports, and with a thousand of them the copies alone fill the queue that the
//! answer has to go through (`net.core.netdev_max_backlog`): nobody is answered then. The tables know who has an address,
//! so nobody else need be asked. What an endpoint asks is answered in the owner's name, written over the question; what
//! the host asks is given to the owner alone, which answers by the bridge, and that learns where it is.
//!
//! **Invariant**: the answer is what the owner itself would say. Nothing is answered that is not a question about an
//! address of the asker's own network, which somebody else has: announcements, and an endpoint's questions whether its
//! own address is another's (RFC 5227 §2.1.1, RFC 4862 §5.4), go on to everybody. A question to one station is that one's.
//! An owner whose interface is down would say nothing, and is answered for: the tables do not know it.
//!
//! Deliberately absent: link-local addresses, which are in no table; and what would not have room for its answer, a
//! solicitation without an option of eight bytes. The bridge has those, as it has what nobody is known to have.

use super::{
    datagram::{Datagram, Part},
    packet::{ChecksumStyle, Packet},
    pipeline::interface,
    table::{Lookup as _, State},
};
use crate::{
    abi::{Address, Endpoint, Interface, InterfaceKind, InterfaceOptions, Mac},
    verdict::{DeliverReason, PassReason, Verdict},
    wire::{
        arp,
        checksum::Change,
        ethernet::{self, Ethernet, ether_type},
        icmp, ipv6, ndp, protocol,
    },
};

/// Where the addresses of a packet without extension headers are, and what follows its header.
const ADDRESSES: usize = ethernet::LENGTH + ipv6::ADDRESSES;
const MESSAGE: usize = ethernet::LENGTH + ipv6::LENGTH;

/// What becomes of an endpoint's ARP packet, which the guard has seen.
#[inline(always)]
pub(super) fn request<P: Packet + ?Sized, S: State>(
    packet: &mut P,
    state: &S,
    frame: &Ethernet,
    asker: &Interface,
) -> Verdict {
    let answered = is_for_everybody(frame).then(|| answer_request(packet, state, asker));
    verdict(answered.flatten(), asker)
}

/// What becomes of an endpoint's packet for its network, which the guard has seen; `target` is room to work in.
#[inline(always)]
pub(super) fn solicitation<P: Packet + ?Sized, S: State>(
    packet: &mut P,
    state: &S,
    (frame, datagram): (&Ethernet, &Datagram),
    target: &mut Address,
    asker: &Interface,
) -> Verdict {
    let answered = is_for_everybody(frame)
        .then(|| answer_solicitation(packet, state, datagram, target, asker));
    verdict(answered.flatten(), asker)
}

/// An endpoint's question goes back to it, answered, or on to everybody.
#[inline(always)]
fn verdict(answered: Option<()>, asker: &Interface) -> Verdict {
    match answered {
        Some(()) => Verdict::Deliver { ifindex: asker.ifindex, reason: DeliverReason::Answered },
        None => Verdict::Pass(PassReason::Neighbours),
    }
}

/// Who has an address.
struct Owner<'a> {
    mac: &'a Mac,
    is_router: bool,
}

/// Answers an endpoint's ARP request to everybody. A function of its own in the programs, with
/// a frame of its own: the room on the stack that it takes is not its caller's.
#[inline(never)]
fn answer_request<P: Packet + ?Sized, S: State>(
    packet: &mut P,
    state: &S,
    asker: &Interface,
) -> Option<()> {
    let message = packet.window::<{ arp::LENGTH }>(ethernet::LENGTH)?;
    let request = arp::Arp(message);
    if request.operation() != arp::REQUEST {
        return None;
    }
    let (asking, asked) = (request.sender_address(), request.target_address());
    let owner = owner(state, asker, &Address::v4(asked))?;
    arp::write_reply(message, (owner.mac, asked), (&asker.mac, asking));
    ethernet::write_addresses(packet.window::<12>(0)?, asker.mac, *owner.mac);
    Some(())
}

/// Answers an endpoint's neighbour solicitation to everybody. Its checksum becomes the
/// advertisement's by what changes, so one that is wrong stays wrong. A function of its own as well.
#[inline(never)]
fn answer_solicitation<P: Packet + ?Sized, S: State>(
    packet: &mut P,
    state: &S,
    datagram: &Datagram,
    target: &mut Address,
    asker: &Interface,
) -> Option<()> {
    if !may_be_answered(datagram) {
        return None;
    }
    packet.ensure(MESSAGE + ndp::WITH_OPTION);
    let message = packet.window::<{ ndp::WITH_OPTION }>(MESSAGE)?;
    let nameless = datagram.source.is_none();
    *target = Address::new(ndp::Solicitation(message).target(nameless)?);
    let owner = owner(state, asker, target)?;
    let content = ndp::write_advertisement(message, owner.mac, owner.is_router, !nameless);
    // Who has no address yet is answered as everybody (RFC 4861 §7.2.4).
    let (to, mac) = if nameless {
        (&ndp::ALL_NODES, &ndp::ALL_NODES_MAC)
    } else {
        (&datagram.source, &asker.mac)
    };
    ethernet::write_addresses(packet.window::<12>(0)?, *mac, *owner.mac);
    *packet.window::<16>(ADDRESSES)? = target.octets();
    *packet.window::<16>(ADDRESSES + 16)? = to.octets();
    let addresses =
        Change::NONE.address(&datagram.source, target).address(&datagram.destination, to);
    let style = ChecksumStyle { v6: true, optional: false };
    packet.update_checksum(MESSAGE + icmp::CHECKSUM, addresses, content, style);
    Some(())
}

/// Where a question of the host's goes that it would ask all endpoints of a network.
#[inline(always)]
pub(super) fn asked_by_host<P: Packet + ?Sized, S: State>(
    packet: &mut P,
    state: &S,
    frame: &Ethernet,
    gateway: &Interface,
) -> Option<Verdict> {
    // What is tagged is a VLAN's on the bridge.
    if !is_for_everybody(frame) || packet.tag().is_some() {
        return None;
    }
    let asked = match frame.ether_type {
        ether_type::ARP => {
            packet.ensure(ethernet::LENGTH + arp::LENGTH);
            let request = arp::Arp(packet.window::<{ arp::LENGTH }>(ethernet::LENGTH)?);
            (request.operation() == arp::REQUEST).then(|| Address::v4(request.target_address()))
        }
        ether_type::IPV6 => {
            packet.ensure(MESSAGE + ndp::OPTIONS);
            let header = ipv6::Ipv6(packet.window::<{ ipv6::LENGTH }>(ethernet::LENGTH)?);
            let is_icmp = header.next_header() == protocol::ICMPV6;
            let message = packet.window::<{ ndp::OPTIONS }>(MESSAGE)?;
            let is_one = is_icmp && message[0] == ndp::kind::NEIGHBOUR_SOLICITATION;
            is_one.then(|| Address::new(ndp::target(message)))
        }
        _ => None,
    }?;
    let Endpoint { ifindex, .. } = *neighbour(state, gateway, &asked)?;
    Some(Verdict::Deliver { ifindex, reason: DeliverReason::Asked })
}

/// Whether it is addressed to a group of stations.
#[inline(always)]
const fn is_for_everybody(frame: &Ethernet) -> bool {
    frame.destination.0[0] & 1 != 0
}

/// Whether it is a neighbour solicitation that its answer fits into, and from a neighbour (RFC 4861 §7.1.1).
#[inline(always)]
fn may_be_answered(datagram: &Datagram) -> bool {
    datagram.protocol == protocol::ICMPV6
        && datagram.detail == ndp::kind::NEIGHBOUR_SOLICITATION
        && matches!(datagram.part, Part::Whole)
        && !datagram.extended
        && datagram.hop_limit == u8::MAX
        && datagram.length as usize == ipv6::LENGTH + ndp::WITH_OPTION
}

/// Who has an address, if that is not the endpoint that asks, and it may know.
#[inline(always)]
fn owner<'a, S: State>(state: &'a S, asker: &'a Interface, address: &Address) -> Option<Owner<'a>> {
    // A gateway without an address of a family has none.
    if address.is_none() {
        return None;
    }
    let gateway = interface(state, asker.gateway_ifindex, InterfaceKind::Gateway)?;
    if *address == gateway.v4 || *address == gateway.v6 {
        return Some(Owner { mac: &asker.gateway_mac, is_router: true });
    }
    if asker.options.contains(InterfaceOptions::NO_PEERS) {
        return None;
    }
    neighbour(state, asker, address).map(|endpoint| Owner { mac: &endpoint.mac, is_router: false })
}

/// The other endpoint with an address of the asker's network.
#[inline(always)]
fn neighbour<'a, S: State>(
    state: &'a S,
    asker: &Interface,
    address: &Address,
) -> Option<&'a Endpoint> {
    state
        .endpoints()
        .get(address)
        .filter(|endpoint| endpoint.network == asker.network && endpoint.ifindex != asker.ifindex)
}
