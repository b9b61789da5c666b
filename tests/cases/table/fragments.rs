//! Packets in pieces.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    datapath::FamilyId::V4,
    testkit::{ErrorKind::*, *},
    verdict::{DropReason::*, PassReason},
};

pub(crate) fn cases() -> Vec<Case> {
    let out = || udp(WEB_1, 40_000, WORLD, 53).payload(&[6; 64]);
    let out_seen = || udp(HOST, 40_000, WORLD, 53).payload(&[6; 64]).identified(WEB_1);
    let back = || udp(WORLD, 53, HOST, 40_000).payload(&[7; 64]);
    let back_seen = || udp(WORLD, 53, WEB_1, 40_000).payload(&[7; 64]);
    let stack = || into_network(WEB, UPLINK);
    vec![
        case("fragments follow the first of them, out and back")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(out().fragment(9, true))
            .expect(tx(out_seen().fragment(9, true)))
            .send(out().fragment(18, false))
            .expect(tx(out_seen().fragment(18, false)))
            .send(back().fragment(0, true))
            .expect(rx(back_seen().fragment(0, true)))
            .send(back().fragment(9, false))
            .expect(rx(back_seen().fragment(9, false)))
            .flows(1),
        case("a fragment that comes twice is translated twice")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(out().fragment(9, false))
            .expect(tx(out_seen().fragment(9, false)))
            .send(out().fragment(9, false))
            .expect(tx(out_seen().fragment(9, false)))
            .flows(1),
        case("a ping in fragments is answered in fragments")
            .send(echo_request(WEB_1, WORLD, 7).payload(&[6; 64]).fragment(0, true))
            .expect(tx(echo_request(HOST, WORLD, 7)
                .payload(&[6; 64])
                .identified(WEB_1)
                .fragment(0, true)))
            .send(echo_request(WEB_1, WORLD, 7).payload(&[6; 64]).fragment(9, false))
            .expect(tx(echo_request(HOST, WORLD, 7)
                .payload(&[6; 64])
                .identified(WEB_1)
                .fragment(9, false)))
            .send(echo_reply(WORLD, HOST, 7).payload(&[6; 64]).fragment(0, true))
            .expect(rx(echo_reply(WORLD, WEB_1, 7).payload(&[6; 64]).fragment(0, true)))
            .send(echo_reply(WORLD, HOST, 7).payload(&[6; 64]).fragment(9, false))
            .expect(rx(echo_reply(WORLD, WEB_1, 7).payload(&[6; 64]).fragment(9, false))),
        case("fragments to a published port")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(0, true)))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(9, false))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(9, false))),
        case("fragments to a neighbour's published port")
            .given(publish(Udp, 5353, WEB_2, 53))
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(hairpin(
                udp(HOST, 40_000, WEB_2, 53).payload(&[6; 64]).identified(WEB_1).fragment(0, true),
            ))
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(&[6; 64]).fragment(9, false))
            .expect(hairpin(
                udp(HOST, 40_000, WEB_2, 53).payload(&[6; 64]).identified(WEB_1).fragment(9, false),
            )),
        case("a fragment without its first one has no flow, also where there is one")
            .send(out())
            .expect(tx(out_seen()))
            .send(out().fragment(9, true))
            .expect(keep())
            .send(back().fragment(9, false))
            .expect(keep_and_pass())
            .flows(1),
        case("what comes before its first fragment comes in again behind it")
            .send(out().fragment(18, false))
            .expect(keep())
            .send(out().fragment(9, true))
            .expect(keep())
            .send(out().fragment(0, true))
            .expect(release())
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(out().fragment(18, false))
            .expect(tx(out_seen().fragment(18, false)))
            .send(out().fragment(9, true))
            .expect(tx(out_seen().fragment(9, true)))
            .send(back().fragment(9, false))
            .expect(keep_and_pass())
            .send(back().fragment(0, true))
            .expect(release())
            .send(back().fragment(0, true))
            .expect(rx(back_seen().fragment(0, true)))
            .send(back().fragment(9, false))
            .expect(rx(back_seen().fragment(9, false)))
            .flows(1),
        case("what comes in while the first is on its way in again is not kept once more")
            .send(out().fragment(9, true))
            .expect(keep())
            .send(out().fragment(0, true))
            .expect(release())
            .send(out().fragment(18, false))
            .expect(tx(out_seen().fragment(18, false)))
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(out().fragment(9, true))
            .expect(tx(out_seen().fragment(9, true))),
        case("a fragment that says that it must not be cut is one nevertheless")
            .send(out().fragment(0, true).network_bytes(6, &[0x60, 0]).only(V4))
            .expect(tx(out_seen().fragment(0, true).network_bytes(6, &[0x60, 0]))),
        case("also to a published port")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(9, false))
            .expect(keep_and_pass())
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(release())
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(0, true)))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(9, false))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(9, false))),
        case("also to a neighbour's")
            .given(publish(Udp, 5353, WEB_2, 53))
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(&[6; 64]).fragment(9, false))
            .expect(keep_and_pass())
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(release())
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(hairpin(
                udp(HOST, 40_000, WEB_2, 53).payload(&[6; 64]).identified(WEB_1).fragment(0, true),
            )),
        case("what waits for a first fragment of the host's is not kept from it")
            .send(udp(WORLD, 40_000, HOST, 9999).payload(&[6; 64]).fragment(9, true))
            .expect(keep_and_pass())
            .send(udp(WORLD, 40_000, HOST, 9999).payload(&[6; 64]).fragment(0, true))
            .expect(pass(PassReason::NotOurs))
            .send(udp(WORLD, 40_000, HOST, 9999).payload(&[6; 64]).fragment(18, false))
            .expect(keep_and_pass())
            .flows(0),
        case("what waited too long waits no more")
            .send(out().fragment(9, false))
            .expect(keep())
            .given(later(31))
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true))),
        (0..64)
            .fold(case("so many fragments are kept of one packet"), |case, n| {
                case.send(out().fragment(9 + n, true)).expect(keep())
            })
            .send(out().fragment(9 + 64, true))
            .expect(refuse(NoFirstFragment)),
        case("a packet of the host's is not continued by an endpoint's of the same identification")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).fragment(0, true))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(0, true)))
            .send(udp(WORLD, 40_000, HOST, 9999).payload(&[6; 64]).fragment(0, true))
            .expect(pass(PassReason::NotOurs))
            .send(udp(WORLD, 40_000, HOST, 9999).payload(&[6; 64]).fragment(9, false))
            .expect(pass(PassReason::NotOurs)),
        case("a first fragment without its whole transport header is nobody's")
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn().fragment(0, true).stated_length(28).only(V4))
            .expect(refuse(Malformed)),
        case("fragments of another endpoint are of another packet")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(udp(WEB_2, 40_000, WORLD, 53).payload(&[6; 64]).fragment(9, false))
            .expect(keep()),
        case("what the host's stack cut is translated at the uplink")
            .send_at(to_outside(), out().fragment(0, true))
            .expect(translated(out_seen().fragment(0, true)))
            .send_at(to_outside(), out().fragment(9, false))
            .expect(translated(out_seen().fragment(9, false))),
        case("what the stack cuts for an endpoint goes on behind its first piece")
            .given(way_in_takes(WEB_1, 68))
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]).may_be_cut())
            .expect(translated(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).may_be_cut()))
            .send_at(stack(), udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(6, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64]).fragment(12, false))
            .expect(pass(PassReason::KnownFlow))
            .flows(1),
        case("also what came in pieces that were too long")
            .given(way_in_takes(WEB_1, 68))
            .send(out())
            .expect(tx(out_seen()))
            .send(back().fragment(0, true))
            .expect(translated(back_seen().fragment(0, true)))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), back_seen().fragment(6, true))
            .expect(pass(PassReason::KnownFlow))
            .send(back().fragment(9, false))
            .expect(translated(back_seen().fragment(9, false)))
            .send_at(stack(), back_seen().fragment(9, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), back_seen().fragment(15, false))
            .expect(pass(PassReason::KnownFlow)),
        case("and the answer to a ping")
            .send(echo_request(WEB_1, WORLD, 7))
            .expect(tx(echo_request(HOST, WORLD, 7)))
            .send_at(stack(), echo_reply(WORLD, WEB_1, 7).payload(&[6; 64]).fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), echo_reply(WORLD, WEB_1, 7).payload(&[6; 64]).fragment(9, false))
            .expect(pass(PassReason::KnownFlow)),
        case("the stack delivers no piece but of a flow")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished))
            .send_at(stack(), udp(WORLD, 54, WEB_1, 40_000).payload(&[7; 64]).fragment(0, true))
            .expect(refuse(NotPublished))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished)),
        case("nor one whose own first piece it refused")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), udp(WORLD, 54, WEB_1, 40_000).payload(&[7; 64]).fragment(0, true))
            .expect(refuse(NotPublished))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished)),
        case("nor one to or from anybody else, or of another protocol")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(stack(), udp(WORLD, 53, WEB_2, 40_000).payload(&[7; 64]).fragment(9, false))
            .expect(refuse(NotPublished))
            .send_at(stack(), udp(WORLD_2, 53, WEB_1, 40_000).payload(&[7; 64]).fragment(9, false))
            .expect(refuse(NotPublished))
            .send_at(
                stack(),
                tcp(WORLD, 53, WEB_1, 40_000).payload(&[7; 64]).fragment(9, false).only(V4),
            )
            .expect(refuse(NotPublished)),
        case("nor one that came in by no uplink")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(into_network(WEB, DB.bridge), back_seen())
            .expect(refuse(NotPublished))
            .send_at(into_network(WEB, DB.bridge), back_seen().fragment(0, true))
            .expect(refuse(NotPublished))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send_at(into_network(WEB, DB.bridge), back_seen().fragment(9, false))
            .expect(refuse(NotPublished))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(pass(PassReason::KnownFlow)),
        case("nor one that came too late, or whose flow is gone")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .given(later(31))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .given(flow_vanishes(Udp, (WEB_1, 40_000), (WORLD, 53)))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished)),
        case("nor one to the endpoint that has the address now")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .given(restart(WEB_1))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished)),
        case("a first piece that the stack delivers speaks for no fragment that is met elsewhere")
            .send(out())
            .expect(tx(out_seen()))
            .send_at(stack(), back_seen().fragment(0, true))
            .expect(pass(PassReason::KnownFlow))
            .send(back_seen().fragment(9, false))
            .expect(refuse(NotPublished))
            .send(back().fragment(9, false))
            .expect(keep_and_pass())
            .send(out().fragment(9, false))
            .expect(keep())
            .send_at(to_outside(), out().fragment(9, false))
            .expect(refuse(PrivateSource)),
        case("and none that is met elsewhere speaks for what the stack delivers")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(back().fragment(0, true))
            .expect(rx(back_seen().fragment(0, true)))
            .send_at(stack(), back_seen().fragment(9, false))
            .expect(refuse(NotPublished)),
        case("no fragment leaves untranslated")
            .send_at(to_outside(), out().fragment(9, false))
            .expect(refuse(PrivateSource)),
        case("a first fragment that begins no flow is remembered for none")
            .send(tcp(WEB_1, 40_000, WORLD, 443).rst().payload(&[0; 64]).fragment(0, true))
            .expect(refuse(NoFlow))
            .send(tcp(WEB_1, 40_000, WORLD, 443).rst().payload(&[0; 64]).fragment(9, false))
            .expect(refuse(NoFirstFragment))
            .flows(0),
        case("fragments of a flow that is gone are nobody's")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(back().fragment(0, true))
            .expect(rx(back_seen().fragment(0, true)))
            .given(remove(WEB_1))
            .send(back().fragment(9, false))
            .expect(pass(PassReason::NotOurs)),
        case("fragments from outside go to the host's stack, and not into a network")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 22).syn().payload(&[0; 64]).fragment(0, true))
            .expect(pass(PassReason::NotOurs))
            .send(tcp(WORLD, 40_000, HOST, 22).syn().payload(&[0; 64]).fragment(9, false))
            .expect(pass(PassReason::NotOurs))
            .send(tcp(WORLD, 40_000, WEB_1, 80).syn().payload(&[0; 64]).fragment(9, false))
            .expect(refuse(NotPublished)),
        case("packets of two endpoints with one identification stay two packets")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(udp(WEB_2, 40_001, WORLD, 53).payload(&[8; 64]).fragment(0, true))
            .expect(tx(udp(HOST, 40_001, WORLD, 53)
                .payload(&[8; 64])
                .identified(WEB_2)
                .fragment(0, true)))
            .send(out().fragment(9, false))
            .expect(tx(out_seen().fragment(9, false)))
            .send(udp(WEB_2, 40_001, WORLD, 53).payload(&[8; 64]).fragment(9, false))
            .expect(tx(udp(HOST, 40_001, WORLD, 53)
                .payload(&[8; 64])
                .identified(WEB_2)
                .fragment(9, false))),
        case("a packet that a router may cut has an identification, too")
            .send(out().may_be_cut())
            .expect(tx(out_seen().may_be_cut()))
            .send(back().may_be_cut())
            .expect(rx(back_seen().may_be_cut()))
            .send(icmp_error(TimeExceeded, ROUTER, out_seen().may_be_cut()))
            .expect(rx(icmp_error(TimeExceeded, ROUTER, out().may_be_cut()))),
        case("an error about a packet in pieces quotes what its sender sent")
            .send(out().fragment(0, true))
            .expect(tx(out_seen().fragment(0, true)))
            .send(icmp_error(TimeExceeded, ROUTER, out_seen().fragment(0, true)).only(V4))
            .expect(rx(icmp_error(TimeExceeded, ROUTER, out().fragment(0, true)).only(V4))),
        case("what a published port's endpoint sends in pieces")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WORLD, 40_000, HOST, 5353).payload(&[6; 64]))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 53).payload(&[6; 64])))
            .send(udp(WEB_1, 53, WORLD, 40_000).payload(&[6; 64]).fragment(0, true))
            .expect(tx(udp(HOST, 5353, WORLD, 40_000)
                .payload(&[6; 64])
                .identified(WEB_1)
                .fragment(0, true))),
        case("what a hairpin's server sends in pieces")
            .given(publish(Udp, 5353, WEB_2, 53))
            .send(udp(WEB_1, 40_000, HOST, 5353))
            .expect(hairpin(udp(HOST, 40_000, WEB_2, 53)))
            .send(udp(WEB_2, 53, HOST, 40_000).payload(&[6; 64]).fragment(0, true))
            .expect(hairpin(
                udp(HOST, 5353, WEB_1, 40_000)
                    .payload(&[6; 64])
                    .identified(WEB_2)
                    .fragment(0, true),
            ))
            .send(icmp_error(
                PortUnreachable,
                WEB_1,
                udp(HOST, 5353, WEB_1, 40_000).payload(&[6; 64]).identified(WEB_2).may_be_cut(),
            ))
            .expect(hairpin(icmp_error(
                PortUnreachable,
                HOST,
                udp(WEB_2, 53, HOST, 40_000).payload(&[6; 64]).may_be_cut(),
            ))),
    ]
}
