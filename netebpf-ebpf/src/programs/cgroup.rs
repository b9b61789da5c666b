//! Calls of the programs of this machine, at the root of its control groups. One that is neither the host's nor to a
//! resolver of ours costs two comparisons.

use crate::adapters::{Maps, SocketCall};
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use netebpf_common::{
    abi::Peer,
    datapath::local::{self, Call, Led},
};

/// The call goes on.
const GO_ON: i32 = 1;

/// The call, if it is one of the host's own programs.
#[inline(always)]
fn of_host(context: &SockAddrContext) -> Option<SocketCall> {
    let call = SocketCall::new(context.sock_addr);
    local::is_host(&Maps, call.namespace()).then_some(call)
}

/// Leads a call of another program to its namespace's resolver, if that is meant.
#[inline(always)]
fn resolver(context: &SockAddrContext, to: &Peer) -> Option<Peer> {
    let call = SocketCall::new(context.sock_addr);
    local::resolver(&Maps, call.namespace(), call.protocol(), to)
}

/// Likewise, by IPv4.
#[inline(always)]
fn to_resolver_v4(context: &SockAddrContext) -> i32 {
    let call = SocketCall::new(context.sock_addr);
    if let Some(resolver) = resolver(context, &call.peer_v4()) {
        call.set_peer_v4(&resolver);
    }
    GO_ON
}

/// Likewise, by an IPv4-mapped address.
#[inline(always)]
fn to_resolver_v6(context: &SockAddrContext) -> i32 {
    let call = SocketCall::new(context.sock_addr);
    if let Some(resolver) = resolver(context, &call.peer_v6()) {
        call.set_peer_v6(&resolver);
    }
    GO_ON
}

/// What a program called the other end of its socket.
#[inline(always)]
fn name(call: &SocketCall, peer: Peer) -> Option<Peer> {
    let namespace = call.namespace();
    if local::is_host(&Maps, namespace) {
        local::name_of(&Maps, call.cookie(), peer)
    } else {
        local::resolver_name(&Maps, namespace, &peer)
    }
}

/// A program connects a socket.
#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    let Some(call) = of_host(&context) else { return to_resolver_v4(&context) };
    match local::lead(&Maps, Call::Connect, &call.connecting(), &call.peer_v4()) {
        Led::Nowhere => return GO_ON,
        Led::To(endpoint) => call.set_peer_v4(&endpoint),
        Led::Refused => return call.refuse(),
    }
    GO_ON
}

/// Likewise, to an IPv6 address.
#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    let Some(call) = of_host(&context) else { return to_resolver_v6(&context) };
    match local::lead(&Maps, Call::Connect, &call.connecting(), &call.peer_v6()) {
        Led::Nowhere => return GO_ON,
        Led::To(endpoint) => call.set_peer_v6(&endpoint),
        Led::Refused => return call.refuse(),
    }
    GO_ON
}

/// A program sends a datagram.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    let Some(call) = of_host(&context) else { return to_resolver_v4(&context) };
    match local::lead(&Maps, Call::Send, &call.sending_v4(), &call.peer_v4()) {
        Led::Nowhere => return GO_ON,
        Led::To(endpoint) => call.set_peer_v4(&endpoint),
        Led::Refused => return call.refuse(),
    }
    GO_ON
}

/// Likewise, to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    let Some(call) = of_host(&context) else { return to_resolver_v6(&context) };
    match local::lead(&Maps, Call::Send, &call.sending_v6(), &call.peer_v6()) {
        Led::Nowhere => return GO_ON,
        Led::To(endpoint) => call.set_peer_v6(&endpoint),
        Led::Refused => return call.refuse(),
    }
    GO_ON
}

/// Tells a program the address that it used.
#[inline(always)]
fn name_v4(context: &SockAddrContext) -> i32 {
    let call = SocketCall::new(context.sock_addr);
    if let Some(name) = name(&call, call.peer_v4()) {
        call.set_peer_v4(&name);
    }
    GO_ON
}

/// Likewise on an IPv6 socket.
#[inline(always)]
fn name_v6(context: &SockAddrContext) -> i32 {
    let call = SocketCall::new(context.sock_addr);
    if let Some(name) = name(&call, call.peer_v6()) {
        call.set_peer_v6(&name);
    }
    GO_ON
}

/// A program reads a datagram and where it came from.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(context: SockAddrContext) -> i32 {
    name_v4(&context)
}

/// Likewise on an IPv6 socket.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(context: SockAddrContext) -> i32 {
    name_v6(&context)
}

/// A program asks for the other end of its socket.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(context: SockAddrContext) -> i32 {
    name_v4(&context)
}

/// Likewise of an IPv6 socket.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(context: SockAddrContext) -> i32 {
    name_v6(&context)
}
