//! IPv6 (RFC 8200).

use super::field;

/// Bytes of the fixed header.
pub const LENGTH: usize = 40;
/// Offset of the hop limit.
pub const HOP_LIMIT: usize = 7;
/// Offset of the source address; the destination follows.
pub const ADDRESSES: usize = 8;

/// The longest packet that needs no option to say how long it is.
pub const LONGEST: u32 = (LENGTH + u16::MAX as usize) as u32;
/// Bytes of the hop-by-hop header that a longer one has (RFC 2675), with that option alone.
pub const JUMBO_HEADER: u32 = 8;

/// A view of the fixed header.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(pub &'a [u8; LENGTH]);

impl Ipv6<'_> {
    /// 6.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Bytes after this header; 0 for a jumbogram.
    #[inline(always)]
    pub const fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// One of [`super::protocol`], or any other.
    #[inline(always)]
    pub const fn next_header(&self) -> u8 {
        self.0[6]
    }

    /// Hop limit.
    #[inline(always)]
    pub const fn hop_limit(&self) -> u8 {
        self.0[HOP_LIMIT]
    }

    /// Source address.
    #[inline(always)]
    pub const fn source(&self) -> [u8; 16] {
        field::<ADDRESSES, _, _>(self.0)
    }

    /// Destination address.
    #[inline(always)]
    pub const fn destination(&self) -> [u8; 16] {
        field::<{ ADDRESSES + 16 }, _, _>(self.0)
    }
}
