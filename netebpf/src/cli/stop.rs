//! `netebpf stop`, `start` and `restart`.

use super::{CliError, Context, output};
use crate::daemon::api::{Changes, StartRequest, StopRequest, path};
use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

/// End the commands of endpoints, which keep their addresses and ports; where none runs nothing is to be done. `start`
/// starts them again, and the next `up` those of its file
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    patience: Patience,
    /// Names or identifiers
    #[arg(required = true, value_name = "ENDPOINT")]
    names: Vec<String>,
}

/// Start the commands of endpoints again, in the background; one that runs goes on. An endpoint from `create`, from
/// `run` in the foreground, or of a service without a command has none, which is said
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Names or identifiers
    #[arg(required = true, value_name = "ENDPOINT")]
    names: Vec<String>,
}

/// End the commands of endpoints, and start them again
#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    patience: Patience,
    /// Names or identifiers
    #[arg(required = true, value_name = "ENDPOINT")]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, Args)]
struct Patience {
    /// How many seconds a command has between SIGTERM and SIGKILL; -1 for as many as it takes
    #[arg(
        short = 't',
        long = "timeout",
        alias = "time",
        value_name = "SECONDS",
        default_value = "10",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-1..)
    )]
    seconds: i64,
}

impl Patience {
    fn request(self, endpoint: String) -> StopRequest {
        StopRequest { endpoint, timeout: self.seconds.try_into().ok() }
    }
}

impl Stop {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let request = |name| self.patience.request(name);
        each(context, self.names, path::ENDPOINTS_STOP, request).await
    }
}

impl Start {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let request = |endpoint| StartRequest { endpoint };
        each(context, self.names, path::ENDPOINTS_START, request).await
    }
}

impl Restart {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let request = |name| self.patience.request(name);
        each(context, self.names, path::ENDPOINTS_RESTART, request).await
    }
}

/// All at the same time, as Docker: one that cannot be done keeps no other from it.
async fn each<R: Serialize>(
    context: &Context,
    names: Vec<String>,
    path: &str,
    request: impl Fn(String) -> R,
) -> Result<u8, CliError> {
    let done = names.iter().map(async |name| {
        // Where there is no daemon and no state there is none, which the look-up says.
        context.endpoint(name).await?;
        context.change::<Changes>(path, &request(name.clone())).await
    });
    let mut code = 0;
    for (name, done) in names.iter().zip(join_all(done).await) {
        match done {
            Ok(_) => {
                output::print(&format!("{name}\n")).map_err(CliError::io("standard output"))?
            }
            Err(error) => {
                eprintln!("netebpf: {error}");
                code = 1;
            }
        }
    }
    Ok(code)
}
