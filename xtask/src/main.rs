//! The project's own tasks. `cargo xtask help` lists them; one file a task.
//!
//! **Invariant**: a task may be run again at any time, says each step in a line before it takes it, and
//! touches the machine only where its help says so. Everything that needs root goes through `sudo` when
//! the caller is not root; building never does.

mod apt;
mod bench;
mod build;
mod namespace;
mod run;
mod setup;
mod test;
mod tidy;
mod up;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// netebpf's own tasks
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and running need, and only what is missing
    Setup(setup::Setup),
    /// Build netebpf and its kernel programs
    Build(build::Build),
    /// Set up, build, and bring up examples/quickstart.yaml on a throw-away host
    Up(up::Up),
    /// Take down what `up` brought up there
    Down,
    /// Run every layer of tests; leaves nothing behind
    Test(test::Test),
    /// Run the program-run and namespace tests under other kernels
    Vm(vm::Vm),
    /// Compare speed with a Linux bridge and Docker's iptables rules, in throw-away namespaces
    Bench(bench::Bench),
    /// One end of a measurement; `bench` starts them
    #[command(hide = true)]
    Load(bench::load::Load),
    /// Formatting and lints
    Tidy,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup(task) => task.run(),
        Task::Build(task) => task.run().map(drop),
        Task::Up(task) => task.run(),
        Task::Down => up::down(),
        Task::Test(task) => task.run(),
        Task::Vm(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Load(task) => task.run(),
        Task::Tidy => tidy::run(),
    }
}
