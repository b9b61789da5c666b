//! What tests of the packet logic are made of: stations, frames, tables in memory, and cases.
//!
//! **Invariant**: nothing here decides anything about a packet. A [`Case`] is a description; a
//! [`Machine`] runs it, the packet logic over tables in memory being one and the real object in a real
//! kernel another, and both must be seen to do the same.
//!
//! ```
//! use netebpf_common::testkit::*;
//!
//! case("masquerade keeps a free source port")
//!     .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
//!     .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
//!     .binding(WEB_1.port(40_000), HOST.port(40_000))
//!     .run();
//! ```

mod case;
mod frame;
mod memory;
mod station;

pub use case::{
    Case, Expect, Given, Hook, Layout, Machine, Memory, Observation, Row, Seen, Tables, WayOut,
    answered, asked, case, hairpin, keep, keep_and_pass, pass, peer, refuse, release, rx,
    translated, tx,
};
pub use case::{
    bring_back, capacity, connects, embryonic_quota, flow_vanishes, into_network, later, leaves_as,
    never_masqueraded, no_default_route, no_uplink_address, only_for, open, peers_apart, place_of,
    publish, quota, remove, restart, snat_ports, socket, to_outside, to_outside_from, veth,
    way_in_takes, way_out_elsewhere, way_out_takes, world_unreachable, xdp_at_uplink,
};
pub use frame::{
    ErrorKind, Frame, Protocols, arp, arp_reply, arp_request, checksums_are_right, echo_reply,
    echo_request, icmp_error, icmp_message, neighbour_advertisement, neighbour_answer,
    neighbour_solicitation, raw, recompute_checksums, tcp, udp,
};
pub use memory::{Chaos, Fate, MemoryHost, MemoryState, Operation, TableName};
pub use station::*;
