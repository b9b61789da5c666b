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

/// What the workspace's tests are made of.
pub(crate) struct Built {
    /// netebpf, unoptimised.
    pub(crate) netebpf: PathBuf,
    pub(crate) tests: Vec<TestBinary>,
}

/// Builds the tests of the whole workspace, and netebpf with them: by itself it would want other features of what both
/// depend on, which is then built twice. Cargo builds it because the package has integration tests.
pub(crate) fn build() -> Result<Built> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    cargo.args(["--workspace", "--exclude", "netebpf-ebpf", "--lib", "--bins", "--tests"]);
    let step = Step::begin("Building netebpf and its tests");
    let (mut messages, mut said) = (Vec::new(), Vec::new());
    let ended = run::lines(&mut cargo, None, |line| {
        if line.starts_with('{') {
            messages.push(serde_json::from_str::<Message>(line));
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
    let (mut netebpf, mut tests) = (None, Vec::new());
    for message in messages {
        let message = message.context("cargo said what is no message of its own")?;
        if message.is_netebpf() {
            netebpf = message.executable;
        } else {
            tests.extend(test(message));
        }
    }
    tests.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(Built { netebpf: netebpf.context("cargo built no netebpf")?, tests })
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

impl Message {
    /// Whether it is about the binary that users get.
    fn is_netebpf(&self) -> bool {
        self.executable.is_some()
            && self.profile.as_ref().is_some_and(|profile| !profile.test)
            && self.target.as_ref().is_some_and(|target| target.name == "netebpf")
    }
}

/// A test program, when the message is about one.
fn test(message: Message) -> Option<TestBinary> {
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
    Some(TestBinary { package, name: target.name, layer, executable, directory })
}

fn layer(is_of_tests_crate: bool, name: &str) -> Layer {
    match name {
        name if is_of_tests_crate && name.starts_with("prog_run") => Layer::ProgRun,
        name if is_of_tests_crate && name.starts_with("netns") => Layer::Netns,
        _ => Layer::Host,
    }
}
