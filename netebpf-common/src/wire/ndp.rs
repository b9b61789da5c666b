//! Neighbour discovery (RFC 4861).

use super::{checksum::Change, field};
use crate::abi::{Address, Mac};

/// ICMPv6 types.
pub mod kind {
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
}

/// Offset of the target address of a solicitation, advertisement or redirect.
pub const TARGET: usize = 8;
/// Offset of the options of a neighbour solicitation or advertisement.
pub const OPTIONS: usize = 24;
/// Option: the sender's own Ethernet address.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Option: the target's Ethernet address.
pub const TARGET_LINK_LAYER: u8 = 2;

/// Bytes of a neighbour solicitation or advertisement with one option of eight bytes.
pub const WITH_OPTION: usize = OPTIONS + 8;
/// Everybody on a link.
pub const ALL_NODES: Address = Address::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Everybody on an Ethernet (RFC 2464 §7).
pub const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// The target address.
#[inline(always)]
pub const fn target<const N: usize>(message: &[u8; N]) -> [u8; 16] {
    field::<TARGET, _, _>(message)
}

/// A view of a neighbour solicitation with one option.
#[derive(Clone, Copy, Debug)]
pub struct Solicitation<'a>(pub &'a [u8; WITH_OPTION]);

impl Solicitation<'_> {
    /// The target address, if this is one that is to be answered (§7.1.1): who has no address yet must not name its
    /// Ethernet address.
    #[inline(always)]
    pub const fn target(&self, nameless: bool) -> Option<[u8; 16]> {
        let [code, kind, units] = [self.0[1], self.0[OPTIONS], self.0[OPTIONS + 1]];
        if code != 0 || units != 1 || nameless && kind == SOURCE_LINK_LAYER {
            return None;
        }
        Some(target(self.0))
    }
}

/// Makes an advertisement of a solicitation, but for its checksum; what that adds to it. `solicited`: for who asked, and
/// not for everybody.
#[inline(always)]
pub fn write_advertisement(
    message: &mut [u8; WITH_OPTION],
    Mac([a, b, c, d, e, f]): &Mac,
    router: bool,
    solicited: bool,
) -> Change {
    // Override: the owner's address is what it is, whatever was known before.
    let flags = 0x20 | if solicited { 0x40 } else { 0 } | if router { 0x80 } else { 0 };
    let change = replace::<0>(message, [kind::NEIGHBOUR_ADVERTISEMENT, 0])
        .then(replace::<4>(message, [flags, 0]))
        .then(replace::<6>(message, [0, 0]))
        .then(replace::<OPTIONS>(message, [TARGET_LINK_LAYER, 1]));
    change
        .then(replace::<{ OPTIONS + 2 }>(message, [*a, *b]))
        .then(replace::<{ OPTIONS + 4 }>(message, [*c, *d]))
        .then(replace::<{ OPTIONS + 6 }>(message, [*e, *f]))
}

/// Writes a word; what that adds to the checksum.
#[inline(always)]
fn replace<const AT: usize>(message: &mut [u8; WITH_OPTION], new: [u8; 2]) -> Change {
    let old = field::<AT, 2, _>(message);
    message[AT..AT + 2].copy_from_slice(&new);
    Change::NONE.word(old, new)
}
