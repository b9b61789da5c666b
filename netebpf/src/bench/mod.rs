//! `netebpf bench`: how fast a packet's ways are with netebpf, beside what people have today and beside the limit.
//!
//! Each way to forward packets is an [arm](arms): a throw-away host with the same two endpoints, the same neighbour and
//! the same servers. All arms are alive at once and take turns within a round, so whatever disturbs the machine
//! disturbs each of them; what counts is the ratio within a round, and its median over the rounds.
//!
//! **Invariant**: everything is in network namespaces that this made, and all of it goes when it ends, however it ends but
//! by SIGKILL (then the next run [sweeps](sweep) it away). An arm that does not forward as it should is an error and never a missing
//! row; what this kernel does not have is named in the report.

mod arms;
mod cards;
mod costs;
mod error;
mod histogram;
mod host;
mod left;
pub mod load;
mod machine;
mod measure;
mod memory;
mod packets;
mod process;
mod progress;
pub mod report;
mod rules;
mod scale;
mod statistics;
mod sweep;
mod wire;

pub use arms::Kind;
pub use error::BenchError;

use arms::{Arm, Site};
use host::Namespace;
use left::Left;
use load::Workload;
use measure::Cell;
use progress::Progress;
use report::{Machine, Record};
use std::{
    fs::{File, TryLockError},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Published ports of somebody who has many.
const MANY_PORTS: u16 = 10_000;

/// What to measure, and how thoroughly.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often everything is measured; the medians count.
    pub rounds: u32,
    /// How long one measurement takes.
    pub time: Duration,
    /// What is done on each way.
    pub workloads: Vec<Workload>,
    /// With how many published ports connections are measured, beside one.
    pub ports: Vec<u16>,
    /// With how many other endpoints one more is attached; none, and it is not measured.
    pub endpoints: Vec<u32>,
    /// With how many flows others are opened; none, and it is not measured.
    pub flows: Vec<u32>,
    /// Network cards to measure XDP with, cabled with each other.
    pub cards: Option<[String; 2]>,
}

/// So many flows can be measured at most.
pub const MOST_FLOWS: u32 = scale::MOST_FLOWS;
/// So many other endpoints: a bridge has 1,024 ports.
pub const MOST_ENDPOINTS: u32 = 1000;

impl Options {
    /// As `netebpf bench` measures when nothing is said: about two minutes.
    pub fn usual() -> Self {
        Self {
            rounds: 7,
            time: Duration::from_millis(120),
            workloads: vec![Workload::RoundTrips, Workload::Connections, Workload::Packets],
            ports: vec![MANY_PORTS],
            endpoints: Vec::new(),
            flows: Vec::new(),
            cards: None,
        }
    }

    /// In less than a minute.
    pub fn quick() -> Self {
        Self {
            rounds: 5,
            time: Duration::from_millis(50),
            workloads: vec![Workload::RoundTrips, Workload::Connections],
            ports: Vec::new(),
            endpoints: Vec::new(),
            flows: Vec::new(),
            cards: None,
        }
    }
}

/// What came of it, and what could not be taken away.
#[derive(Debug)]
pub struct Done {
    /// What was measured.
    pub record: Record,
    /// Whether everything is gone.
    pub gone: Result<(), BenchError>,
}

/// Measures everything, and takes away what it needed for that. `interrupted` may become true at any time; once all is
/// measured it changes nothing: what is left to do is what an interruption would do, and who waited for the record has it.
///
/// # Errors
/// What cannot be measured, and why; [`BenchError::Interrupted`].
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Done, BenchError> {
    let _alone = alone()?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        return Err(BenchError::Cpus(cpus));
    }
    let stop = || match interrupted.load(Ordering::Relaxed) {
        true => Err(BenchError::Interrupted),
        false => Ok(()),
    };
    process::require(&process::TOOLS)?;
    sweep::sweep()?;
    let left = Left::default();
    // What a signal cuts short fails in many ways.
    let measured = measured(options, &left, &stop).or_else(|error| stop().and(Err(error)));
    match (measured, left.error()) {
        (Ok(record), left) => Ok(Done { record, gone: left.map_or(Ok(()), Err) }),
        (Err(error), Some(BenchError::Left { said, .. })) => {
            Err(BenchError::Left { said, first: Some(Box::new(error)) })
        }
        (Err(error), _) => Err(error),
    }
}

/// Says whether somebody wants it to end.
type Stop<'a> = &'a dyn Fn() -> Result<(), BenchError>;

