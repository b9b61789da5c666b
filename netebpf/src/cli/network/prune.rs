//! `netebpf network prune`.

use super::filter;
use crate::{
    cli::{CliError, Context, output},
    daemon::api::{Pruned, path},
};
use clap::Args;
use std::io;

/// Remove all networks that no endpoint is on
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those: until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let request = filter::prune(&self.filters).map_err(CliError::Filter)?;
        if !self.force && !asked()? {
            return Ok(0);
        }
        let mut pruned = Pruned::default();
        if context.exists() || context.client.probe().await.is_ok() {
            pruned = context.change(path::NETWORKS_PRUNE, &request).await?;
        }
        if !pruned.networks.is_empty() {
            let text = format!("Deleted Networks:\n{}\n\n", pruned.networks.join("\n"));
            output::print(&text).map_err(CliError::io("standard output"))?;
        }
        Ok(0)
    }
}

/// Whether the user wants it, who is asked on a terminal only.
fn asked() -> Result<bool, CliError> {
    if !rustix::termios::isatty(io::stdin()) {
        return Err(CliError::NotAsked);
    }
    eprint!(
        "WARNING! This will remove all custom networks not used by at least one endpoint.\n\
         Are you sure you want to continue? [y/N] "
    );
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(CliError::io("standard input"))?;
    Ok(matches!(line.trim(), "y" | "Y"))
}
