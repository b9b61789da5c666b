//! `netebpf network`.

mod connect;
mod create;
mod filter;
mod inspect;
mod ls;
mod prune;
mod rm;

pub(super) use inspect::shape;

use super::{CliError, Context};
use clap::{Args, Subcommand};

/// Manage networks
#[derive(Debug, Args)]
pub(super) struct Network {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "list")]
    Ls(ls::Ls),
    Create(create::Create),
    Inspect(inspect::Inspect),
    #[command(alias = "remove")]
    Rm(rm::Rm),
    Connect(connect::Connect),
    Disconnect(connect::Disconnect),
    Prune(prune::Prune),
}

impl Network {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        match self.command {
            Command::Ls(command) => command.run(context).await,
            Command::Create(command) => command.run(context).await,
            Command::Inspect(command) => command.run(context).await,
            Command::Rm(command) => command.run(context).await,
            Command::Connect(command) => command.run(context).await,
            Command::Disconnect(command) => command.run(context).await,
            Command::Prune(command) => command.run(context).await,
        }
    }
}
