//! Who a program of the host thinks it talks to.

use super::{Address, assert_layout};

/// An address and a port: the other end of a socket. The port is a word, because this is built on the stack, where
/// whatever is written must be aligned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Peer {
    /// The address.
    pub address: Address,
    port: u64,
}
assert_layout!(Peer, size 24, align 8);

impl Peer {
    /// From an address and a port in network byte order.
    #[inline(always)]
    pub const fn new(address: Address, port: [u8; 2]) -> Self {
        Self { address, port: u16::from_ne_bytes(port) as u64 }
    }

    /// The port, network byte order.
    #[inline(always)]
    pub const fn port(&self) -> [u8; 2] {
        (self.port as u16).to_ne_bytes()
    }
}

impl Peer {
    /// Where the programs of an endpoint ask for names, 127.0.0.11:53, as with Docker.
    pub const RESOLVER: Self = Self::new(Address::v4([127, 0, 0, 11]), 53_u16.to_be_bytes());
}

/// The ports that the resolver of a namespace really has, so that a program inside can serve names at every address of
/// its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct ResolverPorts {
    /// UDP, network byte order.
    pub udp: [u8; 2],
    /// TCP, network byte order.
    pub tcp: [u8; 2],
}
assert_layout!(ResolverPorts, size 4, align 1);

/// A socket of the host and the endpoint that it was led to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct PeerKey {
    /// The socket's cookie: no other socket ever has it.
    pub socket: u64,
    /// The endpoint's address and port.
    pub endpoint: Peer,
}
assert_layout!(PeerKey, size 32, align 8);
