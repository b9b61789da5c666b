//! The whole way of a packet, once for each place where one is met.
//!
//! | place | what comes by |
//! |---|---|
//! | [`from_endpoint`] | what an endpoint sends: ingress of its host-side veth |
//! | [`from_outside`] | what comes in by an uplink: its ingress, TC or XDP |
//! | [`to_outside`] | what the host's stack sends out of an uplink: its egress |
//! | [`to_network`] | what the host's stack sends into a network: egress of its bridge device |
//!
//! **Invariant**: nothing with a source of ours leaves an uplink untranslated, and nothing enters a
//! network unless it is of a flow or of the host's own making.

use super::{
    FamilyId, Step, answer,
    conntrack::{self, New, Seen},
    datagram::{self, Datagram, Fault, Kind},
    guard,
    host::{Host, Route},
    isolation, nat, neighbours, next_hop,
    packet::Packet,
    scratch::Scratch,
    shortcut,
    table::{Lookup as _, State},
    translated,
};
use crate::{
    abi::{Address, Direction, Interface, InterfaceKind, InterfaceOptions, NextHop, WayKind},
    verdict::{DeliverReason, DropReason, PassReason, Verdict},
    wire::{
        ethernet::{self, Ethernet, ether_type},
        protocol,
    },
};

/// What an endpoint sends.
#[inline(always)]
pub fn from_endpoint<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    ifindex: u32,
) -> Verdict {
    let Some(sender) = interface(state, ifindex, InterfaceKind::Endpoint) else {
        return Verdict::Pass(PassReason::NotOurs);
    };
    endpoint_sends(packet, state, host, scratch, sender).unwrap_or_else(|verdict| verdict)
}

#[inline(always)]
fn endpoint_sends<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    sender: &Interface,
) -> Step<Verdict> {
    let frame = frame(packet).ok_or(Verdict::Drop(DropReason::Malformed))?;
    guard::frame(&frame, sender)?;
    if packet.tag().is_some() {
        return Ok(Verdict::Drop(DropReason::VlanTag));
    }
    let Scratch { datagram, new } = scratch;
    let malformed = |Fault::Malformed| Verdict::Drop(DropReason::Malformed);
    match frame.ether_type {
        ether_type::IPV4 | ether_type::IPV6 => {
            datagram::understand_network(packet, &frame, datagram).map_err(malformed)?;
        }
        ether_type::ARP => {
            guard::arp(packet, ethernet::LENGTH, sender)?;
            return Ok(neighbours::request(packet, state, &frame, sender));
        }
        ether_type::VLAN | ether_type::QINQ => return Ok(Verdict::Drop(DropReason::VlanTag)),
        _ => return Ok(Verdict::Pass(PassReason::Bridge)),
    }
    let neighbour = isolation::is_neighbour(sender, datagram);
    // What is addressed to the gateway may be to a published port, or to a client of one.
    let beside = neighbour && frame.destination != sender.gateway_mac;
    // Nothing of a TCP header matters to the guard or the shortcut.
    if !(beside && datagram.protocol == protocol::TCP) {
        datagram::understand_transport(packet, datagram).map_err(malformed)?;
    }
    let datagram = &*datagram;
    guard::datagram(packet, datagram, sender)?;
    if isolation::is_link_wide(datagram) {
        let target = &mut new.reply.source;
        return Ok(neighbours::solicitation(packet, state, (&frame, datagram), target, sender));
    }
    if beside {
        return Ok(shortcut::to_neighbour(state, &frame, sender, datagram));
    }
    // Routed by another endpoint, or addressed to nobody: the bridge knows.
    if frame.destination != sender.gateway_mac {
        return Ok(Verdict::Pass(PassReason::Bridge));
    }
    match leave(packet, state, host, sender, datagram, new, neighbour) {
        Err(Verdict::Pass(PassReason::ToHost)) if neighbour => {
            Ok(shortcut::to_neighbour(state, &frame, sender, datagram))
        }
        verdict => verdict,
    }
}

