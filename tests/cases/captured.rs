//! What XDP has translated, and the kernel has forgotten what it said of it, as it does while somebody captures.

use netebpf_common::{
    datapath::FamilyId,
    testkit::*,
    verdict::{DeliverReason, PassReason, Verdict},
};

const NOT_OURS: Verdict = Verdict::Pass(PassReason::NotOurs);

/// A machine where WEB_1 has asked the world something.
fn asked(family: FamilyId, given: &[Given]) -> Memory {
    let mut machine = Memory::default();
    let mut layout = Layout::default();
    given.iter().for_each(|given| layout.change(given));
    machine.arrange(&layout).expect("memory can be anything");
    let verdict = machine.verdict(veth(WEB_1), &mut udp(WEB_1, 5000, WORLD, 53).bytes(family), 0);
    assert!(matches!(verdict, Verdict::Forward { .. }));
    machine
}

/// The answer, as it comes in, and as XDP leaves it.
fn answered(machine: &mut Memory, family: FamilyId) -> Vec<u8> {
    let mut frame = udp(WORLD, 53, HOST, 5000).bytes(family);
    let verdict = machine.verdict(Hook::FromOutside, &mut frame, 0);
    assert_eq!(verdict, delivered());
    assert_eq!((&frame[..6], &frame[6..12]), (&WEB_1.mac.0[..], &WEB.gateway.mac.0[..]));
    frame
}

fn delivered() -> Verdict {
    Verdict::Deliver { ifindex: WEB_1.veth(), reason: DeliverReason::Inward }
}

fn again(machine: &mut Memory, frame: &[u8]) -> Verdict {
    let mut copy = frame.to_vec();
    let verdict = machine.verdict(Hook::FromOutside, &mut copy, 0);
    assert_eq!(copy, frame, "it was translated already");
    verdict
}

#[test]
fn it_arrives_where_xdp_may_have_translated_it() {
    for family in [FamilyId::V4, FamilyId::V6] {
        let mut machine = asked(family, &[xdp_at_uplink()]);
        let frame = answered(&mut machine, family);
        assert_eq!(again(&mut machine, &frame), delivered());
        let mut machine = asked(family, &[]);
        let frame = answered(&mut machine, family);
        assert_eq!(again(&mut machine, &frame), NOT_OURS);
    }
}

#[test]
fn nothing_else_does() {
    for family in [FamilyId::V4, FamilyId::V6] {
        let mut machine = asked(family, &[xdp_at_uplink()]);
        let frame = answered(&mut machine, family);
        let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
            let mut frame = frame.clone();
            frame[range].copy_from_slice(bytes);
            frame
        };
        let ports = if family == FamilyId::V4 { 34..36 } else { 54..56 };
        for other in [
            // To and from other stations, to everybody, from another port of the world's.
            with(0..6, &WEB_2.mac.0),
            with(0..6, &[0xff; 6]),
            with(6..12, &WORLD.mac.0),
            with(ports, &[0, 54]),
        ] {
            assert_eq!(again(&mut machine, &other), NOT_OURS);
        }
        // An error for one that quotes another's flow.
        let quoted = udp(WEB_1, 5000, WORLD, 53);
        let error = icmp_error(ErrorKind::PortUnreachable, WORLD, quoted).between(WORLD, WEB_2);
        let error = error.to_mac(WEB_2.mac).from_mac(WEB.gateway.mac).bytes(family);
        assert_eq!(again(&mut machine, &error), NOT_OURS);
    }
}
