//! Rounds: everything is measured once in each, arm beside arm.
//!
//! **Invariant**: arms that are compared were measured right after one another; who comes first changes from round to
//! round. A short pass before the first round warms caches up, and does not count.

use super::{
    BenchError, Options,
    arms::{Arm, Way},
    host::Family,
    load::{self, Exchange, Sample, Workload, streams},
    packets,
    progress::Progress,
    report::Measured,
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
    /// Among how many published ports.
    pub ports: u16,
}

impl Cell {
    /// Every one; with many published ports it is connections to one of them.
    pub(super) fn all(options: &Options) -> Vec<Self> {
        let usual = Way::ALL.into_iter().flat_map(|way| {
            Family::BOTH.into_iter().flat_map(move |family| {
                let workloads = options.workloads.iter();
                workloads.map(move |workload| Self { way, family, workload: *workload, ports: 1 })
            })
        });
        let many = options.ports.iter().map(|ports| Self {
            way: Way::PublishedPort,
            family: Family::V4,
            workload: Workload::Connections,
            ports: *ports,
        });
        usual.chain(many).collect()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.way, self.family, self.workload)?;
        match self.ports {
            1 => Ok(()),
            ports => write!(f, ", {ports} ports"),
        }
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
    let of_cell = |cell: &Cell| -> Vec<&Arm> {
        arms.iter().filter(|arm| arm.site.measures(cell.ports)).collect()
    };
    let mut measurements = 0;
    for (cell, arm) in
        cells.iter().flat_map(|cell| of_cell(cell).into_iter().map(move |arm| (cell, arm)))
    {
        stop()?;
        measurements += 1;
        if cell.workload == Workload::Streams {
            // They take whole seconds, and warm up within the first.
            continue;
        }
        progress.say(format!("warming up: {}: {cell}", arm.site.kind));
        one(arm, *cell, WARM_UP)?;
    }
    progress.begin(u64::from(options.rounds) * measurements);
    let empty = |cell: &Cell| Measured::new(*cell, of_cell(cell).iter().map(|arm| arm.site.kind));
    let mut results: Vec<Measured> = cells.iter().map(empty).collect();
    for round in 0..options.rounds as usize {
        for (cell, result) in cells.iter().zip(&mut results) {
            let arms = of_cell(cell);
            for turn in 0..arms.len() {
                stop()?;
                let index = (round + turn) % arms.len();
                progress.say(format!("round {}: {}: {cell}", round + 1, arms[index].site.kind));
                result.arms[index].rounds.push(one(arms[index], *cell, options.time)?);
                progress.done();
            }
        }
    }
    results.iter_mut().for_each(Measured::compare);
    Ok(results)
}

fn one(arm: &Arm, cell: Cell, time: Duration) -> Result<Sample, BenchError> {
    let Cell { way, family, workload, .. } = cell;
    let ask = |exchange| {
        let (from, to) = arm.client(way, family);
        load::ask(&from, to, exchange, time)
    };
    let sample = match workload {
        Workload::RoundTrips => ask(Exchange::RoundTrips),
        Workload::Connections => ask(Exchange::Connections),
        Workload::Packets => packets::rate(arm, way, family).map(Sample::rate),
        Workload::Streams => {
            let (from, to) = arm.streams(way, family);
            let gigabits = streams::measure(&from, to, time).map_err(BenchError::from);
            gigabits.map(|gigabits| Sample::rate(gigabits * 1e9))
        }
    };
    sample.map_err(|source| BenchError::Measurement {
        arm: arm.site.kind,
        cell,
        source: Box::new(source),
    })
}
