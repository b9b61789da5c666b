//! Numbers as people read them.

use crate::bench::{
    arms::{Kind, Way},
    report::{Measured, Record},
    statistics::Ratio,
};

/// Where there is no number.
pub(super) const NONE: &str = "-";

/// `39,485`; `31.2 G` where nobody reads all the digits any more.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        n if !n.is_finite() => NONE.to_owned(),
        n if n.abs() < 1e7 => thousands(n),
        n if n.abs() < 1e9 => format!("{} M", digits(n / 1e6)),
        n => format!("{} G", digits(n / 1e9)),
    }
}

/// Microseconds with as many digits as mean something: `24.1`, `120`, `2,018`; `4.29 s` where it is so long.
pub(super) fn microseconds(time: f64) -> String {
    match time {
        n if n >= 1e6 && n.is_finite() => format!("{} s", digits(n / 1e6)),
        n if n > 0.0 && n.is_finite() => digits(n),
        // Nothing takes no time: it was not measured.
        _ => NONE.to_owned(),
    }
}

/// `1.36`.
pub(super) fn factor(factor: f64) -> String {
    if factor.is_finite() { format!("{factor:.2}") } else { NONE.to_owned() }
}

/// `0.98-1.52`; nothing where there was no round.
pub(super) fn range(ratio: &Ratio, to: &str) -> Option<String> {
    let both = ratio.lowest.is_finite() && ratio.highest.is_finite();
    both.then(|| format!("{:.2}{to}{:.2}", ratio.lowest, ratio.highest))
}

/// `1.36× (0.98–1.52)`; nothing where there was no round.
pub(super) fn compared(ratio: Option<Ratio>) -> String {
    let ratio = ratio.filter(|ratio| ratio.median.is_finite());
    let range = ratio.and_then(|ratio| range(&ratio, "–"));
    let range = range.map_or_else(String::new, |range| format!(" ({range})"));
    ratio.map_or_else(String::new, |ratio| format!("{}×{range}", factor(ratio.median)))
}

fn digits(n: f64) -> String {
    match n.abs() {
        size if size < 10.0 => format!("{n:.2}"),
        size if size < 100.0 => format!("{n:.1}"),
        _ => thousands(n),
    }
}

fn thousands(n: f64) -> String {
    let digits = format!("{n:.0}");
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    format!("{sign}{}", groups.collect::<Vec<_>>().join(","))
}

/// What counts for the means: many published ports, and what is not forwarded, are other matters.
pub(super) fn is_usual(result: &Measured) -> bool {
    result.ports == 1 && result.way != Way::HostsOwn
}

/// What it all means, in a sentence.
pub(super) fn sentence(record: &Record) -> String {
    let means: Vec<_> = record
        .others()
        .into_iter()
        .filter_map(|arm| Some((arm, record.mean_beside(arm, is_usual)?)))
        .collect();
    let count = means.iter().map(|(_, (_, count))| *count).max().unwrap_or_default();
    let is = means.iter().enumerate().map(|(index, (arm, (mean, _)))| {
        let name = match arm {
            Kind::BareVeth => "a bare veth with nothing in between".to_owned(),
            arm => arm.to_string(),
        };
        let fast = if index == 0 { "times as fast as" } else { "times" };
        format!("{} {fast} {name}", factor(*mean))
    });
    let is = match is.collect::<Vec<_>>().as_slice() {
        [] => return "Nothing was measured that netebpf can be compared with.".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    format!("On average (geometric mean of {count} ratios), netebpf is {is}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (n, expected) in [
            (0.0, "0"),
            (999.6, "1,000"),
            (39_484.9, "39,485"),
            (-1234.0, "-1,234"),
            (12_345_678.0, "12.3 M"),
            (31.2e9, "31.2 G"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(rate(n), expected);
        }
        for (time, expected) in [
            (1.234, "1.23"),
            (24.06, "24.1"),
            (120.3, "120"),
            (2017.8, "2,018"),
            (4.29e6, "4.29 s"),
            (0.0, "-"),
        ] {
            assert_eq!(microseconds(time), expected);
        }
        let none = Ratio::of(&[], &[]);
        assert_eq!((factor(none.median).as_str(), range(&none, "-")), ("-", None));
    }
}
