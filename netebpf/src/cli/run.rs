//! `netebpf run`.

use super::{
    CliError, Context,
    arguments::{EndpointArguments, environment},
    client::ClientError,
    foreground::{self, Signals},
    output,
};
use crate::{
    daemon::{
        Launch,
        api::{Changes, CreateRequest, EndpointView, ProcessReport, RemoveRequest, path},
    },
    model::Service,
};
use clap::Args;
use std::path::PathBuf;

/// Make an endpoint and run a command in it
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Remove the endpoint when the command ends
    #[arg(long)]
    rm: bool,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// In the background: the daemon supervises it, and `logs` has its output
    #[arg(short, long)]
    detach: bool,
    /// As Docker; it reads the caller's standard input in any case
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
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let (mut endpoint, host) = self.endpoint.request(self.name)?;
        endpoint.remove_on_exit = self.rm;
        let service = Service {
            command: self.command,
            environment: environment(self.environment),
            working_dir: self.workdir,
        };
        if self.detach {
            endpoint.service = Some(service);
            let request = CreateRequest { endpoint, host, runner: None };
            let view: EndpointView =
                context.change(path::ENDPOINTS, &request).await.map_err(CliError::of_command)?;
            let text = format!("{}\n", view.endpoint.id);
            output::print(&text).map_err(CliError::io("standard output"))?;
            return Ok(0);
        }
        // Before there is anything to clean up.
        let signals = Signals::catch()?;
        let request = CreateRequest { endpoint, host, runner: Some(std::process::id()) };
        let view: EndpointView = context.change(path::ENDPOINTS, &request).await?;
        let launch = Launch {
            endpoint: &view.endpoint.id,
            command: &service.command,
            environment: &service.environment,
            working_dir: service.working_dir.as_deref(),
            namespace: &view.namespace,
            etc: &view.etc,
        };
        let id = view.endpoint.id.to_string();
        let child = match foreground::start(&launch, true) {
            Ok(child) => child,
            Err(error) => {
                let request = RemoveRequest { names: vec![id], force: true };
                let removed: Result<Changes, _> =
                    context.change(path::ENDPOINTS_REMOVE, &request).await;
                if let Err(second) = removed {
                    eprintln!("netebpf: {second}");
                }
                return Err(error);
            }
        };
        let mut report =
            ProcessReport { endpoint: id, pid: child.id().unwrap_or_default(), exit: None };
        if let Err(error) = context.client.post::<Changes>(path::ENDPOINTS_PROCESS, &report).await {
            eprintln!("netebpf: {error}");
        }
        let code = foreground::wait(child, signals, &view.etc).await?;
        report.exit = Some(code.into());
        tell_end(context, &report).await;
        Ok(code)
    }
}

/// Tells the daemon how the command ended; with `--rm` the endpoint goes then. The daemon may have
/// noticed by itself, and be gone with the last endpoint.
async fn tell_end(context: &Context, report: &ProcessReport) {
    match context.client.post::<Changes>(path::ENDPOINTS_PROCESS, report).await {
        Err(ClientError::Refused { message, .. }) => eprintln!("netebpf: {message}"),
        Err(ClientError::NoDaemon { .. }) if context.exists() => {
            eprintln!("netebpf: the daemon is gone: the endpoint stays until \"netebpf rm\"");
        }
        _ => {}
    }
}
