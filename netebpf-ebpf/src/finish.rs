//! A verdict becomes a return code, here and nowhere else, and is counted.

use crate::{
    adapters::{Query, Room},
    maps,
};
use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_redir_neigh, xdp_action, xdp_md},
    helpers::generated::{
        bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_change_type,
        bpf_xdp_adjust_meta,
    },
};
use core::mem;
use netebpf_common::{
    abi::{Address, INTERFACE_TABLE_SIZE, Interface},
    verdict::{COUNTER_COUNT, Counters, PassReason, Verdict},
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const PACKET_HOST: u32 = 0;

/// The number of a verdict's counter. The compiler knows its range and would leave out the mask that the
/// verifier wants to see.
#[inline(always)]
fn counter(verdict: &Verdict) -> u32 {
    core::hint::black_box(verdict.counter())
}

/// The interface that a packet was met at; `None` when it is not ours, and its packets pass.
#[inline(always)]
pub fn interface<'a>(ifindex: u32) -> Option<&'a Interface> {
    let interface = maps::INTERFACES.get(ifindex % INTERFACE_TABLE_SIZE)?;
    (interface.ifindex == ifindex).then_some(interface)
}

/// Its slot.
#[inline(always)]
pub fn slot(ifindex: u32) -> Option<u32> {
    interface(ifindex).map(|interface| interface.slot)
}

/// The counters of a slot on this CPU. They are asked for before there is a verdict: meanwhile they come into the
/// processor's cache. Never `None`: the verifier does not know that.
#[inline(always)]
pub fn counters<'a>(slot: u32) -> Option<&'a mut Counters> {
    // SAFETY: this CPU's counters; a program is not interrupted by another of ours on the same CPU but
    // XDP and TC of one frame, which run one after the other.
    maps::COUNTERS.get_ptr_mut(slot).map(|counters| unsafe { &mut *counters })
}

#[inline(always)]
fn count(counters: &mut Counters, counter: u32) {
    counters[counter as usize & (COUNTER_COUNT - 1)] += 1;
}

/// At TC. Other programs on the same hook come after a packet that passes.
///
/// The verdict is used up before anything else is called: kept across a call it goes to the stack in
/// pieces, and a piece that its variant does not use may be half of a pointer, which the verifier refuses.
///
/// `comes_in` is whether the program runs where packets come in at an interface: only there does the kernel go on at
/// the peer that `bpf_redirect_peer` names. A netkit device, which runs it where they are sent, would let such a packet
/// in at its own other side, past all of us (`netkit_xmit`).
#[inline(always)]
pub fn tc(verdict: Verdict, skb: *mut __sk_buff, counters: &mut Counters, comes_in: bool) -> i32 {
    let counter = counter(&verdict);
    let code = match verdict {
        Verdict::Pass(_) | Verdict::Keep { goes_on: true } => TC_ACT_UNSPEC,
        Verdict::Drop(_)
        | Verdict::Answer(_)
        | Verdict::Keep { goes_on: false }
        | Verdict::Release => TC_ACT_SHOT,
        Verdict::Deliver { ifindex, .. } if comes_in => deliver(skb, ifindex),
        Verdict::Deliver { ifindex, .. } => send_out(ifindex),
        Verdict::Forward { ifindex, next_hop } => {
            set_translated(skb);
            forward(ifindex, &next_hop)
        }
    };
    count(counters, counter);
    #[cfg(feature = "packet-log")]
    aya_log_ebpf::info!(
        aya_ebpf::programs::TcContext::new(skb),
        "interface {}: verdict {}",
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*skb).ifindex },
        counter
    );
    code
}

/// What `tc_index` holds on the way from a translation to the uplink's egress.
const TRANSLATED: u32 = 0x6e62;

/// Marks a packet as one that the uplink's egress need not look at. Others use `tc_index` too, so the mark is
/// there only between our two hooks.
#[inline(always)]
fn set_translated(skb: *mut __sk_buff) {
    // SAFETY: the context is valid as long as the program runs.
    unsafe { (*skb).tc_index = TRANSLATED };
}

/// Takes the mark away, at each of our hooks: whoever comes in with it has it from somebody else. Whether it was
/// there.
#[inline(always)]
pub fn take_translated(skb: *mut __sk_buff) -> bool {
    // SAFETY: as above.
    unsafe {
        let translated = (*skb).tc_index == TRANSLATED;
        if translated {
            (*skb).tc_index = 0;
        }
        translated
    }
}

