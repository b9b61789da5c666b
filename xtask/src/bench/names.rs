//! `cargo xtask bench --names`: how fast a local name is answered, beside aardvark-dns and Docker's resolver.
//!
//! **Invariant**: the same client asks each of them for the same name, in turns; all of them are alive all the time. Who
//! cannot be started is named with the reason, and the others are measured.

use super::{queries::Answered, resolvers::Resolver};
use crate::run::{self, Step};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{fs, path::Path, time::Duration};

/// How many questions are under way.
const SOCKETS: [u32; 2] = [1, 32];
/// The name that is asked for.
const NAME: &str = "web";

/// What goes into the file.
#[derive(Serialize)]
struct Record {
    kernel: String,
    rounds: u32,
    milliseconds: u64,
    results: Vec<Measured>,
    /// Who was not measured, and why.
    missing: Vec<String>,
    /// netebpf beside the fastest other one, with the most questions under way; goal: 2.
    ratio: Option<f64>,
}

/// The medians of one server.
#[derive(Serialize)]
struct Measured {
    server: &'static str,
    sockets: u32,
    per_second: f64,
    /// Microseconds.
    p99: f64,
    /// What its process works for one answer, in microseconds on a CPU.
    work: f64,
    lost: u64,
}

/// Measures, and prints what came of it.
pub(super) fn measure(netebpf: &Path, rounds: u32, milliseconds: u64) -> Result<()> {
    let mut resolvers = vec![Resolver::netebpf(netebpf)?];
    let mut missing = Vec::new();
    for (name, other) in [("aardvark-dns", Resolver::aardvark()), ("Docker", Resolver::docker())] {
        match other {
            Ok(other) => resolvers.push(other),
            Err(error) => missing.push(format!("{name}: {error:#}")),
        }
    }
    resolvers.iter().try_for_each(take_precedence)?;
    let mut results = Vec::new();
    for sockets in SOCKETS {
        results.extend(rounds_of(netebpf, &resolvers, sockets, rounds, milliseconds)?);
    }
    drop(resolvers);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let (ours, others): (Vec<_>, Vec<_>) =
        results.iter().filter(|r| r.sockets == SOCKETS[1]).partition(|r| r.server == "netebpf");
    let fastest = others.iter().map(|result| result.per_second).reduce(f64::max);
    let ratio = fastest.map(|fastest| ours[0].per_second / fastest);
    let record = Record { kernel, rounds, milliseconds, results, missing, ratio };
    print(&record);
    let file = run::target_dir().join("bench-names.json");
    fs::write(&file, serde_json::to_string_pretty(&record)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", serde_json::to_string(&record)?);
    Ok(())
}

/// All rounds with so many questions under way.
fn rounds_of(
    netebpf: &Path,
    resolvers: &[Resolver],
    sockets: u32,
    rounds: u32,
    milliseconds: u64,
) -> Result<Vec<Measured>> {
    let step = Step::begin(format!("Asking with {sockets} sockets, {rounds} rounds"));
    // A short one first: its numbers do not count.
    for resolver in resolvers {
        ask(netebpf, resolver, sockets, 100)?;
    }
    let mut samples = vec![(Vec::new(), Vec::new(), Vec::new(), 0); resolvers.len()];
    for round in 0..rounds as usize {
        // Who comes first changes from round to round.
        for index in (0..resolvers.len()).map(|turn| (round + turn) % resolvers.len()) {
            let resolver = &resolvers[index];
            let before = time_of(resolver.pid.into())?;
            let answered = ask(netebpf, resolver, sockets, milliseconds)?;
            let worked = time_of(resolver.pid.into())?.saturating_sub(before);
            let (rates, p99s, works, lost) = &mut samples[index];
            rates.push(answered.per_second);
            p99s.push(answered.p99);
            works.push(worked.as_secs_f64() * 1e6 / answered.answers as f64);
            *lost += answered.lost;
            step.now(&format!(
                "round {}: {}: {:.0}/s",
                round + 1,
                resolver.name,
                answered.per_second
            ));
        }
    }
    step.end("done");
    let results =
        resolvers.iter().zip(samples).map(|(resolver, (rates, p99s, works, lost))| Measured {
            server: resolver.name,
            sockets,
            per_second: median(rates),
            p99: median(p99s),
            work: median(works),
            lost,
        });
    Ok(results.collect())
}

/// Asks from one CPU alone, as all clients of `netebpf bench`.
fn ask(netebpf: &Path, resolver: &Resolver, sockets: u32, milliseconds: u64) -> Result<Answered> {
    let mut client = resolver.inside(netebpf);
    client.args(["bench", "load", "alone"]).arg(std::env::current_exe()?);
    client.args(["load", "ask", resolver.address, NAME]);
    client.args(["--sockets", &sockets.to_string(), "--milliseconds", &milliseconds.to_string()]);
    let said = run::output(&mut client).with_context(|| resolver.name.to_owned())?;
    Ok(serde_json::from_str(&said)?)
}

/// What else the machine does shall not count: the client has precedence as well.
fn take_precedence(resolver: &Resolver) -> Result<()> {
    let threads = fs::read_dir(format!("/proc/{}/task", resolver.pid))?;
    let threads: Vec<_> = threads.flatten().map(|thread| thread.file_name()).collect();
    run::output(run::root("renice").args(["-n", "-20", "-p"]).args(threads))?;
    // A resolver may have a session of its own, and where sessions share the processors (sched(7), autogroup) its
    // threads have precedence in it alone.
    let session = format!("/proc/{}/autogroup", resolver.pid);
    if Path::new(&session).exists() {
        let write = format!("echo -20 > {session}");
        run::output(run::root("sh").args(["-c", &write]))?;
    }
    Ok(())
}

fn print(record: &Record) {
    println!(
        "{:<14}{:>9}{:>13}{:>10}{:>16}{:>6}",
        "server", "sockets", "per second", "p99, µs", "CPU µs a query", "lost"
    );
    for Measured { server, sockets, per_second, p99, work, lost } in &record.results {
        println!("{server:<14}{sockets:>9}{per_second:>13.0}{p99:>10.0}{work:>16.2}{lost:>6}");
    }
    record.missing.iter().for_each(|missing| println!("not measured: {missing}"));
    if let Some(ratio) = record.ratio {
        println!("netebpf beside the faster of them, {} sockets: {ratio:.2}", SOCKETS[1]);
    }
}

/// How long the threads of a process were on a CPU.
fn time_of(pid: u64) -> Result<Duration> {
    let mut used = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = times.split_whitespace().next().context("a thread without times")?;
        used += Duration::from_nanos(on_cpu.parse()?);
    }
    Ok(used)
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(super::median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(super::median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
