//! What an endpoint may say of itself: its own Ethernet address, its own IP addresses, and nothing that
//! only routers and servers say.
//!
//! **Invariant**: whatever an endpoint sends, a neighbour that believes it learns only that endpoint's
//! own addresses.

use super::{
    Step,
    datagram::{Datagram, Part},
    family::FamilyId,
    isolation,
    packet::Packet,
};
use crate::{
    abi::{Address, Interface, Mac},
    verdict::{DropReason, Verdict},
    wire::{arp, ethernet::Ethernet, ndp, protocol, udp},
};

/// The Ethernet source is the sender's.
#[inline(always)]
pub(super) fn frame(frame: &Ethernet, sender: &Interface) -> Step<()> {
    if frame.source != sender.mac {
        return Err(Verdict::Drop(DropReason::SpoofedMac));
    }
    Ok(())
}

/// ARP speaks for the sender; a probe speaks for nobody yet (RFC 5227 §2.1.1).
#[inline(always)]
pub(super) fn arp<P: Packet + ?Sized>(packet: &mut P, at: usize, sender: &Interface) -> Step<()> {
    packet.ensure(at + arp::LENGTH);
    let message = packet
        .window::<{ arp::LENGTH }>(at)
        .map(|bytes| arp::Arp(bytes))
        .ok_or(Verdict::Drop(DropReason::Malformed))?;
    let address = message.sender_address();
    let own = address == [0; 4] || Address::v4(address) == sender.v4;
    if !message.is_ethernet_ipv4() || message.sender_mac() != sender.mac || !own {
        return Err(Verdict::Drop(DropReason::SpoofedNeighbour));
    }
    Ok(())
}

/// The source address is the sender's, and the message is one that an endpoint may send.
#[inline(always)]
pub(super) fn datagram<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    sender: &Interface,
) -> Step<()> {
    match datagram.family {
        FamilyId::V4 => v4(datagram, sender),
        FamilyId::V6 => v6(packet, datagram, sender),
    }
}

#[inline(always)]
fn v4(datagram: &Datagram, sender: &Interface) -> Step<()> {
    // A DHCP client has no address yet, and speaks to everybody.
    let nameless = datagram.source == Address::v4([0; 4]) && isolation::is_link_wide(datagram);
    if datagram.source != sender.v4 && !nameless {
        return Err(Verdict::Drop(DropReason::SpoofedAddress));
    }
    if datagram.is_udp_from(udp::DHCP_SERVER) {
        return Err(Verdict::Drop(DropReason::RogueDhcp));
    }
    if datagram.protocol == protocol::ICMP && datagram.detail == 5 {
        return Err(Verdict::Drop(DropReason::RogueRouter));
    }
    Ok(())
}

#[inline(always)]
fn v6<P: Packet + ?Sized>(packet: &mut P, datagram: &Datagram, sender: &Interface) -> Step<()> {
    // Duplicate address detection asks before there is an address (RFC 4862 §5.4.2).
    let nameless = datagram.source.is_none() && isolation::is_link_wide(datagram);
    if !owns_v6(sender, &datagram.source) && !nameless {
        return Err(Verdict::Drop(DropReason::SpoofedAddress));
    }
    if datagram.is_udp_from(udp::DHCPV6_SERVER) {
        return Err(Verdict::Drop(DropReason::RogueDhcp));
    }
    // The chain of extension headers was not followed to its end, and neighbour discovery could be there
    // (RFC 7113 §3).
    // So it could in a later fragment of extension headers, which the first one should have had (RFC 7112).
    let hidden = matches!(datagram.part, Part::Later)
        && matches!(datagram.protocol, protocol::ROUTING | protocol::DESTINATION_OPTIONS);
    if datagram.protocol == protocol::HOP_BY_HOP || hidden {
        return Err(Verdict::Drop(DropReason::Malformed));
    }
    if datagram.protocol != protocol::ICMPV6 {
        return Ok(());
    }
    match datagram.detail {
        ndp::kind::ROUTER_ADVERTISEMENT | ndp::kind::REDIRECT => {
            Err(Verdict::Drop(DropReason::RogueRouter))
        }
        ndp::kind::NEIGHBOUR_SOLICITATION => {
            // RFC 6980: neighbour discovery has no extension headers to hide behind.
            let ok = !datagram.extended
                && lladdr_is_own(packet, datagram, ndp::SOURCE_LINK_LAYER, &sender.mac);
            spoofed_unless(ok)
        }
        ndp::kind::NEIGHBOUR_ADVERTISEMENT => {
            let at = datagram.transport as usize + ndp::TARGET;
            packet.ensure(at + 16);
            let target = packet.window::<16>(at).map(|bytes| Address::new(*bytes));
            let ok = !datagram.extended
                && target.is_some_and(|target| owns_v6(sender, &target))
                && lladdr_is_own(packet, datagram, ndp::TARGET_LINK_LAYER, &sender.mac);
            spoofed_unless(ok)
        }
        _ => Ok(()),
    }
}

#[inline(always)]
fn spoofed_unless(ok: bool) -> Step<()> {
    if ok { Ok(()) } else { Err(Verdict::Drop(DropReason::SpoofedNeighbour)) }
}

#[inline(always)]
fn owns_v6(sender: &Interface, address: &Address) -> bool {
    *address == sender.v6 || *address == sender.mac.link_local()
}

/// The one option that a neighbour message has names the sender's Ethernet address, or there is none.
/// A second option could contradict the first, so there may not be one of 8 bytes or more that is not
/// a nonce (RFC 3971), which Linux sends with its first probes.
#[inline(always)]
fn lladdr_is_own<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &Datagram,
    kind: u8,
    own: &Mac,
) -> bool {
    const NONCE: u8 = 14;
    let mut at = datagram.transport as usize + ndp::OPTIONS;
    let end = datagram.network as usize + datagram.length as usize;
    let mut n = 0;
    while n < 2 {
        if at + 8 > end {
            return true;
        }
        packet.ensure(at + 8);
        let Some([found, units, a, b, c, d, e, f]) = packet.window::<8>(at) else { return false };
        let (found, units) = (*found, *units);
        if units != 1
            || !(found == NONCE || (found == kind && Mac([*a, *b, *c, *d, *e, *f]) == *own))
        {
            return false;
        }
        at += 8;
        n += 1;
    }
    at + 8 > end
}
