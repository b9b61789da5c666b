//! What ends a benchmark.

use super::{arms::Kind, measure::Cell};
use std::io;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// By a signal.
    #[error("interrupted; what it made is taken away")]
    Interrupted,
    /// Another one runs.
    #[error("another benchmark is running here: wait until it is done")]
    NotAlone,
    /// A program that is not there.
    #[error("{program} is missing: `apt-get install {package}` installs it on Debian and Ubuntu")]
    Tool {
        /// The program.
        program: &'static str,
        /// Who has it.
        package: &'static str,
    },
    /// Two ends that share a CPU leave none for the rest.
    #[error(
        "{0} CPU is too few, 2 are needed: the two ends have one, and what else the machine does another"
    )]
    Cpus(usize),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] crate::kernel::KernelError),
    /// A program failed.
    #[error("`{command}` failed ({status}): {said}")]
    Command {
        /// As one would type it.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        said: String,
    },
    /// A host that does not forward as it should.
    #[error("{arm}: {way}: {what}")]
    Broken {
        /// Which.
        arm: Kind,
        /// On which way.
        way: String,
        /// What is wrong.
        what: String,
    },
    /// A host that forwards, and not by what it is measured for.
    #[error("{arm}: {way}: something else forwards than what it is named after: {what}")]
    Other {
        /// Which.
        arm: Kind,
        /// On which way.
        way: String,
        /// By what that is known.
        what: String,
    },
    /// One measurement.
    #[error("{arm}: {cell}: {source}")]
    Measurement {
        /// Where.
        arm: Kind,
        /// Of what.
        cell: Cell,
        /// Why it failed.
        source: Box<BenchError>,
    },
    /// A server or a client that says something else than it should.
    #[error("a {0} says {1:?}")]
    Talk(&'static str, String),
    /// The other end does not answer.
    #[error("{0}")]
    Load(#[from] super::load::LoadError),
    /// Small packets.
    #[error("small packets: {0}")]
    Frames(#[from] super::load::frames::FramesError),
    /// What programs take.
    #[error("what netebpf's programs take: {0}")]
    Cost(#[from] super::load::cost::CostError),
    /// Network cards.
    #[error(transparent)]
    Card(#[from] super::cards::CardError),
    /// Streams.
    #[error(transparent)]
    Streams(#[from] super::load::streams::StreamsError),
    /// Something of it could not be taken away.
    #[error("{}this could not be taken away, which the next run tries again: {said}", before(first.as_deref()))]
    Left {
        /// What, and why.
        said: String,
        /// What ended the benchmark, if that was not its end.
        first: Option<Box<BenchError>>,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl BenchError {
    /// Names what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// What ended a benchmark, before what could not be taken away.
fn before(first: Option<&BenchError>) -> String {
    match first {
        None => String::new(),
        Some(BenchError::Interrupted) => "interrupted, and ".to_owned(),
        Some(first) => format!("{first}; and "),
    }
}
