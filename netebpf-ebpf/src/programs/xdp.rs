//! XDP, on uplinks.

use crate::{
    adapters::{Maps, XdpPacket},
    finish,
};
use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use netebpf_common::datapath::pipeline;

/// An uplink, before the kernel makes a socket buffer of the frame.
#[xdp]
#[inline(always)]
pub fn uplink_xdp(context: XdpContext) -> u32 {
    let context = context.ctx;
    if !finish::reserve_handover(context) {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: the context is valid as long as the program runs.
    let ifindex = unsafe { (*context).ingress_ifindex };
    let Some(slot) = finish::slot(ifindex) else { return xdp_action::XDP_PASS };
    let Some(counters) = finish::counters(slot) else { return xdp_action::XDP_ABORTED };
    let mut packet = XdpPacket::new(context);
    let Some((scratch, mut host)) = super::room(context) else {
        return xdp_action::XDP_ABORTED;
    };
    let verdict = pipeline::from_outside(&mut packet, &Maps, &mut host, scratch, ifindex);
    finish::xdp(verdict, context, counters)
}
