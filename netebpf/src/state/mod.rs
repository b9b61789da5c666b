//! What survives: where it stands, what is in it, and how it is written.
//!
//! **Invariant**: [`State`] on disk is always a whole one, either the one before or the one after a
//! change: a new file is written beside it, synced, and renamed over it. Whoever changes it holds the
//! [`Lock`] of the instance. What cannot be read is never overwritten: it is kept aside and named.

mod instance;
mod lock;
mod store;

pub use instance::{Instance, InstanceNameError};
pub use lock::{Lock, LockError};
pub use store::{Loaded, Recovered, StateError, load, save, save_runtime};

use crate::model::{Desired, Endpoint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about an instance that is not in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// What should be there. Written before the kernel is touched; survives a reboot.
    pub desired: Desired,
    /// What was done about it since the boot.
    pub runtime: Runtime,
}

/// What a reboot undoes, and so is kept where a reboot removes it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Runtime {
    /// Sysctls that were changed: the path below `/proc/sys`, and what stood there before.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// What runs, or ran, in each endpoint, by the endpoint's name.
    #[serde(default)]
    pub processes: BTreeMap<String, Process>,
}

/// A process of an endpoint. It is nobody's child after the daemon that started it is gone, so process
/// id, start time and boot together say whether it is still the same one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Process id in the daemon's process namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot that it belongs to.
    pub boot: String,
    /// Seconds since 1970.
    pub started: u64,
    /// What it was started for, see [`Process::purpose_of`].
    #[serde(default)]
    pub purpose: String,
    /// Whether it is only the caller that is about to start the endpoint's command: its end counts, but it
    /// is not ours to stop.
    #[serde(default)]
    pub caller: bool,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

impl Process {
    /// Tells an endpoint and its command from those of the same name before and after it.
    pub fn purpose_of(endpoint: &Endpoint) -> String {
        let command = serde_json::json!([endpoint.id, endpoint.service, endpoint.namespace]);
        store::checksum(&command)
    }
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// Its code, 128 and the number for a signal; absent when it ended while nobody watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Seconds since 1970.
    pub at: u64,
}
