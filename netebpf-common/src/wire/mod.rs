//! Header formats: where each field stands, and how a checksum changes with it.
//!
//! **Invariant**: no policy. A view is over a byte array of constant size, so it has alignment 1 and
//! cannot be out of bounds; what stands in network order is converted in the accessor.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod tcp;
pub mod udp;

/// The `N` bytes of the field at `AT`, all at once: put together byte by byte they stay bytes in the program, each
/// with a load of its own.
#[inline(always)]
const fn field<const AT: usize, const N: usize, const LENGTH: usize>(
    header: &[u8; LENGTH],
) -> [u8; N] {
    const { assert!(AT + N <= LENGTH, "the field lies in the header") };
    match header.split_at(AT).1.first_chunk() {
        Some(bytes) => *bytes,
        None => [0; N],
    }
}

/// Protocol numbers of the IPv4 protocol and IPv6 next-header fields (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}
