//! The bytes of a frame.

use crate::wire::checksum::{self, Change};

/// How a checksum is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChecksumStyle {
    /// It covers a pseudo-header of IPv6.
    pub v6: bool,
    /// 0 says that there is none (UDP; on IPv6 in tunnels only, RFC 6935): it stays 0, and nothing else
    /// becomes 0.
    pub optional: bool,
}

impl ChecksumStyle {
    /// Applies a change to a checksum that is whole.
    #[inline(always)]
    pub const fn update(self, field: &mut [u8; 2], change: Change) {
        if self.optional && matches!(*field, [0, 0]) {
            return;
        }
        *field = checksum::updated(*field, change);
        if self.optional && matches!(*field, [0, 0]) {
            *field = [0xff, 0xff];
        }
    }
}

/// A frame, from its Ethernet header on.
pub trait Packet {
    /// The `N` bytes at `offset`, or `None` where the frame (or the part of it that can be reached)
    /// is shorter.
    fn window<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]>;

    /// Bytes of the frame.
    fn length(&self) -> u32;

    /// Payload bytes of each segment that the frame will be cut into; 0 where it is sent as it is.
    #[inline(always)]
    fn segment_size(&self) -> u32 {
        0
    }

    /// The VLAN of the tag that the frame has beside its bytes, as the hardware takes it off and puts it on: 0 in one
    /// that only gives a priority (IEEE 802.1Q §9.6), which is for whom the frame without it would be.
    #[inline(always)]
    fn tag(&self) -> Option<u16> {
        None
    }

    /// Makes the first `length` bytes reachable by [`Packet::window`], as far as the frame has them.
    #[inline(always)]
    fn ensure(&mut self, _length: usize) {}

    /// Applies a change of addresses and one of content to the transport checksum at `offset`. They are
    /// two, because a checksum that is left for the hardware to finish holds the pseudo-header's sum
    /// only.
    #[inline(always)]
    fn update_checksum(
        &mut self,
        offset: usize,
        addresses: Change,
        content: Change,
        style: ChecksumStyle,
    ) {
        if let Some(field) = self.window::<2>(offset) {
            style.update(field, addresses.then(content));
        }
    }

    /// Says that bytes changed which no checksum inside the packet makes up for (the hop limit of IPv6),
    /// so that a sum over the whole packet, computed by the hardware, can follow.
    #[inline(always)]
    fn changed_outside_checksums(&mut self, _change: Change) {}
}

/// A frame in memory.
impl Packet for [u8] {
    #[inline(always)]
    fn window<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.get_mut(offset..)?.first_chunk_mut()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len() as u32
    }
}
