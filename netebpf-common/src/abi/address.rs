//! Addresses as they stand in map keys: one type for both families.

use super::assert_layout;
use core::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An IPv4 or IPv6 address in network byte order; IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
///
/// The packet logic refuses IPv4-mapped addresses in IPv6 headers, so the two families never meet in
/// one key.
///
/// It is kept as two words, because of bytes LLVM makes sixteen loads and sixteen stores. A processor that
/// reads a word just after its bytes were written waits until they are in its cache, at every packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Address {
    /// As the bytes lie in memory.
    halves: [u64; 2],
}
assert_layout!(Address, size 16, align 8);

impl Address {
    /// `::`, which stands for "none": no IPv4 address equals it.
    pub const NONE: Self = Self { halves: [0; 2] };

    /// From its sixteen bytes.
    #[inline(always)]
    pub const fn new(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self::from_halves([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// An IPv4 address from its four bytes.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let low = (u32::from_le_bytes(octets) as u64) << 32 | 0xffff_0000;
        Self::from_halves([0, low.to_le()])
    }

    /// From two words in memory order.
    #[inline(always)]
    pub const fn from_halves(halves: [u64; 2]) -> Self {
        Self { halves }
    }

    /// Two words in memory order.
    #[inline(always)]
    pub const fn halves(&self) -> [u64; 2] {
        self.halves
    }

    /// Four words in memory order.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        let (high, low) = (u64::from_le(self.halves[0]), u64::from_le(self.halves[1]));
        let [a, b] = [high as u32, (high >> 32) as u32];
        let [c, d] = [low as u32, (low >> 32) as u32];
        [a.to_le(), b.to_le(), c.to_le(), d.to_le()]
    }

    /// Its sixteen bytes.
    #[inline(always)]
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.halves[0].to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.halves[1].to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// The last four bytes: the address itself where it is IPv4.
    #[inline(always)]
    pub const fn last_four(&self) -> [u8; 4] {
        ((u64::from_le(self.halves[1]) >> 32) as u32).to_le_bytes()
    }

    /// Whether this is an IPv4 address, or an IPv6 address that pretends to be one.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        self.halves[0] == 0 && u64::from_le(self.halves[1]) as u32 == 0xffff_0000
    }

    /// `0.0.0.0` or `::`, of its own family.
    #[inline(always)]
    pub const fn unspecified(&self) -> Self {
        if self.is_mapped() { Self::v4([0; 4]) } else { Self::NONE }
    }

    /// Whether this is `0.0.0.0` or `::`.
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        self.halves[0] == 0 && matches!(u64::from_le(self.halves[1]), 0 | 0xffff_0000)
    }

    /// Whether this is of `127.0.0.0/8`, or `::1`.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        let low = u64::from_le(self.halves[1]);
        self.halves[0] == 0 && (low == 1 << 56 || low & 0xff_ffff_ffff == 0x7f_ffff_0000)
    }

    /// Whether this is [`Address::NONE`].
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.octets().cmp(&other.octets())
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::new(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::new(address.octets())
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_mapped() {
            IpAddr::V4(Ipv4Addr::from(address.last_four()))
        } else {
            IpAddr::V6(Ipv6Addr::from(address.octets()))
        }
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// A range of addresses: what a key of the longest-prefix trie says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    /// Significant bits of `address`; an IPv4 prefix of n bits has 96 + n.
    pub length: u32,
    /// The first address of the range.
    pub address: Address,
}

impl Prefix {
    /// A range by its address and the prefix length of its own family (0…32 or 0…128).
    pub fn new(address: IpAddr, length: u8) -> Self {
        let bits = match address {
            IpAddr::V4(_) => 96 + u32::from(length),
            IpAddr::V6(_) => u32::from(length),
        };
        Self { length: bits, address: address.into() }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: &Address) -> bool {
        let bits = |address: &Address| u128::from_be_bytes(address.octets());
        let beyond = 128_u32.saturating_sub(self.length);
        (bits(&self.address) ^ bits(address)).checked_shr(beyond).unwrap_or(0) == 0
    }

    /// The key that finds the longest prefix that holds `address`.
    #[inline(always)]
    pub const fn host(address: Address) -> Self {
        Self { length: 128, address }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(C)]
pub struct Mac(pub [u8; 6]);
assert_layout!(Mac, size 6, align 1);

impl Mac {
    /// The link-local address that IPv6 derives from this address (RFC 4291, appendix A).
    #[inline(always)]
    pub const fn link_local(&self) -> Address {
        let [a, b, c, d, e, f] = self.0;
        Address::new([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

impl core::fmt::Display for Mac {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl core::fmt::Debug for Mac {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, out)
    }
}
