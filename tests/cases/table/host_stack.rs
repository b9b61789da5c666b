//! What the host's stack sends: out of the uplink, and into networks.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("what the stack forwards for an endpoint is translated on its way out")
            .send_at(to_outside(), tcp(WEB_1, 40_000, WORLD, 443).syn().hop_limit(63))
            .expect(translated(tcp(HOST, 40_000, WORLD, 443).syn().hop_limit(63)))
            .binding(WEB_1.port(40_000), HOST.port(40_000))
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn().ack()))
            .flows(1),
        case("both ways out share one binding")
            .send(udp(WEB_1, 5000, WORLD, 53))
            .expect(tx(udp(HOST, 5000, WORLD, 53)))
            .send_at(to_outside(), udp(WEB_1, 5000, WORLD, 53).hop_limit(63))
            .expect(translated(udp(HOST, 5000, WORLD, 53).hop_limit(63)))
            .flows(1),
        case("a reply of a published port by the stack is translated too")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .send_at(to_outside(), tcp(WEB_1, 80, WORLD, 40_000).syn().ack())
            .expect(translated(tcp(HOST, 8080, WORLD, 40_000).syn().ack()))
            .flows(1),
        case("the host's own packets are its own")
            .send_at(to_outside(), tcp(HOST, 40_000, WORLD, 443).syn())
            .expect(pass(PassReason::NotOurs))
            .send_at(to_outside(), echo_request(HOST, WORLD, 7))
            .expect(pass(PassReason::NotOurs))
            .flows(0),
        case("the host asks for its neighbours by ARP")
            .send_at(to_outside(), arp(HOST, HOST))
            .expect(pass(PassReason::NotOurs)),
        case("the host asks for its neighbours by neighbour discovery")
            .send_at(to_outside(), neighbour_solicitation(HOST, ROUTER))
            .expect(pass(PassReason::NotOurs)),
        case("what the host forwards for others is theirs")
            .send_at(to_outside(), tcp(LAN, 40_000, WORLD, 443).syn())
            .expect(pass(PassReason::NotOurs))
            .send_at(to_outside(), raw(LAN, WORLD, Protocols::GRE))
            .expect(pass(PassReason::NotOurs)),
        case("who did not come in by the endpoint's bridge is not the endpoint")
            .send_at(to_outside_from(UPLINK), tcp(WEB_1, 5432, LAN, 1234).syn())
            .expect(refuse(PrivateSource))
            .send_at(to_outside_from(DB.bridge), tcp(WEB_1, 5432, LAN, 1234).syn())
            .expect(refuse(PrivateSource))
            .send_at(to_outside_from(0), tcp(WEB_1, 5432, LAN, 1234).syn())
            .expect(refuse(PrivateSource))
            .flows(0),
        case("an address of ours that nobody has does not leave")
            .send_at(to_outside(), tcp(WEB_NOBODY, 40_000, WORLD, 443).syn())
            .expect(refuse(PrivateSource))
            .send_at(to_outside(), udp(WEB.gateway, 40_000, WORLD, 53))
            .expect(refuse(PrivateSource)),
        case("an echo reply without a flow does not leave")
            .send_at(to_outside(), echo_reply(WEB_1, WORLD, 7))
            .expect(refuse(PrivateSource)),
        case("exhaustion by the stack's way is said so too")
            .given(snat_ports(5000, 5000))
            .given(quota(1))
            .send_at(to_outside(), udp(WEB_1, 5000, WORLD, 53))
            .expect(translated(udp(HOST, 5000, WORLD, 53)))
            .send_at(to_outside(), udp(WEB_1, 5001, WORLD, 53))
            .expect(refuse(FlowQuota))
            .send_at(to_outside(), udp(WEB_2, 5000, WORLD, 53))
            .expect(refuse(NoFreePort)),
        case("the host's error about what it did not translate is its own")
            .send_at(
                to_outside(),
                icmp_error(ErrorKind::PortUnreachable, HOST, udp(WORLD, 40_000, HOST, 9)),
            )
            .expect(pass(PassReason::NotOurs)),
        case("an error of the gateway's leaves by the flow that it is about")
            .given(publish(Udp, 5000, WEB_1, 50))
            .send(udp(WORLD, 40_000, HOST, 5000))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 50)))
            .send_at(
                to_outside(),
                icmp_error(ErrorKind::PortUnreachable, WEB_1, udp(WORLD, 40_000, WEB_1, 50)),
            )
            .expect(translated(icmp_error(
                ErrorKind::PortUnreachable,
                HOST,
                udp(WORLD, 40_000, HOST, 5000),
            ))),
        case("the host itself reaches its networks")
            .send_at(into_network(WEB, 0), tcp(WEB.gateway, 40_000, WEB_1, 80).syn())
            .expect(pass(PassReason::NotOurs)),
        case("routed back into the network it came from, a packet is the bridge's")
            .send_at(into_network(WEB, WEB.bridge), tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(pass(PassReason::Bridge)),
        case("routed back, it does not get round peers being kept apart")
            .given(peers_apart(WEB))
            .send_at(into_network(WEB, WEB.bridge), tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(refuse(NotPublished)),
        case("the stack delivers what is of a flow")
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
            .send_at(into_network(WEB, UPLINK), tcp(WORLD, 443, WEB_1, 40_000).syn().ack())
            .expect(pass(PassReason::KnownFlow))
            .send_at(
                into_network(WEB, UPLINK),
                icmp_error(ErrorKind::TimeExceeded, TRANSIT, tcp(WEB_1, 40_000, WORLD, 443).syn()),
            )
            .expect(pass(PassReason::KnownFlow)),
        case("the stack delivers nothing else from outside, and nothing from another network")
            .send_at(into_network(WEB, UPLINK), tcp(WORLD, 443, WEB_1, 40_000).syn())
            .expect(refuse(NotPublished))
            .send_at(into_network(WEB, DB.bridge), tcp(DB_1, 40_000, WEB_1, 80).syn())
            .expect(refuse(NotPublished))
            .send_at(into_network(WEB, UPLINK), raw(WORLD, WEB_1, Protocols::SCTP))
            .expect(refuse(NotPublished)),
        case("resolving neighbours is not kept from the bridge")
            .send_at(into_network(WEB, UPLINK), arp(WEB.gateway, WEB.gateway))
            .expect(pass(PassReason::Neighbours)),
    ]
}