/// From an endpoint to its gateway or by it: to an address outside its network, or to one of the host's. A neighbour
/// that is neither of a flow nor a published port is the caller's ([`PassReason::ToHost`]).
#[inline(always)]
fn leave<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    sender: &Interface,
    datagram: &Datagram,
    new: &mut New,
    neighbour: bool,
) -> Step<Verdict> {
    let to_host = Verdict::Pass(PassReason::ToHost);
    // An error may speak of the sender's own flows only, and to nobody but the other end of them; it is
    // their source, by the guard.
    if datagram.key.source != datagram.source || datagram.key.destination != datagram.destination {
        return Err(if neighbour { to_host } else { Verdict::Drop(DropReason::SpoofedAddress) });
    }
    let seen = match conntrack::find(state, host, datagram, Some(sender), &mut new.reply) {
        // A source that is outside, from an endpoint.
        Some(seen) if seen.goes(WayKind::Inward) => {
            return Ok(Verdict::Drop(DropReason::SpoofedAddress));
        }
        Some(seen) => seen,
        None => {
            let open = !sender.options.contains(InterfaceOptions::INTERNAL);
            let published =
                if open { nat::published_within(state, datagram, &mut new.port) } else { None };
            match published {
                Some(published) => {
                    let server = nat::hairpin(state, datagram, sender, published, new)?;
                    may_turn(datagram, server.mtu)?;
                }
                None if neighbour => return Err(to_host),
                None => {
                    let address = isolation::may_leave(state, sender, datagram)?;
                    masquerade(state, host, datagram, (sender, address), new)?;
                }
            }
            new.open(state, host, datagram)
                .map_err(|verdict| answer::or_drop(state, host, datagram, sender, verdict))?
        }
    };
    conntrack::was_awaited(state, host, datagram, &mut new.reply)?;
    let now = host.now();
    let hop = if seen.goes(WayKind::Hairpin) {
        // The gateway's address is that of the host's own programs as well, and what they wait for is theirs, whoever
        // had the port before.
        if neighbour
            && matches!(seen.direction, Direction::Reply)
            && host.socket_receives(&datagram.key)
        {
            return Err(to_host);
        }
        may_turn(datagram, seen.way().mtu.into())?;
        None
    } else {
        let hop = follow_route(state, host, datagram, sender, &seen, now)?;
        may_go_on(datagram, hop.mtu())?;
        Some(hop)
    };
    translate(packet, state, host, datagram, &seen, (new, now))?;
    nat::lower_hop_limit(packet, datagram).ok_or(Verdict::Drop(DropReason::Malformed))?;
    let Some(hop) = hop else { return deliver(packet, &seen, DeliverReason::Hairpin) };
    let ifindex = seen.way().ifindex;
    seen.lives_on()?;
    Ok(Verdict::Forward { ifindex, next_hop: hop.address() })
}

/// Prepares the flow of an endpoint's packet to the outside, if its route leads there.
#[inline(always)]
fn masquerade<S: State, H: Host>(
    state: &S,
    host: &mut H,
    datagram: &Datagram,
    (sender, address): (&Interface, Address),
    new: &mut New,
) -> Step<()> {
    let (ifindex, mtu) = match host.route(datagram, sender.gateway_ifindex) {
        Route::Forward { ifindex, mtu, .. } => (ifindex, mtu),
        // Its first fragment may be to a published port.
        Route::Host if is_ahead(state, host, datagram) => {
            return Err(Verdict::Keep { goes_on: true });
        }
        Route::Host => return Err(Verdict::Pass(PassReason::ToHost)),
        Route::None => return Err(Verdict::Pass(PassReason::NoUplink)),
    };
    let uplink = interface(state, ifindex, InterfaceKind::Uplink)
        .ok_or(Verdict::Drop(DropReason::NotAnUplink))?;
    match datagram.kind {
        Kind::NotUnderstood => return Err(Verdict::Pass(PassReason::NotUnderstood)),
        Kind::LaterFragment if is_ahead(state, host, datagram) => {
            return Err(Verdict::Keep { goes_on: false });
        }
        Kind::LaterFragment => return Err(Verdict::Drop(DropReason::NoFirstFragment)),
        Kind::Transport(_) | Kind::Error { .. } => {}
    }
    // The kernel answers for these without a flow.
    may_go_on(datagram, mtu)?;
    let outside = (uplink.ifindex, outside_address(address, uplink, datagram.family));
    nat::masquerade(state, datagram, sender, outside, new)
}

