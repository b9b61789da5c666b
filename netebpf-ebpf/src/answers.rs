//! An endpoint whose packet finds no room is told so.

use crate::{
    adapters::{Maps, bounded},
    maps,
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_clone_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};
use netebpf_common::{
    datapath::scratch::{self, Scratch},
    wire::ethernet,
};

/// An answer is not longer, in bytes.
const MOST: usize = 256;

/// Writes the answer over the packet and sends it back out of the interface that this came in by. Whatever fails, the
/// packet is refused without an answer. A function of its own in the programs, with a frame of its own.
#[inline(never)]
pub fn send(skb: *mut __sk_buff, scratch: &Scratch) {
    // SAFETY: this CPU's own, and nobody else takes it while this program runs.
    let Some(room) = maps::PIECE.get_ptr_mut(0).map(|piece| unsafe { &mut (*piece).frame }) else {
        return;
    };
    let Some(frame) = room.first_chunk_mut() else { return };
    let Some(quoted) = scratch::quoted(scratch) else { return };
    let from = ethernet::LENGTH as u32;
    frame[scratch::QUOTED..].fill(0);
    let to = frame[scratch::QUOTED..].as_mut_ptr().cast();
    // SAFETY: the context is valid as long as the program runs, and so much is quoted at most as there is room for.
    unsafe {
        let ifindex = (*skb).ifindex;
        if bpf_skb_load_bytes(skb.cast(), from, to, bounded::<MOST>(quoted)) != 0 {
            return;
        }
        let Some((start, length)) = scratch::answer(&Maps, scratch, ifindex, frame) else {
            return;
        };
        let answer = room.as_ptr().add(start).cast();
        let length = bounded::<MOST>(length);
        let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
        if bpf_skb_change_tail(skb, length, 0) == 0
            && bpf_skb_store_bytes(skb.cast(), 0, answer, length, flags) == 0
        {
            bpf_clone_redirect(skb, ifindex, 0);
        }
    }
}
