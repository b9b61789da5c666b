//! Later fragments that come before their first are kept, and come in again behind it.

use crate::{
    adapters::{KernelHost, Maps, bounded},
    maps,
};
use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_clone_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};
use core::{hint, ptr};
use netebpf_common::{
    abi::Piece,
    datapath::scratch::{self, Scratch},
    verdict::Verdict,
};

/// Does what a verdict on a fragment asks for, in a frame of its own: no other packet comes by here. Where packets do not
/// `come_in` they cannot do so again: none is kept, and a sender that nothing stands before does not send a later one first.
#[inline(always)]
pub fn settle(
    verdict: Verdict,
    skb: *mut __sk_buff,
    scratch: &mut Scratch,
    comes_in: bool,
) -> Verdict {
    match verdict {
        Verdict::Keep { goes_on } if !comes_in => Verdict::not_kept(goes_on),
        Verdict::Release if !comes_in => Verdict::not_kept(false),
        Verdict::Keep { goes_on } if !keep(skb, scratch) => Verdict::not_kept(goes_on),
        Verdict::Release => {
            release(skb, scratch);
            verdict
        }
        _ => verdict,
    }
}

/// Keeps a frame. `false` when it is too long, or its packet has too many.
#[inline(never)]
fn keep(skb: *mut __sk_buff, scratch: &mut Scratch) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    let length = unsafe { (*skb).len };
    if length as usize > Piece::LONGEST {
        return false;
    }
    let host = KernelHost::new(skb);
    let Some(key) = scratch::keep(&Maps, &host, scratch) else { return false };
    // SAFETY: this CPU's own, and nobody else takes it.
    let Some(piece) = maps::PIECE.get_ptr_mut(0).map(|piece| unsafe { &mut *piece }) else {
        return false;
    };
    piece.length = u64::from(length);
    // SAFETY: the frame has this many bytes, and the room more.
    let loaded = unsafe {
        bpf_skb_load_bytes(
            skb.cast(),
            0,
            ptr::from_mut(&mut piece.frame).cast(),
            bounded::<{ Piece::LONGEST }>(length),
        )
    };
    loaded == 0 && maps::PIECES.insert(key, &*piece, 0).is_ok()
}

/// Lets a first fragment come in again, and what is kept behind it: each a copy of the frame, written over. A sum over
/// the frame that the kernel may have follows, but for the Ethernet addresses, which it does not cover here: where a
/// piece came by another router the kernel finds the sum wrong, says so once in its log, and sums up by itself.
#[inline(never)]
fn release(skb: *mut __sk_buff, scratch: &mut Scratch) {
    let host = KernelHost::new(skb);
    let (key, kept) = scratch::release(&Maps, &host, scratch);
    // SAFETY: the context is valid as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    // SAFETY: as above. Whatever fails, fragments are lost as they may be anywhere on their way.
    unsafe { bpf_clone_redirect(skb, ifindex, u64::from(BPF_F_INGRESS)) };
    // LLVM would make one bound of the two, of which the verifier knows nothing.
    let mut number = 0;
    while number < Piece::MOST && number < hint::black_box(kept) {
        key.number = number;
        // SAFETY: an entry that is removed while it is read is one of the same type.
        if let Some(piece) = unsafe { maps::PIECES.get(&*key) } {
            let length = piece.length as u32;
            let frame = ptr::from_ref(&piece.frame).cast();
            // SAFETY: as above; the value has more bytes than the frame.
            unsafe {
                if bpf_skb_change_tail(skb, length, 0) == 0
                    && bpf_skb_store_bytes(
                        skb,
                        0,
                        frame,
                        bounded::<{ Piece::LONGEST }>(length),
                        u64::from(BPF_F_RECOMPUTE_CSUM),
                    ) == 0
                {
                    bpf_clone_redirect(skb, ifindex, u64::from(BPF_F_INGRESS));
                }
            }
            let _ = maps::PIECES.remove(&*key);
        }
        number += 1;
    }
}
