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
use std::{io, os::fd::AsFd as _};

/// What every such program is called.
const NAME: &str = "netebpf_bench";

/// A TC program at an interface's ingress.
pub(super) struct Attached {
    at: Interface,
    /// Always there, until it is dropped.
    program: Option<SchedClassifier>,
}

impl Attached {
    pub(super) fn new(at: &Interface, code: &[Instruction]) -> Result<Self, FramesError> {
        let failed = |source| FramesError::Attach { at: at.clone(), source: Box::new(source) };
        let load = || {
            let loaded = raw::load(Kind::SchedCls, NAME, code)?;
            Ok((raw::id(loaded.as_fd())?, loaded))
        };
        let (id, loaded) = load().map_err(|error: io::Error| failed(error.into()))?;
        let name = at.name.clone();
        let attached = netns::run_in(&at.path(), move || attach(id, &name))?.map_err(failed)?;
        // aya has its own descriptor by now.
        drop(loaded);
        Ok(Self { at: at.clone(), program: Some(attached) })
    }
}

/// Attaches a program by its id, which is how aya takes one that somebody else loaded, to an interface of this thread's
/// namespace.
fn attach(id: u32, name: &str) -> Result<SchedClassifier, ProgramError> {
    let mut programs = aya::programs::loaded_programs();
    // Others load and free theirs meanwhile: one that is gone before it is looked at is an error in this list.
    let is_it = |info: &Result<_, _>| info.as_ref().is_ok_and(|info: &ProgramInfo| info.id() == id);
    let info = programs.find(is_it);
    let info = info.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))??;
    let mut program = SchedClassifier::from_program_info(info, NAME.into())?;
    if program.attach(name, TcAttachType::Ingress).is_err() {
        // No TCX, which came with Linux 6.6. Where the queueing discipline is there already it is refused; where it
        // cannot be, the filter is.
        let _ = tc::qdisc_add_clsact(name);
        let options = TcAttachOptions::Netlink(NlOptions::default());
        program.attach_with_options(name, TcAttachType::Ingress, options)?;
    }
    Ok(program)
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
