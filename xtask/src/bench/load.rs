//! The ends of a measurement of ours, each a process.
//!
//! **Invariant**: a client waits for no answer for ever.

use super::queries::Queries;
use anyhow::Result;

/// One end of a measurement
#[derive(clap::Args)]
pub(crate) struct Load {
    #[command(subcommand)]
    end: End,
}

#[derive(clap::Subcommand)]
enum End {
    /// Asks for a name and prints how fast it is answered
    Ask {
        #[command(flatten)]
        queries: Queries,
    },
}

impl Load {
    pub(crate) fn run(self) -> Result<()> {
        match self.end {
            End::Ask { queries } => queries.ask(),
        }
    }
}
