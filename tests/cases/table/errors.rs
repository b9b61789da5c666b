//! ICMP errors about translated packets (RFC 5508): their own addresses and the quoted packet's.

use ErrorKind::{ParameterProblem, PortUnreachable, TimeExceeded, TooBig};
use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    datapath::FamilyId,
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// A connection of WEB_1 to the world has begun.
fn connecting(name: &'static str) -> Case {
    case(name)
        .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
}

/// WEB_1's datagram has left by a port that is not its own.
fn asking(name: &'static str) -> Case {
    case(name)
        .given(snat_ports(50_000, 50_000))
        .send(udp(WEB_2, 5000, WORLD, 53))
        .expect(tx(udp(HOST, 5000, WORLD, 53)))
        .send(udp(WEB_1, 5000, WORLD, 53))
        .expect(tx(udp(HOST, 50_000, WORLD, 53)))
}

/// A client of WEB_1's published port.
fn asked(name: &'static str) -> Case {
    case(name)
        .given(publish(Udp, 5000, WEB_1, 50))
        .send(udp(WORLD, 40_000, HOST, 5000))
        .expect(rx(udp(WORLD, 40_000, WEB_1, 50)))
}

pub(crate) fn cases() -> Vec<Case> {
    let out = || udp(HOST, 50_000, WORLD, 53).payload(b"question");
    let own = || udp(WEB_1, 5000, WORLD, 53).payload(b"question");
    let syn_out = || tcp(HOST, 40_000, WORLD, 443).syn();
    let syn_own = || tcp(WEB_1, 40_000, WORLD, 443).syn();
    vec![
        asking("an unreachable port is told to the one who asked")
            .send(icmp_error(PortUnreachable, WORLD, out()))
            .expect(rx(icmp_error(PortUnreachable, WORLD, own())))
            .send(icmp_error(PortUnreachable, WORLD, udp(HOST, 5000, WORLD, 53)))
            .expect(rx(icmp_error(PortUnreachable, WORLD, udp(WEB_2, 5000, WORLD, 53)))),
        asking("every kind of error is translated")
            .send(icmp_error(TimeExceeded, WORLD, out()))
            .expect(rx(icmp_error(TimeExceeded, WORLD, own())))
            .send(icmp_error(TooBig(1400), WORLD, out()))
            .expect(rx(icmp_error(TooBig(1400), WORLD, own())))
            .send(icmp_error(ParameterProblem, WORLD, out()))
            .expect(rx(icmp_error(ParameterProblem, WORLD, own()))),
        asking("a router in between keeps its own address")
            .send(icmp_error(TimeExceeded, TRANSIT, out()))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, own())))
            .send(icmp_error(TooBig(1280), ROUTER, out()))
            .expect(rx(icmp_error(TooBig(1280), ROUTER, own()))),
        connecting("an error about a connection")
            .send(icmp_error(PortUnreachable, WORLD, syn_out()))
            .expect(rx(icmp_error(PortUnreachable, WORLD, syn_own())))
            .send(icmp_error(TooBig(1400), TRANSIT, syn_out().payload(&[5; 99])))
            .expect(rx(icmp_error(TooBig(1400), TRANSIT, syn_own().payload(&[5; 99])))),
        connecting("eight quoted bytes are enough")
            .send(icmp_error(TimeExceeded, TRANSIT, syn_out()).quoting(8))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, syn_own()).quoting(8))),
        asking("eight quoted bytes of UDP hold its checksum")
            .send(icmp_error(TimeExceeded, TRANSIT, out()).quoting(8))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, own()).quoting(8))),
        connecting("less than eight quoted bytes say nothing")
            .send(icmp_error(TimeExceeded, TRANSIT, syn_out()).quoting(4))
            .expect(pass(PassReason::NotOurs)),
        asking("a quoted datagram without a checksum keeps none")
            .send(icmp_error(TimeExceeded, TRANSIT, out().no_checksum().only(FamilyId::V4)))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, own().no_checksum()))),
        asking("options of the quoted header are stepped over")
            .send(icmp_error(TimeExceeded, TRANSIT, out().ip_options(&[1, 1, 1, 0])))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, own().ip_options(&[1, 1, 1, 0])))),
        asking("extension headers of the quoted packet are stepped over")
            .send(icmp_error(TimeExceeded, TRANSIT, out().hop_by_hop().destination_options()))
            .expect(rx(icmp_error(
                TimeExceeded,
                TRANSIT,
                own().hop_by_hop().destination_options(),
            ))),
        case("an error about a ping")
            .given(snat_ports(50_000, 50_000))
            .send(echo_request(WEB_2, WORLD, 7))
            .expect(tx(echo_request(HOST, WORLD, 7)))
            .send(echo_request(WEB_1, WORLD, 7).payload(b"ping"))
            .expect(tx(echo_request(HOST, WORLD, 50_000).payload(b"ping")))
            .send(icmp_error(
                TimeExceeded,
                TRANSIT,
                echo_request(HOST, WORLD, 50_000).payload(b"ping"),
            ))
            .expect(rx(icmp_error(
                TimeExceeded,
                TRANSIT,
                echo_request(WEB_1, WORLD, 7).payload(b"ping"),
            ))),
        asked("an endpoint's own error is its host's to the outside")
            .send(icmp_error(PortUnreachable, WEB_1, udp(WORLD, 40_000, WEB_1, 50)))
            .expect(tx(icmp_error(PortUnreachable, HOST, udp(WORLD, 40_000, HOST, 5000)))),
        asking("an endpoint's error about a reply")
            .send(udp(WORLD, 53, HOST, 50_000))
            .expect(rx(udp(WORLD, 53, WEB_1, 5000)))
            .send(icmp_error(PortUnreachable, WEB_1, udp(WORLD, 53, WEB_1, 5000)))
            .expect(tx(icmp_error(PortUnreachable, HOST, udp(WORLD, 53, HOST, 50_000)))),
        asked("an error about an endpoint's answer")
            .send(udp(WEB_1, 50, WORLD, 40_000))
            .expect(tx(udp(HOST, 5000, WORLD, 40_000)))
            .send(icmp_error(TimeExceeded, TRANSIT, udp(HOST, 5000, WORLD, 40_000)))
            .expect(rx(icmp_error(TimeExceeded, TRANSIT, udp(WEB_1, 50, WORLD, 40_000)))),
        case("an endpoint's error about a ping's reply")
            .send(echo_request(WEB_1, WORLD, 7))
            .expect(tx(echo_request(HOST, WORLD, 7)))
            .send(icmp_error(TimeExceeded, WEB_1, echo_reply(WORLD, WEB_1, 7)))
            .expect(tx(icmp_error(TimeExceeded, HOST, echo_reply(WORLD, HOST, 7)))),
        connecting("an error ends nothing")
            .send(icmp_error(PortUnreachable, WORLD, syn_out()))
            .expect(rx(icmp_error(PortUnreachable, WORLD, syn_own())))
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn().ack()))
            .flows(1),
        case("an error about nobody's packet opens nothing")
            .given(publish(Udp, 5000, WEB_1, 50))
            .send(icmp_error(PortUnreachable, WORLD, udp(HOST, 9999, WORLD, 53)))
            .expect(pass(PassReason::NotOurs))
            .send(icmp_error(PortUnreachable, WORLD, udp(HOST, 5000, WORLD, 53)))
            .expect(pass(PassReason::NotOurs))
            .send(icmp_error(PortUnreachable, WEB_1, udp(WORLD, 53, WEB_1, 9999)))
            .expect(refuse(NoFlow))
            .flows(0),
        asking("an endpoint speaks of its own flows only")
            .send(icmp_error(PortUnreachable, WEB_1, udp(WORLD, 53, WEB_2, 5000)))
            .expect(refuse(SpoofedAddress)),
        asking("an error about an error, or about what nobody translates, is not understood")
            .send(icmp_error(TimeExceeded, WORLD, icmp_error(TimeExceeded, HOST, out())))
            .expect(pass(PassReason::NotOurs))
            .send(icmp_error(TimeExceeded, WORLD, raw(HOST, WORLD, Protocols::SCTP)))
            .expect(pass(PassReason::NotOurs))
            .send(icmp_error(TimeExceeded, WEB_1, raw(WORLD, WEB_1, Protocols::SCTP)))
            .expect(pass(PassReason::NotUnderstood)),
        asking("an error that quotes a later fragment is not understood")
            .send(icmp_error(TimeExceeded, WORLD, out().payload(&[0; 32]).fragment(3, false)))
            .expect(pass(PassReason::NotOurs)),
        case("an error does not count as life")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .given(restart(WEB_1))
            .send(icmp_error(TimeExceeded, TRANSIT, tcp(HOST, 8080, WORLD, 40_000).ack()))
            .expect(pass(PassReason::NotOurs)),
    ]
}
