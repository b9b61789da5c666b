//! Of many rounds, what counts.

use serde::{Deserialize, Deserializer, Serialize};

/// The middle one, or the mean of the two in the middle; not a number where there are none.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[sorted.len() / 2],
        sorted => (sorted[sorted.len() / 2 - 1] + sorted[sorted.len() / 2]) / 2.0,
    }
}

/// What a factor is in the middle, where 2 and a half are 1 together; none where there are none.
pub(super) fn geometric_mean(factors: &[f64]) -> Option<f64> {
    let logarithms: f64 = factors.iter().map(|factor| factor.ln()).sum();
    (!factors.is_empty()).then(|| (logarithms / factors.len() as f64).exp())
}

/// How two arms compare: within each round, for a machine that is slow for a while is so for both.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// The median of the rounds' ratios.
    #[serde(deserialize_with = "number")]
    pub median: f64,
    /// The lowest. Not a number where no round of one is beside one of the other.
    #[serde(deserialize_with = "number")]
    pub lowest: f64,
    /// And the highest.
    #[serde(deserialize_with = "number")]
    pub highest: f64,
}

/// JSON has no word for what is not a number: it is null there.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

impl Ratio {
    /// Of rounds in which both were measured.
    pub fn of(these: &[f64], others: &[f64]) -> Self {
        let ratios: Vec<f64> = these.iter().zip(others).map(|(this, other)| this / other).collect();
        Self {
            median: median(&ratios),
            lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Of rounds that were measured one after the other: of their medians, without a range.
    pub fn of_medians(these: &[f64], others: &[f64]) -> Self {
        Self { median: median(these) / median(others), lowest: f64::NAN, highest: f64::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn twice_and_half_are_as_fast() {
        assert!((geometric_mean(&[2.0, 0.5]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        // A machine that slows down to a tenth: the medians alone would say 1.
        let ratio = Ratio::of(&[20.0, 2.0, 4.0], &[10.0, 1.0, 2.0]);
        assert_eq!((ratio.median, ratio.lowest, ratio.highest), (2.0, 2.0, 2.0));
    }
}
