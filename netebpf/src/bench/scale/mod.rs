//! The same with many there: endpoints on the network, flows in the tables.
//!
//! **Invariant**: hosts are alive at once and take turns, as in the rounds; with fewer there first, so that one host
//! grows and nothing is taken away between. What was there is looked at again before it counts.

mod api;
mod calls;
mod endpoints;
mod flows;
mod plain;

pub(super) use endpoints::measure as endpoints;
pub(super) use flows::{LAST as MOST_FLOWS, measure as flows};

use super::{
    BenchError, Ground,
    report::{AtScale, Quantity, Scale, Side},
    statistics::median,
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
            quantities.push(AtScale { scale, there, quantity, sides: Vec::new() });
            quantities.len() - 1
        });
        let sides = &mut quantities[place].sides;
        match sides.iter_mut().find(|of| of.side == side) {
            Some(of) => of.rounds.push(value),
            None => {
                sides.push(Side { side: side.to_owned(), rounds: vec![value], grows: f64::NAN })
            }
        }
    }
}

/// All levels, each side beside itself with the fewest there.
fn compared(levels: Vec<Level>) -> Vec<AtScale> {
    let mut all: Vec<AtScale> = levels.into_iter().flat_map(|level| level.quantities).collect();
    let fewest: Vec<AtScale> = all.clone();
    for of in &mut all {
        for side in &mut of.sides {
            let same = fewest.iter().filter(|few| few.quantity == of.quantity);
            let same = same.flat_map(|few| &few.sides).find(|few| few.side == side.side);
            let least = same.map_or(f64::NAN, |few| median(&few.rounds));
            side.grows = median(&side.rounds) / least;
        }
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
        for (there, rounds) in [(1, [10.0, 30.0, 20.0]), (100, [50.0, 10.0, 40.0])] {
            let mut level = Level::new(Scale::Endpoints, there);
            for value in rounds {
                level.push(Quantity::Attach, "netebpf", value);
                level.push(Quantity::Attach, "ip", 5.0);
            }
            level.push(Quantity::Detach, "ip", 7.0);
            levels.push(level);
        }
        let all = compared(levels);
        let of = |there, quantity, side: &str| {
            let level = all.iter().find(|of| (of.there, of.quantity) == (there, quantity)).unwrap();
            level.sides.iter().find(|of| of.side == side).unwrap().grows
        };
        assert_eq!(of(1, Quantity::Attach, "netebpf"), 1.0);
        assert_eq!(of(100, Quantity::Attach, "netebpf"), 2.0);
        assert_eq!(of(100, Quantity::Attach, "ip"), 1.0);
        assert_eq!(all.len(), 4);
    }
}
