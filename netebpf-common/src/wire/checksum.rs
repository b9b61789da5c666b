//! The Internet checksum, changed rather than recomputed (RFC 1071, RFC 1624).

use crate::abi::Address;

/// What a change of some bytes adds to the one's complement sum over them: the sum of the new words and
/// of the complements of the old ones, folded to 16 bits. Words are taken as they lie in memory; the sum
/// does not mind the byte order as long as the checksum itself is taken the same way (RFC 1071 §2 B).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Change(u32);

impl Change {
    /// Nothing changed.
    pub const NONE: Self = Self(0);

    /// A change kept in a map, see [`Change::to_bytes`].
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes) as u32)
    }

    /// Folded to 16 bits, as it lies in memory.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 2] {
        fold(self.0).to_ne_bytes()
    }

    /// The 16 bits, zero-extended: what the kernel's checksum helpers take for a difference.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        fold(self.0) as u32
    }

    /// Whether a checksum stays as it is.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// One word replaced by another. The same word is no change at all.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, old: [u8; 2], new: [u8; 2]) -> Self {
        let (old, new) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        if old == new {
            return self;
        }
        self.then(Self(!old as u32 + new as u32))
    }

    /// An address replaced by another. The same address is no change at all.
    #[inline(always)]
    #[must_use]
    pub fn address(self, old: &Address, new: &Address) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (old.words(), new.words());
        if (a, b, c, d) == (e, f, g, h) {
            return self;
        }
        let removed = u64::from(!a) + u64::from(!b) + u64::from(!c) + u64::from(!d);
        let added = u64::from(e) + u64::from(f) + u64::from(g) + u64::from(h);
        let sum = removed + added;
        // Four halves of 16 bits, of which the upper ones carry a few bits only.
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        self.then(Self(sum as u32))
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn then(self, other: Self) -> Self {
        Self(fold(self.0) as u32 + fold(other.0) as u32)
    }
}

/// The sum of the words of `LENGTH` bytes from an offset on. Of a length that is known: the verifier follows a loop
/// that may end anywhere from each of its ends on.
#[inline(always)]
pub fn sum<const LENGTH: usize, const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let (mut sum, mut done) = (0, 0);
    while done < LENGTH {
        sum += u32::from(u16::from_ne_bytes([bytes[at + done], bytes[at + done + 1]]));
        done += 2;
    }
    sum
}

/// Folds the carries of a one's complement sum back in.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A checksum after a change (RFC 1624, eqn. 3).
#[inline(always)]
pub const fn updated(checksum: [u8; 2], change: Change) -> [u8; 2] {
    if change.is_none() {
        return checksum;
    }
    (!fold((!u16::from_ne_bytes(checksum)) as u32 + fold(change.0) as u32)).to_ne_bytes()
}

/// A checksum that is left for the hardware to finish, after a change of the pseudo-header: until then the
/// field holds that header's sum, not its complement.
#[inline(always)]
pub const fn updated_partial(sum: [u8; 2], pseudo_header: Change) -> [u8; 2] {
    fold(u16::from_ne_bytes(sum) as u32 + fold(pseudo_header.0) as u32).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(bytes: &[u8]) -> [u8; 2] {
        let words = bytes.chunks(2).map(|c| u32::from(u16::from_ne_bytes([c[0], c[1]])));
        (!fold(words.fold(0, |sum, word| fold(sum + word).into()))).to_ne_bytes()
    }

    proptest! {
        /// The hardware sums up the field and what follows it, and writes the complement.
        #[test]
        fn a_partial_checksum_is_finished_right(
            old in any::<[u8; 2]>(),
            new in any::<[u8; 2]>(),
            payload in any::<u16>(),
        ) {
            let finish = |field: [u8; 2]| !fold(u32::from(u16::from_ne_bytes(field)) + u32::from(payload));
            let field = |word| fold(u32::from(u16::from_ne_bytes(word)) + 6).to_ne_bytes();
            let changed = updated_partial(field(old), Change::NONE.word(old, new));
            // Both representations of zero are as good (RFC 1071).
            prop_assert_eq!(finish(changed) % 0xffff, finish(field(new)) % 0xffff);
        }

        #[test]
        fn a_change_gives_what_recomputation_gives(
            mut bytes in prop::collection::vec(any::<u8>(), 40),
            at in 0usize..20,
            new in any::<[u8; 2]>(),
        ) {
            // A header is never all zero, which is the one sum with two representations.
            bytes[39] |= 1;
            prop_assume!(at != 19);
            let before = full(&bytes);
            let old = [bytes[2 * at], bytes[2 * at + 1]];
            bytes[2 * at..2 * at + 2].copy_from_slice(&new);
            prop_assert_eq!(updated(before, Change::NONE.word(old, new)), full(&bytes));
        }
    }
}
