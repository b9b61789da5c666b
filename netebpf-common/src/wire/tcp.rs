//! TCP (RFC 9293).

use super::field;

/// Bytes of the header without options.
pub const MINIMUM: usize = 20;
/// Offset of the checksum.
pub const CHECKSUM: usize = 16;

/// Flags, the fourteenth byte.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Ends a connection at once.
    pub const RST: u8 = 4;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 16;
}

/// The sequence and the acknowledgement number.
#[inline(always)]
pub const fn numbers(header: &[u8; MINIMUM]) -> (u32, u32) {
    (u32::from_be_bytes(field::<4, _, _>(header)), u32::from_be_bytes(field::<8, _, _>(header)))
}

/// How many of the flags have a sequence number of their own: SYN and FIN.
#[inline(always)]
pub const fn numbered_flags(flags: u8) -> u32 {
    (flags & flag::FIN != 0) as u32 + (flags & flag::SYN != 0) as u32
}

/// Bytes of the header, options included, from its 13th byte.
#[inline(always)]
pub const fn header_length(offset_byte: u8) -> usize {
    ((offset_byte >> 4) as usize) << 2
}
