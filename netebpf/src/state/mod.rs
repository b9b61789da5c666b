//! What survives: where it stands, what is in it, and how it is written.
//!
//! **Invariant**: [`State`] on disk is always a whole one, either the one before or the one after a
//! change: a new file is written beside it, synced where it has to survive the loss of power, and renamed over it. What
//! is desired stands for itself as soon as it is whole beside the file, for the power takes with it whatever was made.
//! Whoever changes it holds the [`Lock`] of the instance. What cannot be read is never overwritten: it is kept aside and named.

mod instance;
mod lock;
mod store;

pub use instance::{Instance, InstanceNameError};
pub use lock::{Lock, LockError};
pub use store::{Files, Intent, Loaded, Recovered, StateError, load};

use crate::{
    model::{Desired, Endpoint},
    plan::Uplink,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The interfaces that those belong to, by their indices, as they were called then.
    #[serde(default)]
    pub interfaces: BTreeMap<u32, String>,
    /// The uplinks when they were looked at last: the kernel takes addresses and routes away from one that goes down.
    #[serde(default)]
    pub uplinks: Vec<Uplink>,
    /// What runs, or ran, in each endpoint, by the endpoint's name.
    #[serde(default)]
    pub processes: BTreeMap<String, Process>,
}

impl Runtime {
    /// The names of the interfaces that something is written down of.
    pub fn interface_names(&self) -> BTreeSet<&str> {
        self.sysctls.keys().filter_map(|path| interface_of(path)).collect()
    }

    /// An interface that was renamed took its sysctls with it: what is written down of them gets its new name.
    /// `links` are the host's interfaces that something is written down of, with their names now. Answers whether anything
    /// is another than before.
    pub fn follow_names(&mut self, links: &BTreeMap<u32, String>) -> bool {
        let before = self.clone();
        let new_name = |old: &str| {
            let index = before.interfaces.iter().find(|(_, name)| *name == old)?.0;
            links.get(index)
        };
        let sysctls = before.sysctls.iter().map(|(path, value)| {
            let renamed = interface_of(path).and_then(|old| Some((old, new_name(old)?)));
            let path = match renamed {
                Some((old, new)) => path.replace(&format!("/{old}/"), &format!("/{new}/")),
                None => path.clone(),
            };
            (path, value.clone())
        });
        self.sysctls = sysctls.collect();
        let has_one = |name: &str| self.sysctls.keys().any(|path| interface_of(path) == Some(name));
        let of_one = links.iter().filter(|(_, name)| has_one(name));
        self.interfaces = of_one.map(|(index, name)| (*index, name.clone())).collect();
        *self != before
    }
}

/// The interface that a sysctl belongs to: `up0` of `net/ipv4/conf/up0/forwarding`.
fn interface_of(path: &str) -> Option<&str> {
    path.split_once("/conf/")?.1.split('/').next()
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
    /// Who waits for it and knows how it ends, where that is no daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<Runner>,
    /// What it was told to end for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// Why a process was told to end, where its endpoint does not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// It is to stay ended until somebody starts it.
    Stop,
    /// Another comes in its place, so that even an endpoint that goes with its command stays.
    Restart,
}

/// A foreground `run`: the parent of an endpoint's command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Runner {
    /// Its process id.
    pub pid: u32,
    /// As [`Process::start_time`].
    pub start_time: u64,
}

impl Process {
    /// Tells an endpoint and its command from those of the same name before and after it.
    pub fn purpose_of(endpoint: &Endpoint) -> String {
        let command = serde_json::json!([endpoint.id, endpoint.service, endpoint.namespace]);
        store::checksum(&command.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_follows_a_renamed_interface() {
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let names = |pairs: &[(u32, &str)]| -> BTreeMap<u32, String> {
            pairs.iter().map(|(index, name)| (*index, (*name).to_owned())).collect()
        };
        let all = "net/ipv6/conf/all/forwarding";
        let (a, b) = ("net/ipv4/conf/a/forwarding", "net/ipv4/conf/b/forwarding");
        let sysctls = texts(&[(a, "0"), (b, "1"), (all, "0")]);
        let mut runtime = Runtime { sysctls: sysctls.clone(), ..Runtime::default() };
        assert!(runtime.follow_names(&names(&[(1, "lo"), (2, "a"), (3, "b")])));
        assert_eq!(
            (&runtime.sysctls, &runtime.interfaces),
            (&sysctls, &names(&[(2, "a"), (3, "b")]))
        );
        assert!(!runtime.follow_names(&names(&[(2, "a"), (3, "b"), (4, "c")])));

        assert!(runtime.follow_names(&names(&[(2, "b"), (3, "a")])), "they change places");
        assert_eq!(runtime.sysctls, texts(&[(a, "1"), (b, "0"), (all, "0")]));

        assert!(runtime.follow_names(&names(&[(2, "c")])), "the other is gone");
        let c = "net/ipv4/conf/c/forwarding";
        assert_eq!(runtime.sysctls, texts(&[(a, "1"), (c, "0"), (all, "0")]));
        assert_eq!(runtime.interfaces, names(&[(2, "c")]));
    }
}
