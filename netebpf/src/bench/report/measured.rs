//! What was measured: rounds of every arm, and how netebpf compares in each.

use super::figures;
use crate::bench::{
    arms::{Kind, Way},
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
    pub(super) fn latency(&self, of: fn(&Latency) -> f64) -> f64 {
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
    pub(super) fn range(&self) -> [f64; 2] {
        let rates = || self.rounds.iter().map(|round| round.per_second);
        [rates().fold(f64::INFINITY, f64::min), rates().fold(f64::NEG_INFINITY, f64::max)]
    }
}

impl Measured {
    pub(in crate::bench) fn new(cell: Cell, arms: impl Iterator<Item = Kind>) -> Self {
        let Cell { way, family, workload, ports } = cell;
        let arms = arms.map(|arm| InArm { arm, rounds: Vec::new() }).collect();
        Self { way, family, workload, ports, arms, beside: Vec::new() }
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
        let others = self.arms.iter().filter(|of| of.arm != Kind::Netebpf);
        self.beside =
            others.map(|of| Beside { arm: of.arm, ratio: Ratio::of(&ours, &rates(of)) }).collect();
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
        let times = self.arms.iter().map(|of| of.latency(|latency| latency.p50));
        times.into_iter().any(|time| time > 0.0)
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
