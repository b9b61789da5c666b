//! A flow: one object with two directions.
//!
//! The table of flows is an array of objects, and the index, a hash, leads from the tuple of either
//! direction to the object. A flow dies by one store to its generation; an index entry whose generation
//! is not the object's is a miss, so that half a flow can never be used, whatever is left in the index.
//!
//! **Invariant**: a place in the array gets a new owner only after its index entries were removed. A packet that had
//! found it before compares generations again when it has read what it needs.

use super::{Address, Mac, SharedWord, assert_layout};

/// The transport protocols that are translated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// ICMP echo, and ICMPv6 echo: one number for both families. The identifier stands in the place of
    /// a port: the requester's; the responder's is 0.
    Icmp = 1,
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

impl Protocol {
    /// The protocol of a key's number.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The tuple of one direction of a flow, as its packets carry it when they arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct FlowKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, network byte order (ICMP echo: see [`Protocol::Icmp`]).
    pub source_port: [u8; 2],
    /// Destination port, network byte order.
    pub destination_port: [u8; 2],
    /// A [`Protocol`]; as wide as it is so that a key has no padding, which would be copied in pieces.
    pub protocol: u32,
}
assert_layout!(FlowKey, size 40, align 8);

impl FlowKey {
    /// Set in `protocol` where an entry is no direction of a flow, but says that the tuple's own entry
    /// is being cleared. It is there for the time of a few instructions.
    pub const MARK: u32 = 0x80;

    /// Set in `protocol` of a key that no flow has, but the first fragment of a packet: the packet's own addresses,
    /// and its identification in the place of the ports.
    pub const FRAGMENT: u32 = 0x100;

    /// Becomes the key that the fragments of a packet with these addresses have in common. The protocol is part of it
    /// for IPv4 (RFC 791), and 0 for IPv6 (RFC 8200 §4.5).
    #[inline(always)]
    pub const fn set_fragment(&mut self, protocol: u8, identification: [u8; 4]) {
        let [a, b, c, d] = identification;
        self.source_port = [a, b];
        self.destination_port = [c, d];
        self.protocol = protocol as u32 | Self::FRAGMENT;
    }

