//! What tests could leave on the machine, before and after.
//!
//! **Invariant**: only looks. What belongs to somebody else and was there before is no leftover.

use anyhow::{Result, ensure};
use std::{collections::BTreeSet, path::Path};

/// Where netebpf and its tests put things.
const PLACES: &[(&str, &str)] = &[
    ("namespace", "/run/netns"),
    ("interface", "/sys/class/net"),
    ("pinned object", "/sys/fs/bpf/netebpf"),
    ("run directory", "/run/netebpf"),
    ("state directory", "/var/lib/netebpf"),
];

/// The names of everything that a test could leave behind.
pub(super) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// # Errors
    /// A place that is there and cannot be read. (bpffs is root's: nothing is seen there otherwise.)
    pub(super) fn take() -> Result<Self> {
        let mut seen = BTreeSet::new();
        for (kind, place) in PLACES {
            let entries = match Path::new(place).read_dir() {
                Ok(entries) => entries,
                Err(error) => {
                    use std::io::ErrorKind::{NotFound, PermissionDenied};
                    ensure!(
                        matches!(error.kind(), NotFound | PermissionDenied),
                        "cannot read {place}: {error}"
                    );
                    continue;
                }
            };
            for entry in entries {
                seen.insert(format!("{kind} {}", entry?.path().display()));
            }
        }
        Ok(Self(seen))
    }

    /// # Errors
    /// What is there now and was not then.
    pub(super) fn compare(&self) -> Result<()> {
        let now = Self::take()?;
        let left: Vec<_> = now.0.difference(&self.0).map(String::as_str).collect();
        ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        Ok(())
    }
}
