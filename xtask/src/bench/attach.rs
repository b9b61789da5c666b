//! `cargo xtask bench --attach`: how long it takes until an endpoint is on its network, and until it is gone, with
//! others there and with many ports published.
//!
//! Beside netebpf's commands, the same calls of its API without a process, and the least that `ip` needs for the same:
//! a namespace, a veth pair, a port of a bridge, addresses, a default route. Each side has a host of its own, with as
//! many others on the same network.
//!
//! **Invariant**: sides take turns within a round, and are all alive; that what is attached answers was looked at before
//! anything is measured.

use super::{by_ip::Plain, median};
use crate::{
    namespace,
    run::{self, Step},
};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// What is there already: other endpoints, published ports.
const SCENES: [(u32, u32); 4] = [(0, 0), (0, 10_000), (100, 0), (1_000, 0)];

/// The host of netebpf, its neighbour and its instance.
const HOST: &str = "netebpf-bench-attach";
const NEIGHBOUR: &str = "netebpf-bench-attach-lan";
const INSTANCE: &str = "bench-attach";
/// The endpoint that comes and goes.
const PROBE: &str = "probe";

/// What goes into the file.
#[derive(Serialize, Deserialize)]
struct Record {
    kernel: String,
    rounds: u32,
    results: Vec<Measured>,
}

/// The medians for what is there already.
#[derive(Serialize, Deserialize)]
struct Measured {
    others: u32,
    ports: u32,
    attach: Times,
    detach: Times,
}

/// Medians in milliseconds.
#[derive(Serialize, Deserialize)]
struct Times {
    /// A command, as a user gives it.
    netebpf: f64,
    /// The call that the command makes.
    api: f64,
    ip: f64,
    /// The command beside `ip`.
    ratio: f64,
    /// Beside the same with nothing there.
    netebpf_grows: f64,
    ip_grows: f64,
}

