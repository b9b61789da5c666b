//! What came of it: data, a table of it for the terminal, and a page of it for the browser.
//!
//! **Invariant**: the data is all that either shows; whoever has the record can make both again. What cannot be
//! computed, of rounds that never were for example, is shown as a dash and never as a number.

mod facts;
mod figures;
mod file;
mod html;
mod plot;
mod table;
#[cfg(test)]
mod tests;

pub use file::ReportFile;

use super::{
    arms::{Kind, Way},
    host::Family,
    load::{Latency, Sample, Workload},
    measure::Cell,
    statistics::{Ratio, geometric_mean, median},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Everything that was measured, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When it was over (RFC 3339).
    pub when: String,
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

    /// The same of latencies, where they were looked at.
    fn latency(&self, of: fn(&Latency) -> f64) -> f64 {
        median(
            &self
                .rounds
                .iter()
                .filter_map(|round| round.latency.as_ref())
                .map(of)
                .collect::<Vec<_>>(),
        )
    }

    /// Of all rounds, the lowest and the highest.
    fn range(&self) -> [f64; 2] {
        let rates = || self.rounds.iter().map(|round| round.per_second);
        [rates().fold(f64::INFINITY, f64::min), rates().fold(f64::NEG_INFINITY, f64::max)]
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

    /// All arms, in the order in which they are always shown.
    fn in_order(&self) -> Vec<&InArm> {
        let mut arms: Vec<_> = self.arms.iter().collect();
        arms.sort_by_key(|of| of.arm);
        arms
    }

    /// Whether it was looked at how long something takes.
    fn has_latencies(&self) -> bool {
        let times = self.arms.iter().map(|of| of.latency(|latency| latency.p50));
        times.into_iter().any(|time| time > 0.0)
    }

    /// What is done, whatever way and family.
    fn what(&self) -> What {
        What { workload: self.workload, ports: self.ports }
    }
}

/// What can be compared between ways and families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct What {
    workload: Workload,
    ports: u16,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ports {
            1 => write!(f, "{}", self.workload),
            ports => write!(f, "{}, {} ports", self.workload, figures::rate(ports.into())),
        }
    }
}

impl Record {
    /// The arms that netebpf is compared with; the bare veth comes last, for it does not do the same.
    pub fn others(&self) -> Vec<Kind> {
        let mut others = self.arms();
        others.retain(|arm| *arm != Kind::Netebpf);
        others.sort_by_key(|arm| *arm == Kind::BareVeth);
        others
    }

    /// The geometric mean of netebpf's ratios to another arm in some of the results, and of how many; none where nothing was
    /// compared.
    fn mean_beside(&self, other: Kind, some: impl Fn(&Measured) -> bool) -> Option<(f64, usize)> {
        let results = self.results.iter().filter(|result| some(result));
        let ratios = results.filter_map(|result| result.beside(other)).map(|ratio| ratio.median);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect();
        Some((geometric_mean(&ratios)?, ratios.len()))
    }

    /// The table for a terminal; ranges are dim on one that shows it.
    pub fn table(&self, dim: bool) -> String {
        table::rates(self, dim)
    }

    /// The same with latencies instead.
    pub fn latency_table(&self) -> String {
        table::latencies(self)
    }

    /// The page for a browser.
    pub fn page(&self) -> String {
        html::page(self)
    }

    /// In the order in which they are shown.
    fn arms(&self) -> Vec<Kind> {
        let mut arms =
            unique(self.results.iter().flat_map(|result| result.arms.iter().map(|of| of.arm)));
        arms.sort();
        arms
    }

    /// What was measured on a way, and what was done there: once for each family.
    fn groups(&self) -> Vec<((Way, What), Vec<&Measured>)> {
        let key = |result: &Measured| (result.way, result.what());
        let members = |group| self.results.iter().filter(|of| key(of) == group).collect();
        unique(self.results.iter().map(key)).into_iter().map(|g| (g, members(g))).collect()
    }
}

/// To the second.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Each once, where it is first.
fn unique<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}
