//! Where the kernel keeps a field of its own, from its type information (BTF,
//! `Documentation/bpf/btf.rst`).
//!
//! **Invariant**: reads only what is asked for, and answers `None` for everything that is not there or not
//! as documented: whoever asks has another way.

use std::fs;

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// How many structures without names may be inside one another.
const DEPTH: u32 = 8;

/// Kinds of types, by their number.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FUNCTION_TYPE: u32 = 13;
    pub(super) const VARIABLE: u32 = 14;
    pub(super) const SECTION: u32 = 15;
    pub(super) const DECLARATION_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
}

/// A field of some bits inside a structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BitField {
    /// Bits from the beginning of the structure.
    pub(super) offset: u32,
    /// Bits.
    pub(super) size: u32,
}

/// A bit field of a structure of the running kernel.
pub(super) fn kernel_bit_field(structure: &str, field: &str) -> Option<BitField> {
    bit_field(&fs::read(PATH).ok()?, structure, field)
}

/// Where fields of the running kernel's structures are, in bytes from the beginning of each; `None` where one is not there.
pub(super) fn kernel_fields<const N: usize>(wanted: [(&str, &str); N]) -> Option<[u32; N]> {
    let blob = fs::read(PATH).ok()?;
    let types = Types::read(&blob)?;
    let mut found = [0; N];
    for (place, (structure, field)) in found.iter_mut().zip(wanted) {
        *place = types.field(structure, field).filter(|field| field.size == 0)?.offset / 8;
    }
    Some(found)
}

fn bit_field(blob: &[u8], structure: &str, field: &str) -> Option<BitField> {
    Types::read(blob)?.field(structure, field)
}

/// All types, by their number.
struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    offsets: Vec<usize>,
}

impl<'a> Types<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(*blob.first_chunk()?);
        if magic != MAGIC {
            return None;
        }
        let body = blob.get(word(blob, 4)?..)?;
        let section = |at| {
            let (offset, length) = (word(blob, at)?, word(blob, at + 4)?);
            body.get(offset..offset.checked_add(length)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        // The first type is number 1: 0 stands for void.
        let mut found = Self { types, strings, offsets: vec![usize::MAX] };
        let mut at = 0;
        while at < types.len() {
            found.offsets.push(at);
            at += 12 + found.tail(at)?;
        }
        Some(found)
    }

    fn field(&self, structure: &str, field: &str) -> Option<BitField> {
        let found = self.offsets.iter().copied().find(|&at| {
            self.kind(at) == Some(kind::STRUCT) && self.name(at) == Some(structure.as_bytes())
        })?;
        self.member(found, field, 0, DEPTH)
    }

    fn kind(&self, at: usize) -> Option<u32> {
        Some(word(self.types, at.checked_add(4)?)? as u32 >> 24 & 0x1f)
    }

    fn name(&self, at: usize) -> Option<&'a [u8]> {
        self.strings.get(word(self.types, at)?..)?.split(|byte| *byte == 0).next()
    }

    /// How many bytes follow a type's common part.
    fn tail(&self, at: usize) -> Option<usize> {
        let count = word(self.types, at + 4)? & 0xffff;
        Some(match self.kind(at)? {
            kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::SECTION | kind::ENUM64 => 12 * count,
            kind::ENUM | kind::FUNCTION_TYPE => 8 * count,
            1..=19 => 0,
            _ => return None,
        })
    }

    /// A field of the structure at `at`, or of one without a name inside it.
    fn member(&self, at: usize, field: &str, base: u32, depth: u32) -> Option<BitField> {
        let information = word(self.types, at + 4)?;
        let has_sizes = information >> 31 == 1;
        (0..information & 0xffff).find_map(|index| {
            let member = at + 12 + 12 * index;
            let place = word(self.types, member + 8)? as u32;
            let (offset, size) =
                if has_sizes { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            let offset = base.checked_add(offset)?;
            match self.name(member)? {
                name if name == field.as_bytes() => Some(BitField { offset, size }),
                [] => {
                    let inner = *self.offsets.get(word(self.types, member + 4)?)?;
                    let nested = matches!(self.kind(inner)?, kind::STRUCT | kind::UNION);
                    let deeper = depth.checked_sub(1)?;
                    nested.then(|| self.member(inner, field, offset, deeper))?
                }
                _ => None,
            }
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_running_kernel() {
        if fs::metadata(PATH).is_err() {
            println!("skipped: the kernel has no BTF");
            return;
        }
        let summed = kernel_bit_field("sk_buff", "ip_summed").expect("there since ever");
        assert_eq!(summed.size, 2);
        // `ip_summed` and `encapsulation` are neighbours that no padding parts by more than this.
        let other = kernel_bit_field("sk_buff", "encapsulation").expect("there since ever");
        assert!(other.size == 1 && other.offset.abs_diff(summed.offset) < 64);
        assert_eq!(kernel_bit_field("sk_buff", "no_such_field"), None);
        assert_eq!(kernel_bit_field("no_such_structure", "x"), None);
        let [first, second] =
            kernel_fields([("list_head", "next"), ("list_head", "prev")]).expect("two words");
        assert_eq!((first, second), (0, 8));
        assert_eq!(kernel_fields([("list_head", "next"), ("list_head", "last")]), None);
    }

    #[test]
    fn damage_is_no_answer() {
        let mut blob = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        for word in [0_u32, 12, 12, 8] {
            blob.extend(word.to_ne_bytes());
        }
        assert_eq!(bit_field(&blob, "a", "b"), None, "cut off");
        // A structure with one member more than there is.
        for word in [1_u32, kind::STRUCT << 24 | 1, 4] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(b"\0a\0b\0\0\0\0");
        assert_eq!(bit_field(&blob, "a", "b"), None, "too short");
        assert_eq!(bit_field(b"\0\0", "a", "b"), None);
    }
}
