//! A program at an interface, wherever that is.
//!
//! **Invariant**: it is off again with its handle, and no other program of that interface is touched.

use super::{
    FramesError, Interface,
    program::Instruction,
    raw::{self, Kind},
};
use crate::kernel::netns;
use aya::programs::{
    ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, TcAttachOptions},
};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

/// What every such program is called.
const NAME: &str = "netebpf_bench";

/// A TC program at an interface's ingress.
pub struct Attached {
    at: Interface,
    /// Always there, until it is dropped.
    program: Option<SchedClassifier>,
    /// How long the kernel took to attach it.
    pub took: Duration,
}

/// Loads a TC program.
pub(super) fn load(code: &[Instruction]) -> Result<OwnedFd, FramesError> {
    raw::load(Kind::SchedCls, NAME, code).map_err(FramesError::system("load a program of TC"))
}

impl Attached {
    /// Attaches a program that is loaded; it need not be held any longer.
    pub(super) fn new(at: &Interface, loaded: BorrowedFd<'_>) -> Result<Self, FramesError> {
        let failed = |source| FramesError::Attach { at: at.clone(), source: Box::new(source) };
        let mut program = known_to_aya(loaded).map_err(failed)?;
        let name = at.name.clone();
        let attach = move || attach(&mut program, &name).map(|took| (program, took));
        let (program, took) = netns::run_in(&at.path(), attach)?.map_err(failed)?;
        Ok(Self { at: at.clone(), program: Some(program), took })
    }
}

/// The same program with a descriptor of aya's own, which takes one that somebody else loaded by its id.
fn known_to_aya(loaded: BorrowedFd<'_>) -> Result<SchedClassifier, ProgramError> {
    let id = raw::id(loaded)?;
    let mut programs = aya::programs::loaded_programs();
    // Others load and free theirs meanwhile: one that is gone before it is looked at is an error in this list.
    let is_it = |info: &Result<_, _>| info.as_ref().is_ok_and(|info: &ProgramInfo| info.id() == id);
    let info = programs.find(is_it);
    let info = info.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))??;
    SchedClassifier::from_program_info(info, NAME.into())
}

/// Attaches a program to an interface of this thread's namespace: how long that takes.
fn attach(program: &mut SchedClassifier, name: &str) -> Result<Duration, ProgramError> {
    let started = Instant::now();
    if program.attach(name, TcAttachType::Ingress).is_err() {
        // No TCX, which came with Linux 6.6. Where the queueing discipline is there already it is refused; where it
        // cannot be, the filter is.
        let _ = tc::qdisc_add_clsact(name);
        let options = TcAttachOptions::Netlink(NlOptions::default());
        program.attach_with_options(name, TcAttachType::Ingress, options)?;
    }
    Ok(started.elapsed())
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(program) = self.program.take() else { return };
        // A filter that is not a link goes by the interface's index, which is another's in other namespaces. One whose
        // namespace is gone went with it.
        let path = self.at.path();
        if netns::exists(&path) {
            let _ = netns::run_in(&path, move || drop(program));
        } else {
            std::mem::forget(program);
        }
    }
}