fn measured(options: &Options, left: &Left, stop: Stop<'_>) -> Result<Record, BenchError> {
    let scratch = Namespace::new(&format!("{}-probe", sweep::PREFIX), left)?;
    // Where others are measured, too; endpoints and cards need none of their tools.
    let with_others = !(Cell::all(options).is_empty() && options.flows.is_empty());
    let (kinds, mut absent) = if with_others { Kind::here(&scratch)? } else { Default::default() };
    let workloads = load::here(&options.workloads, &scratch.name, &mut absent)?;
    drop(scratch);
    let progress = &Progress::new();
    let options = &Options { workloads, ..options.clone() };
    let mut record = Record {
        when: String::new(),
        machine: Machine::here(),
        rounds: options.rounds,
        milliseconds: u64::try_from(options.time.as_millis()).unwrap_or(u64::MAX),
        absent,
        gso: None,
        results: Vec::new(),
        costs: Vec::new(),
        memory: None,
        scale: Vec::new(),
        too_many: Vec::new(),
        cards: None,
    };
    let ground = Ground { options, left, progress, stop };
    let cells = Cell::all(options);
    if !cells.is_empty() {
        side_by_side(&ground, &kinds, &cells, &mut record)?;
    }
    if !options.endpoints.is_empty() {
        record.scale.extend(scale::endpoints(&ground)?);
    }
    if !options.flows.is_empty() {
        let (flows, too_many) = scale::flows(&ground, &kinds)?;
        record.scale.extend(flows);
        record.too_many = too_many;
    }
    if let Some(names) = &options.cards {
        record.cards = Some(cards::measure(&ground, names)?);
    }
    record.when = report::now();
    Ok(record)
}

/// What every measurement needs.
struct Ground<'a> {
    options: &'a Options,
    left: &'a Left,
    progress: &'a Progress,
    stop: Stop<'a>,
}

/// All arms in rounds, and what is looked at when these are over.
fn side_by_side(
    ground: &Ground<'_>,
    kinds: &[Kind],
    cells: &[Cell],
    record: &mut Record,
) -> Result<(), BenchError> {
    let Ground { options, left, progress, stop } = *ground;
    let arms = make(options, cells, kinds, left, progress, stop)?;
    record.results = measure::rounds(options, &arms, cells, progress, stop)?;
    record.scale = report::of_ports(&record.results);
    let ours = arms.iter().find(|arm| arm.site == Site { kind: Kind::Netebpf, ports: 1 });
    if let Some(ours) = ours {
        record.gso = Some(ours.gso()?);
        record.costs = costs::look(ours, cells, options.time, progress, stop)?;
        progress.say("what the maps take");
        record.memory = Some(memory::look(ours)?);
    }
    stop()?;
    progress.say("taking everything away");
    record.machine.bridge_netfilter = arms.iter().find_map(Arm::bridge_netfilter);
    let usual = arms.iter().filter(|arm| arm.site.ports == 1);
    record.machine.offloads = usual.flat_map(Arm::offloads).collect();
    Ok(())
}

/// All arms, tried.
fn make(
    options: &Options,
    cells: &[Cell],
    kinds: &[Kind],
    left: &Left,
    progress: &Progress,
    stop: Stop<'_>,
) -> Result<Vec<Arm>, BenchError> {
    let mut arms = Vec::new();
    for ports in std::iter::once(1).chain(options.ports.iter().copied()) {
        let sites = kinds.iter().map(|kind| Site { kind: *kind, ports });
        let wanted = |site: &Site| {
            (ports == 1 || site.has_ports()) && cells.iter().any(|cell| site.measures(cell))
        };
        for site in sites.filter(wanted) {
            stop()?;
            progress.say(format!("making a host for {site}"));
            let mut arm = Arm::make(site, sweep::NO_SETTINGS.as_ref(), left)?;
            if options.workloads.contains(&Workload::Streams) && ports == 1 {
                arm.serve_streams()?;
            }
            arms.push(arm);
        }
    }
    for arm in &arms {
        stop()?;
        progress.say(format!("trying the ways with {}", arm.site));
        arm.check()?;
    }
    Ok(arms)
}

/// Where it is written down that one runs.
const LOCK: &str = "/run/lock/netebpf-bench";

/// One at a time: two would disturb each other, and their hosts have the same names.
fn alone() -> Result<Alone, BenchError> {
    let opened = File::options().create(true).append(true).open(LOCK);
    let file = opened.map_err(BenchError::io(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Alone(file)),
        Err(TryLockError::WouldBlock) => Err(BenchError::NotAlone),
        Err(TryLockError::Error(source)) => Err(BenchError::io(LOCK)(source)),
    }
}

/// The lock; the file stays, for one that is removed may be somebody's who waits.
struct Alone(#[expect(dead_code, reason = "held until it is over")] File);
