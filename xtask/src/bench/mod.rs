//! `cargo xtask bench`: `netebpf bench` of this checkout, and what is measured beside it.
//!
//! **Invariant**: every number compares sides that are alive at once and take turns, so that what disturbs the machine
//! disturbs each of them.

mod host;
pub(crate) mod load;
mod marks;
mod names;
mod queries;
mod resolvers;

use crate::{build::Build, run, setup::Setup};
use anyhow::{Context as _, Result, ensure};
use marks::Record;
use std::{fs, path::Path, process::Stdio};

/// Compare speed with a bare veth and with the rules of Docker and podman, in throw-away namespaces
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// In less than a minute: fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Rounds; each measures everything once, and the medians count
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How long one measurement takes
    #[arg(long)]
    milliseconds: Option<u64>,
    /// Fail where a mark is missed, or where every round is below those that were recorded
    #[arg(long, conflicts_with = "quick")]
    check: bool,
    /// Record what comes out, for later checks
    #[arg(long, conflicts_with = "quick")]
    record: bool,
    /// Instead, ask for a local name: how fast netebpf, aardvark-dns and Docker answer, as far as they are installed
    #[arg(long, conflicts_with_all = ["quick", "check", "record"])]
    names: bool,
}

/// Rounds of what is not `netebpf bench`, when nothing is said.
const ROUNDS: u32 = 7;

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        Setup { tests: true }.run()?;
        let netebpf = Build::default().run()?;
        if self.names {
            let rounds = self.rounds.unwrap_or(ROUNDS);
            return names::measure(&netebpf, rounds, self.milliseconds.unwrap_or(1000));
        }
        let mut options = Vec::new();
        options.extend(self.quick.then(|| "--quick".to_owned()));
        options.extend(self.rounds.map(|rounds| format!("--rounds={rounds}")));
        options.extend(self.milliseconds.map(|time| format!("--milliseconds={time}")));
        if self.check || self.record {
            options.push("--workloads=round-trips,connections,packets,streams".to_owned());
        }
        let record = compare(&netebpf, &options)?;
        let mut misses = record.misses();
        misses.extend(self.check.then(|| record.unmeasured()).into_iter().flatten());
        let regressions = record.regressions()?;
        if self.record {
            record.remember()?;
        }
        for miss in &misses {
            println!("mark missed: {miss}");
        }
        for regression in &regressions {
            println!("regressed since the record: {regression}");
        }
        ensure!(
            !self.check || (misses.is_empty() && regressions.is_empty()),
            "{} marks are missed, {} ratios have regressed since the record",
            misses.len(),
            regressions.len()
        );
        Ok(())
    }
}

/// The quick form, of a program that nobody optimised: it prints what it measures, and is held against nothing.
pub(crate) fn look(netebpf: &Path) -> Result<()> {
    compare(netebpf, &["--quick".to_owned()]).map(drop)
}

/// Runs `netebpf bench`, which prints its table; answers with what came of it, which is in target/bench.json, too.
fn compare(netebpf: &Path, options: &[String]) -> Result<Record> {
    let file = run::target_dir().join("bench.json");
    let mut bench = run::root(netebpf);
    bench.arg("bench").args(options).arg("--json").arg(&file);
    let status = bench.stdin(Stdio::null()).status().context("cannot run netebpf bench")?;
    ensure!(status.success(), "netebpf bench failed ({status})");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not what it should be", file.display()))
}
