//! `cargo xtask vm`: the tests that need a kernel, and the benchmark, on other kernels than this machine's.
//!
//! **Invariant**: nothing but files under `target/vm` and the programs that [`crate::setup`] installed is
//! used, no privilege is needed, and the machine in QEMU sees no disk and no network of this machine's: what it runs
//! is in its initramfs, what it says comes over the serial console, and its two network cards lead to each other and
//! nowhere else.

mod bench;
mod cards;
mod initramfs;
mod kernel;

use crate::{
    build::Build,
    run::{self, Ended, Step},
    setup::Setup,
    test::{
        Layer, binaries,
        libtest::{self, Report, Tally},
    },
};
use anyhow::{Result, ensure};
use initramfs::Contents;
use kernel::{Kernel, Release};
use std::{
    collections::BTreeMap, fs, io::Write as _, path::Path, process::Command, thread, time::Duration,
};

/// How a machine runs.
struct Manner {
    /// What QEMU is told of its processors.
    processors: &'static str,
    /// The longest that it may take. Software emulation is ten times slower than the machine itself.
    limit: Duration,
}

/// As fast as it goes.
const TESTING: Manner =
    Manner { processors: "-accel tcg,thread=multi", limit: Duration::from_secs(1500) };

/// The same for tests that somebody named: they may be long ones.
const NAMED: Manner = Manner { limit: Duration::from_secs(7200), ..TESTING };

/// What is run of the namespace tests when nothing is named: each way of a packet, each hook, and what
/// differs from kernel to kernel. The whole takes hours in emulation, where the verifier needs a minute for each start.
const NETNS: &[&str] = &[
    "laboratory::reachable",
    "daemon::dead_and_still_forwarding",
    "card::",
    "netkit::every_way",
    "netkit::frames_in_disguise",
];

/// Not for other kernels: verified instructions are counted under the machine's own.
const PROG_RUN: &[&str] = &["--skip", "programs_are_as_large_as_is_written_down"];

/// Run the program-run and namespace tests under Debian's 6.1 and 6.12 kernels, or the benchmark under 6.12
#[derive(clap::Args)]
pub(crate) struct Vm {
    /// Only this kernel
    #[arg(long, value_enum)]
    kernel: Option<Release>,
    /// Instead of tests, run `netebpf bench`. Processors are emulated: it tells ratios of instructions and no rates
    #[arg(long)]
    bench: bool,
    /// Only tests whose names contain one of these; a choice of the namespace tests when there is none. With --bench, what
    /// `netebpf bench` is told after `--`; a few minutes of round trips and connections when there is nothing
    words: Vec<String>,
}

impl Vm {
    pub(crate) fn run(self) -> Result<()> {
        Setup { tests: true }.run()?;
        if self.bench {
            return bench::measure(self.kernel, &self.words);
        }
        let kernels = self.kernel.map_or(Release::ALL.to_vec(), |only| vec![only]);
        let tally = test(&kernels, &self.words)?;
        println!("{tally}");
        ensure!(tally.failed == 0, "tests failed");
        Ok(())
    }
}

/// Every test that needs a kernel, under every kernel.
pub(crate) fn test_all() -> Result<Tally> {
    test(Release::ALL, &[])
}

fn test(kernels: &[Release], filters: &[String]) -> Result<Tally> {
    // As whoever has no such libraries gets it.
    let netebpf = Build { dev: true, is_static: true }.run()?;
    let tests = binaries::build()?.tests;
    let mut contents = Contents::new(&netebpf);
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    for test in &tests {
        let chosen = match test.layer {
            Layer::ProgRun => PROG_RUN,
            Layer::Netns => NETNS,
            _ => continue,
        };
        let arguments = if filters.is_empty() { chosen } else { &filters };
        contents.add_test(&test.name, &test.executable, arguments);
    }
    let manner = if filters.is_empty() { &TESTING } else { &NAMED };
    let mut machines = Vec::new();
    for release in kernels {
        let kernel = release.fetch()?;
        let image = contents.pack(&kernel)?;
        machines.push((kernel, image));
    }
    // Side by side: tests go one after the other in each, which takes one processor here, whatever the machine has.
    thread::scope(|scope| {
        let contents = &contents;
        let running: Vec<_> = machines
            .iter()
            .map(|(kernel, image)| scope.spawn(move || run_tests(manner, kernel, image, contents)))
            .collect();
        let mut tally = Tally::default();
        for machine in running {
            tally += machine.join().expect("no machine's thread panics")?;
        }
        Ok(tally)
    })
}