    /// A number that spreads tuples, no more: it keeps nobody from finding two with the same.
    #[inline(always)]
    pub const fn spread(&self) -> u32 {
        let ([a, b], [c, d]) = (self.source.halves(), self.destination.halves());
        let [source, destination] =
            [u16::from_ne_bytes(self.source_port), u16::from_ne_bytes(self.destination_port)];
        let ports = (source as u64) << 32 | (destination as u64) << 16 | self.protocol as u64;
        let addresses = (a ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ c ^ d;
        let mixed = (addresses.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ ports)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Of a product the upper bits depend on all of the factor, the others on what is below them.
        ((mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    /// The key under which a tuple is marked, see [`FlowKey::MARK`]. Field by field: of a whole key LLVM
    /// makes a call that copies it a byte at a time.
    #[inline(always)]
    #[must_use]
    pub const fn mark(&self) -> Self {
        Self {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.protocol | Self::MARK,
        }
    }

    /// No flow.
    pub const NONE: Self = Self {
        source: Address::NONE,
        destination: Address::NONE,
        source_port: [0; 2],
        destination_port: [0; 2],
        protocol: 0,
    };

    /// Becomes the tuple of a packet that goes the other way than `other`.
    #[inline(always)]
    pub const fn set_inverse(&mut self, other: &Self) {
        self.source = other.destination;
        self.destination = other.source;
        self.source_port = other.destination_port;
        self.destination_port = other.source_port;
        self.protocol = other.protocol;
    }

    /// The tuple of a packet that goes the other way.
    #[inline(always)]
    #[must_use]
    pub const fn inverse(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// The direction of a packet within its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Direction {
    /// The way of the packet that opened the flow.
    Original = 0,
    /// The way back.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// How many entries the index of so many flows has: two each, and room for the marks of who is clearing some
/// ([`FlowKey::MARK`]), without which a full table would stay full.
pub const fn index_entries(flows: u32) -> u32 {
    flows.saturating_mul(2).saturating_add(4096)
}

/// An entry of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FlowRef {
    /// The generation of the flow that the entry was made for.
    pub generation: u64,
    /// The flow's place in the array.
    pub slot: u32,
    /// A [`Direction`].
    pub direction: u32,
}
assert_layout!(FlowRef, size 16, align 8);

impl FlowRef {
    /// No flow's.
    pub const NONE: Self = Self { generation: FLOW_DEAD, slot: 0, direction: 0 };
}

/// Where a CPU found the flow of a packet, a [`FlowRef`] that changes in place. It may lead to any flow, or to none:
/// who follows it compares tuple and generation.
#[derive(Debug, Default)]
#[repr(C)]
pub struct RecentFlow {
    /// See [`FlowRef::generation`].
    pub generation: SharedWord,
    /// The slot in the upper half. In the lower the direction, and what [`FlowKey::spread`] has beyond the place: it
    /// saves looking at a flow that is another's.
    pub place: SharedWord,
}
assert_layout!(RecentFlow, size 16, align 8);

impl RecentFlow {
    /// How many a CPU remembers.
    pub const PLACES: u32 = 1024;

    #[inline(always)]
    const fn beyond_place(spread: u32) -> u32 {
        spread.wrapping_mul(Self::PLACES)
    }

    /// Where the flow of a tuple that is spread so may be.
    #[inline(always)]
    pub fn entry(&self, spread: u32) -> FlowRef {
        let place = self.place.load();
        let (slot, rest) = ((place >> 32) as u32, place as u32);
        let same = rest & !1 == Self::beyond_place(spread);
        FlowRef {
            generation: if same { self.generation.load() } else { FLOW_DEAD },
            slot,
            direction: rest & 1,
        }
    }

    /// Replaces it.
    #[inline(always)]
    pub fn set(&self, spread: u32, entry: &FlowRef, direction: Direction) {
        let rest = Self::beyond_place(spread) | direction as u32;
        self.generation.store(entry.generation);
        self.place.store(u64::from(entry.slot) << 32 | u64::from(rest));
    }
}

/// What is known of the first fragment of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct FirstFragment {
    /// Its flow, and the direction; [`FlowRef::NONE`] when it has none, or did not come yet.
    pub flow: FlowRef,
    /// When it came by, or the last later one before it: nanoseconds of the flow clock.
    pub seen: u64,
    /// How many later ones came before it and are kept; 0 when it did come.
    pub awaited_by: u64,
}
assert_layout!(FirstFragment, size 32, align 8);

/// Where a later fragment is kept that came before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct PieceKey {
    /// The packet, see [`FlowKey::FRAGMENT`].
    pub packet: FlowKey,
    /// Which one of those that are kept, from 0 on.
    pub number: u64,
}
assert_layout!(PieceKey, size 48, align 8);

/// A later fragment that is kept, in its frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Piece {
    /// How many bytes it has.
    pub length: u64,
    /// Those, and others.
    pub frame: [u8; Self::LONGEST],
}
assert_layout!(Piece, size 2056, align 8);

impl Piece {
    /// The longest frame that is kept, in bytes.
    pub const LONGEST: usize = 2048;
    /// How many are kept of one packet: as many as the longest one has, and more.
    pub const MOST: u64 = 64;
}

/// A socket of an endpoint, to the outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct SocketKey {
    /// Its address.
    pub address: Address,
    /// Its port, or the identifier of its pings, network byte order.
    pub port: [u8; 2],
    /// Zero.
    pub padding: [u8; 2],
    /// A [`Protocol`].
    pub protocol: u32,
}
assert_layout!(SocketKey, size 24, align 8);

impl SocketKey {
    /// No socket.
    pub const NONE: Self =
        Self { address: Address::NONE, port: [0; 2], padding: [0; 2], protocol: 0 };
}

/// The port that a socket has to the outside where it could not keep its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Mapping {
    /// When it was last given, nanoseconds of the flow clock.
    pub seen: u64,
    /// The port, a number: as wide as it is so that nothing is copied to a program's stack in pieces.
    pub port: u64,
}
assert_layout!(Mapping, size 16, align 8);

/// Why a flow exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum FlowKind {
    /// From an endpoint to the outside, its source translated to an uplink's address.
    Masquerade = 1,
    /// From outside to a published port.
    Published = 2,
    /// From an endpoint to a published port of the host, both addresses translated.
    Hairpin = 3,
}

/// TCP flags that were seen in one direction, a bit set in [`Way::tcp_seen`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpSeen(pub u64);

impl TcpSeen {
    /// SYN.
    pub const SYN: u64 = 1;
    /// ACK without SYN.
    pub const ACK: u64 = 2;
    /// FIN.
    pub const FIN: u64 = 4;
    /// RST.
    pub const RST: u64 = 8;
    /// A reset that was not believed, and nothing since.
    pub const DOUBTED: u64 = 16;

    /// Whether any of `flags` was seen.
    pub const fn any(self, flags: u64) -> bool {
        self.0 & flags != 0
    }
}

