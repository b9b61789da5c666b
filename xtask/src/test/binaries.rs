//! The workspace's test programs, built by cargo and found by its messages.
//!
//! **Invariant**: the name of a test target of the `tests` crate decides its layer: `prog_run…` and
//! `netns…` need root and a kernel, all others nothing.

use super::Layer;
use crate::run::{self, Ended, Step};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A program full of tests.
#[derive(Clone, Debug)]
pub(crate) struct TestBinary {
    /// Its crate.
    pub(crate) package: String,
    /// Its target's name.
    pub(crate) name: String,
    pub(crate) layer: Layer,
    pub(crate) executable: PathBuf,
    /// The crate's directory, where cargo would run it.
    pub(crate) directory: PathBuf,
}

/// Builds the tests of the whole workspace; for another target, those of the `tests` crate only.
pub(crate) fn build(target: Option<&str>) -> Result<Vec<TestBinary>> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    match target {
        None => {
            cargo.args(["--workspace", "--exclude", "netebpf-ebpf", "--lib", "--bins", "--tests"])
        }
        Some(target) => cargo.args(["--package", "netebpf-tests", "--tests", "--target", target]),
    };
    let step = Step::begin(match target {
        None => "Building tests",
        Some(_) => "Building tests (static)",
    });
    let (mut binaries, mut said) = (Vec::new(), Vec::new());
    let ended = run::lines(&mut cargo, None, |line| {
        if line.starts_with('{') {
            binaries.extend(read(line));
        } else {
            step.now(line);
            said.push(line.to_owned());
        }
    })?;
    if ended != Ended::With(0) {
        step.end("failed");
        for line in said {
            eprintln!("    {line}");
        }
        bail!("the tests do not build");
    }
    step.end("done");
    let mut binaries = binaries.into_iter().collect::<Result<Vec<_>>>()?;
    binaries.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(binaries)
}

/// The part of cargo's message that matters here.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// A test program, when the message is about one.
fn read(line: &str) -> Option<Result<TestBinary>> {
    let message: Message = match serde_json::from_str(line) {
        Ok(message) => message,
        Err(error) => return Some(Err(error).context("cargo said what is no message of its own")),
    };
    let (executable, target) = (message.executable?, message.target?);
    if !message.profile?.test {
        return None;
    }
    let directory = message.manifest_path?.parent()?.to_owned();
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let is_test_target = target.kind.iter().any(|kind| kind == "test");
    let layer = layer(
        is_test_target && directory == Path::new(&run::workspace().join("tests")),
        &target.name,
    );
    Some(Ok(TestBinary { package, name: target.name, layer, executable, directory }))
}

fn layer(is_of_tests_crate: bool, name: &str) -> Layer {
    match name {
        name if is_of_tests_crate && name.starts_with("prog_run") => Layer::ProgRun,
        name if is_of_tests_crate && name.starts_with("netns") => Layer::Netns,
        _ => Layer::Host,
    }
}
