//! IPv4 (RFC 791).

use super::field;

/// Bytes of the header without options.
pub const MINIMUM: usize = 20;
/// Offset of the identification; flags and the fragment's offset follow.
pub const IDENTIFICATION: usize = 4;
/// Offset of the time to live; the protocol and the header checksum follow.
pub const HOP_LIMIT: usize = 8;
/// Offset of the header checksum.
pub const CHECKSUM: usize = 10;
/// Offset of the source address; the destination follows.
pub const ADDRESSES: usize = 12;

/// A view of the fixed part of the header.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(pub &'a [u8; MINIMUM]);

impl Ipv4<'_> {
    /// 4.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Bytes of the header, options included: 0…60.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        ((self.0[0] & 0xf) as usize) << 2
    }

    /// Type of service: DSCP and ECN.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        self.0[1]
    }

    /// Bytes of header and payload; 0 for BIG TCP.
    #[inline(always)]
    pub const fn total_length(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// What the fragments of a packet have in common.
    #[inline(always)]
    pub const fn identification(&self) -> [u8; 2] {
        field::<IDENTIFICATION, _, _>(self.0)
    }

    /// Where a fragment stands in its packet, in units of eight bytes, and whether more of them follow.
    #[inline(always)]
    pub const fn fragment(&self) -> (u16, bool) {
        let word = u16::from_be_bytes(field::<{ IDENTIFICATION + 2 }, _, _>(self.0));
        (word & 0x1fff, word & 0x2000 != 0)
    }

    /// Whether it is a fragment, or may become some.
    #[inline(always)]
    pub const fn may_be_cut(&self) -> bool {
        let word = u16::from_be_bytes(field::<{ IDENTIFICATION + 2 }, _, _>(self.0));
        word & 0x7fff != 0x4000
    }

    /// Time to live.
    #[inline(always)]
    pub const fn hop_limit(&self) -> u8 {
        self.0[HOP_LIMIT]
    }

    /// One of [`super::protocol`], or any other.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.0[9]
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> [u8; 4] {
        field::<ADDRESSES, _, _>(self.0)
    }

    /// Destination address.
    #[inline(always)]
    pub const fn destination(&self) -> [u8; 4] {
        field::<{ ADDRESSES + 4 }, _, _>(self.0)
    }
}
