//! What is remembered of a route.

use super::{Address, SharedWord, assert_layout};

/// Where packets to one address go on, out of one interface, as a CPU last heard from the kernel.
#[derive(Debug, Default)]
#[repr(C)]
pub struct NextHop {
    /// The address, as two words in memory order.
    pub destination: [SharedWord; 2],
    /// The interface in the upper half, and in the lower the longest IP packet, in bytes, on this route.
    pub link: SharedWord,
    /// When the kernel was asked, nanoseconds of the flow clock; 0 for never.
    pub asked: SharedWord,
    /// The next hop's address, as two words in memory order: a gateway's, or the destination's own.
    pub address: [SharedWord; 2],
}
assert_layout!(NextHop, size 48, align 8);

impl NextHop {
    /// How many a CPU remembers.
    pub const PLACES: u32 = 256;

    /// Replaces what the kernel said.
    #[inline(always)]
    pub fn set(&self, ifindex: u32, mtu: u32, address: &Address) {
        self.link.store(u64::from(ifindex) << 32 | u64::from(mtu));
        let [high, low] = address.halves();
        self.address[0].store(high);
        self.address[1].store(low);
    }

    /// The interface.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        (self.link.load() >> 32) as u32
    }

    /// The next hop.
    #[inline(always)]
    pub fn address(&self) -> Address {
        let [high, low] = &self.address;
        Address::from_halves([high.load(), low.load()])
    }

    /// The longest IP packet, in bytes.
    #[inline(always)]
    pub fn mtu(&self) -> u32 {
        self.link.load() as u32
    }
}
