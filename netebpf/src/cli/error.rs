//! What ends a command.

use super::{client::ClientError, output::TemplateError, privilege::Missing};
use crate::{
    bench::{BenchError, load::LoadError},
    config::{
        env_file::EnvFileError, options::OptionError, ports::PortError, topology::ConfigError,
    },
    daemon::{DaemonError, LaunchError, LookupError, StartError},
    kernel::KernelError,
    model::requests::NameError,
    state::Instance,
};
use std::io;

/// One line for the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Daemon(#[from] Box<DaemonError>),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    EnvFile(#[from] EnvFileError),
    #[error("-p: {0}")]
    Port(#[from] PortError),
    #[error(transparent)]
    PublishedPort(PortError),
    #[error("-o: {0}")]
    Option(#[from] OptionError),
    #[error("--name: {0}")]
    Name(#[from] NameError),
    #[error("network create: {0}")]
    NetworkName(NameError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("bench: {0}")]
    Bench(#[from] BenchError),
    #[error("bench: {0}")]
    Load(#[from] LoadError),
    /// No topology file where one is looked for.
    #[error(
        "no topology file: netebpf.yaml, compose.yaml and docker-compose.yml are looked for in this directory: -f names another"
    )]
    NoFile,
    /// An endpoint that publishes no such port.
    #[error("endpoint {endpoint:?}: port {port}: not published")]
    NotPublished { endpoint: String, port: String },
    /// Not the first address.
    #[error("{option} {net}: it has host bits: {} would be right", net.trunc())]
    HostBits { option: &'static str, net: ipnet::IpNet },
    /// Which subnet would it be in?
    #[error("no matching subnet for {option} {address}; a --subnet that has it would be right")]
    OutsideSubnets { option: &'static str, address: std::net::IpAddr },
    #[error("--filter: {0}")]
    Filter(String),
    /// Nobody to ask.
    #[error(
        "network prune: there is no terminal to ask on: -f removes all networks that no endpoint is on without asking"
    )]
    NotAsked,
    /// Docker's words.
    #[error("conflicting options: {0}")]
    Conflict(&'static str),
    #[error(
        "user specified IP address is supported on bridge networks only: none, host and container:NAME have none to give"
    )]
    NoAddress,
    #[error(
        "network-scoped aliases are only supported on bridge networks: none, host and container:NAME have no names"
    )]
    NoAlias,
    #[error("--driver-opt: {0}")]
    DriverOption(String),
    /// Which subnet would it be in?
    #[error(
        "every ip-range or gateway must have a corresponding subnet: --gateway {0} has none; --subnet gives one"
    )]
    GatewayWithoutSubnet(std::net::IpAddr),
    /// Nothing to show.
    #[error("endpoint {0:?}: it has no log: nothing of its own runs, or ran, in it")]
    NoLog(String),
    /// The daemon keeps ending before it can be asked.
    #[error("instance {:?}: its daemon ends whenever it is asked: try again", .0.name())]
    Restless(Instance),
    /// The daemon could not start the user's command.
    #[error("{message}")]
    Command { message: String, exit: u8 },
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl CliError {
    /// The exit code, where it is not the command's usual one.
    pub(super) fn code(&self) -> Option<u8> {
        match self {
            Self::Missing(_) => Some(1),
            // As a shell says of what SIGINT ended.
            Self::Bench(BenchError::Interrupted) => Some(130),
            Self::Launch(error) => error.exit(),
            Self::Command { exit, .. } => Some(*exit),
            _ => None,
        }
    }

    /// Says that a refusal to start a command is the exit code of this one.
    pub(super) fn of_command(self) -> Self {
        match self {
            Self::Client(ClientError::Refused { message, exit: Some(exit) }) => {
                Self::Command { message, exit }
            }
            other => other,
        }
    }

    /// Names what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