/// To the peer of the host's side of a pair. The frame may be marked as somebody else's, since it is not addressed
/// to the host's side itself.
#[inline(always)]
pub fn deliver(skb: *mut __sk_buff, ifindex: u32) -> i32 {
    // SAFETY: the context is valid as long as the program runs.
    unsafe {
        if (*skb).pkt_type != PACKET_HOST {
            bpf_skb_change_type(skb, PACKET_HOST);
        }
        bpf_redirect_peer(ifindex, 0) as i32
    }
}

/// Out of the host's side of a pair, as the bridge would.
#[inline(always)]
fn send_out(ifindex: u32) -> i32 {
    // SAFETY: no pointers.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

#[inline(always)]
fn forward(ifindex: u32, next_hop: &Address) -> i32 {
    let Some(Query { hop, .. }) = Room::query() else { return TC_ACT_SHOT };
    // SAFETY: every bit pattern is an address, and the size is the structure's.
    unsafe {
        if next_hop.is_mapped() {
            hop.nh_family = AF_INET;
            hop.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(next_hop.last_four());
        } else {
            hop.nh_family = AF_INET6;
            hop.__bindgen_anon_1.ipv6_nh = next_hop.words();
        }
        bpf_redirect_neigh(ifindex, hop, mem::size_of::<bpf_redir_neigh>() as i32, 0) as i32
    }
}

/// What the XDP program tells the TC program about a frame that it has translated already.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Handover {
    magic: u32,
    /// The host-side veth to deliver to; 0 leaves the frame to the host's stack.
    pub ifindex: u32,
}

impl Handover {
    const MAGIC: u32 = 0x6e65_7462;

    /// What XDP left with this frame.
    #[inline(always)]
    pub fn read(skb: *mut __sk_buff) -> Option<Self> {
        // SAFETY: the context is valid, and the comparison is the one that the verifier demands before
        // an access to the metadata.
        unsafe {
            let (meta, data) = ((*skb).data_meta as usize, (*skb).data as usize);
            if meta + mem::size_of::<Self>() > data {
                return None;
            }
            let handover = *(meta as *const Self);
            (handover.magic == Self::MAGIC).then_some(handover)
        }
    }
}

/// Room for the handover, taken before anything is translated: where a driver has none, TC does it all.
/// It says nothing yet: buffers are used again, and an earlier frame's must not speak for this one.
#[inline(always)]
pub fn reserve_handover(context: *mut xdp_md) -> bool {
    // SAFETY: the context is valid as long as the program runs.
    let reserved =
        unsafe { bpf_xdp_adjust_meta(context, -(mem::size_of::<Handover>() as i32)) == 0 };
    reserved && write_handover(context, Handover { magic: 0, ifindex: 0 })
}

/// At XDP. What passes is looked at again by TC, and counted there. That it is not ours is not handed over: the kernel takes
/// VLAN tags off on the way, and hands packets on to devices that stand on this one, with what XDP said of them.
#[inline(always)]
pub fn xdp(verdict: Verdict, context: *mut xdp_md, counters: &mut Counters) -> u32 {
    let counter = counter(&verdict);
    let code = match verdict {
        Verdict::Pass(PassReason::Translated) => hand_over(context, 0),
        Verdict::Deliver { ifindex, .. } => hand_over(context, ifindex),
        Verdict::Pass(_) | Verdict::Forward { .. } | Verdict::Keep { .. } | Verdict::Release => {
            return xdp_action::XDP_PASS;
        }
        Verdict::Drop(_) | Verdict::Answer(_) => xdp_action::XDP_DROP,
    };
    count(counters, counter);
    #[cfg(feature = "packet-log")]
    aya_log_ebpf::info!(
        aya_ebpf::programs::XdpContext::new(context),
        "interface {} (XDP): verdict {}",
        // SAFETY: the context is valid as long as the program runs.
        unsafe { (*context).ingress_ifindex },
        counter
    );
    code
}

#[inline(always)]
fn hand_over(context: *mut xdp_md, ifindex: u32) -> u32 {
    if write_handover(context, Handover { magic: Handover::MAGIC, ifindex }) {
        xdp_action::XDP_PASS
    } else {
        xdp_action::XDP_ABORTED
    }
}

#[inline(always)]
fn write_handover(context: *mut xdp_md, handover: Handover) -> bool {
    // SAFETY: as in `Handover::read`.
    unsafe {
        let (meta, data) = ((*context).data_meta as usize, (*context).data as usize);
        if meta + mem::size_of::<Handover>() > data {
            return false;
        }
        *(meta as *mut Handover) = handover;
    }
    true
}
