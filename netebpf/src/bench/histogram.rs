//! How long many things took, in little room, so that what was measured apart can be put together: a percentile of
//! seven rounds is not the middle of seven percentiles, each of too few.
//!
//! **Invariant**: a time is known to half a per cent, however long.

use super::load::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many bits of a time are kept.
const BITS: u32 = 8;

/// How often things took so long: by the leading bits of their nanoseconds, and how many follow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub(super) struct Histogram(BTreeMap<u16, u64>);

impl Histogram {
    /// Counts one.
    pub(super) fn count(&mut self, nanoseconds: u32) {
        let shift = (u32::BITS - nanoseconds.leading_zeros()).saturating_sub(BITS);
        *self.0.entry((shift << BITS | nanoseconds >> shift) as u16).or_default() += 1;
    }

    /// Counts all that another one did.
    pub(super) fn add(&mut self, other: &Self) {
        for (place, count) in &other.0 {
            *self.0.entry(*place).or_default() += count;
        }
    }

    /// How many there are.
    pub(super) fn samples(&self) -> u64 {
        self.0.values().sum()
    }

    /// Half, 99 % and 99.9 % of them; none where there are none.
    pub(super) fn latency(&self) -> Option<Latency> {
        let samples = self.samples();
        let at = |per_mille: u64| {
            // The nearest rank.
            let mut rank = (samples * per_mille).div_ceil(1000);
            let reached = |count: &u64| {
                let reached = *count >= rank;
                rank = rank.saturating_sub(*count);
                reached
            };
            let mut reached = reached;
            self.0.iter().find(|(_, count)| reached(count)).map(|(place, _)| middle(*place))
        };
        Some(Latency { p50: at(500)?, p99: at(990)?, p999: at(999)? })
    }
}

/// What is in the middle of a place, in microseconds.
fn middle(place: u16) -> f64 {
    let (shift, leading) = (place >> BITS, place & ((1 << BITS) - 1));
    let low = f64::from(leading) * f64::from(1_u32 << shift);
    (low + (f64::from(1_u32 << shift) - 1.0) / 2.0) / 1e3
}

impl From<Vec<(u16, u64)>> for Histogram {
    fn from(all: Vec<(u16, u64)>) -> Self {
        // What no time falls into would have no middle.
        Self(
            all.into_iter()
                .filter(|(place, _)| place >> BITS <= (u32::BITS - BITS) as u16)
                .collect(),
        )
    }
}

impl From<Histogram> for Vec<(u16, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_known_to_half_a_per_cent() {
        for exact in [0, 1, 255, 256, 257, 24_123, 1_000_000, 999_999_999, u32::MAX] {
            let mut one = Histogram::default();
            one.count(exact);
            let known = one.latency().unwrap().p999;
            let exact = f64::from(exact) / 1e3;
            assert!((known - exact).abs() <= exact * 0.005, "{known} for {exact}");
        }
        assert_eq!(Histogram::default().latency(), None);
    }

    #[test]
    fn percentiles_are_of_all_together() {
        let mut all = Histogram::default();
        // Nine rounds of a hundred quick ones each, and one in which ten took long.
        for _ in 0..9 {
            let mut round = Histogram::default();
            (0..100).for_each(|_| round.count(100));
            all.add(&round);
        }
        let mut round = Histogram::default();
        (0..90).for_each(|_| round.count(100));
        (0..10).for_each(|_| round.count(200));
        all.add(&round);
        assert_eq!(all.samples(), 1000);
        assert_eq!(all.latency(), Some(Latency { p50: 0.1, p99: 0.1, p999: 0.2 }));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, "[[100,990],[200,10]]");
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), all);
        assert!(serde_json::from_str::<Histogram>("[[65535,1]]").unwrap().latency().is_none());
    }
}
