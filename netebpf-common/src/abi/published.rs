//! Published ports: what the user side asks for.

use super::{Address, Protocol, assert_layout};

/// A published port: one of the host's own addresses, or the endpoint's own where its network is routed; never a
/// wildcard. The user side expands "every address" to the addresses of the uplinks and follows them as they change, so
/// one exact look-up finds the most specific port mapping, and any other address matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct PublishedKey {
    /// The address.
    pub address: Address,
    /// The port, network byte order; 0 for ICMP, of which requests are echoed.
    pub port: [u8; 2],
    /// Zero.
    pub padding: [u8; 2],
    /// A [`Protocol`].
    pub protocol: u32,
}
assert_layout!(PublishedKey, size 24, align 8);

impl PublishedKey {
    /// A port at an address, in network byte order.
    #[inline(always)]
    pub const fn new(protocol: Protocol, address: Address, port: [u8; 2]) -> Self {
        Self { address, port, padding: [0; 2], protocol: protocol as u32 }
    }

    /// The key of the same port on every address of the family; only [`super::map::LOCAL_PORTS`] has such.
    #[inline(always)]
    pub const fn on_every_address(&self) -> Self {
        Self { address: self.address.unspecified(), ..*self }
    }
}

/// Where a published port leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Published {
    /// The endpoint's address; the key of its entry in the table of endpoints.
    pub address: Address,
    /// The endpoint's port, network byte order.
    pub port: [u8; 2],
    /// Zero.
    pub padding: [u8; 2],
    /// Who may use it: a group of ranges in the trie of sources ([`super::Source`]), or 0 for everybody.
    pub sources: u32,
}
assert_layout!(Published, size 24, align 8);

/// The layout of the bitmap of published ports: the cheap question before the look-up. A bit says that
/// the port is published on some address.
pub struct PublishedPorts;

impl PublishedPorts {
    /// 64-bit words in the map: 65,536 ports of TCP, then of UDP, then ICMP's one.
    pub const WORDS: u32 = 2 * 65_536 / 64 + 1;

    /// Word and mask of a port.
    #[inline(always)]
    pub const fn place(protocol: Protocol, port: u16) -> (u32, u64) {
        match protocol {
            Protocol::Tcp => (port as u32 >> 6, 1 << (port & 63)),
            Protocol::Udp => (1024 + (port as u32 >> 6), 1 << (port & 63)),
            Protocol::Icmp => (Self::WORDS - 1, 1),
        }
    }
}
