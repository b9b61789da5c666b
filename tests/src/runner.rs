//! Runs namespace tests: like libtest, but each test in a process of its own, and able to skip.
//!
//! A process per test keeps output apart, survives a hang, and gives every laboratory a name that no
//! other has (it holds the process id). libtest can neither skip at run time nor kill a stuck test.
//! The last line is libtest's own, so that totals can be summed up over all layers.
//!
//! **Invariant**: whatever a test does, what it made is gone when its line is printed.

use crate::lab;
use std::{
    any::Any,
    collections::VecDeque,
    fs::File,
    io::{Read, Seek, Write},
    panic,
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    /// Module and function.
    pub name: &'static str,
    /// Panics when it fails, calls [`skip`] when it cannot run here.
    pub run: fn(),
    /// How long it may take.
    pub limit: Duration,
}

/// How long a test may take that does not say so itself.
pub const LIMIT: Duration = Duration::from_secs(240);

/// The tests of a module, by their functions' names; `within` another limit than [`LIMIT`] where they need it.
#[macro_export]
macro_rules! tests {
    ($($function:ident),+ $(,)?) => {
        $crate::tests![within $crate::runner::LIMIT; $($function),+];
    };
    (within $limit:expr; $($function:ident),+ $(,)?) => {
        /// The tests of this module.
        pub(crate) const TESTS: &[$crate::runner::Test] = &[$($crate::runner::Test {
            name: concat!(module_path!(), "::", stringify!($function)),
            run: $function,
            limit: $limit,
        }),+];
    };
}

/// Ends the test that calls it: it cannot run here, and this is why.
pub fn skip(reason: impl std::fmt::Display) -> ! {
    println!("{SKIPPED}{reason}");
    panic::resume_unwind(Box::new(Skip))
}

struct Skip;

const SKIPPED: &str = "skipped: ";
const SKIP_CODE: i32 = 77;
/// How the parent tells a child which test to run.
const ONE: &str = "--run-one";

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// The `main` of a test binary. Understands libtest's `FILTER…`, `--skip`, `--exact`, `--list` and
/// `--test-threads`, and ignores its other flags.
pub fn main(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == ONE
    {
        return run_here(tests, name);
    }
    let options = Options::parse(&arguments);
    let chosen: Vec<Test> = tests.iter().copied().filter(|test| options.wants(test)).collect();
    if options.list {
        chosen.iter().for_each(|test| println!("{}: test", short(test.name)));
        return ExitCode::SUCCESS;
    }
    if let Err(reason) = lab::possible() {
        chosen.iter().for_each(|test| println!("test {} ... {SKIPPED}{reason}", short(test.name)));
        return totals(0, &[], chosen.len(), tests.len() - chosen.len(), Duration::ZERO);
    }
    lab::sweep();
    run_all(&chosen, options.threads, tests.len() - chosen.len())
}

struct Options {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

impl Options {
    fn parse(arguments: &[String]) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (filters, skips) = (Vec::new(), Vec::new());
        let mut options = Self { filters, skips, exact: false, list: false, threads: cores };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, value) = argument.split_once('=').unwrap_or((argument, ""));
            let mut value =
                || if value.is_empty() { rest.next().cloned() } else { Some(value.to_owned()) };
            match flag {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--skip" => options.skips.extend(value()),
                "--test-threads" => {
                    options.threads = value().and_then(|v| v.parse().ok()).unwrap_or(1);
                }
                "--format" | "--color" | "--logfile" | "-Z" => drop(value()),
                _ if flag.starts_with('-') => {}
                _ => options.filters.push(argument.clone()),
            }
        }
        options
    }

    fn wants(&self, test: &Test) -> bool {
        let name = short(test.name);
        let hit =
            |pattern: &String| if self.exact { name == pattern } else { name.contains(pattern) };
        (self.filters.is_empty() || self.filters.iter().any(hit)) && !self.skips.iter().any(hit)
    }
}

