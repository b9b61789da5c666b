//! The end of a frame's way: it is counted at the interface that it comes out of, and taken.
//!
//! Not by the interface's own counter: before Linux 6.7 that leaves out what `bpf_redirect_peer` brings, and it counts
//! whatever else comes. And not by a socket: the stack's work for one is more than most of what is to be compared.

use super::{Attached, Frame, FramesError, Interface, attached::load, program, tally::Tally};
use std::os::fd::{AsFd as _, OwnedFd};

/// A program at an interface that takes the frames of a benchmark.
pub(super) struct Sink {
    _program: Attached,
}

impl Sink {
    pub(super) fn attach(
        at: &Interface,
        frame: &Frame,
        length: usize,
        tally: &Tally,
    ) -> Result<Self, FramesError> {
        let code = program::sink(frame.kind(), length, tally.immediate());
        Ok(Self { _program: Attached::new(at, load(&code)?.as_fd())? })
    }
}

/// What forwards where nothing else does: whatever arrives at an interface goes out of it again.
pub(super) struct Reflector {
    _program: Attached,
}

impl Reflector {
    pub(super) fn attach(
        at: &Interface,
        frame: &Frame,
        length: usize,
    ) -> Result<Self, FramesError> {
        let code = program::reflector(frame.kind(), length, at.index()?);
        Ok(Self { _program: Attached::new(at, load(&code)?.as_fd())? })
    }
}

/// What does nothing at an interface but be there, loaded.
pub struct Idle(OwnedFd);

impl Idle {
    /// Loads it.
    pub fn load() -> Result<Self, FramesError> {
        load(&program::idle()).map(Self)
    }

    /// Attaches it.
    pub fn attach(&self, at: &Interface) -> Result<Attached, FramesError> {
        Attached::new(at, self.0.as_fd())
    }
}
