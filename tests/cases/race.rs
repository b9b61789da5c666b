//! Two CPUs at one flow: what a table of cases cannot tell, because it happens within one packet.

use netebpf_common::{
    abi::Usage,
    datapath::FamilyId,
    testkit::{
        Fate, HOST, Hook, Layout, Machine, Memory, Operation, TableName, UPLINK, WEB_1, WEB_2,
        WORLD, capacity, embryonic_quota, tcp,
    },
    verdict::{DropReason, PassReason, Verdict},
};
use std::cell::RefCell;
use std::rc::Rc;

/// Runs the first packet of a flow on one CPU, and the same one on another just before the first inserts
/// into the index for the `nth` time.
fn race(nth: usize) -> (Memory, Verdict, Verdict, [Vec<u8>; 2]) {
    let mut here = Memory::default();
    let mut there = here.beside();
    let sent = tcp(WEB_1, 40_000, WORLD, 443).syn().bytes(FamilyId::V4);
    let other = Rc::new(RefCell::new((None, sent.clone())));
    let (result, mut insertions) = (Rc::clone(&other), 0);
    here.chaos.follow(move |operation| {
        if operation == Operation::Insert(TableName::Index) {
            insertions += 1;
            if insertions == nth {
                let (verdict, bytes) = &mut *result.borrow_mut();
                *verdict = Some(there.verdict(Hook::Veth(WEB_1), bytes, 0));
            }
        }
        Fate::Succeeds
    });
    let mut bytes = sent;
    let verdict = here.verdict(Hook::Veth(WEB_1), &mut bytes, 0);
    here.chaos.rest();
    let (theirs, their_bytes) = other.take();
    (here, verdict, theirs.expect("the other CPU came in between"), [bytes, their_bytes])
}

fn opened(memory: &Memory) -> u64 {
    let (_, slot, _) = netebpf_common::testkit::place_of(&WEB_1);
    memory.state.usage_now(slot).map_or(0, |usage: &Usage| usage.opened.load())
}

/// The other CPU has the outside port first; ours takes another one, finds the flow known, takes
/// everything back and uses the winner's.
#[test]
fn a_race_for_the_outside_port_has_one_winner() {
    one_flow(race(1));
}

/// The other CPU finds our outside port taken and takes another one, but is first to make the flow known.
#[test]
fn a_race_to_be_known_has_one_winner() {
    one_flow(race(2));
}

/// What both want is the outside port, or the whole tuple, of a flow which ended and whose entries are
/// still there. The other CPU's packet comes in between any two operations of ours.
#[test]
fn a_race_for_what_a_dead_flow_left_has_one_winner() {
    for (other, when) in
        [WEB_1, WEB_2].into_iter().flat_map(|other| (0..60).map(move |n| (other, n)))
    {
        let mut here = Memory::default();
        let send = |machine: &mut Memory, sender| {
            let mut bytes = tcp(sender, 40_000, WORLD, 443).syn().bytes(FamilyId::V4);
            machine.verdict(Hook::Veth(sender), &mut bytes, 0)
        };
        let _ = send(&mut here, WEB_1);
        let ended = here.tables().flows[0].keys[0];
        here.end_flow(&ended).expect("memory can end flows");
        let (mut there, mut operations) = (here.beside(), 0);
        here.chaos.follow(move |_| {
            operations += 1;
            if operations == when {
                let _ = send(&mut there, other);
            }
            Fate::Succeeds
        });
        let _ = send(&mut here, WEB_1);
        here.chaos.rest();
        here.state
            .consistent(false)
            .unwrap_or_else(|error| panic!("{} at {when}: {error}", other.name));
    }
}

fn one_flow((memory, ours, theirs, [mine, yours]): (Memory, Verdict, Verdict, [Vec<u8>; 2])) {
    assert!(matches!(ours, Verdict::Forward { ifindex: UPLINK, .. }), "{ours:?}");
    assert_eq!(ours, theirs);
    assert_eq!(mine, yours, "both packets leave by one port");
    memory.state.consistent(false).expect("no half flow");
    let [flow] = &memory.tables().flows[..] else { panic!("{:?}", memory.tables()) };
    assert_eq!(flow.keys[1].destination, HOST.address(FamilyId::V4));
    assert_eq!(memory.tables().index, 2);
    assert_eq!((opened(&memory), memory.state.free_places()), (1, 63));
}

/// A flow has to make room, and its place gets another at once, between any two operations of a packet that goes by
/// the first: it is translated by that one, or not at all.
#[test]
fn nobody_is_translated_by_half_of_a_flow() {
    for remembered in [true, false] {
        let refused = (0..60).filter(|when| refused_by_half_of_a_flow(*when, remembered)).count();
        assert!(refused > 0, "the flow never went while its packet was on its way");
    }
}

/// The place gets another flow before that operation of a packet whose CPU has seen the flow before, or has not. Whether
/// the packet is refused.
fn refused_by_half_of_a_flow(when: usize, remembered: bool) -> bool {
    let mut here = Memory::default();
    let mut layout = Layout::default();
    layout.change(&capacity(1));
    layout.change(&embryonic_quota(1));
    here.arrange(&layout).expect("memory can be anything");
    let mut elsewhere = here.beside();
    let opener = if remembered { &mut here } else { &mut elsewhere };
    let opened = opener.verdict(
        Hook::Veth(WEB_1),
        &mut tcp(WEB_1, 40_000, WORLD, 443).syn().bytes(FamilyId::V4),
        0,
    );
    assert!(matches!(opened, Verdict::Forward { .. }), "{opened:?}");
    let (mut there, mut operations) = (here.beside(), 0);
    here.chaos.follow(move |_| {
        operations += 1;
        if operations == when {
            let mut other = tcp(WEB_1, 40_001, WORLD, 80).syn().bytes(FamilyId::V4);
            let verdict = there.verdict(Hook::Veth(WEB_1), &mut other, 0);
            assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
        }
        Fate::Succeeds
    });
    let mut bytes = tcp(WORLD, 443, HOST, 40_000).syn().ack().bytes(FamilyId::V4);
    let verdict = here.verdict(Hook::FromOutside, &mut bytes, 0);
    here.chaos.rest();
    match verdict {
        Verdict::Deliver { .. } => {
            let whole = tcp(WORLD, 443, WEB_1, 40_000).syn().ack().one_hop_later();
            assert_eq!(bytes[14..], whole.bytes(FamilyId::V4)[14..], "{when}");
        }
        Verdict::Drop(DropReason::NoFlow) => {}
        verdict => assert_eq!(verdict, Verdict::Pass(PassReason::NotOurs), "{when}"),
    }
    here.state.consistent(false).unwrap_or_else(|error| panic!("{when}: {error}"));
    verdict == Verdict::Drop(DropReason::NoFlow)
}