/// What comes in by an uplink.
#[inline(always)]
pub fn from_outside<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    ifindex: u32,
) -> Verdict {
    let Some(uplink) = interface(state, ifindex, InterfaceKind::Uplink) else {
        return Verdict::Pass(PassReason::NotOurs);
    };
    outside_sends(packet, state, host, scratch, uplink).unwrap_or_else(|verdict| verdict)
}

#[inline(always)]
fn outside_sends<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    uplink: &Interface,
) -> Step<Verdict> {
    let not_ours = Verdict::Pass(PassReason::NotOurs);
    let frame = frame(packet).ok_or(not_ours)?;
    let ip = matches!(frame.ether_type, ether_type::IPV4 | ether_type::IPV6);
    let own = frame.destination == uplink.mac;
    if !ip || !(own || has_xdp(uplink)) || packet.tag().is_some_and(|vlan| vlan != 0) {
        return Ok(not_ours);
    }
    let Scratch { datagram, new } = scratch;
    if datagram::understand(packet, &frame, datagram).is_err() {
        return Ok(not_ours);
    }
    let datagram = &*datagram;
    if !own {
        return Ok(translated::by_xdp(state, host, &frame, datagram, new));
    }
    // An error that quotes a packet of ours and is not addressed to us says nothing to our endpoints.
    if datagram.destination != datagram.key.destination {
        return Ok(unrelated(state, host, datagram, uplink));
    }
    let seen = match conntrack::find(state, host, datagram, None, &mut new.reply) {
        Some(seen) if seen.goes(WayKind::Inward) => {
            if conntrack::gives_way(state, host, &seen, datagram, new) {
                return Ok(not_ours);
            }
            seen
        }
        // A source of ours, from outside.
        Some(_) => return Ok(Verdict::Drop(DropReason::SpoofedAddress)),
        None => {
            let Some(published) = nat::published_at(state, datagram, &mut new.port) else {
                return Ok(unrelated(state, host, datagram, uplink));
            };
            isolation::may_enter(state, datagram, own_address(uplink, datagram.family))?;
            nat::publish(state, datagram, uplink, published, new)?;
            new.open(state, host, datagram)?
        }
    };
    conntrack::was_awaited(state, host, datagram, &mut new.reply)?;
    let last_hop = may_go_on(datagram, seen.way().mtu.into());
    let now = host.now();
    translate(packet, state, host, datagram, &seen, (new, now))?;
    if last_hop.is_err() {
        seen.lives_on()?;
        // The host's stack answers; what it quotes is translated back on the way out.
        return Ok(Verdict::Pass(PassReason::Translated));
    }
    nat::lower_hop_limit(packet, datagram).ok_or(Verdict::Drop(DropReason::Malformed))?;
    deliver(packet, &seen, DeliverReason::Inward)
}

/// Whether XDP may look at what comes in by an uplink before TC does.
#[inline(always)]
const fn has_xdp(uplink: &Interface) -> bool {
    uplink.options.contains(InterfaceOptions::XDP)
}

/// A translated packet into its endpoint, in a frame of the gateway's.
#[inline(always)]
fn deliver<P: Packet + ?Sized>(
    packet: &mut P,
    seen: &Seen,
    reason: DeliverReason,
) -> Step<Verdict> {
    let way = seen.way();
    let addresses = packet.window::<12>(0).ok_or(Verdict::Drop(DropReason::Malformed))?;
    ethernet::write_addresses(addresses, way.mac, way.gateway_mac);
    let ifindex = way.ifindex;
    seen.lives_on()?;
    Ok(Verdict::Deliver { ifindex, reason })
}

