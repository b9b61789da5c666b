//! What was measured: rounds of every arm, and how netebpf compares in each.

use super::figures;
use crate::bench::{
    arms::{Kind, Way},
    histogram::Histogram,
    host::Family,
    load::{Latency, Sample, Workload},
    measure::Cell,
    statistics::{Ratio, median},
};
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// netebpf with the socket shortcut beside the bare veth, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Ratio>,
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
    /// Of all operations of all rounds together, where they were looked at.
    pub pooled: Option<Pooled>,
    #[serde(skip)]
    times: Histogram,
}

/// How long operations took, of all rounds together: 99.9 % of one round's would be a matter of luck.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pooled {
    /// So long.
    #[serde(flatten)]
    pub latency: Latency,
    /// How many there are.
    pub samples: u64,
}

impl InArm {
    /// The median of the rounds.
    pub fn median(&self, of: fn(&Sample) -> f64) -> f64 {
        median(&self.rounds.iter().map(of).collect::<Vec<_>>())
    }

    /// One more round.
    pub(in crate::bench) fn push(&mut self, sample: Sample, times: Option<&Histogram>) {
        self.rounds.push(sample);
        times.into_iter().for_each(|times| self.times.add(times));
        let latency = self.times.latency();
        self.pooled = latency.map(|latency| Pooled { latency, samples: self.times.samples() });
    }

    /// p50, p99 and p99.9 of all rounds.
    pub(super) fn latencies(&self) -> [f64; 3] {
        self.pooled.map_or([f64::NAN; 3], |of| [of.latency.p50, of.latency.p99, of.latency.p999])
    }

    /// The median part that was lost, where more than a few in a hundred were: the queues were too short for this pace.
    pub(super) fn loses(&self) -> Option<f64> {
        /// What a queue loses when it overflows now and then.
        const FEW: f64 = 0.03;
        let lost: Vec<f64> = self.rounds.iter().filter_map(|round| round.lost).collect();
        Some(median(&lost)).filter(|lost| *lost > FEW)
    }

    /// Of all rounds, the lowest and the highest.
    pub(super) fn range(&self) -> [f64; 2] {
        let rates = || self.rounds.iter().map(|round| round.per_second);
        [rates().fold(f64::INFINITY, f64::min), rates().fold(f64::NEG_INFINITY, f64::max)]
    }
}

impl Measured {
    pub(in crate::bench) fn new(cell: Cell, arms: impl Iterator<Item = Kind>) -> Self {
        let Cell { way, family, workload, ports } = cell;
        let arms = arms
            .map(|arm| InArm { arm, rounds: Vec::new(), pooled: None, times: Histogram::default() })
            .collect();
        Self { way, family, workload, ports, arms, beside: Vec::new(), shortcut: None }
    }

    /// One of its arms.
    pub fn of(&self, arm: Kind) -> Option<&InArm> {
        self.arms.iter().find(|of| of.arm == arm)
    }

    /// All rounds are done.
    pub(in crate::bench) fn compare(&mut self) {
        let rates =
            |of: &InArm| of.rounds.iter().map(|sample| sample.per_second).collect::<Vec<_>>();
        let Some(ours) = self.of(Kind::Netebpf).map(rates) else { return };
        let others = self.arms.iter().filter(|of| of.arm.is_beside());
        self.beside =
            others.map(|of| Beside { arm: of.arm, ratio: Ratio::of(&ours, &rates(of)) }).collect();
        let [shortcut, bare] = [Kind::NetebpfShortcut, Kind::BareVeth].map(|arm| self.of(arm));
        self.shortcut =
            shortcut.zip(bare).map(|(short, bare)| Ratio::of(&rates(short), &rates(bare)));
    }

    /// netebpf beside another arm.
    pub fn beside(&self, other: Kind) -> Option<Ratio> {
        self.beside.iter().find(|beside| beside.arm == other).map(|beside| beside.ratio)
    }

    /// All arms, in the order in which they are always shown.
    pub(super) fn in_order(&self) -> Vec<&InArm> {
        let mut arms: Vec<_> = self.arms.iter().collect();
        arms.sort_by_key(|of| of.arm);
        arms
    }

    /// Whether it was looked at how long something takes.
    pub(super) fn has_latencies(&self) -> bool {
        self.arms.iter().any(|of| of.pooled.is_some())
    }

    /// What is done, whatever way and family.
    pub(super) fn what(&self) -> What {
        What { workload: self.workload, ports: self.ports }
    }
}

/// What can be compared between ways and families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct What {
    pub(super) workload: Workload,
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
