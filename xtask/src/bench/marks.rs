//! `cargo xtask bench --check`: what is asked of netebpf, and what it did the last time that somebody wrote it down.
//!
//! **Invariant**: what is compared is ratios of rates within a round, never a time: more is better of each. A mark is missed
//! by a median below it, and by what was not measured. Something is worse than recorded where its median is below every
//! recorded round, and the recorded median above every round of now: a machine has its moods.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// Ratios of netebpf to another arm that are asked for, in both families.
const MARKS: &[(&str, &str, &str, f64)] = &[
    ("endpoint-to-endpoint", "round-trips", BARE, 0.96),
    ("masquerade", "round-trips", BARE, 0.95),
    ("published-port", "round-trips", BARE, 0.95),
    ("endpoint-to-endpoint", "connections", BARE, 0.96),
    ("masquerade", "connections", BARE, 0.93),
    ("published-port", "connections", BARE, 0.93),
    ("endpoint-to-endpoint", "round-trips", IPTABLES, 1.33),
    ("masquerade", "round-trips", IPTABLES, 1.37),
    ("published-port", "round-trips", IPTABLES, 1.36),
    ("endpoint-to-endpoint", "connections", IPTABLES, 1.45),
    ("masquerade", "connections", IPTABLES, 1.43),
    ("published-port", "connections", IPTABLES, 1.46),
    ("endpoint-to-endpoint", "packets", IPTABLES, 2.6),
    ("masquerade", "packets", IPTABLES, 2.5),
    ("published-port", "packets", IPTABLES, 2.3),
    ("endpoint-to-endpoint", "streams", IPTABLES, 1.8),
    ("masquerade", "streams", IPTABLES, 1.8),
    ("published-port", "streams", IPTABLES, 1.8),
];

/// Connections with ten thousand published ports beside those with one.
const MANY_PORTS: f64 = 1.0;

/// Round trips with the socket shortcut beside a bare veth.
const SHORTCUT: f64 = 1.7;

const BARE: &str = "bare-veth";
/// The beginning of both arms that have Docker's rules.
const IPTABLES: &str = "iptables";

/// What `netebpf bench --json` writes, as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Record {
    results: Vec<Measured>,
    scale: Vec<AtScale>,
}

/// With many there.
#[derive(Deserialize)]
struct AtScale {
    scale: String,
    there: u32,
    sides: Vec<Side>,
}

#[derive(Deserialize)]
struct Side {
    side: String,
    grows: Grows,
}

/// How many times as much there is as with the fewest there: of some there is no range.
#[derive(Deserialize)]
struct Grows {
    median: f64,
}

#[derive(Deserialize)]
struct Measured {
    way: String,
    family: String,
    workload: String,
    ports: u16,
    beside: Vec<Beside>,
    shortcut: Option<Ratio>,
}

/// netebpf beside another arm.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Ratio {
    median: f64,
    lowest: f64,
    highest: f64,
}

#[derive(Deserialize)]
struct Beside {
    arm: String,
    ratio: Ratio,
}

/// A run that is worth remembering: each ratio by its name.
type Recorded = BTreeMap<String, Ratio>;

impl Record {
    fn ratios(&self) -> impl Iterator<Item = (&Measured, &Beside)> {
        self.results.iter().flat_map(|of| of.beside.iter().map(move |beside| (of, beside)))
    }

