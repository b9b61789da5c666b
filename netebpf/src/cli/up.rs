//! `netebpf up`.

use super::{
    CliError, Context,
    arguments::HostArguments,
    output::{self, table},
    ps,
};
use crate::{
    config::{
        env_file,
        topology::{self, Problem, Surroundings, Topology, Variables},
    },
    daemon::api::{UpReply, UpRequest, path},
};
use clap::Args;
use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of one that was interrupted, as a shell has it.
const INTERRUPTED: u8 = 128 + 2;

/// Make the host match a topology file
#[derive(Debug, Args)]
pub(super) struct Up {
    /// The topology file, - for standard input; netebpf.yaml, compose.yaml or docker-compose.yml
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Variables of the file's values, instead of those in .env beside it; the environment's count first
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<PathBuf>,
    /// Only say what would be done, step by step
    #[arg(long)]
    dry_run: bool,
    /// As Compose; what runs goes on in the background in any case
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    host: HostArguments,
}

impl Up {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let topology = read(self.file.as_deref(), &self.env_files)?;
        let host = self.host.choice();
        let request = UpRequest { topology, dry_run: self.dry_run, host };
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(CliError::io("catch signals"))?;
        let reply: UpReply = tokio::select! {
            reply = context.change(path::UP, &request) => reply?,
            _ = interrupt.recv() => {
                if !self.dry_run {
                    say_who_goes_on(context);
                }
                return Ok(INTERRUPTED);
            }
        };
        let mut text = String::new();
        for change in &reply.changes {
            text.push_str(change);
            text.push('\n');
        }
        if reply.changes.is_empty() {
            text.push_str("nothing to change\n");
        }
        if !reply.endpoints.is_empty() {
            let rows = reply.endpoints.iter().map(|view| {
                let joined = |values: Vec<String>| values.join(", ");
                vec![
                    view.endpoint.name.clone(),
                    joined(ps::networks(view)),
                    joined(ps::addresses(view)),
                    joined(ps::ports(view)),
                ]
            });
            text.push('\n');
            text.push_str(&table(["ENDPOINT", "NETWORKS", "ADDRESSES", "PORTS"], rows));
        }
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// The caller's environment, and what the files of variables have besides: `.env` beside the topology file, where nothing
/// else is said. What is not text cannot stand in a file.
fn surroundings(topology: &Path, env_files: &[PathBuf]) -> Result<Surroundings, CliError> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment: Variables = env::vars_os().filter_map(text).collect();
    let beside = topology.with_file_name(".env");
    let files = match env_files {
        [] if beside.is_file() => std::slice::from_ref(&beside),
        files => files,
    };
    let mut variables = environment.clone();
    for file in files.iter().rev() {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(CliError::io(format!("variables {name}")))?;
        let (more, warnings) = env_file::parse(&text, &name, &environment)?;
        warnings.iter().for_each(|warning| eprintln!("netebpf: warning: {warning}"));
        // The environment's count, and then the last file's.
        for (name, value) in more {
            variables.entry(name).or_insert(value);
        }
    }
    Ok(Surroundings { variables, is_program })
}

/// What is asked for is done whole, also for one who does not wait.
fn say_who_goes_on(context: &Context) {
    let program = match context.instance.name() {
        "default" => "netebpf".to_owned(),
        name => format!("netebpf --instance {name}"),
    };
    eprintln!(
        "netebpf: interrupted: the daemon goes on with it: \"{program} status\" shows what there is, \"{program} down\" \
         takes it away"
    );
}

/// Whether a command that begins so can be run: by its path, or found in PATH.
fn is_program(name: &str) -> bool {
    let executable = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    match name.contains('/') {
        true => executable(Path::new(name)),
        false => env::var_os("PATH")
            .is_some_and(|path| env::split_paths(&path).any(|at| executable(&at.join(name)))),
    }
}

/// Reads a topology file; what in it has no effect is said.
pub(super) fn read(file: Option<&Path>, env_files: &[PathBuf]) -> Result<Topology, CliError> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => ["netebpf.yaml", "compose.yaml", "docker-compose.yml"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or(CliError::NoFile)?,
    };
    let name = path.display().to_string();
    let text = match path.as_os_str().as_encoded_bytes() {
        b"-" => io::read_to_string(io::stdin()),
        _ => fs::read_to_string(&path),
    };
    let text = text.map_err(CliError::io(format!("topology file {name}")))?;
    let surroundings = surroundings(&path, env_files)?;
    let parsed = match topology::parse(&text, &name, surroundings.clone()) {
        // Its directory has a name that the file's own way of being named may not show.
        Err(error) if matches!(error.problem, Problem::NoName) => {
            let whole = std::path::absolute(&path).unwrap_or(path);
            topology::parse(&text, &whole.display().to_string(), surroundings)
        }
        parsed => parsed,
    };
    let (topology, warnings) = parsed?;
    for warning in warnings {
        eprintln!("netebpf: warning: {warning}");
    }
    Ok(topology)
}
