//! ARP for Ethernet and IPv4 (RFC 826).

use super::field;
use crate::abi::Mac;

/// Bytes of a message.
pub const LENGTH: usize = 28;

/// The operation of a question.
pub const REQUEST: u16 = 1;
/// The operation of an answer.
pub const REPLY: u16 = 2;

/// Makes an answer of a question: whose address was asked for, and to whom.
#[inline(always)]
pub fn write_reply(
    message: &mut [u8; LENGTH],
    (Mac(owner), asked): (&Mac, [u8; 4]),
    (Mac(asker), asking): (&Mac, [u8; 4]),
) {
    message[6..8].copy_from_slice(&REPLY.to_be_bytes());
    message[8..14].copy_from_slice(owner);
    message[14..18].copy_from_slice(&asked);
    message[18..24].copy_from_slice(asker);
    message[24..28].copy_from_slice(&asking);
}

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

    /// [`REQUEST`], [`REPLY`] or another.
    #[inline(always)]
    pub const fn operation(&self) -> u16 {
        u16::from_be_bytes(field::<6, _, _>(self.0))
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

    /// The IPv4 address that it is about.
    #[inline(always)]
    pub const fn target_address(&self) -> [u8; 4] {
        field::<24, _, _>(self.0)
    }
}
