//! A memory-mapped array: the programs' memory, read and written without a system call.

use aya::maps::{MapData, MapError};
use netebpf_common::abi::Usage;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::{
    io,
    mem::size_of,
    os::fd::AsFd,
    ptr::{NonNull, null_mut},
};

/// An array of `T` that the programs write to while we read.
pub(crate) struct Mapping<T> {
    start: NonNull<T>,
    len: u32,
}

// SAFETY: the mapping belongs to the process, not to a thread, and what it gives out says itself what
// may be done with it by several at a time.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    /// Maps an array whose layout was checked against `T`.
    pub(crate) fn of(map: &MapData) -> Result<Self, MapError> {
        let len = map.info()?.max_entries();
        let bytes = size_of::<T>() * len as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses where; nobody has a reference into what was there before.
        let start =
            unsafe { mmap(null_mut(), bytes, access, MapFlags::SHARED, map.fd().as_fd(), 0) }
                .map_err(io::Error::from)?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, len })
    }

    /// How many elements.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Where an element is: valid for reads and writes as long as the mapping lives, and written by the
    /// programs at any time.
    pub(crate) fn at(&self, index: u32) -> Option<NonNull<T>> {
        // SAFETY: below `len`, so inside the mapping; the kernel's arrays have a stride of the value's
        // size rounded up to 8, and the sizes of what is mapped are multiples of 8.
        (index < self.len).then(|| unsafe { self.start.add(index as usize) })
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `of` with this length, and no pointer outlives the borrow it was made by.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), size_of::<T>() * self.len as usize) };
    }
}

impl super::Maps {
    /// Use of the table of flows by the owner of a slot.
    pub(crate) fn usage(&self, slot: u32) -> Option<&Usage> {
        // SAFETY: all fields are atomics, so that a shared reference is right whoever writes.
        self.usage.at(slot).map(|usage| unsafe { usage.as_ref() })
    }
}
