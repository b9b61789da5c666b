//! Calls of the programs of this machine, at the root of its control groups. One that is neither the host's nor to a
//! resolver of ours costs two comparisons.

use crate::adapters::{Maps, SocketCall};
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use netebpf_common::datapath::local::{self, Call, Led};

/// The call goes on.
const GO_ON: i32 = 1;

/// As for a port where nobody listens.
const ECONNREFUSED: i32 = 111;
/// As for a source that is no address of the host's.
const EADDRNOTAVAIL: i32 = 99;

/// Leads a call of the host's programs to a published port's endpoint, and one of an endpoint's to its resolver.
#[inline(always)]
fn lead<const V6: bool>(context: &SockAddrContext, kind: Call) -> i32 {
    let call = SocketCall::<V6>::new(context.sock_addr);
    let (namespace, to) = (call.namespace(), call.peer());
    if !local::is_host(&Maps, namespace) {
        if let Some(resolver) = local::resolver(&Maps, namespace, call.protocol(), &to) {
            call.set_peer(&resolver);
        }
        return GO_ON;
    }
    let socket = match kind {
        Call::Connect => call.connecting(),
        Call::Send => call.sending(),
    };
    match local::lead(&Maps, kind, &socket, &to) {
        Led::Nowhere => {}
        Led::To(endpoint) => call.set_peer(&endpoint),
        // Only these programs may: the others have no such call in them.
        Led::Released(endpoint) if kind == Call::Connect && call.release_source() => {
            call.set_peer(&endpoint);
        }
        Led::Refused => return call.fail(ECONNREFUSED),
        Led::Released(_) | Led::NoSource => return call.fail(EADDRNOTAVAIL),
    }
    GO_ON
}

/// Tells a program the address that it used.
#[inline(always)]
fn name<const V6: bool>(context: &SockAddrContext) -> i32 {
    let call = SocketCall::<V6>::new(context.sock_addr);
    let (namespace, peer) = (call.namespace(), call.peer());
    let name = if local::is_host(&Maps, namespace) {
        local::name_of(&Maps, call.cookie(), peer)
    } else {
        local::resolver_name(&Maps, namespace, &peer)
    };
    if let Some(name) = name {
        call.set_peer(&name);
    }
    GO_ON
}

/// A program connects a socket.
#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    lead::<false>(&context, Call::Connect)
}

/// Likewise, of an IPv6 socket.
#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    lead::<true>(&context, Call::Connect)
}

/// A program sends a datagram.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    lead::<false>(&context, Call::Send)
}

/// Likewise, of an IPv6 socket.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    lead::<true>(&context, Call::Send)
}

/// A program reads a datagram and where it came from.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(context: SockAddrContext) -> i32 {
    name::<false>(&context)
}

/// Likewise, of an IPv6 socket.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(context: SockAddrContext) -> i32 {
    name::<true>(&context)
}

/// A program asks for the other end of its socket.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(context: SockAddrContext) -> i32 {
    name::<false>(&context)
}

/// Likewise, of an IPv6 socket.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(context: SockAddrContext) -> i32 {
    name::<true>(&context)
}
