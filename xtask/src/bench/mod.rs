//! `cargo xtask bench`: how much faster than a Linux bridge with Docker's iptables rules, and how near to
//! the limit, a bare veth.
//!
//! **Invariant**: a ratio compares medians of rounds that alternate between arms which are all alive, on
//! one CPU, so that what disturbs the machine disturbs each of them.

mod arms;
mod attach;
mod by_ip;
mod flows;
pub(crate) mod load;
mod names;
mod queries;
mod resolvers;

use crate::{build::Build, namespace, run, run::Step, setup::Setup};
use anyhow::{Context as _, Result, ensure};
use arms::{Arm, Way};
use load::Metric;
use serde::Serialize;
use std::fs;

/// Compare speed with a Linux bridge and Docker's iptables rules, in throw-away namespaces
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Rounds; each measures everything once, and the median counts
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one measurement takes
    #[arg(long, default_value_t = 1000)]
    milliseconds: u64,
    /// Fail when a ratio is below this
    #[arg(long)]
    at_least: Option<f64>,
    /// Instead, open so many UDP flows from one endpoint at once: how fast, what memory they take, whether the first
    /// still works, and what the daemon does with them
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["rounds", "milliseconds", "at_least"],
        value_parser = clap::value_parser!(u32).range(1..=1_500_000),
    )]
    flows: Option<u32>,
    /// Instead, attach an endpoint and detach it, with none, 100 and 1,000 others there and with 10,000 ports
    /// published: how long that takes, beside the least that `ip` needs for the same
    #[arg(long, conflicts_with_all = ["milliseconds", "at_least", "flows"])]
    attach: bool,
    /// Instead, ask for a local name: how fast netebpf, aardvark-dns and Docker answer, as far as they are installed
    #[arg(long, conflicts_with_all = ["at_least", "flows", "attach"])]
    names: bool,
}

/// The medians of one thing that was measured, operations per second.
#[derive(Serialize)]
struct Measured {
    way: Way,
    metric: Metric,
    netebpf: f64,
    bridge_and_iptables: f64,
    bare_veth: f64,
    /// netebpf beside the bridge.
    ratio: f64,
    /// netebpf beside the bare veth.
    of_bare: f64,
}

/// What goes into the file.
#[derive(Serialize)]
struct Record {
    kernel: String,
    rounds: u32,
    milliseconds: u64,
    /// Whether bridged packets meet the rules, too: `br_netfilter`, which Docker loads.
    bridge_netfilter: bool,
    results: Vec<Measured>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        Setup { tests: true }.run()?;
        let netebpf = Build::default().run()?;
        if let Some(flows) = self.flows {
            return flows::measure(&netebpf, flows);
        }
        if self.attach {
            return attach::measure(&netebpf, self.rounds);
        }
        if self.names {
            return names::measure(&netebpf, self.rounds, self.milliseconds);
        }
        let arms = [Arm::netebpf(&netebpf, None)?, Arm::docker()?, Arm::bare()?];
        let results = self.measure(&arms)?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let bridge_netfilter = arms[1].has_bridge_netfilter();
        drop(arms);
        print(&results, bridge_netfilter);
        let lowest = results.iter().map(|result| result.ratio).fold(f64::INFINITY, f64::min);
        let Self { rounds, milliseconds, at_least, .. } = self;
        let record = Record { kernel, rounds, milliseconds, bridge_netfilter, results };
        let file = run::target_dir().join("bench.json");
        fs::write(&file, serde_json::to_string_pretty(&record)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", serde_json::to_string(&record)?);
        if let Some(wanted) = at_least {
            ensure!(lowest >= wanted, "the lowest ratio is {lowest:.2}, wanted {wanted}");
        }
        Ok(())
    }

    fn measure(&self, arms: &[Arm; 3]) -> Result<Vec<Measured>> {
        let metrics = [Metric::RoundTrips, Metric::Connections];
        let what: Vec<_> =
            Way::ALL.iter().flat_map(|&way| metrics.map(|metric| (way, metric))).collect();
        // A short round first: the ways are up and the caches warm, and its numbers do not count.
        let step = Step::begin(format!("Measuring, {} rounds", self.rounds));
        for (&(way, metric), arm) in
            what.iter().flat_map(|what| arms.iter().map(move |arm| (what, arm)))
        {
            ask(arm, way, metric, 100)?;
        }
        let mut samples = vec![[const { Vec::new() }; 3]; what.len()];
        for round in 0..self.rounds {
            for (&(way, metric), samples) in what.iter().zip(&mut samples) {
                // Who comes first changes from round to round.
                for turn in 0..arms.len() {
                    let index = (round as usize + turn) % arms.len();
                    let rate = ask(&arms[index], way, metric, self.milliseconds)?;
                    step.now(&format!("round {}: {way:?}, {metric:?}: {rate:.0}/s", round + 1));
                    samples[index].push(rate);
                }
            }
        }
        step.end("done");
        let results = what.into_iter().zip(samples).map(|((way, metric), samples)| {
            let [netebpf, bridge_and_iptables, bare_veth] = samples.map(median);
            Measured {
                way,
                metric,
                netebpf,
                bridge_and_iptables,
                bare_veth,
                ratio: netebpf / bridge_and_iptables,
                of_bare: netebpf / bare_veth,
            }
        });
        Ok(results.collect())
    }
}

/// Operations per second on one way through one arm.
fn ask(arm: &Arm, way: Way, metric: Metric, milliseconds: u64) -> Result<f64> {
    let (namespace, server) = arm.client(way)?;
    let metric = match metric {
        Metric::RoundTrips => "round-trips",
        Metric::Connections => "connections",
    };
    let mut client = namespace::inside(namespace, std::env::current_exe()?);
    client.args(["load", "client", &server.to_string(), "--metric", metric]);
    client.args(["--milliseconds", &milliseconds.to_string()]);
    let rate =
        run::output(&mut client).with_context(|| format!("{}: {way:?}, {metric}", arm.name))?;
    rate.trim().parse().with_context(|| format!("a client said {rate:?}"))
}

/// The middle one, or the mean of the two in the middle.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 {
        samples[middle]
    } else {
        (samples[middle - 1] + samples[middle]) / 2.0
    }
}

fn print(results: &[Measured], bridge_netfilter: bool) {
    println!(
        "{:<22}{:<13}{:>9}{:>19}{:>7}{:>11}{:>7}",
        "way", "per second", "netebpf", "bridge + iptables", "ratio", "bare veth", "ratio"
    );
    for Measured { way, metric, netebpf, bridge_and_iptables, bare_veth, ratio, of_bare } in results
    {
        let way = match way {
            Way::EndpointToEndpoint => "endpoint to endpoint",
            Way::Masquerade => "masquerade",
            Way::PublishedPort => "published port",
        };
        let metric = match metric {
            Metric::RoundTrips => "round trips",
            Metric::Connections => "connections",
        };
        println!(
            "{way:<22}{metric:<13}{netebpf:>9.0}{bridge_and_iptables:>19.0}{ratio:>7.2}\
             {bare_veth:>11.0}{of_bare:>7.2}"
        );
    }
    if !bridge_netfilter {
        println!(
            "(br_netfilter, which Docker loads, is not there: endpoint to endpoint met no rule)"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