/// Neither of a flow nor for a published port. What is addressed into a network ends here, unless it may be a fragment of
/// a flow without translation whose first one is still to come; and so does what claims to come from one. The host's own
/// address is known without a look-up.
#[inline(always)]
fn unrelated<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    uplink: &Interface,
) -> Verdict {
    if datagram.destination != own_address(uplink, datagram.family) {
        if isolation::is_ours(state, &datagram.destination) {
            let may_wait = is_ahead(state, host, datagram)
                && isolation::keeps_its_address(state, datagram)
                && !isolation::is_ours(state, &datagram.source);
            return if may_wait {
                Verdict::Keep { goes_on: false }
            } else {
                Verdict::Drop(DropReason::NotPublished)
            };
        }
        if isolation::is_ours(state, &datagram.source) {
            return Verdict::Drop(DropReason::SpoofedAddress);
        }
    }
    if is_ahead(state, host, datagram) && !isolation::is_ours(state, &datagram.source) {
        Verdict::Keep { goes_on: true }
    } else {
        Verdict::Pass(PassReason::NotOurs)
    }
}

/// What the host's stack sends out of an uplink: its own packets, what it forwards for an endpoint, and
/// its errors about packets that were translated on the way in. `ingress` is the interface that a packet
/// came in by, 0 for the host's own.
#[inline(always)]
pub fn to_outside<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    ifindex: u32,
    ingress: u32,
) -> Verdict {
    let Some(uplink) = interface(state, ifindex, InterfaceKind::Uplink) else {
        return Verdict::Pass(PassReason::NotOurs);
    };
    host_sends(packet, state, host, scratch, uplink, ingress).unwrap_or_else(|verdict| verdict)
}

#[inline(always)]
fn host_sends<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &mut H,
    scratch: &mut Scratch,
    uplink: &Interface,
    ingress: u32,
) -> Step<Verdict> {
    let not_ours = Verdict::Pass(PassReason::NotOurs);
    let frame = frame(packet).ok_or(not_ours)?;
    if is_hosts_own(packet, &frame, uplink) {
        return Ok(not_ours);
    }
    let Scratch { datagram, new } = scratch;
    if datagram::understand(packet, &frame, datagram).is_err() {
        // The stack looks at the network header only and forwards what is broken behind it.
        let private = datagram::source(packet, &frame)
            .is_some_and(|(source, _)| isolation::is_ours(state, &source));
        return Ok(if private { Verdict::Drop(DropReason::PrivateSource) } else { not_ours });
    }
    let datagram = &*datagram;
    let error = matches!(datagram.kind, Kind::Error { .. });
    let private = isolation::is_ours(state, &datagram.source);
    if !private && !error {
        return Ok(not_ours);
    }
    let sender = if private { Some(forwarded_for(state, datagram, ingress)?) } else { None };
    let seen = match (conntrack::find(state, host, datagram, sender, &mut new.reply), sender) {
        (Some(seen), _) if seen.goes(WayKind::Outward) => seen,
        (_, None) => return Ok(not_ours),
        // To a published port of this host, and yet by its routes to somewhere else.
        (Some(_), Some(_)) => return Ok(Verdict::Drop(DropReason::PrivateSource)),
        (None, Some(sender)) => forwarded(state, host, datagram, sender, uplink, new)?,
    };
    let now = host.now();
    translate(packet, state, host, datagram, &seen, (new, now))?;
    seen.lives_on()?;
    Ok(Verdict::Pass(PassReason::Translated))
}

/// Sent by the host itself and no ICMP, which is nearly everything: what we redirected here has the
/// uplink's address, too.
#[inline(always)]
fn is_hosts_own<P: Packet + ?Sized>(packet: &mut P, frame: &Ethernet, uplink: &Interface) -> bool {
    let own = match frame.ether_type {
        ether_type::IPV4 => uplink.v4,
        ether_type::IPV6 => uplink.v6,
        _ => return true,
    };
    datagram::source(packet, frame).is_some_and(|(source, protocol)| {
        source == own && matches!(protocol, protocol::TCP | protocol::UDP)
    })
}

