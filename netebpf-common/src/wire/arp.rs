//! ARP for Ethernet and IPv4 (RFC 826).

use super::field;
use crate::abi::Mac;

/// Bytes of a message.
pub const LENGTH: usize = 28;

/// A view of a message.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a>(pub &'a [u8; LENGTH]);

impl Arp<'_> {
    /// Whether it is about Ethernet and IPv4 at all.
    #[inline(always)]
    pub const fn is_ethernet_ipv4(&self) -> bool {
        let b = self.0;
        b[0] == 0 && b[1] == 1 && b[2] == 8 && b[3] == 0 && b[4] == 6 && b[5] == 4
    }

    /// The sender's Ethernet address.
    #[inline(always)]
    pub const fn sender_mac(&self) -> Mac {
        Mac(field::<8, _, _>(self.0))
    }

    /// The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    #[inline(always)]
    pub const fn sender_address(&self) -> [u8; 4] {
        field::<14, _, _>(self.0)
    }
}