/// A test's name without the binary's own module.
fn short(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

fn run_all(chosen: &[Test], threads: usize, filtered: usize) -> ExitCode {
    println!("\nrunning {} tests", chosen.len());
    let begin = Instant::now();
    let queue = Mutex::new(chosen.iter().copied().collect::<VecDeque<Test>>());
    let next = || queue.lock().expect("no worker panics").pop_front();
    let (report, outcomes) = mpsc::channel();
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (next, report) = (&next, report.clone());
            scope.spawn(move || {
                while let Some(test) = next() {
                    let begin = Instant::now();
                    let outcome = run_in_child(&test);
                    report
                        .send((test, outcome, begin.elapsed()))
                        .expect("the receiver lives longer");
                }
            });
        }
        drop(report);
        for (test, outcome, took) in outcomes {
            let (name, seconds) = (short(test.name), took.as_secs_f32());
            match outcome {
                Outcome::Passed => {
                    println!("test {name} ... ok ({seconds:.1} s)");
                    passed += 1;
                }
                Outcome::Skipped(reason) => {
                    println!("test {name} ... {SKIPPED}{reason}");
                    skipped += 1;
                }
                Outcome::Failed(output) => {
                    println!("test {name} ... FAILED ({seconds:.1} s)");
                    failed.push((name, output));
                }
            }
            std::io::stdout().flush().expect("standard output is open");
        }
    });
    totals(passed, &failed, skipped, filtered, begin.elapsed())
}

/// Prints the failures and libtest's last line.
fn totals(
    passed: usize,
    failed: &[(&str, String)],
    skipped: usize,
    filtered: usize,
    took: Duration,
) -> ExitCode {
    for (name, output) in failed {
        println!("\n---- {name} ----\n{output}");
    }
    let (failures, seconds) = (failed.len(), took.as_secs_f32());
    let result = if failures == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failures} failed; {skipped} ignored; 0 measured; \
         {filtered} filtered out; finished in {seconds:.2}s\n"
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test in a child, whose output goes to a file: what the child leaves running may keep a
/// pipe open for ever.
fn run_in_child(test: &Test) -> Outcome {
    let mut output = tempfile::tempfile().expect("a file for a test's output");
    let copy = |file: &File| Stdio::from(file.try_clone().expect("a second descriptor"));
    let program = std::env::current_exe().expect("the path of this binary");
    let mut child = Command::new(program)
        .args([ONE, test.name])
        .stdin(Stdio::null())
        .stdout(copy(&output))
        .stderr(copy(&output))
        .spawn()
        .expect("this binary runs");
    let deadline = Instant::now() + lab::scaled(test.limit);
    let status = loop {
        match child.try_wait().expect("our own child") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        child.kill().and_then(|()| child.wait()).expect("our own child");
    }
    // A test that ended as it should has nothing left; this is for the others.
    lab::sweep_of(child.id());

    let mut text = String::new();
    output.rewind().and_then(|()| output.read_to_string(&mut text)).expect("a test prints text");
    match status.map(|status| status.code()) {
        Some(Some(0)) => Outcome::Passed,
        Some(Some(SKIP_CODE)) => {
            let reason = text.lines().find_map(|line| line.strip_prefix(SKIPPED));
            Outcome::Skipped(reason.unwrap_or("no reason given").to_owned())
        }
        Some(Some(_)) => Outcome::Failed(text),
        Some(None) => Outcome::Failed(format!("{text}\nended by a signal")),
        None => Outcome::Failed(format!("{text}\nstuck: killed")),
    }
}

/// The child's side.
fn run_here(tests: &[Test], name: &str) -> ExitCode {
    let test = tests.iter().find(|test| test.name == name).expect("the parent knows the names");
    match panic::catch_unwind(test.run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(payload) if is_skip(&*payload) => ExitCode::from(SKIP_CODE as u8),
        Err(_) => ExitCode::FAILURE,
    }
}

fn is_skip(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Skip>()
}