/// The endpoint that a packet with a private source is of. It came in by the bridge of that endpoint's
/// network, where its source was checked; by any other way, somebody pretends.
#[inline(always)]
fn forwarded_for<'a, S: State>(
    state: &'a S,
    datagram: &Datagram,
    ingress: u32,
) -> Step<&'a Interface> {
    let refused = Verdict::Drop(DropReason::PrivateSource);
    let endpoint = state.endpoints().get(&datagram.source).ok_or(refused)?;
    interface(state, endpoint.ifindex, InterfaceKind::Endpoint)
        .filter(|sender| sender.gateway_ifindex == ingress)
        .ok_or(refused)
}

/// Opens the flow of an endpoint's packet that came by the host's stack.
#[inline(always)]
fn forwarded<'a, S: State, H: Host>(
    state: &'a S,
    host: &mut H,
    datagram: &Datagram,
    sender: &Interface,
    uplink: &Interface,
    new: &mut New,
) -> Step<Seen<'a>> {
    if !datagram.can_open() {
        return Err(Verdict::Drop(DropReason::PrivateSource));
    }
    let address = isolation::may_leave(state, sender, datagram)?;
    let outside = (uplink.ifindex, outside_address(address, uplink, datagram.family));
    nat::masquerade(state, datagram, sender, outside, new)?;
    let seen = new.open(state, host, datagram)?;
    // Another CPU may have been first with a flow of another kind.
    if seen.goes(WayKind::Outward) {
        Ok(seen)
    } else {
        Err(Verdict::Drop(DropReason::PrivateSource))
    }
}

/// What the host's stack sends into a network. `ingress` is the interface that it came in by, 0 for the
/// host's own.
#[inline(always)]
pub fn to_network<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &H,
    scratch: &mut Scratch,
    ifindex: u32,
    ingress: u32,
) -> Verdict {
    let Some(gateway) = interface(state, ifindex, InterfaceKind::Gateway) else {
        return Verdict::Pass(PassReason::NotOurs);
    };
    if ingress == 0 {
        let asked = frame(packet)
            .and_then(|frame| neighbours::asked_by_host(packet, state, &frame, gateway));
        return asked.unwrap_or(Verdict::Pass(PassReason::NotOurs));
    }
    if ingress == gateway.ifindex && !gateway.options.contains(InterfaceOptions::NO_PEERS) {
        return Verdict::Pass(PassReason::Bridge);
    }
    let Some(frame) = frame(packet) else { return Verdict::Drop(DropReason::Malformed) };
    match frame.ether_type {
        ether_type::IPV4 | ether_type::IPV6 => {}
        ether_type::ARP => return Verdict::Pass(PassReason::Neighbours),
        _ => return Verdict::Drop(DropReason::NotPublished),
    }
    // Only what came in by an uplink was translated.
    if interface(state, ingress, InterfaceKind::Uplink).is_none() {
        return Verdict::Drop(DropReason::NotPublished);
    }
    let Scratch { datagram, new } = scratch;
    if datagram::understand(packet, &frame, datagram).is_err() {
        return Verdict::Drop(DropReason::Malformed);
    }
    if translated::is(state, host, datagram, new) {
        Verdict::Pass(PassReason::KnownFlow)
    } else {
        Verdict::Drop(DropReason::NotPublished)
    }
}

/// Whether it is a fragment whose first one may still come.
#[inline(always)]
fn is_ahead<S: State, H: Host>(state: &S, host: &H, datagram: &Datagram) -> bool {
    matches!(datagram.kind, Kind::LaterFragment) && conntrack::is_awaited(state, host, datagram)
}

