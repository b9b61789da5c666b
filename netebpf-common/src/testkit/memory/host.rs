//! The host around the packet, as the topology has it.

use crate::{
    abi::{Address, FlowKey, NextHop, Protocol, SharedWord},
    datapath::{Datagram, FamilyId, Host, Route},
    testkit::{
        case::WayOut,
        station::{DB, HOST, MTU, ROUTER, SITES, UPLINK},
    },
};
use std::collections::HashSet;

/// Clock, chance, routes and sockets, all under the test's control.
#[derive(Clone, Debug)]
pub struct MemoryHost {
    /// The flow clock, nanoseconds.
    pub now: u64,
    /// The state of a small generator of random numbers.
    pub seed: u64,
    /// What the ways out take, bytes.
    pub mtu: u32,
    /// Where it sends what is for nobody near.
    pub way_out: WayOut,
    /// Protocol and port of the host's own sockets, on every address.
    pub sockets: HashSet<(u32, u16)>,
    /// Its own ports, and those of servers, that it connects from and to.
    pub connecting: HashSet<(u16, u16)>,
}

impl Default for MemoryHost {
    fn default() -> Self {
        let now = 1_000_000_000_000;
        let (sockets, connecting) = (HashSet::new(), HashSet::new());
        Self { now, seed: 1, mtu: MTU, way_out: WayOut::Router, sockets, connecting }
    }
}

impl MemoryHost {
    /// The route, and the next hop on it.
    fn to(&self, destination: &Address) -> (Route, Address) {
        let family = if destination.is_mapped() { FamilyId::V4 } else { FamilyId::V6 };
        let host = HOST.address(family);
        let same = |other: Address, v4: usize, v6: usize| match family {
            FamilyId::V4 => other.octets()[12..12 + v4] == destination.octets()[12..12 + v4],
            FamilyId::V6 => other.octets()[..v6] == destination.octets()[..v6],
        };
        let nowhere = |route| (route, Address::NONE);
        let by = |ifindex, next_hop, mtu| (Route::Forward { ifindex, mtu }, next_hop);
        if *destination == host {
            return nowhere(Route::Host);
        }
        for site in SITES {
            if *destination == site.gateway.address(family) {
                return nowhere(Route::Host);
            }
            if same(site.gateway.address(family), 3, 8) {
                return by(site.bridge, *destination, MTU);
            }
        }
        if same(host, 3, 8) {
            return by(UPLINK, *destination, self.mtu);
        }
        match self.way_out {
            WayOut::Router => by(UPLINK, ROUTER.address(family), self.mtu),
            WayOut::Unreachable => nowhere(Route::None),
            WayOut::Elsewhere => by(DB.bridge, *destination, MTU),
            // The kernel gives one answer for both.
            WayOut::Unknown => nowhere(Route::Host),
        }
    }
}

impl Host for MemoryHost {
    fn now(&self) -> u64 {
        self.now
    }

    fn add(&self, counter: &SharedWord, amount: u64) {
        counter.add(amount);
    }

    fn random(&self) -> u32 {
        // The clock moves between packets, and the seed between tests: that is chance enough.
        let mixed = (self.seed ^ self.now).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32
    }

    fn route(&mut self, datagram: &Datagram, _ingress: u32) -> Route {
        self.to(&datagram.destination).0
    }

    fn next_hop(&mut self, destination: &Address, egress: u32, hop: &NextHop) -> bool {
        let (Route::Forward { ifindex, mtu }, address) = self.to(destination) else { return false };
        if ifindex != egress {
            return false;
        }
        hop.set(ifindex, mtu, &address);
        true
    }

    fn socket_receives(&mut self, tuple: &FlowKey) -> bool {
        let port = u16::from_be_bytes(tuple.destination_port);
        self.sockets.contains(&(tuple.protocol, port)) || self.socket_connects(tuple)
    }

    fn socket_connects(&mut self, tuple: &FlowKey) -> bool {
        let [own, server] = [tuple.destination_port, tuple.source_port].map(u16::from_be_bytes);
        tuple.protocol == Protocol::Tcp as u32 && self.connecting.contains(&(own, server))
    }
}
