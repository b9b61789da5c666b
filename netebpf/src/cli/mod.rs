//! The command line: one file a command. Each asks the daemon, or enters a namespace, and prints.
//!
//! **Invariant**: data goes to standard output, all else to standard error; a failed command says one
//! line, `netebpf: what: where: what would be right`, and its exit code is 1 (2 for wrong usage, and
//! `run` and `exec` have their command's, or 125, 126 and 127 as Docker).

mod arguments;
mod bench;
mod client;
mod completion;
mod conntrack;
mod context;
mod create;
mod daemon;
mod doctor;
mod down;
mod error;
mod events;
mod exec;
mod filter;
mod foreground;
mod gc;
mod inspect;
mod logs;
mod man;
mod network;
mod output;
mod port;
mod privilege;
mod ps;
mod publish;
mod rm;
mod run;
mod schema;
mod status;
mod stop;
mod up;
mod version;

use crate::{config::settings, state::Instance};
use clap::{Parser, Subcommand};
use context::Context;
use error::CliError;
use std::{path::PathBuf, process::ExitCode};

/// Container networking on eBPF: Docker's bridge networks, port mappings and masquerade, without
/// iptables.
#[derive(Debug, Parser)]
#[command(name = "netebpf", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    /// The instance: everything that netebpf makes belongs to one
    #[arg(
        long,
        global = true,
        env = "NETEBPF_INSTANCE",
        default_value = "default",
        value_name = "NAME"
    )]
    instance: Instance,
    /// Settings in the place of the host's, for `bench`, whose measurements the host's are no part of
    #[arg(long, global = true, hide = true, default_value = settings::PATH, value_name = "FILE")]
    settings: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    #[command(alias = "ls", alias = "list")]
    Ps(ps::Ps),
    Run(run::Run),
    Create(create::Create),
    #[command(alias = "remove")]
    Rm(rm::Rm),
    Exec(exec::Exec),
    Stop(stop::Stop),
    Start(stop::Start),
    Restart(stop::Restart),
    Logs(logs::Logs),
    Port(port::Port),
    Publish(publish::Publish),
    Unpublish(publish::Unpublish),
    Inspect(inspect::Inspect),
    Events(events::Events),
    Network(network::Network),
    Conntrack(conntrack::Conntrack),
    Doctor(doctor::Doctor),
    Gc(gc::Gc),
    Bench(bench::Bench),
    Daemon(daemon::Daemon),
    Completion(completion::Completion),
    Man(man::Man),
    Schema(schema::Schema),
    Version(version::Version),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let asked = match &cli.command {
        // A command of the user's own runs here: what fails before it does is Docker's 125, but for
        // missing privileges.
        Command::Run(_) | Command::Exec(_) => 125,
        _ => 1,
    };
    let code = match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netebpf: {error}");
            error.code().unwrap_or(asked)
        }
    };
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<u8, CliError> {
    match cli.command {
        Command::Completion(command) => return command.run(),
        Command::Man(command) => return command.run(),
        Command::Schema(command) => return command.run(),
        Command::Version(command) => return command.run(),
        // `doctor`, too: without privileges it could not tell what the kernel has.
        _ => privilege::check()?,
    }
    if let Command::Daemon(command) = cli.command {
        return command.run(&cli.instance, &cli.settings);
    }
    let context = Context::new(cli.instance, cli.settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| CliError::Io { what: "start the runtime".to_owned(), source })?;
    runtime.block_on(async {
        match cli.command {
            Command::Up(command) => command.run(&context).await,
            Command::Down(command) => command.run(&context).await,
            Command::Status(command) => command.run(&context).await,
            Command::Ps(command) => command.run(&context).await,
            Command::Run(command) => command.run(&context).await,
            Command::Create(command) => command.run(&context).await,
            Command::Rm(command) => command.run(&context).await,
            Command::Exec(command) => command.run(&context).await,
            Command::Stop(command) => command.run(&context).await,
            Command::Start(command) => command.run(&context).await,
            Command::Restart(command) => command.run(&context).await,
            Command::Logs(command) => command.run(&context).await,
            Command::Port(command) => command.run(&context).await,
            Command::Publish(command) => command.run(&context).await,
            Command::Unpublish(command) => command.run(&context).await,
            Command::Events(command) => command.run(&context).await,
            Command::Inspect(command) => command.run(&context).await,
            Command::Network(command) => command.run(&context).await,
            Command::Conntrack(command) => command.run(&context).await,
            Command::Doctor(command) => command.run(&context).await,
            Command::Gc(command) => command.run(&context).await,
            Command::Bench(command) => command.run().await,
            Command::Daemon(_)
            | Command::Completion(_)
            | Command::Man(_)
            | Command::Schema(_)
            | Command::Version(_) => unreachable!("done above"),
        }
    })
}
