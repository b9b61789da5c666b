//! `cargo xtask test`: every layer of tests, from the packet logic on the host to other kernels.
//!
//! **Invariant**: ends with one line of totals, `N passed, N failed, N skipped`, fails when anything
//! failed, and finds the machine as it was before. A test that cannot run prints `skipped: REASON` and
//! returns; it is counted as skipped, and its reason is shown.

pub(crate) mod binaries;
mod leftovers;
pub(crate) mod libtest;

use crate::{
    bench, build,
    run::{self, Ended, Step},
    setup::Setup,
    tidy, vm,
};
use anyhow::{Result, ensure};
use binaries::{Built, TestBinary};
use libtest::Tally;
use std::{path::Path, process::Command, time::Duration};

/// The longest that one test program may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Run every layer of tests; leaves nothing behind
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Only this layer
    #[arg(long, value_enum)]
    layer: Option<Layer>,
    /// All but the virtual machines
    #[arg(long)]
    no_vm: bool,
}

/// What a test needs to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Layer {
    /// Nothing: the packet logic, parsers, plans; formatting and lints
    Host,
    /// The kernel's verifier: cases run by the real programs
    ProgRun,
    /// Network namespaces: real sockets and tools
    Netns,
    /// cargo-fuzz: a few seconds for each target
    Fuzz,
    /// Other kernels, in QEMU
    Vm,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let wanted = |layer| {
            self.layer.is_none_or(|only| only == layer) && !(self.no_vm && layer == Layer::Vm)
        };
        Setup { tests: true }.run()?;
        let before = leftovers::Snapshot::take()?;
        let mut tally = Tally::default();
        if wanted(Layer::Host) {
            tally += check("formatting and lints", tidy::run());
        }
        if [Layer::Host, Layer::ProgRun, Layer::Netns].into_iter().any(wanted) {
            let Built { netebpf, tests } = binaries::build()?;
            let netebpf = build::named()?.unwrap_or(netebpf);
            for layer in [Layer::Host, Layer::ProgRun, Layer::Netns] {
                if wanted(layer) {
                    tally += run_layer(layer, &tests, &netebpf)?;
                }
            }
            if wanted(Layer::Netns) {
                // Unoptimised, so its numbers are no more than a sign of life.
                tally += check("netebpf bench", bench::look(&netebpf));
            }
        }
        if wanted(Layer::Host) {
            tally += doc_tests()?;
        }
        if wanted(Layer::Fuzz) {
            tally += fuzz()?;
        }
        if wanted(Layer::Vm) {
            tally += vm::test_all()?;
        }
        tally += check("nothing left behind", before.compare());
        println!("{tally}");
        ensure!(tally.failed == 0, "tests failed");
        Ok(())
    }
}

/// A check of the project itself, counted as one test.
fn check(name: &str, result: Result<()>) -> Tally {
    match result {
        Ok(()) => {
            eprintln!("{name}: ok");
            Tally { passed: 1, ..Tally::default() }
        }
        Err(error) => {
            eprintln!("{name}: FAILED: {error:#}");
            Tally { failed: 1, ..Tally::default() }
        }
    }
}

fn run_layer(layer: Layer, binaries: &[TestBinary], netebpf: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    for binary in binaries.iter().filter(|binary| binary.layer == layer) {
        let name = format!("{} {}", binary.package, binary.name);
        let mut command = match layer {
            Layer::Host => run::command("env"),
            _ => run::root("env"),
        };
        command
            .arg(format!("NETEBPF_BIN={}", netebpf.display()))
            .arg(format!("CARGO_MANIFEST_DIR={}", binary.directory.display()))
            .arg(&binary.executable)
            .arg("--show-output")
            .current_dir(&binary.directory);
        tally += run_tests(&name, &mut command, LIMIT)?;
    }
    Ok(tally)
}

fn doc_tests() -> Result<Tally> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--locked", "--doc", "--workspace", "--exclude", "netebpf-ebpf"]);
    run_tests("documentation", cargo.args(["--", "--show-output"]), LIMIT)
}

/// Runs a test program, shows how far it is, and prints what failed and what was skipped.
fn run_tests(name: &str, command: &mut Command, limit: Duration) -> Result<Tally> {
    let step = Step::begin(name);
    let mut report = libtest::Report::default();
    let mut said = Vec::new();
    let ended = run::lines(command, Some(limit), |line| {
        if let Some(test) = report.line(line) {
            step.now(test);
        }
        said.push(line.to_owned());
    })?;
    let tally = report.finish(ended == Ended::With(0));
    for (test, reason) in &report.skipped {
        step.say(&format!("    skipped: {test}: {reason}"));
    }
    step.end(&tally.to_string());
    if tally.failed > 0 {
        for line in said.iter().filter(|line| libtest::matters(line)) {
            eprintln!("    {line}");
        }
        eprintln!("    {name}: {ended}");
    }
    Ok(tally)
}

/// How long each fuzz target runs: enough to notice that it no longer builds or finds what is shallow.
const FUZZ_SECONDS: u32 = 15;

fn fuzz() -> Result<Tally> {
    let directory = run::workspace().join("tests/fuzz");
    // cargo-fuzz wants a nightly compiler only for unstable flags.
    let cargo_fuzz = |arguments: &[&str]| {
        let mut cargo = run::cargo();
        cargo
            .env("RUSTC_BOOTSTRAP", "1")
            .arg("fuzz")
            .args(arguments)
            .arg("--fuzz-dir")
            .arg(&directory);
        cargo
    };
    let skipped = |reason: &str| {
        eprintln!("fuzz: skipped: {reason}");
        Tally { skipped: 1, ..Tally::default() }
    };
    if !run::succeeds(run::cargo().args(["fuzz", "--version"])) {
        return Ok(skipped("cargo-fuzz is not installed"));
    }
    let mut tally = Tally::default();
    for target in run::output(&mut cargo_fuzz(&["list"]))?.lines() {
        let mut run = cargo_fuzz(&["run", "--sanitizer", "none"]);
        run.args([target, "--", &format!("-max_total_time={FUZZ_SECONDS}")]);
        tally +=
            check(&format!("fuzz {target}"), run::step(&format!("Fuzzing {target}"), &mut run));
    }
    Ok(tally)
}
