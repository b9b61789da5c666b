//! `netebpf down`.

use super::{CliError, Context, output, up};
use crate::daemon::api::{Changes, DownRequest, path};
use clap::Args;
use std::path::PathBuf;

/// Take away what up, run, create and network create made
#[derive(Debug, Args)]
pub(super) struct Down {
    /// Only what `up` made of this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "all")]
    file: Option<PathBuf>,
    /// As for `up`
    #[arg(long = "env-file", value_name = "FILE", requires = "file")]
    env_files: Vec<PathBuf>,
    /// Engines' endpoints too
    #[arg(long)]
    all: bool,
}

impl Down {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let topology = match &self.file {
            Some(file) => Some(up::read(Some(file), &self.env_files)?.name),
            None => None,
        };
        let request = DownRequest { topology, all: self.all };
        let mut changes = Vec::new();
        if context.exists() || context.client.probe().await.is_ok() {
            changes = context.change::<Changes>(path::DOWN, &request).await?.changes;
        }
        print_changes(&changes)?;
        Ok(0)
    }
}

/// What changed, one a line.
pub(super) fn print_changes(changes: &[String]) -> Result<(), CliError> {
    let text = match changes {
        [] => "nothing to change\n".to_owned(),
        changes => changes.iter().map(|change| format!("{change}\n")).collect(),
    };
    output::print(&text).map_err(CliError::io("standard output"))
}