/// From where to where the packets of one direction go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum WayKind {
    /// From an endpoint out of an uplink.
    Outward = 0,
    /// From an uplink in to an endpoint.
    Inward = 1,
    /// From one endpoint to another, or to itself, by the host's address.
    Hairpin = 2,
}

/// One direction of a flow: its ready-made translation, where its packets go, what was seen of it. One cache line.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Way {
    /// Packets translated.
    pub packets: SharedWord,
    /// Bytes of those, Ethernet headers included.
    pub bytes: SharedWord,
    /// When the last of them came, nanoseconds of the flow clock (monotonic, coarse); written once a
    /// second at most, so that a busy flow's cache line stays clean.
    pub last_seen: SharedWord,
    /// [`TcpSeen`] of this direction.
    pub tcp_seen: SharedWord,
    /// TCP, of what an endpoint sends: the sequence number that it goes on with, and in the lower half the last that
    /// it acknowledged. 0 of what comes from outside.
    pub sequence: SharedWord,
    /// To an endpoint: the host-side veth. Outward: the uplink.
    pub ifindex: u32,
    /// What the change of addresses adds to a checksum (one's complement, network byte order).
    pub address_change: [u8; 2],
    /// What the change of ports, or of the identifier, adds to a checksum.
    pub port_change: [u8; 2],
    /// To an endpoint: its Ethernet address.
    pub mac: Mac,
    /// To an endpoint: its gateway's Ethernet address.
    pub gateway_mac: Mac,
    /// A [`WayKind`].
    pub kind: u16,
    /// To an endpoint: the longest IP packet, in bytes, that it takes.
    pub mtu: u16,
}
assert_layout!(Way, size 64, align 8);

/// The generation of a place without a flow. A live flow's generation is odd.
pub const FLOW_DEAD: u64 = 0;

/// Whether a generation is that of a live flow.
#[inline(always)]
pub const fn is_live(generation: u64) -> bool {
    generation & 1 == 1
}

/// One flow.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Flow {
    /// Odd while the flow lives; even when it is dead. Each new owner of the place raises it.
    pub generation: SharedWord,
    /// 1 when who opened it went on after having been answered: until then it may be a flood's, and may have to make
    /// room for a later one of the same owner.
    pub confirmed: SharedWord,
    /// When the flow was opened, nanoseconds of the flow clock.
    pub created: u64,
    /// A [`FlowKind`].
    pub kind: u32,
    /// [`super::Interface::slot`] of the endpoint that the flow is counted for.
    pub owner: u32,
    /// The owner's generation when the flow was opened.
    pub owner_generation: u32,
    /// The other endpoint of a hairpin, the server, as `owner` names the client; in any other flow the owner again.
    pub peer: u32,
    /// The peer's generation when the flow was opened.
    pub peer_generation: u32,
    /// The user side's own: 1 from when it ended the flow until it gives the place back, so that the
    /// next process knows which places to give back. The kernel side leaves it alone.
    pub retired: u32,
    /// The tuples of both directions, indexed by [`Direction`].
    pub keys: [FlowKey; 2],
    /// Both ways, indexed by [`Direction`].
    pub ways: [Way; 2],
}
assert_layout!(Flow, size 256, align 8);

impl Flow {
    /// The tuple of a direction.
    #[inline(always)]
    pub const fn key(&self, direction: Direction) -> &FlowKey {
        &self.keys[direction as usize]
    }

    /// The way of a direction.
    #[inline(always)]
    pub const fn way(&self, direction: Direction) -> &Way {
        &self.ways[direction as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// What one client has to one server, one socket to many servers, and many endpoints with one port.
    #[test]
    fn tuples_are_spread() {
        let key = |source: [u8; 4], port: u16, destination: [u8; 4]| FlowKey {
            source: Address::v4(source),
            destination: Address::v4(destination),
            source_port: port.to_be_bytes(),
            destination_port: 443_u16.to_be_bytes(),
            protocol: Protocol::Tcp as u32,
        };
        let (client, server) = ([172, 18, 0, 3], [198, 51, 100, 1]);
        let ports = (0..500).map(|n| key(client, 32_768 + 2 * n, server));
        let servers = (0..500_u16).map(|n| key(client, 5000, [10, 9, (n >> 8) as u8, n as u8]));
        let clients = (0..500_u16).map(|n| key([10, 9, (n >> 8) as u8, n as u8], 5000, server));
        for keys in [ports.collect::<Vec<_>>(), servers.collect(), clients.collect()] {
            let places = keys
                .iter()
                .map(|key| (u64::from(key.spread()) * u64::from(RecentFlow::PLACES)) >> 32);
            let places: HashSet<_> = places.collect();
            assert!(places.len() > 300, "{}", places.len());
        }
    }
}
