//! What the programs write down while frames are on their way: the kernel prepares for each call for some twenty
//! milliseconds, and cleans up after it, which is no part of the way.

use super::raw::{self, Access};
use std::{
    io,
    mem::{offset_of, size_of},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

/// After so many frames the clock is read again; a power of two.
pub(super) const STEP: u64 = 64;
/// Where the time of the first one stands.
pub(super) const FIRST: i16 = offset_of!(Written, first) as i16;
/// And that of the last one that was a multiple of [`STEP`].
pub(super) const LAST: i16 = offset_of!(Written, last) as i16;

/// The value of the array.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Written {
    /// How many came out.
    pub(super) arrived: u64,
    /// When the first one arrived at the host, in nanoseconds since the boot.
    first: u64,
    /// When the last one of a step came out.
    last: u64,
}

impl Written {
    /// How long it took for all that came out; `None` where that was less than a step.
    pub(super) fn seconds(&self) -> Option<f64> {
        let timed = self.arrived - self.arrived % STEP;
        let taken = self.last.checked_sub(self.first).filter(|taken| timed > 0 && *taken > 0)?;
        // The rest came as fast.
        Some(taken as f64 / 1e9 * self.arrived as f64 / timed as f64)
    }
}

/// The array.
pub(super) struct Tally(OwnedFd);

impl Tally {
    pub(super) fn new() -> io::Result<Self> {
        raw::array(size_of::<Written>()).map(Self)
    }

    /// As an instruction names it.
    pub(super) fn immediate(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub(super) fn read(&self) -> io::Result<Written> {
        let mut written = Written::default();
        // SAFETY: it was made for these, which are integers.
        unsafe { raw::value(self.0.as_fd(), Access::Read, &mut written) }?;
        Ok(written)
    }

    pub(super) fn reset(&self) -> io::Result<()> {
        // SAFETY: as above.
        unsafe { raw::value(self.0.as_fd(), Access::Write, &mut Written::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Written;

    #[test]
    fn the_rest_came_as_fast() {
        let of = |arrived, first, last| Written { arrived, first, last }.seconds();
        assert_eq!(of(128, 1_000, 2_001_000), Some(0.002));
        assert_eq!(of(160, 1_000, 2_001_000), Some(0.0025));
        assert_eq!(of(63, 1_000, 0), None);
        assert_eq!(of(0, 1_000, 0), None);
    }
}
