//! The last hop, and packets that are too long: the kernel's to answer.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    datapath::FamilyId,
    testkit::*,
    verdict::PassReason,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("at its last hop a packet goes to the gateway, and opens nothing")
            .send(udp(WEB_1, 40_000, WORLD, 33_434).hop_limit(1))
            .expect(pass(PassReason::LastHop))
            .send(echo_request(WEB_1, WORLD, 7).hop_limit(1))
            .expect(pass(PassReason::LastHop))
            .flows(0)
            .send(udp(WEB_1, 40_000, WORLD, 33_434).hop_limit(2))
            .expect(tx(udp(HOST, 40_000, WORLD, 33_434).hop_limit(2)))
            .send(udp(WEB_1, 40_000, WORLD, 33_434).hop_limit(1))
            .expect(pass(PassReason::LastHop))
            .flows(1),
        case("the gateway answers for the last hop inward, about what was sent")
            .given(publish(Udp, 5000, WEB_1, 50))
            .send(udp(WORLD, 40_000, HOST, 5000).hop_limit(1))
            .expect(translated(udp(WORLD, 40_000, WEB_1, 50).hop_limit(1)))
            .send_at(
                to_outside(),
                icmp_error(
                    ErrorKind::TimeExceeded,
                    HOST,
                    udp(WORLD, 40_000, WEB_1, 50).hop_limit(1),
                ),
            )
            .expect(translated(icmp_error(
                ErrorKind::TimeExceeded,
                HOST,
                udp(WORLD, 40_000, HOST, 5000).hop_limit(1),
            ))),
        case("too long outward is the kernel's to answer, and opens nothing")
            .given(way_out_takes(1400))
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(&[1; 1400]))
            .expect(pass(PassReason::TooLong))
            .flows(0)
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(&[1; 1300]))
            .expect(tx(udp(HOST, 40_000, WORLD, 53).payload(&[1; 1300])))
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(&[1; 1400]))
            .expect(pass(PassReason::TooLong)),
        case("exactly as long as the way takes goes on")
            .given(way_out_takes(1400))
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(&[1; 1372]).only(FamilyId::V4))
            .expect(tx(udp(HOST, 40_000, WORLD, 53).payload(&[1; 1372])))
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(&[1; 1373]))
            .expect(pass(PassReason::TooLong)),
        case("too long inward is the gateway's to answer, about what was sent")
            .given(way_in_takes(WEB_1, 1300))
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).ack().payload(&[1; 1300]))
            .expect(translated(tcp(WORLD, 40_000, WEB_1, 80).ack().payload(&[1; 1300])))
            .send_at(
                to_outside(),
                icmp_error(
                    ErrorKind::TooBig(1300),
                    HOST,
                    tcp(WORLD, 40_000, WEB_1, 80).ack().payload(&[1; 1300]),
                ),
            )
            .expect(translated(icmp_error(
                ErrorKind::TooBig(1300),
                HOST,
                tcp(WORLD, 40_000, HOST, 8080).ack().payload(&[1; 1300]),
            ))),
        case("of a frame that will be cut, one segment counts")
            .send(tcp(WEB_1, 40_000, WORLD, 443).ack().payload(&[3; 3000]).segments(1400))
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).ack().payload(&[3; 3000])))
            .send(tcp(WORLD, 443, HOST, 40_000).ack().payload(&[3; 3000]).segments(1400))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).ack().payload(&[3; 3000])))
            .send(tcp(WEB_1, 40_000, WORLD, 443).ack().payload(&[3; 3000]).segments(1470))
            .expect(pass(PassReason::TooLong)),
        case("UDP that will be cut likewise")
            .send(udp(WEB_1, 40_000, WORLD, 443).payload(&[3; 3000]).segments(1400))
            .expect(tx(udp(HOST, 40_000, WORLD, 443).payload(&[3; 3000])))
            .send(udp(WEB_1, 40_000, WORLD, 443).payload(&[3; 3000]).segments(1480))
            .expect(pass(PassReason::TooLong)),
        case("between neighbours the bridge's own limits hold, not ours")
            .given(way_in_takes(WEB_2, 1000))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).ack().payload(&[1; 1200]))
            .expect(peer(WEB_2)),
    ]
}
