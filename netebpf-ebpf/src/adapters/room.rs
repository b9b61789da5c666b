//! Room to work in, which a program's stack of 512 bytes has not.

use super::Query;
use crate::maps;
use netebpf_common::datapath::scratch::Scratch;

/// All that one packet needs, in one place: a second map would be a second page of memory to find, and that takes
/// as long as a look-up.
#[repr(C)]
pub struct Room {
    scratch: Scratch,
    query: Query,
}

impl Room {
    /// This CPU's, for the packet logic. Like [`Self::query`] it is never `None`: the verifier does not know that.
    #[inline(always)]
    pub fn scratch<'a>() -> Option<&'a mut Scratch> {
        // SAFETY: this CPU's own, see `maps::ROOM`; each program takes it once, and `crate::opening` what was given away with
        // `lend` for as long as it runs. Any bytes are a valid value of what is written before it is read.
        maps::ROOM.get_ptr_mut(0).map(|room| unsafe { &mut (*room).scratch })
    }

    /// This CPU's, for questions to the kernel. Nothing keeps one while it asks another of the same kind.
    #[inline(always)]
    pub fn query<'a>() -> Option<&'a mut Query> {
        // SAFETY: as above, but for its being taken once: see this function's promise.
        maps::ROOM.get_ptr_mut(0).map(|room| unsafe { &mut (*room).query })
    }
}
