//! With so many flows of one endpoint to somebody outside, masqueraded: how fast new ones are opened, connections and
//! packets of known flows beside them, and what netebpf's daemon does about them.
//!
//! **Invariant**: every flow was answered, all are still there when what was measured counts, and the first one leads
//! where it did. An arm whose table is too small for so many is left out and named; the machine's own limit
//! (`nf_conntrack_max`) is nobody's to change.

use super::{
    super::{
        BenchError, Stop,
        arms::{Arm, Kind, Site, Way},
        host::{Family, OUTSIDE},
        load::{self, Exchange, many},
        memory, packets,
        process::{self, Server},
        report::{AtScale, Quantity, Scale, TooMany},
    },
    Ground, Level, compared, timed,
};
use netebpf_common::abi::FLOW_CAPACITY;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

pub(in crate::bench) use many::LAST;

/// How long the daemon is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// So many are opened at once: a signal waits for them.
const AT_ONCE: u32 = 50_000;
/// Fewer than these are opened in no time.
const ENOUGH: u32 = 100;
/// How long an answered flow lives in the tables of the other arms: longer than this takes. netebpf's live for 300 s.
const LIFETIME: [&str; 2] = [
    "net.netfilter.nf_conntrack_udp_timeout=600",
    "net.netfilter.nf_conntrack_udp_timeout_stream=600",
];

/// An arm, and what its flows come from.
struct Many {
    #[expect(dead_code, reason = "held until the arm goes")]
    server: Server,
    arm: Arm,
    /// How many there are.
    there: u32,
    /// As whom the server saw the first one.
    first: String,
    /// How many the arm can have.
    most: u32,
}

/// Measures with each of these numbers, the least first, in these arms; and names who cannot have so many.
pub(in crate::bench) fn measure(
    ground: &Ground<'_>,
    kinds: &[Kind],
) -> Result<(Vec<AtScale>, Vec<TooMany>), BenchError> {
    let Ground { options, left, progress, stop } = ground;
    let settings = settings(options.flows.iter().copied().max().unwrap_or_default())?;
    let (mut arms, mut levels, mut too_many) = (Vec::new(), Vec::new(), Vec::new());
    for kind in kinds.iter().filter(|kind| kind.tracks_flows()) {
        stop()?;
        progress.say(format!("making a host for {kind}"));
        let arm = Arm::make(Site { kind: *kind, ports: 1 }, settings.path(), left)?;
        arms.push(Many::new(arm)?);
    }
    for there in &options.flows {
        let named = arms.iter().filter(|many| many.most < *there);
        too_many.extend(named.map(|many| TooMany {
            arm: many.arm.site.kind,
            flows: *there,
            most: many.most,
        }));
        arms.retain(|many| many.most >= *there);
        let mut level = Level::new(Scale::Flows, *there);
        for many in &mut arms {
            stop()?;
            progress.say(format!("opening {there} flows: {}", many.arm.site.kind));
            many.fill(*there, &mut level, *stop).or_else(|error| stop().and(Err(error)))?;
        }
        for round in 0..options.rounds {
            for turn in 0..arms.len() {
                stop()?;
                let many = &arms[(round as usize + turn) % arms.len()];
                progress.say(format!("{there} flows: round {}: {}", round + 1, many.arm.site.kind));
                let done = many.round(options.time, &mut level);
                done.or_else(|error| stop().and(Err(error)))?;
            }
        }
        for many in &mut arms {
            stop()?;
            many.check(&mut level).or_else(|error| stop().and(Err(error)))?;
        }
        levels.push(level);
    }
    progress.say("taking everything away");
    Ok((compared(levels), too_many))
}

/// Room for so many, and for the connections beside them.
fn settings(flows: u32) -> Result<tempfile::NamedTempFile, BenchError> {
    let failed = || BenchError::io("the file of settings");
    let file = tempfile::Builder::new().suffix(".toml").tempfile().map_err(failed())?;
    let capacity = (flows + flows / 8).max(FLOW_CAPACITY);
    let text = format!(
        "snat_port_range = \"1024-65535\"\n[flows]\ncapacity = {capacity}\nquota = {capacity}\n\
         embryonic_quota = {capacity}\n"
    );
    fs::write(file.path(), text).map_err(failed())?;
    Ok(file)
}

impl Many {
    fn new(arm: Arm) -> Result<Self, BenchError> {
        let mut server = process::inside(&arm.neighbour.name, process::netebpf()?);
        server.args(["bench", "load", "answers", &OUTSIDE.of(Family::V4).to_string()]);
        let server = Server::start(&mut server, load::READY)?;
        let most = match arm.site.kind {
            Kind::Netebpf => u32::MAX,
            _ => {
                LIFETIME.iter().try_for_each(|sysctl| arm.host.set(sysctl))?;
                // Some room stays, for it begins to throw out what it has before it is full.
                conntrack(&arm, "nf_conntrack_max")? / 10 * 9
            }
        };
        Ok(Self { server, arm, there: 0, first: String::new(), most })
    }

