//! TC, by TCX or clsact; what an endpoint sends, also by netkit.

use crate::{
    adapters::{Maps, TcPacket},
    answers,
    finish::{self, Handover},
    pieces,
};
use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    macros::classifier,
    programs::TcContext,
};
use core::hint;
use netebpf_common::{
    abi::InterfaceOptions,
    datapath::{Packet as _, pipeline},
    verdict::{DropReason, Verdict},
};

/// What an endpoint sends: ingress of the host's side of its veth, or the transmit path of its netkit device, which shows
/// the packet as if it had come in there already.
#[classifier]
#[inline(always)]
pub fn endpoint_ingress(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    finish::take_translated(skb);
    // SAFETY: the context is valid as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    let Some(interface) = finish::interface(ifindex) else { return TC_ACT_UNSPEC };
    let Some(counters) = finish::counters(interface.slot) else { return TC_ACT_SHOT };
    let mut packet = TcPacket::new(skb);
    // Looked at again later: what is kept of it until then, the verifier would go through all between with twice.
    let options = hint::black_box(interface.options);
    if options.contains(InterfaceOptions::NETKIT) && !packet.is_what_it_says() {
        return finish::tc(Verdict::Drop(DropReason::Malformed), skb, counters, false);
    }
    let Some((scratch, mut host)) = super::room(skb) else { return TC_ACT_SHOT };
    let verdict = pipeline::from_endpoint(&mut packet, &Maps, &mut host, scratch, ifindex);
    let comes_in = !interface.options.contains(InterfaceOptions::NETKIT);
    let verdict = pieces::settle(verdict, skb, scratch, comes_in);
    if let Verdict::Answer(_) = verdict {
        answers::send(skb, scratch);
    }
    finish::tc(verdict, skb, counters, comes_in)
}

/// Ingress of an uplink.
#[classifier]
#[inline(always)]
pub fn uplink_ingress(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    finish::take_translated(skb);
    // SAFETY: the context is valid as long as the program runs.
    let ifindex = unsafe { (*skb).ifindex };
    let mut packet = TcPacket::new(skb);
    let of_vlan = packet.tag().is_some_and(|vlan| vlan != 0);
    match Handover::read(skb) {
        // The hardware took off the tag before XDP could see it, so it was translated by mistake.
        Some(_) if of_vlan => {
            let Some(counters) = finish::slot(ifindex).and_then(finish::counters) else {
                return TC_ACT_SHOT;
            };
            return finish::tc(Verdict::Drop(DropReason::VlanTag), skb, counters, true);
        }
        Some(Handover { ifindex: 0, .. }) => return TC_ACT_UNSPEC,
        Some(handover) => return finish::deliver(skb, handover.ifindex),
        None => {}
    }
    let Some(slot) = finish::slot(ifindex) else { return TC_ACT_UNSPEC };
    let Some(counters) = finish::counters(slot) else { return TC_ACT_SHOT };
    let Some((scratch, mut host)) = super::room(skb) else { return TC_ACT_SHOT };
    let verdict = pipeline::from_outside(&mut packet, &Maps, &mut host, scratch, ifindex);
    let verdict = pieces::settle(verdict, skb, scratch, true);
    finish::tc(verdict, skb, counters, true)
}

/// Egress of an uplink.
#[classifier]
#[inline(always)]
pub fn uplink_egress(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    if finish::take_translated(skb) {
        return TC_ACT_UNSPEC;
    }
    // SAFETY: the context is valid as long as the program runs.
    let (ifindex, ingress) = unsafe { ((*skb).ifindex, (*skb).ingress_ifindex) };
    let Some(slot) = finish::slot(ifindex) else { return TC_ACT_UNSPEC };
    let Some(counters) = finish::counters(slot) else { return TC_ACT_SHOT };
    let mut packet = TcPacket::new(skb);
    let Some((scratch, mut host)) = super::room(skb) else { return TC_ACT_SHOT };
    let verdict = pipeline::to_outside(&mut packet, &Maps, &mut host, scratch, ifindex, ingress);
    finish::tc(verdict, skb, counters, false)
}

/// Egress of a network's bridge device.
#[classifier]
#[inline(always)]
pub fn gateway_egress(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    // SAFETY: the context is valid as long as the program runs.
    let (ifindex, ingress) = unsafe { ((*skb).ifindex, (*skb).ingress_ifindex) };
    let Some(slot) = finish::slot(ifindex) else { return TC_ACT_UNSPEC };
    let Some(counters) = finish::counters(slot) else { return TC_ACT_SHOT };
    let mut packet = TcPacket::new(skb);
    let Some((scratch, host)) = super::room(skb) else { return TC_ACT_SHOT };
    let verdict = pipeline::to_network(&mut packet, &Maps, &host, scratch, ifindex, ingress);
    finish::tc(verdict, skb, counters, false)
}
