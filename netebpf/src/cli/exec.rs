//! `netebpf exec`.

use super::{
    CliError, Context,
    arguments::environment,
    foreground::{self, Signals},
};
use crate::daemon::Launch;
use clap::Args;
use std::path::PathBuf;

/// Run a command in an endpoint's namespace
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Let it read standard input
    #[arg(short, long)]
    interactive: bool,
    /// As Docker; the caller's terminal is the command's in any case
    #[arg(short, long)]
    tty: bool,
    /// An environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// The directory that it starts in
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<PathBuf>,
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    name: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let view = context.endpoint(&self.name).await?;
        let launch = Launch {
            endpoint: &view.endpoint.id,
            command: &self.command,
            environment: &environment(self.environment),
            working_dir: self.workdir.as_deref(),
            namespace: &view.namespace,
            etc: &view.etc,
        };
        let signals = Signals::catch()?;
        let child = foreground::start(&launch, self.interactive || self.tty)?;
        foreground::wait(child, signals, &view.etc).await
    }
}
