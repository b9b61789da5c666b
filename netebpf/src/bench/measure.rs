//! Rounds: everything is measured once in each, arm beside arm.
//!
//! **Invariant**: a round measures one thing in all arms, and then the next thing; in which order it goes through the arms
//! changes from round to round. A short pass before the first round warms caches up, and does not count.

use super::{
    BenchError, Options,
    arms::{Arm, Way},
    histogram::Histogram,
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
        let ways = Way::ALL.into_iter().flat_map(|way| Family::BOTH.map(|family| (way, family)));
        let workloads = |(way, family)| {
            let workloads =
                options.workloads.iter().filter(move |workload| Way::has(way, **workload));
            workloads.map(move |workload| Self { way, family, workload: *workload, ports: 1 })
        };
        let mut all: Vec<Self> = ways.flat_map(workloads).collect();
        let one = Self {
            way: Way::PublishedPort,
            family: Family::V4,
            workload: Workload::Connections,
            ports: 1,
        };
        // Right after the one that it is compared with.
        let place = all.iter().position(|cell| *cell == one).map_or(all.len(), |place| place + 1);
        all.splice(place..place, options.ports.iter().map(|ports| Self { ports: *ports, ..one }));
        all
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
    let of_cell =
        |cell: &Cell| -> Vec<&Arm> { arms.iter().filter(|arm| arm.site.measures(cell)).collect() };
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
    let bar = progress.begin(u64::from(options.rounds) * measurements);
    let empty = |cell: &Cell| Measured::new(*cell, of_cell(cell).iter().map(|arm| arm.site.kind));
    let mut results: Vec<Measured> = cells.iter().map(empty).collect();
    for round in 0..options.rounds as usize {
        for (cell, result) in cells.iter().zip(&mut results) {
            let arms = of_cell(cell);
            for index in order(round, arms.len()) {
                stop()?;
                progress.say(format!("round {}: {}: {cell}", round + 1, arms[index].site.kind));
                let (sample, times) = one(arms[index], *cell, options.time)?;
                result.arms[index].push(sample, times.as_ref());
                bar.done();
            }
        }
    }
    results.iter_mut().for_each(Measured::compare);
    Ok(results)
}

/// In which order a round goes through so many arms: who comes first changes, and so does who comes after whom, for what one
/// leaves for later falls on the next.
pub(super) fn order(round: usize, arms: usize) -> impl Iterator<Item = usize> {
    let places = (0..arms).map(move |turn| (round / 2 + turn) % arms);
    places.map(move |place| if round.is_multiple_of(2) { place } else { arms - 1 - place })
}

/// One measurement in one arm, and how long each operation took, where that was looked at.
pub(super) fn one(
    arm: &Arm,
    cell: Cell,
    time: Duration,
) -> Result<(Sample, Option<Histogram>), BenchError> {
    let Cell { way, family, workload, .. } = cell;
    let ask = |exchange| {
        let (from, to) = arm.client(way, family);
        let asked = load::ask(&from, to, exchange, time)?;
        Ok((asked.sample, Some(asked.times)))
    };
    let sample = match workload {
        Workload::RoundTrips => ask(Exchange::RoundTrips),
        Workload::Connections => arm.forget_connections().and_then(|()| ask(Exchange::Connections)),
        Workload::Packets => packets::measure(arm, way, family).map(|sample| (sample, None)),
        Workload::Streams => {
            let (from, to) = arm.streams(way, family);
            let gigabits = streams::measure(&from, to, time).map_err(BenchError::from);
            gigabits.map(|gigabits| (Sample::rate(gigabits * 1e9), None))
        }
    };
    sample.map_err(|source| BenchError::Measurement {
        arm: arm.site.kind,
        cell,
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_first_and_after_everybody_on_both_sides() {
        for arms in 1..7 {
            let rounds: Vec<Vec<usize>> =
                (0..2 * arms).map(|round| order(round, arms).collect()).collect();
            for round in &rounds {
                let mut all = round.clone();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..arms), "{round:?}");
            }
            let firsts = |arm| rounds.iter().filter(|round| round[0] == arm).count();
            assert!((0..arms).all(|arm| firsts(arm) == 2), "{rounds:?}");
        }
    }

    #[test]
    fn many_ports_are_measured_beside_one() {
        let options = Options { ports: vec![5], ..Options::usual() };
        let cells = Cell::all(&options);
        let place = cells.iter().position(|cell| cell.ports == 5).unwrap();
        assert_eq!(Cell { ports: 5, ..cells[place - 1] }, cells[place]);
        assert_eq!(cells.len(), 2 * 3 * 3 + 1 + 2);
    }
}
