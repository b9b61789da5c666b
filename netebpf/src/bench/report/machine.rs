//! What a number depends on.

use crate::bench::{arms::Kind, load::Workload};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a number depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// As `uname -r` says.
    pub kernel: String,
    /// Its processor.
    pub cpu: String,
    /// How many of them this process may use.
    pub cpus: usize,
    /// The version of netebpf.
    pub netebpf: String,
    /// The commit that it was built from, with `-dirty` where that is not all; "unknown" where git did not know.
    pub commit: String,
    /// Whether packets that stay on a bridge meet its rules, too (`br_netfilter`, which Docker loads).
    pub bridge_netfilter: Option<bool>,
    /// Of the interfaces that packets pass.
    pub offloads: Vec<Offloads>,
}

/// What an interface leaves to whoever comes next, as far as it can be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offloads {
    /// In which arm.
    pub arm: Kind,
    /// Which interface: `uplink0` of the host, `eth0` of an endpoint.
    pub interface: String,
    /// TCP segmentation.
    pub tso: Option<bool>,
    /// Segmentation in software, as late as can be.
    pub gso: Option<bool>,
    /// Joining of segments that arrive.
    pub gro: Option<bool>,
    /// Checksums of what is sent.
    pub tx_checksum: Option<bool>,
    /// Bytes that a packet has at most until it is cut; more than 65,536 is BIG TCP.
    pub gso_max_size: Option<u64>,
    /// The same for IPv4, where that is said apart.
    pub gso_ipv4_max_size: Option<u64>,
}

/// What cannot be measured here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Absent {
    /// What it is.
    #[serde(flatten)]
    pub what: Lacked,
    /// What is missing.
    pub why: String,
}

/// An arm or a workload that a kernel does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lacked {
    /// In no workload.
    Arm(Kind),
    /// In no arm.
    Workload(Workload),
}

impl fmt::Display for Lacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arm(arm) => arm.fmt(f),
            Self::Workload(workload) => workload.fmt(f),
        }
    }
}