/// The interface at an index, if it is what we take it for.
#[inline(always)]
pub(super) fn interface<S: State>(
    state: &S,
    ifindex: u32,
    kind: InterfaceKind,
) -> Option<&Interface> {
    state.interface(ifindex).filter(|interface| interface.is(kind))
}

/// The address that an endpoint's packets leave an uplink with: the one that is decided already, or the uplink's.
#[inline(always)]
fn outside_address(decided: Address, uplink: &Interface, family: FamilyId) -> Address {
    if decided.is_none() { own_address(uplink, family) } else { decided }
}

/// The address of an interface's own.
#[inline(always)]
pub(super) fn own_address(interface: &Interface, family: FamilyId) -> Address {
    match family {
        FamilyId::V4 => interface.v4,
        FamilyId::V6 => interface.v6,
    }
}

#[inline(always)]
fn frame<P: Packet + ?Sized>(packet: &mut P) -> Option<Ethernet> {
    packet.window::<{ ethernet::LENGTH }>(0).map(|bytes| Ethernet::read(bytes))
}

/// A packet at its last hop, or longer than its way allows, is the kernel's to answer.
#[inline(always)]
fn may_go_on(datagram: &Datagram, mtu: u32) -> Step<()> {
    if datagram.hop_limit <= 1 {
        return Err(Verdict::Pass(PassReason::LastHop));
    }
    if datagram.length > mtu {
        return Err(Verdict::Pass(PassReason::TooLong));
    }
    Ok(())
}

/// To another endpoint by the host's address. The packet is addressed to the host, so its stack would not answer for
/// it as a router does.
#[inline(always)]
fn may_turn(datagram: &Datagram, mtu: u32) -> Step<()> {
    may_go_on(datagram, mtu).map_err(|_| Verdict::Drop(DropReason::Unanswerable))
}

/// Where the packets of a flow go on out of its uplink.
#[inline(always)]
fn follow_route<'a, S: State, H: Host>(
    state: &'a S,
    host: &mut H,
    datagram: &Datagram,
    sender: &Interface,
    seen: &Seen,
    now: u64,
) -> Step<&'a NextHop> {
    let egress = seen.way().ifindex;
    // The packet's own, which is the flow's: that may be another's by now, and a next hop is for everybody.
    if let Some(hop) = next_hop::find(state, host, &datagram.destination, egress, now) {
        return Ok(hop);
    }
    // The stack may know another way. By an uplink the packet meets us again; by any other interface it would leave
    // untranslated.
    Err(match host.route(datagram, sender.gateway_ifindex) {
        Route::Forward { ifindex, .. }
            if interface(state, ifindex, InterfaceKind::Uplink).is_none() =>
        {
            Verdict::Drop(DropReason::NotAnUplink)
        }
        _ => Verdict::Pass(PassReason::NoUplink),
    })
}

/// Rewrites a packet of a flow and counts it.
#[inline(always)]
fn translate<P: Packet + ?Sized, S: State, H: Host>(
    packet: &mut P,
    state: &S,
    host: &H,
    datagram: &Datagram,
    seen: &Seen,
    (new, now): (&mut New, u64),
) -> Step<()> {
    // What is written from here on must not be another flow's.
    seen.lives_on()?;
    conntrack::remember(state, host, datagram, &datagram.key, &mut new.reply);
    conntrack::observe(state, host, seen, datagram, (packet.length(), now));
    let malformed = Verdict::Drop(DropReason::Malformed);
    nat::change_identification(packet, datagram, seen).ok_or(malformed)?;
    let done = match datagram.kind {
        Kind::Transport(protocol) => nat::translate(packet, datagram, seen, protocol),
        Kind::Error { protocol, quoted, quoted_payload } => {
            let quoted = nat::Quoted {
                protocol,
                network: quoted as usize,
                transport: quoted_payload as usize,
            };
            nat::translate_error(packet, datagram, seen, quoted)
        }
        Kind::LaterFragment => nat::translate_fragment(packet, datagram, seen),
        Kind::NotUnderstood => None,
    };
    done.ok_or(malformed)
}