/// Boots, and says what came of it. That it comes up counts as a test.
fn run_tests(
    manner: &Manner,
    kernel: &Kernel,
    initramfs: &Path,
    contents: &Contents,
) -> Result<Tally> {
    let step = Step::begin(format!("Linux {} in QEMU", kernel.name));
    let mut report = Report::default();
    let machine = Machine::boot(manner, kernel, initramfs, contents, &step, |line| {
        if let Some(test) = report.line(line) {
            step.now(test);
        }
    })?;
    let Machine { said, booted, unfinished, ended, .. } = machine;
    let clean = booted && unfinished.is_empty() && ended == Ended::With(0);
    let mut tally = report.finish(clean);
    tally.passed += usize::from(booted);
    for (test, reason) in &report.skipped {
        step.say(&format!("    skipped: {test}: {reason}"));
    }
    if tally.failed > 0 {
        let matters = said.iter().filter(|line| libtest::matters(line));
        let matters: String = matters.map(|line| format!("    {line}\n")).collect();
        let without = unfinished.join(", ");
        step.say(&format!("{matters}    QEMU: {ended}; without success: {without}"));
    }
    step.end(&tally.to_string());
    Ok(tally)
}

/// What a machine said.
struct Machine {
    said: Vec<String>,
    booted: bool,
    /// The programs whose end was not announced with 0: they have failed, whatever they said.
    unfinished: Vec<String>,
    /// What programs left in files, by the names of the programs.
    left: BTreeMap<String, String>,
    ended: Ended,
}

impl Machine {
    /// Boots, and hands over each line that comes over the serial console.
    ///
    /// A machine that does not come up gets a second try: emulated processors that run side by side now and then trip over
    /// code that Linux patches while it starts ("Oops: int3" in its first two seconds), and nothing of ours has run then.
    fn boot(
        manner: &Manner,
        kernel: &Kernel,
        initramfs: &Path,
        contents: &Contents,
        step: &Step,
        mut each: impl FnMut(&str),
    ) -> Result<Self> {
        let machine = Self::run(manner, kernel, initramfs, contents, &mut each)?;
        if machine.booted {
            return Ok(machine);
        }
        step.say("    it did not come up; once more");
        Self::run(manner, kernel, initramfs, contents, &mut each)
    }

    /// Runs one to its end.
    fn run(
        manner: &Manner,
        kernel: &Kernel,
        initramfs: &Path,
        contents: &Contents,
        each: &mut impl FnMut(&str),
    ) -> Result<Self> {
        let serial = run::target_dir().join("vm").join(format!("serial-{}.log", kernel.name));
        let mut serial = fs::File::create(serial)?;
        let (mut said, mut booted, mut left) = (Vec::new(), false, BTreeMap::new());
        let mut unfinished = contents.programs();
        let mut qemu = qemu(manner.processors, &kernel.image, initramfs);
        let ended = run::lines(&mut qemu, Some(manner.limit), |line| {
            if let Some(marker) = line.strip_prefix(initramfs::MARKER) {
                if let Some((program, line)) = marker.split_once(initramfs::LEFT) {
                    left.entry(program.to_owned()).or_insert_with(String::new).push_str(line);
                    return;
                }
                booted |= marker.trim() == "up";
                if let Some(program) = marker.trim().strip_prefix("0 ") {
                    unfinished.retain(|unfinished| unfinished != program);
                }
            } else {
                each(line);
            }
            said.push(line.to_owned());
            // To read along; what counts is in `said`.
            let _ = writeln!(serial, "{line}");
        })?;
        Ok(Self { said, booted, unfinished, left, ended })
    }

    /// What a program printed: all since the marker before its own.
    fn printed(&self, program: &str) -> &[String] {
        let ended = |line: &String| {
            let marker = line.strip_prefix(initramfs::MARKER).and_then(|line| line.split_once(' '));
            marker.is_some_and(|(_, name)| name == program)
        };
        let Some(end) = self.said.iter().position(ended) else { return &[] };
        let before = &self.said[..end];
        let begin = before.iter().rposition(|line| line.starts_with(initramfs::MARKER));
        &before[begin.map_or(0, |marker| marker + 1)..]
    }
}

fn qemu(processors: &str, kernel: &Path, initramfs: &Path) -> Command {
    // However this task ends, the machine does not outlive it.
    let mut qemu = run::command("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(processors.split(' ')).args("-cpu max -M q35 -smp 2 -m 2048".split(' '));
    qemu.args("-display none -no-reboot -nodefaults -serial stdio".split(' '));
    qemu.args(cards::arguments());
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off nokaslr"]);
    qemu
}
