//! The entry points: one for each place where a packet is met.

mod cgroup;
mod shortcut;
mod tc;
mod xdp;

use crate::adapters::{KernelHost, Room};
use netebpf_common::datapath::scratch::Scratch;

/// This CPU's room to work in, and the host to ask. Never `None`: the verifier does not know that.
#[inline(always)]
fn room<'a, C>(context: *mut C) -> Option<(&'a mut Scratch, KernelHost<C>)> {
    Some((Room::scratch()?, KernelHost::new(context)))
}
