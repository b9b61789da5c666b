//! What an endpoint is told whose packet finds no room.

use netebpf_common::{
    datapath::FamilyId,
    testkit::*,
    verdict::{DropReason, Verdict},
};

/// A whole, right packet of the gateway's, that quotes what was sent; one at each tick.
#[test]
fn an_answer_is_a_right_packet() {
    for family in [FamilyId::V4, FamilyId::V6] {
        let mut machine = Memory::default();
        let mut layout = Layout::default();
        layout.change(&quota(1));
        machine.arrange(&layout).expect("memory can be anything");
        let sent = |port| udp(WEB_1, port, WORLD, 53).bytes(family);
        let mut send = |port| machine.verdict(veth(WEB_1), &mut sent(port), 0);
        assert!(matches!(send(1001), Verdict::Forward { .. }));
        assert_eq!(send(1002), Verdict::Answer(DropReason::FlowQuota));
        assert_eq!(send(1003), Verdict::Drop(DropReason::FlowQuota));
        machine.later(1).expect("time goes by");
        let mut packet = sent(1002);
        let verdict = machine.verdict(veth(WEB_1), &mut packet, 0);
        assert_eq!((verdict, &packet), (Verdict::Answer(DropReason::FlowQuota), &sent(1002)));

        let answer = machine.answer(veth(WEB_1), &packet).expect("its headers are short");
        assert!(checksums_are_right(&answer), "{answer:02x?}");
        assert_eq!(answer[..6], WEB_1.mac.0);
        assert_eq!(answer[6..12], WEB.gateway.mac.0);
        let header = if family == FamilyId::V4 { 20 } else { 40 };
        let (kind, addresses) = match family {
            FamilyId::V4 => ([3, 13], [&WEB.gateway.v4[..], &WEB_1.v4[..]].concat()),
            FamilyId::V6 => ([1, 1], [&WEB.gateway.v6[..], &WEB_1.v6[..]].concat()),
        };
        let message = 14 + header;
        assert_eq!(answer[message - addresses.len()..message], addresses);
        assert_eq!(answer[message..message + 2], kind);
        assert_eq!(answer[message + 8..], packet[14..14 + header + 8]);
    }
}
