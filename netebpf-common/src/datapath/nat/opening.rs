//! Which flow a packet opens: what its reply will look like, whose it is and where both directions go.
//!
//! **Invariant**: nothing is opened here, and nothing kept but in [`New`]: it is the caller's to open or to leave.

use crate::{
    abi::{
        Address, Endpoint, FlowKind, Interface, InterfaceKind, Published, PublishedKey, WayKind,
    },
    datapath::{
        Step,
        conntrack::{New, Opening, Party, WayTo},
        datagram::{Datagram, Kind},
        isolation, local,
        pipeline::{interface, own_address},
        table::{Lookup as _, State},
    },
    verdict::{DropReason, Verdict},
};

/// From an endpoint out of an uplink, with an address of the host, or its own where it keeps that.
#[inline(always)]
pub(in crate::datapath) fn masquerade<S: State>(
    state: &S,
    datagram: &Datagram,
    sender: &Interface,
    (uplink, address): (u32, Address),
    new: &mut New,
) -> Step<()> {
    if address.is_none() {
        return Err(Verdict::Drop(DropReason::NoMasqueradeAddress));
    }
    if !datagram.can_open() {
        return Err(Verdict::Drop(DropReason::NoFlow));
    }
    // Its way back needs the endpoint as others see it.
    let endpoint = endpoint(state, &datagram.source)?;
    new.reply.set_inverse(&datagram.key);
    new.reply.destination = address;
    new.opening = Opening {
        kind: FlowKind::Masquerade as u32,
        owner: Party::sender(sender),
        peer: Party::sender(sender),
        ways: [WayTo::uplink(uplink), WayTo::endpoint(endpoint, WayKind::Inward)],
    };
    Ok(())
}

/// From an uplink to a published port.
#[inline(always)]
pub(in crate::datapath) fn publish<S: State>(
    state: &S,
    datagram: &Datagram,
    uplink: &Interface,
    published: &Published,
    new: &mut New,
) -> Step<()> {
    let server = server(state, datagram, published, new)?;
    new.opening = Opening {
        kind: FlowKind::Published as u32,
        owner: Party::at(server),
        peer: Party::at(server),
        ways: [WayTo::endpoint(server, WayKind::Inward), WayTo::uplink(uplink.ifindex)],
    };
    Ok(())
}

/// From an endpoint to a published port of its host, which leads to another endpoint or back to itself; answers
/// with that one. The source becomes the host's too, as it would be for anybody outside (RFC 4787 REQ-9), so that
/// the answer comes back this way. Who publishes a port does so for neighbours as well, also where peers are kept
/// apart.
#[inline(always)]
pub(in crate::datapath) fn hairpin<'a, S: State>(
    state: &'a S,
    datagram: &Datagram,
    sender: &Interface,
    published: &Published,
    new: &mut New,
) -> Step<&'a Endpoint> {
    let server = server(state, datagram, published, new)?;
    let client = endpoint(state, &datagram.source)?;
    new.reply.destination = host_address(state, datagram, server);
    new.opening = Opening {
        kind: FlowKind::Hairpin as u32,
        owner: Party::sender(sender),
        peer: Party::at(server),
        ways: [server, client].map(|to| WayTo::endpoint(to, WayKind::Hairpin)),
    };
    Ok(server)
}

/// What a server takes for its client: the address of the host that this one used; for a gateway's, that of the server's
/// own network, as the host itself would have. By another network's the server may have a way of its own, and would
/// answer there, with an address that is not for that network.
#[inline(always)]
fn host_address<S: State>(state: &S, datagram: &Datagram, server: &Endpoint) -> Address {
    if !isolation::is_ours(state, &datagram.destination) {
        return datagram.destination;
    }
    let own = interface(state, server.ifindex, InterfaceKind::Endpoint)
        .and_then(|veth| interface(state, veth.gateway_ifindex, InterfaceKind::Gateway))
        .map_or(Address::NONE, |gateway| own_address(gateway, datagram.family));
    if own.is_none() { datagram.destination } else { own }
}

/// Where the port that a packet is addressed to leads, if it is a published one.
#[inline(always)]
pub(in crate::datapath) fn published_at<'a, S: State>(
    state: &'a S,
    datagram: &Datagram,
    key: &mut PublishedKey,
) -> Option<&'a Published> {
    let Kind::Transport(protocol) = datagram.kind else { return None };
    if !local::is_announced(state, protocol, datagram.key.destination_port) {
        return None;
    }
    *key = PublishedKey::new(protocol, datagram.destination, datagram.key.destination_port);
    state.published().get(key)
}

/// The same for who is within: an endpoint reaches the ports of every address of its host, its own network's gateway
/// among them. An address of the other family leads nowhere: packets do not change theirs.
#[inline(always)]
pub(in crate::datapath) fn published_within<'a, S: State>(
    state: &'a S,
    datagram: &Datagram,
    key: &mut PublishedKey,
) -> Option<&'a Published> {
    let Kind::Transport(protocol) = datagram.kind else { return None };
    if !local::is_announced(state, protocol, datagram.key.destination_port) {
        return None;
    }
    *key = PublishedKey::new(protocol, datagram.destination, datagram.key.destination_port);
    state.host_addresses().get(&datagram.destination)?;
    let published = local::find(state, key)?;
    (published.address.is_mapped() == datagram.destination.is_mapped()).then_some(published)
}

/// The endpoint behind a published port, for a packet that may begin a flow to it.
#[inline(always)]
fn server<'a, S: State>(
    state: &'a S,
    datagram: &Datagram,
    published: &Published,
    new: &mut New,
) -> Step<&'a Endpoint> {
    if !datagram.can_open() {
        return Err(Verdict::Drop(DropReason::NoFlow));
    }
    if published.sources != 0 && !state.is_source(published.sources, &datagram.source) {
        return Err(Verdict::Drop(DropReason::SourceNotAllowed));
    }
    new.reply.set_inverse(&datagram.key);
    new.reply.source = published.address;
    new.reply.source_port = published.port;
    endpoint(state, &published.address)
}

#[inline(always)]
fn endpoint<'a, S: State>(state: &'a S, address: &Address) -> Step<&'a Endpoint> {
    state.endpoints().get(address).ok_or(Verdict::Drop(DropReason::EndpointGone))
}
