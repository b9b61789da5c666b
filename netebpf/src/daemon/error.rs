//! Why an operation was refused or failed.

use super::{lookup::LookupError, ports::PortError, process::LaunchError, sockets};
use crate::{
    apply::ApplyError,
    kernel::{KernelError, NetnsError},
    model::resolve::{EndpointProblem, PublishedPort, ResolveError, ResolveProblem},
    state::StateError,
};
use axum::http::StatusCode;
use std::net::Ipv4Addr;

/// One line for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request does not fit what there is.
    #[error("{0}{holder}", holder = holder(.0))]
    Resolve(Box<ResolveError>),
    /// A host port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A name leads nowhere.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel refused; what had been done is undone.
    #[error(transparent)]
    Apply(Box<ApplyError>),
    /// The kernel lacks something, or refused.
    #[error(transparent)]
    Kernel(Box<KernelError>),
    /// Something could not be taken down.
    #[error("{0}{more}: \"down\" tries again", more = if *.1 == 0 { String::new() } else { format!(" (and {} more)", .1) })]
    Teardown(#[source] Box<ApplyError>, usize),
    /// A service does not start.
    #[error("endpoint {endpoint:?}: {source}")]
    Service {
        /// Whose service.
        endpoint: String,
        /// Why.
        source: LaunchError,
    },
    /// A new endpoint is to use a namespace that is not there.
    #[error("endpoint {endpoint:?}: {source}")]
    Namespace {
        /// Whose.
        endpoint: String,
        /// Which.
        source: NetnsError,
    },
    /// Not to be removed without force.
    #[error("endpoint {0:?}: its process runs: \"rm -f\" ends it first")]
    Running(String),
    /// Not to be removed without force.
    #[error(
        "endpoint {endpoint:?}: endpoint {by:?} is in its namespace: remove that one first, or \"rm -f\" takes the namespace away from it"
    )]
    Shared {
        /// Whose namespace.
        endpoint: String,
        /// Who is in it.
        by: String,
    },
    /// Nothing to start.
    #[error(
        "endpoint {0:?}: it has no command to start: one from \"run -d\", or of a file, would be its own; \"exec\" runs another in it"
    )]
    NoCommand(String),
    /// Whoever starts it is not the one to stop.
    #[error("endpoint {0:?}: its command is just being started: try again")]
    Starting(String),
    /// Too late.
    #[error("daemon: it just takes the instance down: try again")]
    Ending,
}

// Boxed, because they are far larger than what is returned when all goes well.

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Self {
        Self::Resolve(Box::new(error))
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        Self::Apply(Box::new(error))
    }
}

impl From<KernelError> for Error {
    fn from(error: KernelError) -> Self {
        Self::Kernel(Box::new(error))
    }
}

impl Error {
    /// Docker's exit code, where a command does not run.
    pub(super) fn exit(&self) -> Option<u8> {
        match self {
            Self::Service { source, .. } => source.exit(),
            _ => None,
        }
    }

    /// The answer's status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Resolve(_)
            | Self::Port(_)
            | Self::Running(_)
            | Self::Shared { .. }
            | Self::NoCommand(_)
            | Self::Starting(_)
            | Self::Service { .. }
            | Self::Namespace { .. } => StatusCode::CONFLICT,
            Self::Lookup(_) => StatusCode::NOT_FOUND,
            Self::Ending => StatusCode::SERVICE_UNAVAILABLE,
            Self::State(_) | Self::Apply(_) | Self::Kernel(_) | Self::Teardown(..) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

/// Whose socket is in the way, where one is.
fn holder(error: &ResolveError) -> String {
    let ResolveProblem::Endpoint {
        problem: EndpointProblem::PortInUse(PublishedPort { host_address, host_port, transport }),
        ..
    } = &error.problem
    else {
        return String::new();
    };
    let address = host_address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    format!(" ({})", sockets::holder(*transport, address, *host_port))
}
