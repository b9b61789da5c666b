//! Rounds: everything is measured once in each, arm beside arm.
//!
//! **Invariant**: arms that are compared were measured right after one another; who comes first changes from round to
//! round. A short pass before the first round warms caches up, and does not count.

use super::{
    BenchError, Options,
    arms::{Arm, Way},
    host::Family,
    load::{self, Told, Workload},
    progress::Progress,
    report::{Measured, Sample},
};
use std::{fmt, time::Duration};

/// How long the pass takes that does not count, for each measurement.
const WARM_UP: Duration = Duration::from_millis(30);

/// One thing to measure in every arm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Which way.
    pub way: Way,
    /// In which family.
    pub family: Family,
    /// What is done there.
    pub workload: Workload,
}

impl Cell {
    /// Every one.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Way::ALL.into_iter().flat_map(|way| {
            Family::BOTH.into_iter().flat_map(move |family| {
                Workload::ALL.into_iter().map(move |workload| Self { way, family, workload })
            })
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.way, self.family, self.workload)
    }
}

/// Measures all cells in all arms.
pub(super) fn rounds(
    options: &Options,
    arms: &[Arm],
    cells: &[Cell],
    progress: &Progress,
    stop: &dyn Fn() -> Result<(), BenchError>,
) -> Result<Vec<Measured>, BenchError> {
    for (cell, arm) in cells.iter().flat_map(|cell| arms.iter().map(move |arm| (cell, arm))) {
        stop()?;
        progress.say(format!("warming up: {}: {cell}", arm.kind));
        one(arm, *cell, WARM_UP)?;
    }
    progress.begin(u64::from(options.rounds) * (cells.len() * arms.len()) as u64);
    let mut results: Vec<Measured> =
        cells.iter().map(|cell| Measured::new(*cell, arms.iter().map(|arm| arm.kind))).collect();
    for round in 0..options.rounds as usize {
        for (cell, result) in cells.iter().zip(&mut results) {
            for turn in 0..arms.len() {
                stop()?;
                let index = (round + turn) % arms.len();
                progress.say(format!("round {}: {}: {cell}", round + 1, arms[index].kind));
                let Told { per_second, p50, p99, p999 } = one(&arms[index], *cell, options.time)?;
                result.arms[index].rounds.push(Sample { per_second, p50, p99, p999 });
                progress.done();
            }
        }
    }
    Ok(results)
}

fn one(arm: &Arm, cell: Cell, time: Duration) -> Result<Told, BenchError> {
    let (from, to) = arm.client(cell.way, cell.family);
    load::ask(&from, to, cell.workload, time).map_err(|source| BenchError::Measurement {
        arm: arm.kind,
        cell,
        source: Box::new(source),
    })
}
