//! With so many flows of one endpoint to somebody outside, masqueraded: how fast new ones are opened, connections and
//! packets of known flows beside them, and what netebpf's daemon does about them.
//!
//! **Invariant**: arms take turns while flows are opened, too: in as many parts as there are rounds. Every flow was answered,
//! all are there before anything is measured beside them and after it, and the first one leads where it did. An arm whose
//! table is too small for so many is left out and named; the machine's own limit (`nf_conntrack_max`) is nobody's to change.

use super::{
    super::{
        BenchError, Options, Stop,
        arms::{Arm, Kind, Site, Way},
        host::{Family, OUTSIDE},
        load::{self, Exchange, many},
        measure::order,
        packets,
        process::{self, Server},
        report::{AtScale, Quantity, Scale, TooMany},
    },
    Ground, Level, compared, daemon,
};
use netebpf_common::abi::FLOW_CAPACITY;
use std::{fs, net::SocketAddr, time::Duration};

pub(in crate::bench) use many::LAST;

/// So many are opened by one process: a signal waits for them.
const AT_ONCE: u32 = 50_000;
/// Fewer than these in a part are opened in no time.
const ENOUGH: u32 = 100;
/// How long an answered flow lives in the tables of the other arms; netebpf's live for 300 s. Where it takes longer, some are
/// missing after it.
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
        grow(ground, &mut arms, *there, &mut level)?;
        // Small packets would open again what is gone by now.
        arms.iter().try_for_each(Many::are_there)?;
        let bar = progress.begin(u64::from(options.rounds) * arms.len() as u64);
        for round in 0..options.rounds as usize {
            for index in order(round, arms.len()) {
                stop()?;
                let many = &arms[index];
                progress.say(format!("{there} flows: round {}: {}", round + 1, many.arm.site.kind));
                many.round(options.time, &mut level)?;
                bar.done();
            }
        }
        drop(bar);
        for many in &arms {
            stop()?;
            progress.say(format!("looking after {there} flows: {}", many.arm.site.kind));
            many.check(&mut level)?;
        }
        levels.push(level);
    }
    progress.say("taking everything away");
    Ok((compared(levels), too_many))
}

/// Opens flows until there are so many: a part of them in each round, arm beside arm.
fn grow(
    ground: &Ground<'_>,
    arms: &mut [Many],
    wanted: u32,
    level: &mut Level,
) -> Result<(), BenchError> {
    let Ground { options: Options { rounds, .. }, progress, stop, .. } = ground;
    let there = arms.first().map_or(wanted, |many| many.there);
    let part = |round: u32| u64::from(wanted - there) * u64::from(round) / u64::from(*rounds);
    let counts = (wanted - there) / rounds >= ENOUGH;
    let bar = progress.begin(u64::from(*rounds) * arms.len() as u64);
    for round in 0..*rounds {
        let end = there + part(round + 1) as u32;
        for index in order(round as usize, arms.len()) {
            stop()?;
            let many = &mut arms[index];
            let side = many.arm.site.kind.to_string();
            progress.say(format!("opening {wanted} flows: round {}: {side}", round + 1));
            let opened = many.fill(end, *stop)?;
            if counts {
                level.push(Quantity::Opened, &side, opened);
            }
            bar.done();
        }
    }
    Ok(())
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
        let first = open(&arm, 0, 1)?.seen;
        Ok(Self { server, arm, there: 1, first, most })
    }

    /// Opens more of them, until there are so many: how many a second, not a number where there are.
    fn fill(&mut self, wanted: u32, stop: Stop<'_>) -> Result<f64, BenchError> {
        let (before, mut seconds) = (self.there, 0.0);
        while self.there < wanted {
            stop()?;
            let next = wanted.min(self.there + AT_ONCE);
            let opened = open(&self.arm, self.there, next)?;
            seconds += f64::from(next - self.there) / opened.per_second;
            self.there = next;
        }
        Ok(f64::from(self.there - before) / seconds)
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
    fn check(&self, level: &mut Level) -> Result<(), BenchError> {
        self.are_there()?;
        let seen = open(&self.arm, 0, 1)?.seen;
        if seen != self.first {
            let first = &self.first;
            return Err(self.broken(format!("the first comes from {seen}, and came from {first}")));
        }
        match self.arm.site.kind {
            Kind::Netebpf => daemon::watch(&self.arm, level),
            _ => Ok(()),
        }
    }

    /// None is forgotten, as those are that no packet was in for long.
    fn are_there(&self) -> Result<(), BenchError> {
        let live = match self.arm.site.kind {
            Kind::Netebpf => self.arm.status()?.flows.used,
            _ => conntrack(&self.arm, "nf_conntrack_count")?.into(),
        };
        if live < self.there.into() {
            return Err(self.broken(format!(
                "{live} are there still: one is forgotten that no packet was in for long; fewer of them, or fewer rounds, take less time"
            )));
        }
        Ok(())
    }

    fn broken(&self, what: String) -> BenchError {
        BenchError::Broken { arm: self.arm.site.kind, way: format!("{} flows", self.there), what }
    }
}

/// Opens these flows in an arm, one after the other.
fn open(arm: &Arm, from: u32, to: u32) -> Result<many::Opened, BenchError> {
    many::ask(&arm.site.endpoint("app"), OUTSIDE.of(Family::V4), from..to)
}

/// A number of connection tracking, in an arm's host.
fn conntrack(arm: &Arm, name: &str) -> Result<u32, BenchError> {
    let mut sysctl = process::inside(&arm.host.name, "sysctl");
    let said = process::output(sysctl.args(["-n", &format!("net.netfilter.{name}")]))?;
    said.trim().parse().map_err(|_| BenchError::Talk("sysctl", said))
}
