//! Ethernet II.

use super::field;
use crate::abi::Mac;

/// Bytes of the header.
pub const LENGTH: usize = 14;

/// Where the EtherType stands.
pub const ETHER_TYPE: usize = 12;

/// What is less is no EtherType but a length (IEEE 802.3 §3.2.6).
pub const LEAST_TYPE: u16 = 1536;

/// EtherTypes (IEEE 802).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1ad service tag.
    pub const QINQ: u16 = 0x88a8;
}

/// A header, read. Laid out so that no copy of it touches a program's stack at an address that is no multiple
/// of the access: the verifier refuses that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct Ethernet {
    /// Destination address.
    pub destination: Mac,
    padding: [u8; 2],
    /// Source address.
    pub source: Mac,
    /// One of [`ether_type`], or any other.
    pub ether_type: u16,
}

impl Ethernet {
    /// Reads a header.
    #[inline(always)]
    pub fn read(bytes: &[u8; LENGTH]) -> Self {
        Self {
            destination: Mac(field::<0, _, _>(bytes)),
            padding: [0; 2],
            source: Mac(field::<6, _, _>(bytes)),
            ether_type: u16::from_be_bytes(field::<12, _, _>(bytes)),
        }
    }
}

/// Writes both addresses.
#[inline(always)]
pub fn write_addresses(bytes: &mut [u8; 12], destination: Mac, source: Mac) {
    let Mac([d0, d1, d2, d3, d4, d5]) = destination;
    let Mac([s0, s1, s2, s3, s4, s5]) = source;
    *bytes = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5];
}