    /// Opens more of them, until there are so many.
    fn fill(&mut self, wanted: u32, level: &mut Level, stop: Stop<'_>) -> Result<(), BenchError> {
        let (more, mut seconds) = (wanted - self.there, 0.0);
        if self.there == 0 {
            self.first = self.open(0, 1)?.seen;
        }
        while self.there < wanted {
            stop()?;
            let next = wanted.min(self.there + AT_ONCE);
            let opened = self.open(self.there, next)?;
            seconds += f64::from(next - self.there) / opened.per_second;
            self.there = next;
        }
        if more >= ENOUGH {
            let side = self.arm.site.kind.to_string();
            level.push(Quantity::Opened, &side, f64::from(more) / seconds);
        }
        Ok(())
    }

    fn open(&self, from: u32, to: u32) -> Result<many::Opened, BenchError> {
        many::ask(&self.arm.site.endpoint("app"), OUTSIDE.of(Family::V4), from..to)
    }

    fn round(&self, time: Duration, level: &mut Level) -> Result<(), BenchError> {
        let side = self.arm.site.kind.to_string();
        let (from, to) = self.arm.client(Way::Masquerade, Family::V4);
        let asked = load::ask(&from, to, Exchange::Connections, time)?;
        level.push(Quantity::Connections, &side, asked.sample.per_second);
        if self.arm.site.kind == Kind::Netebpf {
            // As in the other rounds; the flows that are counted stay.
            self.arm.netebpf(&["conntrack", "rm", "protocol=tcp"])?;
        }
        let to = SocketAddr::new(OUTSIDE.of(Family::V4), many::FIRST_SERVER);
        let sample = packets::known(&self.arm, many::FIRST_CLIENT, many::alike(self.there), to)?;
        level.push(Quantity::Packets, &side, sample.per_second);
        Ok(())
    }

    /// All of them are there, and the first one leads where it did.
    fn check(&mut self, level: &mut Level) -> Result<(), BenchError> {
        let kind = self.arm.site.kind;
        let broken = |what: String| BenchError::Broken {
            arm: kind,
            way: format!("{} flows", self.there),
            what,
        };
        let seen = self.open(0, 1)?.seen;
        if seen != self.first {
            return Err(broken(format!(
                "the first comes from {seen}, and came from {}",
                self.first
            )));
        }
        let live = match kind {
            Kind::Netebpf => self.watch(level)?,
            _ => conntrack(&self.arm, "nf_conntrack_count")?,
        };
        if live < self.there {
            return Err(broken(format!("{live} of them are there")));
        }
        Ok(())
    }

    /// What netebpf's daemon does about its flows, and what they take; how many there are.
    fn watch(&self, level: &mut Level) -> Result<u32, BenchError> {
        let instance = self.arm.instance()?;
        let status = self.arm.netebpf(&["status", "--format", "json"])?;
        let status: serde_json::Value =
            serde_json::from_str(&status).map_err(|_| BenchError::Talk("status", status))?;
        let number = |path| status.pointer(path).and_then(serde_json::Value::as_u64);
        let (Some(pid), Some(live)) = (number("/pid"), number("/flows/used")) else {
            return Err(BenchError::Talk("status", status.to_string()));
        };
        let (before, started) = (on_cpu(pid)?, Instant::now());
        thread::sleep(WATCHED);
        let load =
            (on_cpu(pid)?.saturating_sub(before)).as_secs_f64() / started.elapsed().as_secs_f64();
        level.push(Quantity::Daemon, "netebpf", 100.0 * load);
        let mut doctor = String::new();
        let time = timed(|| {
            doctor = self.arm.netebpf(&["doctor", "--format", "json"])?;
            Ok(())
        })?;
        level.push(Quantity::Doctor, "netebpf", time);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&doctor).unwrap_or_default();
        if !rows.iter().any(|row| row["name"] == "flow table" && row["present"] == true) {
            return Err(BenchError::Talk("doctor", doctor));
        }
        level.push(Quantity::Bytes, "netebpf", memory::bytes(&instance)? as f64);
        Ok(u32::try_from(live).unwrap_or(u32::MAX))
    }
}

/// A number of connection tracking, in an arm's host.
fn conntrack(arm: &Arm, name: &str) -> Result<u32, BenchError> {
    let mut sysctl = process::inside(&arm.host.name, "sysctl");
    let said = process::output(sysctl.args(["-n", &format!("net.netfilter.{name}")]))?;
    said.trim().parse().map_err(|_| BenchError::Talk("sysctl", said))
}

/// How long the threads of a process were on a CPU.
fn on_cpu(pid: u64) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/task");
    let failed = || BenchError::io(path.clone());
    let mut used = Duration::ZERO;
    for thread in fs::read_dir(Path::new(&path)).map_err(failed())? {
        let at = thread.map_err(failed())?.path().join("schedstat");
        let times = fs::read_to_string(at).map_err(failed())?;
        let first = times.split_whitespace().next().and_then(|time| time.parse().ok());
        used += Duration::from_nanos(first.unwrap_or_default());
    }
    Ok(used)
}
