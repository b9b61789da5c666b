//! The host around the packet: clock, chance, routes and sockets, and what the kernel side runs as functions of its own.

use super::{
    conntrack::{self, New},
    datagram::Datagram,
    table::State,
};
use crate::abi::{Address, FlowKey, NextHop, SharedWord};

/// Where a packet goes on, as the host's routes have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Out of an interface.
    Forward {
        /// The interface.
        ifindex: u32,
        /// The longest IP packet, in bytes, on this route.
        mtu: u32,
    },
    /// To the host itself, or by no route at all: the kernel gives one answer for both.
    Host,
    /// Nowhere, as a route says.
    None,
}

/// What the packet logic asks of its surroundings.
pub trait Host {
    /// The flow clock: nanoseconds, monotonic.
    fn now(&self) -> u64;
    /// Adds to a counter that other CPUs add to as well.
    fn add(&self, counter: &SharedWord, amount: u64);
    /// 32 random bits.
    fn random(&self) -> u32;
    /// The route of a packet that came in by an interface.
    fn route(&mut self, datagram: &Datagram, ingress: u32) -> Route;
    /// The next hop to an address by a given interface: writes all of it but the address that was asked for, and when.
    /// Answers whether there is one.
    fn next_hop(&mut self, destination: &Address, egress: u32, hop: &NextHop) -> bool;
    /// Whether a socket of the host would receive a packet with this tuple.
    fn socket_receives(&mut self, tuple: &FlowKey) -> bool;
    /// Whether a socket of the host has sent a SYN, and waits for what answers it with this tuple of TCP.
    fn socket_connects(&mut self, tuple: &FlowKey) -> bool;
    /// Takes a place for a flow that is to be opened. The kernel side overrides this and [`Self::open`] by functions that are
    /// verified once, since they are the largest parts of its programs and several ways lead to them; these find what they work
    /// on in the program's room.
    fn claim<S: State>(&mut self, state: &S, new: &mut New)
    where
        Self: Sized,
    {
        conntrack::claim(state, self, new);
    }
    /// Opens the flow of a packet in it.
    fn open<S: State>(&mut self, state: &S, datagram: &Datagram, new: &mut New)
    where
        Self: Sized,
    {
        conntrack::open(state, self, datagram, new);
    }
}