/// Measures as root, and prints and writes what came of it.
pub(super) fn measure(netebpf: &Path, rounds: u32) -> Result<()> {
    let mut measuring = run::root(std::env::current_exe()?);
    measuring.args(["load", "attach"]).arg(netebpf).arg(rounds.to_string());
    let child = measuring.stdout(Stdio::piped()).spawn().context("cannot measure")?;
    let done = child.wait_with_output()?;
    ensure!(done.status.success(), "measuring failed ({})", done.status);
    let record: Record = serde_json::from_slice(&done.stdout)?;
    print(&record);
    let file = run::target_dir().join("bench-attach.json");
    fs::write(&file, serde_json::to_string_pretty(&record)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", serde_json::to_string(&record)?);
    Ok(())
}

/// Measures; started as root, so that no time is lost in becoming it. Prints what goes into the file.
pub(super) fn measure_as_root(netebpf: PathBuf, rounds: u32) -> Result<()> {
    let ours = Ours::new(netebpf)?;
    let mut plain = Plain::new()?;
    check(&ours, &plain)?;
    let mut results: Vec<Measured> = Vec::new();
    for (others, ports) in SCENES {
        let step = Step::begin(format!("{others} others and {ports} ports, {rounds} rounds"));
        ours.others(others)?;
        plain.others(others)?;
        ours.ports(ports)?;
        let [attach, detach] = scene(&ours, &plain, rounds, &step)?;
        let first = results.first();
        let attach = Times::of(attach, first.map(|first| &first.attach));
        let detach = Times::of(detach, first.map(|first| &first.detach));
        results.push(Measured { others, ports, attach, detach });
        step.end("done");
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    println!("{}", serde_json::to_string(&Record { kernel, rounds, results })?);
    Ok(())
}

/// What is attached is on its network. Looked at while nobody else is there: with a thousand ports a bridge floods more
/// copies of a question for an Ethernet address than a CPU's queue holds (`net.core.netdev_max_backlog`), and the answer
/// is lost behind them, whoever made the bridge.
fn check(ours: &Ours, plain: &Plain) -> Result<()> {
    let lost = "what was attached is not on its network";
    ours.attach()?;
    run::output(&mut ours.ping()).context(lost)?;
    ours.detach()?;
    ours.attach_by_api()?;
    run::output(&mut ours.ping()).context(lost)?;
    ours.detach_by_api()?;
    plain.attach(PROBE)?;
    run::output(&mut plain.ping(PROBE)).context(lost)?;
    plain.detach(PROBE).map(drop)
}

/// Milliseconds by netebpf, its API and `ip`.
type Samples = [Vec<f64>; 3];

/// Does something, and says how many milliseconds that took.
type Operation<'a> = &'a dyn Fn() -> Result<f64>;

/// All rounds with what is there.
fn scene(ours: &Ours, plain: &Plain, rounds: u32, step: &Step) -> Result<[Samples; 2]> {
    let sides: [(Operation<'_>, Operation<'_>); 3] = [
        (&|| ours.attach(), &|| ours.detach()),
        (&|| ours.attach_by_api(), &|| ours.detach_by_api()),
        (&|| plain.attach(PROBE), &|| plain.detach(PROBE)),
    ];
    let mut samples = [(); 2].map(|()| [(); 3].map(|()| Vec::new()));
    for round in 0..rounds as usize {
        // Who comes first changes from round to round.
        for side in (0..sides.len()).map(|turn| (round + turn) % sides.len()) {
            samples[0][side].push(sides[side].0()?);
            samples[1][side].push(sides[side].1()?);
        }
        step.now(&format!("round {}", round + 1));
    }
    Ok(samples)
}

impl Times {
    fn of(samples: Samples, first: Option<&Self>) -> Self {
        let [netebpf, api, ip] = samples.map(median);
        let beside = |now: f64, of: fn(&Self) -> f64| first.map_or(1.0, |first| now / of(first));
        Self {
            netebpf,
            api,
            ip,
            ratio: netebpf / ip,
            netebpf_grows: beside(netebpf, |first| first.netebpf),
            ip_grows: beside(ip, |first| first.ip),
        }
    }
}

fn print(record: &Record) {
    println!(
        "{:<8}{:>7}{:>8}{:>10}{:>11}{:>11}{:>7}{:>15}{:>7}",
        "ms", "others", "ports", "netebpf", "API alone", "ip", "ratio", "netebpf grows", "ip"
    );
    for Measured { others, ports, attach, detach } in &record.results {
        for (what, times) in [("attach", attach), ("detach", detach)] {
            let Times { netebpf, api, ip, ratio, netebpf_grows, ip_grows } = times;
            println!(
                "{what:<8}{others:>7}{ports:>8}{netebpf:>10.1}{api:>11.1}{ip:>11.1}{ratio:>7.2}\
                 {netebpf_grows:>15.2}{ip_grows:>7.2}"
            );
        }
    }
}

/// How long something takes, in milliseconds.
pub(super) fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// A host with netebpf, and an endpoint that keeps its daemon there.
struct Ours {
    netebpf: PathBuf,
}

impl Ours {
    fn new(netebpf: PathBuf) -> Result<Self> {
        let ours = Self { netebpf };
        if namespace::path(HOST).exists() {
            ours.remove().context("an earlier run was cut short, and what it left does not go")?;
        }
        namespace::add_host(HOST, NEIGHBOUR)?;
        ours.run("network create --subnet 10.77.0.0/16 --ipv6 --subnet fd77::/64 front")?;
        ours.run("create --name resident --network front")?;
        Ok(ours)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = namespace::inside(HOST, &self.netebpf);
        command.args(["--instance", INSTANCE]).args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Result<()> {
        run::output(&mut self.command(line)).map(drop)
    }

    /// So many other endpoints.
    fn others(&self, count: u32) -> Result<()> {
        let mut text = "name: others\nnetworks: {front: {external: true}}\nservices:\n".to_owned();
        for number in 0..count {
            writeln!(text, "  other-{number}: {{networks: [front]}}")?;
        }
        if count == 0 {
            return Ok(());
        }
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        file.write_all(text.as_bytes())?;
        run::output(self.command("up --file").arg(file.path())).map(drop)
    }

    /// So many published ports, and no others.
    fn ports(&self, count: u32) -> Result<()> {
        let first = 10_000;
        match first + count {
            last if last > first => {
                // IPv4's: both families' sockets are more files than some machines allow.
                let range = format!("0.0.0.0:{first}-{0}:{first}-{0}", last - 1);
                self.run(&format!("create --name ports --network front --publish {range}"))
            }
            // There may have been none before.
            _ => self.run("rm --force ports").or(Ok(())),
        }
    }

    fn attach(&self) -> Result<f64> {
        timed(|| self.run(&format!("create --name {PROBE} --network front")))
    }

    fn detach(&self) -> Result<f64> {
        timed(|| self.run(&format!("rm --force {PROBE}")))
    }

    fn attach_by_api(&self) -> Result<f64> {
        let networks = serde_json::json!([{"network": "front"}]);
        self.call(
            "endpoints",
            &serde_json::json!({"endpoint": {"name": PROBE, "networks": networks}}),
        )
    }

    fn detach_by_api(&self) -> Result<f64> {
        self.call("endpoints/remove", &serde_json::json!({"names": [PROBE], "force": true}))
    }

    /// A call of the daemon's API; its milliseconds, without those of starting the client.
    fn call(&self, path: &str, body: &serde_json::Value) -> Result<f64> {
        let mut curl = run::root("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--output", "/dev/null"]);
        curl.args(["--write-out", "%{time_total}", "--json", &body.to_string()]);
        curl.args(["--unix-socket", &format!("/run/netebpf/{INSTANCE}/api.sock")]);
        let seconds = run::output(curl.arg(format!("http://netebpf/v1/{path}")))?;
        Ok(seconds.trim().parse::<f64>()? * 1e3)
    }

    /// From the endpoint to its gateway.
    fn ping(&self) -> Command {
        let mut ping = namespace::inside(&format!("{INSTANCE}.{PROBE}"), "ping");
        ping.args(["-c", "1", "-w", "5", "10.77.0.1"]);
        ping
    }

    fn remove(&self) -> Result<()> {
        self.run("down --all")?;
        namespace::remove(HOST)?;
        namespace::remove(NEIGHBOUR).map(drop)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("{error:#}");
        }
    }
}
