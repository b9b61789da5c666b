//! `cargo xtask bench --check`: what is asked of netebpf, and what it did the last time that somebody wrote it down.
//!
//! **Invariant**: what is compared is the median of the rounds' ratios, never a time. A mark is missed by a median below
//! it; the last recorded run only where the ranges of both do not even touch, for a machine has its moods.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Ratios of netebpf to another arm that are asked for, in both families.
const MARKS: &[(&str, &str, &str, f64)] = &[
    ("endpoint-to-endpoint", "round-trips", "bare-veth", 0.96),
    ("masquerade", "round-trips", "bare-veth", 0.95),
    ("published-port", "round-trips", "bare-veth", 0.95),
    ("endpoint-to-endpoint", "connections", "bare-veth", 0.96),
    ("masquerade", "connections", "bare-veth", 0.93),
    ("published-port", "connections", "bare-veth", 0.93),
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

/// The beginning of both arms that have Docker's rules.
const IPTABLES: &str = "iptables";

/// What `netebpf bench --format json` says, as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Record {
    results: Vec<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    way: String,
    family: String,
    workload: String,
    ports: u16,
    beside: Vec<Beside>,
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

/// A run that is worth remembering: each ratio by way, family, workload and the other arm.
type Recorded = BTreeMap<String, Ratio>;

impl Record {
    fn ratios(&self) -> impl Iterator<Item = (&Measured, &Beside)> {
        self.results.iter().flat_map(|of| of.beside.iter().map(move |beside| (of, beside)))
    }

    /// Writes it down as the run that later ones are compared with.
    pub(super) fn remember(&self) -> Result<()> {
        let ratios: Recorded =
            self.ratios().map(|(of, beside)| (name(of, beside), beside.ratio)).collect();
        let path = recorded();
        fs::write(&path, serde_json::to_string_pretty(&ratios)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What is missed, a line each.
    pub(super) fn misses(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(recorded()).unwrap_or_else(|_| "{}".to_owned());
        let before: Recorded = serde_json::from_str(&text).context("the recorded run")?;
        let mut misses = Vec::new();
        for (of, beside) in self.ratios() {
            let (name, now) = (name(of, beside), beside.ratio);
            let marked = |(way, workload, arm, _): &&(&str, &str, &str, f64)| {
                *way == of.way && *workload == of.workload && beside.arm.starts_with(arm)
            };
            if let Some((.., mark)) =
                MARKS.iter().find(marked).filter(|(.., mark)| now.median < *mark)
            {
                misses.push(format!("{name}: {:.2}, and {mark:.2} is asked for", now.median));
            }
            if let Some(before) = before.get(&name).filter(|before| now.highest < before.lowest) {
                misses.push(format!(
                    "{name}: {:.2} ({:.2} to {:.2}), and was {:.2} ({:.2} to {:.2})",
                    now.median,
                    now.lowest,
                    now.highest,
                    before.median,
                    before.lowest,
                    before.highest
                ));
            }
        }
        Ok(misses)
    }
}

fn name(of: &Measured, beside: &Beside) -> String {
    let Measured { way, family, workload, ports, .. } = of;
    format!("{way}, {family}, {workload}, ports {ports}, beside {}", beside.arm)
}

fn recorded() -> PathBuf {
    crate::run::workspace().join("xtask/src/bench/recorded.json")
}
