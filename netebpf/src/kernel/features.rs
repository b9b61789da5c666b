//! What a driver does with packets before anybody sees them (ethtool's features, `<linux/ethtool.h>`).
//!
//! **Invariant**: nothing is switched: a card is its owner's.

use super::interface;
use std::{io, mem::size_of};

const GET_COUNTS: u32 = 0x37;
const GET_NAMES: u32 = 0x1b;
const GET_FEATURES: u32 = 0x3a;
/// The set of names of features.
const FEATURES: u32 = 4;
/// How long a name is at most (`ETH_GSTRING_LEN`).
const NAME: usize = 32;
/// More than Linux has: 64 now.
const MOST: usize = 256;

/// What joins segments of a stream that the sender cut, so that they come in as one long packet. XDP sees packets as
/// they are on the wire, and drivers leave it out then.
///
/// The older `rx-lro` is off wherever packets are forwarded: the kernel sees to it (`dev_disable_lro`).
const JOINS: &[u8] = b"rx-gro-hw";

/// `struct ethtool_sset_info` with one number.
#[repr(C)]
struct Counts {
    command: u32,
    reserved: u32,
    sets: u64,
    count: u32,
}

/// `struct ethtool_gstrings`.
#[repr(C)]
struct Names {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; NAME]; MOST],
}

/// `struct ethtool_gfeatures`.
#[repr(C)]
struct Features {
    command: u32,
    blocks: u32,
    features: [Block; MOST / 32],
}

/// `struct ethtool_get_features_block`: a bit for each feature.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Block {
    available: u32,
    requested: u32,
    active: u32,
    never_changed: u32,
}

/// Whether the driver of an interface of this thread's namespace joins packets now. What cannot be asked does not.
pub(super) fn joins(name: &str) -> bool {
    is_active(name, JOINS).ok().flatten().unwrap_or(false)
}

/// Whether a feature is on; `None` where the kernel knows none of that name.
fn is_active(name: &str, wanted: &[u8]) -> io::Result<Option<bool>> {
    let mut counts = Counts { command: GET_COUNTS, reserved: 0, sets: 1 << FEATURES, count: 0 };
    // SAFETY: there is room for the one number that is asked for.
    unsafe { ask(name, &mut counts) }?;
    let count = counts.count as usize;
    if count > MOST {
        return Err(io::Error::other("more features than there is room for"));
    }
    let mut names = Box::new(Names {
        command: GET_NAMES,
        set: FEATURES,
        count: counts.count,
        names: [[0; NAME]; MOST],
    });
    // SAFETY: there is room for all of them; the kernel tells as many as it said, or none.
    unsafe { ask(name, &mut *names) }?;
    let blocks = count.div_ceil(32);
    let mut features = Features {
        command: GET_FEATURES,
        blocks: blocks as u32,
        features: [Block::default(); MOST / 32],
    };
    // SAFETY: there is room for so many blocks.
    unsafe { ask(name, &mut features) }?;
    let is_active = |n: usize| features.features[n / 32].active >> (n % 32) & 1 == 1;
    let named = |n: &usize| {
        let name = names.names[*n].split(|byte| *byte == 0).next().unwrap_or_default();
        wanted == name
    };
    Ok((0..count).find(named).map(is_active))
}

/// Asks one question.
///
/// # Safety
///
/// `question` must be one of ethtool's structures, with room for what the kernel answers.
unsafe fn ask<T>(name: &str, question: &mut T) -> io::Result<()> {
    debug_assert!(size_of::<T>() >= size_of::<u64>());
    let argument = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut *question).cast() };
    // SAFETY: by the caller's promise; it lives until the call is over.
    unsafe { interface::ask(name, libc::SIOCETHTOOL as libc::Ioctl, argument) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback joins nothing, and has scatter-gather, whatever the machine.
    #[test]
    fn features_are_found_by_name() {
        assert!(!joins("lo"));
        let of_loopback = |feature: &[u8]| is_active("lo", feature).unwrap();
        let found = [&b"tx-scatter-gather"[..], JOINS, b"no-such-feature"].map(of_loopback);
        assert_eq!(found, [Some(true), Some(false), None]);
        assert!(is_active("no-such-card", JOINS).is_err());
    }
}
