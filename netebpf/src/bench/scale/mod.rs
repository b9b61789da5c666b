//! The same with many there: endpoints on the network, flows in the tables.
//!
//! **Invariant**: hosts are alive at once and take turns in an order that changes, as in the rounds, and what counts is how
//! they compare within a round; with fewer there first, so that one host grows and nothing is taken away between: of how it
//! compares with itself there are medians alone. What was there is looked at again before it counts.

mod api;
mod calls;
mod daemon;
mod endpoints;
mod flows;
mod plain;

pub(super) use endpoints::measure as endpoints;
pub(super) use flows::{LAST as MOST_FLOWS, measure as flows};

use super::{
    BenchError, Ground,
    report::{AtScale, Quantity, Scale, Side},
    statistics::Ratio,
};
use std::time::Instant;

/// What was measured with so many there.
struct Level {
    scale: Scale,
    there: u32,
    quantities: Vec<AtScale>,
}

impl Level {
    fn new(scale: Scale, there: u32) -> Self {
        Self { scale, there, quantities: Vec::new() }
    }

    /// One more round of somebody.
    fn push(&mut self, quantity: Quantity, side: &str, value: f64) {
        let Self { scale, there, quantities } = self;
        let place = quantities.iter().position(|of| of.quantity == quantity);
        let place = place.unwrap_or_else(|| {
            let (scale, there) = (*scale, *there);
            quantities.push(AtScale::new(scale, there, quantity));
            quantities.len() - 1
        });
        let sides = &mut quantities[place].sides;
        match sides.iter_mut().find(|of| of.side == side) {
            Some(of) => of.rounds.push(value),
            None => {
                let grows = Ratio::of(&[], &[]);
                sides.push(Side { side: side.to_owned(), rounds: vec![value], grows });
            }
        }
    }
}

/// All levels: each side beside itself with the fewest there, by medians, and netebpf beside the others, round by round.
fn compared(levels: Vec<Level>) -> Vec<AtScale> {
    let mut all: Vec<AtScale> = levels.into_iter().flat_map(|level| level.quantities).collect();
    let fewest: Vec<AtScale> = all.clone();
    for of in &mut all {
        for side in &mut of.sides {
            let same = fewest.iter().filter(|few| few.quantity == of.quantity);
            let same = same.flat_map(|few| &few.sides).find(|few| few.side == side.side);
            let fewest = same.map(|few| few.rounds.as_slice()).unwrap_or_default();
            side.grows = Ratio::of_medians(&side.rounds, fewest);
        }
        of.compare();
    }
    all
}

/// How many milliseconds something takes.
fn timed(work: impl FnOnce() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_grows_beside_itself() {
        let mut levels = Vec::new();
        for (there, rounds) in [(1, [10.0, 30.0, 20.0]), (100, [50.0, 10.0, 60.0])] {
            let mut level = Level::new(Scale::Endpoints, there);
            for value in rounds {
                level.push(Quantity::Attach, "netebpf", value);
                level.push(Quantity::Attach, "netlink", 5.0);
            }
            level.push(Quantity::Detach, "netlink", 7.0);
            levels.push(level);
        }
        let all = compared(levels);
        let at = |there, quantity| {
            all.iter().find(|of| (of.there, of.quantity) == (there, quantity)).unwrap()
        };
        let grows = |there, side: &str| {
            let sides = &at(there, Quantity::Attach).sides;
            sides.iter().find(|of| of.side == side).unwrap().grows
        };
        for (there, side, expected) in
            [(1, "netebpf", 1.0), (100, "netebpf", 2.5), (100, "netlink", 1.0)]
        {
            let Ratio { median, lowest, highest } = grows(there, side);
            assert_eq!(median, expected, "{side} with {there}");
            assert!(lowest.is_nan() && highest.is_nan(), "no round is beside another");
        }
        let beside = &at(100, Quantity::Attach).beside;
        let [of] = beside.as_slice() else { panic!("{beside:?}") };
        assert_eq!((of.ours.as_str(), of.side.as_str()), ("netebpf", "netlink"));
        assert_eq!(of.ratio, Ratio { median: 10.0, lowest: 2.0, highest: 12.0 });
        assert!(at(100, Quantity::Detach).beside.is_empty(), "nobody of ours was measured");
        assert_eq!(all.len(), 4);
    }
}
