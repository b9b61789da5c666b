//! Where a load runs.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Keeps this thread on the last CPU that it may have, so that what is measured is the work and not the wake-up of
/// another CPU, and gives it precedence: what else the machine does shall not count.
pub(super) fn take_the_last() -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu));
    let mut only = CpuSet::new();
    only.set(last.ok_or_else(|| io::Error::other("no CPU is allowed"))?);
    sched_setaffinity(None, &only)?;
    // Of this thread alone, as Linux has it.
    rustix::process::nice(-20)?;
    Ok(())
}