    /// Writes it down as what later ones are compared with. What was not measured now stays as it was written.
    pub(super) fn remember(&self) -> Result<()> {
        let mut recorded = recorded()?;
        recorded.extend(self.all());
        let path = path();
        fs::write(&path, serde_json::to_string_pretty(&recorded)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What falls short of its mark, a line each.
    pub(super) fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        for (of, beside) in self.ratios() {
            let (name, now) = (name(of, beside), beside.ratio);
            let mark =
                MARKS.iter().find(|mark| of.is_meant(mark) && beside.arm.starts_with(mark.2));
            if let Some((.., mark)) = mark.filter(|(.., mark)| now.median < *mark) {
                misses.push(format!("{name}: {:.2}, and {mark:.2} is asked for", now.median));
            }
        }
        for (name, ratio) in self.shortcuts().filter(|(_, ratio)| ratio.median < SHORTCUT) {
            misses.push(format!("{name}: {}, and {SHORTCUT:.2} is asked for", shown(ratio)));
        }
        if let Some(ratio) = self.with_many_ports().filter(|ratio| *ratio < MANY_PORTS) {
            misses.push(format!("connections with many ports: {ratio:.2} of those with one"));
        }
        misses
    }

    /// What is worse than it was recorded, a line each.
    pub(super) fn regressions(&self) -> Result<Vec<String>> {
        Ok(self.worse_than(&recorded()?))
    }

    fn worse_than(&self, before: &Recorded) -> Vec<String> {
        let worse = |(name, now): (String, Ratio)| {
            let before = before
                .get(&name)
                .filter(|before| now.median < before.lowest && now.highest < before.median)?;
            Some(format!("{name}: {}, and was {}", shown(now), shown(*before)))
        };
        self.all().filter_map(worse).collect()
    }

    /// Marks that nothing was measured for.
    pub(super) fn unmeasured(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for mark in MARKS {
            for family in ["IPv4", "IPv6"] {
                let is_it = |(of, beside): (&Measured, &Beside)| {
                    of.is_meant(mark) && of.family == family && beside.arm.starts_with(mark.2)
                };
                if !self.ratios().any(is_it) {
                    let (way, workload, arm, _) = mark;
                    missing
                        .push(format!("{way}, {family}, {workload}, beside {arm}: not measured"));
                }
            }
        }
        if self.shortcuts().next().is_none() {
            missing.push("socket shortcut: not measured".to_owned());
        }
        if self.with_many_ports().is_none() {
            missing.push("connections with many ports: not measured".to_owned());
        }
        missing
    }

    /// Every ratio, by a name of its own.
    fn all(&self) -> impl Iterator<Item = (String, Ratio)> {
        let beside = self.ratios().map(|(of, beside)| (name(of, beside), beside.ratio));
        beside.chain(self.shortcuts())
    }

    fn shortcuts(&self) -> impl Iterator<Item = (String, Ratio)> {
        self.results.iter().filter_map(|of| {
            Some((format!("socket shortcut, {}, beside {BARE}", of.family), of.shortcut?))
        })
    }

    /// How many times as many connections netebpf takes with the most ports as with one.
    fn with_many_ports(&self) -> Option<f64> {
        let many = self.scale.iter().filter(|of| of.scale == "ports").max_by_key(|of| of.there)?;
        many.sides.iter().find(|of| of.side == "netebpf").map(|of| of.grows.median)
    }
}

impl Measured {
    fn is_meant(&self, (way, workload, ..): &(&str, &str, &str, f64)) -> bool {
        self.way == *way && self.workload == *workload && self.ports == 1
    }
}

fn shown(Ratio { median, lowest, highest }: Ratio) -> String {
    format!("{median:.2} ({lowest:.2} to {highest:.2})")
}

fn name(of: &Measured, beside: &Beside) -> String {
    let Measured { way, family, workload, ports, .. } = of;
    format!("{way}, {family}, {workload}, ports {ports}, beside {}", beside.arm)
}

/// What was recorded; nothing before the first time.
fn recorded() -> Result<Recorded> {
    let path = path();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recorded::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_str(&text).with_context(|| format!("{} is not a recorded run", path.display()))
}

fn path() -> PathBuf {
    crate::run::workspace().join("xtask/src/bench/recorded.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ratio([lowest, median, highest]: [f64; 3]) -> Value {
        json!({"median": median, "lowest": lowest, "highest": highest})
    }

    /// A run with masqueraded round trips beside a bare veth, and with the socket shortcut.
    fn run(round_trips: [f64; 3], shortcut: [f64; 3]) -> Record {
        let measured = json!({
            "way": "masquerade",
            "family": "IPv4",
            "workload": "round-trips",
            "ports": 1,
            "beside": [{"arm": BARE, "ratio": ratio(round_trips)}],
            "shortcut": ratio(shortcut),
        });
        serde_json::from_value(json!({"results": [measured], "scale": []})).unwrap()
    }

    const WELL: [f64; 3] = [0.94, 0.96, 0.98];
    const SHORT: [f64; 3] = [1.8, 1.9, 2.0];

    #[test]
    fn a_median_below_its_mark_misses_it() {
        for (round_trips, shortcut, expected) in [
            (WELL, SHORT, [].as_slice()),
            // However good another round was.
            ([0.80, 0.94, 0.99], SHORT, &["masquerade, IPv4, round-trips"]),
            (WELL, [1.5, 1.6, 1.8], &["socket shortcut, IPv4"]),
        ] {
            let misses = run(round_trips, shortcut).misses();
            assert_eq!(misses.len(), expected.len(), "{misses:?}");
            assert!(
                misses.iter().zip(expected).all(|(miss, of)| miss.starts_with(of)),
                "{misses:?}"
            );
        }
    }

    #[test]
    fn what_is_worse_is_below_the_record_and_the_record_above_it() {
        let before: Recorded = run(WELL, SHORT).all().collect();
        for (round_trips, shortcut, expected) in [
            (WELL, SHORT, [].as_slice()),
            ([1.0, 1.1, 1.2], [2.1, 2.2, 2.3], &[]),
            // The median is below every recorded round, and one round is as good as the recorded median.
            ([0.80, 0.90, 0.96], SHORT, &[]),
            ([0.80, 0.94, 0.95], SHORT, &[]),
            ([0.80, 0.90, 0.95], SHORT, &["masquerade, IPv4, round-trips"]),
            (WELL, [1.5, 1.75, 1.79], &["socket shortcut, IPv4"]),
        ] {
            let worse = run(round_trips, shortcut).worse_than(&before);
            assert_eq!(worse.len(), expected.len(), "{worse:?}");
            assert!(worse.iter().zip(expected).all(|(line, of)| line.starts_with(of)), "{worse:?}");
        }
        assert!(run([0.1; 3], [0.1; 3]).worse_than(&Recorded::new()).is_empty());
    }
}
