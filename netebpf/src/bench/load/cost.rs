//! What netebpf's programs cost on a CPU, by the kernel's own statistics.
//!
//! **Invariant**: the statistics are on as long as a [`Statistics`] is there and no longer: they take two readings of the
//! clock for each packet, so no rate is measured meanwhile. Only what a program does is in them, not what the kernel
//! does when it returns (such as the redirect that it asked for).

use crate::{bench::statistics::number, state::Instance};
use aya::{
    programs::{ProgramError, ProgramInfo},
    sys::{Stats, SyscallError, enable_stats},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// The cost is not known.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// The kernel does not count.
    #[error("the kernel's statistics of BPF programs (Linux 5.8 and later) cannot be switched on: {}", .0.io_error)]
    Enable(#[source] SyscallError),
    /// Nothing is loaded.
    #[error("instance {instance:?} has no programs below {path}: it is not up")]
    NoPrograms {
        /// Which instance.
        instance: String,
        /// Where they would be.
        path: PathBuf,
    },
    /// A directory.
    #[error("read {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program.
    #[error("read program {path}: {source}")]
    Program {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<ProgramError>,
    },
}

/// How long each program was on a CPU since it was loaded, and how often it ran.
pub type Snapshot = BTreeMap<String, (Duration, u64)>;

/// The kernel's statistics, switched on.
#[derive(Debug)]
pub struct Statistics {
    /// Closed, it switches them off (unless somebody else wants them).
    _on: OwnedFd,
}

impl Statistics {
    /// Switches them on, for all BPF programs of this machine.
    pub fn enable() -> Result<Self, CostError> {
        Ok(Self { _on: enable_stats(Stats::RunTime).map_err(CostError::Enable)? })
    }

    /// What the programs of an instance took until now, by their names.
    pub fn snapshot(&self, instance: &Instance) -> Result<Snapshot, CostError> {
        let pins = instance.pin_dir();
        let mut taken = Snapshot::new();
        let versions = match children(&pins) {
            Err(CostError::Directory { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Vec::new()
            }
            versions => versions?,
        };
        let of_programs = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("programs-"))
        };
        for version in versions.iter().filter(of_programs) {
            for path in children(version)? {
                let info = ProgramInfo::from_pin(&path).map_err(|source| CostError::Program {
                    path: path.clone(),
                    source: Box::new(source),
                })?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // While programs are replaced there are two of a name.
                let (time, runs) = taken.entry(name).or_default();
                *time += info.run_time();
                *runs += info.run_count();
            }
        }
        if taken.is_empty() {
            return Err(CostError::NoPrograms { instance: instance.name().to_owned(), path: pins });
        }
        Ok(taken)
    }
}

/// What one program took for what it saw.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// How many packets it saw.
    pub packets: u64,
    /// How long each of them took.
    #[serde(deserialize_with = "number")]
    pub nanoseconds: f64,
}

impl Cost {
    /// Of a program that saw none.
    pub const NONE: Self = Self { packets: 0, nanoseconds: f64::NAN };
}

/// What each program that ran between two snapshots took for a packet.
pub fn between(before: &Snapshot, after: &Snapshot) -> BTreeMap<String, Cost> {
    let cost = |(name, (time, runs)): (&String, &(Duration, u64))| {
        let (time_before, runs_before) = before.get(name).copied().unwrap_or_default();
        let packets = runs.checked_sub(runs_before).filter(|packets| *packets > 0)?;
        let time = time.checked_sub(time_before)?;
        let nanoseconds = time.as_nanos() as f64 / packets as f64;
        Some((name.clone(), Cost { packets, nanoseconds }))
    };
    after.iter().filter_map(cost).collect()
}

fn children(path: &Path) -> Result<Vec<PathBuf>, CostError> {
    let failed = |source| CostError::Directory { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(failed)?;
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cost, Snapshot, between};
    use std::time::Duration;

    #[test]
    fn the_difference_counts() {
        let snapshot = |all: &[(&str, u64, u64)]| -> Snapshot {
            let entry = |&(name, nanoseconds, runs): &(&str, u64, u64)| {
                (name.to_owned(), (Duration::from_nanos(nanoseconds), runs))
            };
            all.iter().map(entry).collect()
        };
        let before = snapshot(&[("idle", 70, 1), ("ran", 1000, 10), ("replaced", 900, 9)]);
        let after =
            snapshot(&[("idle", 70, 1), ("ran", 3000, 20), ("replaced", 5, 1), ("new", 50, 2)]);
        let cost = |packets, nanoseconds| Cost { packets, nanoseconds };
        let expected = [("new".to_owned(), cost(2, 25.0)), ("ran".to_owned(), cost(10, 200.0))];
        assert_eq!(between(&before, &after), expected.into());
    }
}
