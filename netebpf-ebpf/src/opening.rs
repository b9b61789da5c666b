//! Opening a flow: global functions, for each kind of context.
//!
//! The verifier goes through a global function once, whatever calls it, and through any other again for each state in which
//! a caller may be. Opening is the largest part of each program, with loops; it knows nothing of its caller but what is in
//! this CPU's [`Room`], so nothing is lost with that. Taking a place and the rest are a function each because the verifier goes
//! through both together for each way through the first, which is three times as much, and because of their frames:
//! Linux 6.1 counts each in multiples of 32 bytes, and a program and what it calls have 512.

use crate::adapters::{Context, KernelHost, Maps, Room, lend};
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use netebpf_common::datapath::scratch::{self, Scratch};

/// The functions for a context, which the kernel knows by the name of its type, from its own BTF: without that it takes it for memory.
macro_rules! functions {
    ($context:ident, $claim:ident, $open:ident) => {
        impl Context for $context {
            #[inline(always)]
            fn claim(context: *mut Self) {
                $claim(context);
            }

            #[inline(always)]
            fn open(context: *mut Self) {
                $open(context);
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $claim(context: *mut $context) -> u32 {
            in_room(context, |scratch, host| scratch::claim(&Maps, host, scratch))
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $open(context: *mut $context) -> u32 {
            in_room(context, |scratch, host| scratch::open(&Maps, host, scratch))
        }
    };
}

functions!(__sk_buff, claim_by_skb, open_by_skb);
functions!(xdp_md, claim_by_xdp, open_by_xdp);

/// What comes of it stands in the room, which is always there, see [`Room::scratch`]; the kernel wants a number of each
/// global function.
#[inline(always)]
fn in_room<C>(context: *mut C, work: impl FnOnce(&mut Scratch, &mut KernelHost<C>)) -> u32 {
    // Or LLVM finds that one of them has no use for it, and its callers pass whatever is there.
    lend(context);
    if let Some(scratch) = Room::scratch() {
        work(scratch, &mut KernelHost::new(context));
    }
    0
}
