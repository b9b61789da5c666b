//! What the host's own programs do with their sockets: a call that is led to an endpoint, not a packet that is
//! translated.
//!
//! A program that connects to a published port of its own host, or sends to one, gets the endpoint's address in the
//! place of the one that it used; from there on its packets are like any other of the host's. Who asks for the other
//! end of the socket is told what the program used ([`name_of`]).
//!
//! In an endpoint's namespace calls to its resolver are led to the port that this really has: port 53 is for the
//! endpoint's own programs.
//!
//! **Invariant**: but for its resolver, nothing is changed for a socket of another network namespace than the host's, and that is what is
//! looked at first: these calls are those of the whole machine. A loopback address matches only here, since no packet
//! is ever looked up in this way. What is led to an endpoint never has a loopback source.
//!
//! Deliberately absent: sockets that were bound to a loopback address and have a port there, or to an address of the other
//! family. The endpoint could not answer them, and nobody can take a port back, so they are refused by an error of their
//! own. One that has a loopback address and no port yet (`IP_BIND_ADDRESS_NO_PORT`) loses the address when it connects. A
//! socket that was bound to an interface is left alone. A connection that was led somewhere stays there when the port
//! leads elsewhere, since its packets are not looked at. And who may use a port, by its ranges of sources, is asked of
//! packets only: the host itself always may.

use super::table::{Lookup as _, Memo as _, State};
use crate::abi::{Address, Peer, PeerKey, Protocol, Published, PublishedKey, PublishedPorts};

/// Which call of a program it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// `connect`.
    Connect,
    /// `sendto`, `sendmsg` with an address.
    Send,
}

/// A socket, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// Its cookie.
    pub cookie: u64,
    /// Its protocol's number.
    pub protocol: u32,
    /// The address that its packets will leave with; unspecified where the route decides.
    pub source: Address,
    /// Whether it has a port already, so that its source stays what it is.
    pub has_port: bool,
    /// The interface that it is bound to, or 0.
    pub interface: u32,
}

/// What becomes of a call.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Led {
    /// What it would have been without us.
    Nowhere,
    /// It goes to an endpoint.
    To(Peer),
    /// It goes to an endpoint, and the socket's source has to become what the route decides.
    Released(Peer),
    /// It fails: the port is published, and there is no way there.
    Refused,
    /// It fails: nobody could answer the address that the socket is bound to.
    NoSource,
}

/// Whether a network namespace is the host's, by its cookie.
#[inline(always)]
pub fn is_host<S: State>(state: &S, namespace: u64) -> bool {
    namespace != 0 && state.settings().is_some_and(|settings| settings.host_cookie == namespace)
}

/// Where the resolver of an endpoint's namespace really is, for a call to the address where names are asked for.
#[inline(always)]
pub fn resolver<S: State>(state: &S, namespace: u64, protocol: u32, to: &Peer) -> Option<Peer> {
    if *to != Peer::RESOLVER {
        return None;
    }
    let ports = state.resolvers().get(&namespace)?;
    let port = match Protocol::from_number(protocol)? {
        Protocol::Tcp => ports.tcp,
        Protocol::Udp => ports.udp,
        Protocol::Icmp => return None,
    };
    Some(Peer::new(to.address, port))
}

/// What the programs of that namespace call it.
#[inline(always)]
pub fn resolver_name<S: State>(state: &S, namespace: u64, from: &Peer) -> Option<Peer> {
    if from.address != Peer::RESOLVER.address {
        return None;
    }
    let ports = state.resolvers().get(&namespace)?;
    let is_it = [ports.udp, ports.tcp].contains(&from.port());
    is_it.then_some(Peer::RESOLVER)
}

/// Where a call to an address leads. The namespace was looked at.
#[inline(always)]
pub fn lead<S: State>(state: &S, call: Call, socket: &Socket, to: &Peer) -> Led {
    let Some(protocol) = Protocol::from_number(socket.protocol) else { return Led::Nowhere };
    if !is_announced(state, protocol, to.port()) || socket.interface != 0 {
        return Led::Nowhere;
    }
    let to = Peer::new(as_connected(&to.address), to.port());
    let own = to.address.is_loopback() || state.host_addresses().get(&to.address).is_some();
    if !own {
        return Led::Nowhere;
    }
    let mut key = PublishedKey::new(protocol, to.address, to.port());
    let Some(published) = find(state, &mut key) else { return Led::Nowhere };
    let endpoint = Peer::new(published.address, published.port);
    if !may_turn(call, &to.address, &endpoint.address)
        || state.endpoints().get(&endpoint.address).is_none()
    {
        return Led::Refused;
    }
    let fits = source_fits(socket, &endpoint.address);
    if !fits && !may_be_released(call, socket) {
        return Led::NoSource;
    }
    let key = PeerKey { socket: socket.cookie, endpoint };
    // A socket sends many datagrams, and to find an entry costs less than to replace it.
    if state.peers().get(&key) != Some(&to) {
        state.peers().put(&key, &to);
    }
    if fits { Led::To(endpoint) } else { Led::Released(endpoint) }
}

/// What a socket's program called the other end, if it was led there.
#[inline(always)]
pub fn name_of<S: State>(state: &S, socket: u64, endpoint: Peer) -> Option<Peer> {
    state.peers().get(&PeerKey { socket, endpoint }).copied()
}

/// Where a port of the host leads for whoever is within: the most specific mapping wins. The address is one of the
/// host's. The key is used up.
#[inline(always)]
pub(super) fn find<'a, S: State>(state: &'a S, key: &mut PublishedKey) -> Option<&'a Published> {
    if let Some(published) = state.local_ports().get(key) {
        return Some(published);
    }
    *key = key.on_every_address();
    state.local_ports().get(key)
}

/// The cheap question: whether a port is published on any address.
#[inline(always)]
pub(super) fn is_announced<S: State>(state: &S, protocol: Protocol, port: [u8; 2]) -> bool {
    let (word, mask) = PublishedPorts::place(protocol, u16::from_be_bytes(port));
    state.published_ports().get(&word).is_some_and(|bits| bits & mask != 0)
}

/// Linux takes an unspecified destination for the loopback.
#[inline(always)]
fn as_connected(address: &Address) -> Address {
    if !address.is_unspecified() {
        *address
    } else if address.is_mapped() {
        Address::v4([127, 0, 0, 1])
    } else {
        Address::from_halves([0, 1_u64.to_be()])
    }
}

/// Whether the kernel takes the endpoint's address for the one of the call. An IPv6 socket may be connected to an IPv4
/// address, but a datagram that was addressed to IPv6 cannot go to one.
#[inline(always)]
fn may_turn(call: Call, to: &Address, endpoint: &Address) -> bool {
    let turns = to.is_mapped() != endpoint.is_mapped();
    !(turns && (to.is_mapped() || call == Call::Send))
}

/// Whether the endpoint can answer what this socket sends.
#[inline(always)]
fn source_fits(socket: &Socket, endpoint: &Address) -> bool {
    let source = &socket.source;
    source.is_unspecified() || (source.is_mapped() == endpoint.is_mapped() && !source.is_loopback())
}

/// Whether the socket may get another source: only while it connects, and has no port.
#[inline(always)]
fn may_be_released(call: Call, socket: &Socket) -> bool {
    call == Call::Connect && !socket.has_port && socket.source.is_loopback()
}
