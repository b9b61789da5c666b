//! The entry points: one for each place where a packet is met.

mod tc;
mod xdp;

use crate::{adapters::KernelHost, maps};
use core::ffi::c_void;
use netebpf_common::datapath::pipeline::Scratch;

/// This CPU's room to work in, and the host to ask. Never `None`: the verifier does not know that.
#[inline(always)]
fn room(context: *mut c_void) -> Option<(&'static mut Scratch, KernelHost)> {
    let scratch = maps::SCRATCH.get_ptr_mut(0)?;
    // SAFETY: see `maps::SCRATCH`; any bytes are a valid value of what is written before it is read.
    let scratch: &mut Scratch = unsafe { &mut *scratch };
    Some((scratch, KernelHost::new(context)))
}
