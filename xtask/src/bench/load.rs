//! The ends of a measurement, each a process on one CPU.
//!
//! **Invariant**: a client waits for no answer for ever, and a server ends with whoever started it.

use super::{flows::Servers, queries::Queries};
use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::path::PathBuf;

/// What the server prints when it can be connected to.
pub(super) const READY: &str = "ready";

/// One end of a measurement
#[derive(clap::Args)]
pub(crate) struct Load {
    #[command(subcommand)]
    end: End,
}

#[derive(clap::Subcommand)]
enum End {
    /// Answers datagrams on many ports, until standard input is closed
    Answers {
        #[command(flatten)]
        servers: Servers,
    },
    /// Opens so many flows to them and prints how fast
    Flows {
        #[command(flatten)]
        servers: Servers,
        flows: u32,
    },
    /// Asks for a name and prints how fast it is answered
    Ask {
        #[command(flatten)]
        queries: Queries,
    },
    /// Attaches an endpoint and detaches it, many times, and prints how long that took
    Attach { netebpf: PathBuf, rounds: u32 },
}

impl Load {
    pub(crate) fn run(self) -> Result<()> {
        // Commands are measured as they are.
        if !matches!(self.end, End::Attach { .. }) {
            pin_to_last_cpu()?;
            // What else the machine does shall not count.
            rustix::process::nice(-20).context("cannot take precedence")?;
        }
        match self.end {
            End::Answers { servers } => {
                servers.answer()?;
                println!("{READY}");
                until_input_ends()
            }
            End::Flows { servers, flows } => servers.open(flows),
            End::Ask { queries } => queries.ask(),
            End::Attach { netebpf, rounds } => super::attach::measure_as_root(netebpf, rounds),
        }
    }
}

/// Both ends share a CPU, so that what is measured is the work and not the wake-up of another CPU.
fn pin_to_last_cpu() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last =
        (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no CPU is allowed")?;
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).context("cannot pin to one CPU")
}

/// However the starter ends, its pipe is closed then.
fn until_input_ends() -> ! {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(0)
}
