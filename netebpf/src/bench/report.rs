//! What came of it: data, and a table of it.

use super::{
    arms::{Kind, Way},
    host::Family,
    load::{Sample, Workload},
    measure::Cell,
    statistics::{Ratio, median},
};
use serde::{Deserialize, Serialize};

/// Everything that was measured, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// On which machine.
    pub machine: Machine,
    /// How often.
    pub rounds: u32,
    /// How long one measurement took.
    pub milliseconds: u64,
    /// What this kernel does not have.
    pub absent: Vec<Absent>,
    /// One for each way, family and workload.
    pub results: Vec<Measured>,
}

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
    /// Whether packets that stay on a bridge meet its rules, too (`br_netfilter`, which Docker loads).
    pub bridge_netfilter: Option<bool>,
}

impl Machine {
    pub(super) fn here(bridge_netfilter: Option<bool>) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu =
            model.and_then(|rest| rest.split_once(": ")).map_or("", |(_, name)| name).to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let netebpf = env!("CARGO_PKG_VERSION").to_owned();
        Self { kernel, cpu, cpus, netebpf, bridge_netfilter }
    }
}

/// An arm that cannot be here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Absent {
    /// Which.
    pub arm: Kind,
    /// What is missing.
    pub why: String,
}

/// One cell in every arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Which way.
    pub way: Way,
    /// In which family.
    pub family: Family,
    /// What was done.
    pub workload: Workload,
    /// Among how many published ports.
    pub ports: u16,
    /// In each arm.
    pub arms: Vec<InArm>,
    /// netebpf beside each other arm.
    pub beside: Vec<Beside>,
}

/// netebpf beside another arm, per second.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// The other one.
    pub arm: Kind,
    /// How they compare.
    pub ratio: Ratio,
}

/// All rounds of one arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InArm {
    /// Which.
    pub arm: Kind,
    /// One after the other.
    pub rounds: Vec<Sample>,
}

impl InArm {
    /// The median of the rounds.
    pub fn median(&self, of: fn(&Sample) -> f64) -> f64 {
        median(&self.rounds.iter().map(of).collect::<Vec<_>>())
    }
}

impl Measured {
    pub(super) fn new(cell: Cell, arms: impl Iterator<Item = Kind>) -> Self {
        let Cell { way, family, workload, ports } = cell;
        let arms = arms.map(|arm| InArm { arm, rounds: Vec::new() }).collect();
        Self { way, family, workload, ports, arms, beside: Vec::new() }
    }

    /// One of its arms.
    pub fn of(&self, arm: Kind) -> Option<&InArm> {
        self.arms.iter().find(|of| of.arm == arm)
    }

    /// All rounds are done.
    pub(super) fn compare(&mut self) {
        let rates =
            |of: &InArm| of.rounds.iter().map(|sample| sample.per_second).collect::<Vec<_>>();
        let Some(ours) = self.of(Kind::Netebpf).map(rates) else { return };
        let others = self.arms.iter().filter(|of| of.arm != Kind::Netebpf);
        self.beside =
            others.map(|of| Beside { arm: of.arm, ratio: Ratio::of(&ours, &rates(of)) }).collect();
    }

    /// netebpf beside another arm.
    pub fn beside(&self, other: Kind) -> Option<Ratio> {
        self.beside.iter().find(|beside| beside.arm == other).map(|beside| beside.ratio)
    }
}

impl Record {
    /// The arms that netebpf is compared with.
    pub fn others(&self) -> Vec<Kind> {
        let arms = self.results.first().into_iter().flat_map(|result| &result.arms);
        arms.map(|of| of.arm).filter(|arm| *arm != Kind::Netebpf).collect()
    }
}
