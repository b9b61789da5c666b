//! From outside to published ports, and the replies.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("a published TCP port leads to the endpoint, and its replies back")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .binding(WEB_1.port(80), HOST.port(8080))
            .send(tcp(WEB_1, 80, WORLD, 40_000).syn().ack())
            .expect(tx(tcp(HOST, 8080, WORLD, 40_000).syn().ack()))
            .send(tcp(WORLD, 40_000, HOST, 8080).ack().payload(b"GET / HTTP/1.1"))
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).ack().payload(b"GET / HTTP/1.1")))
            .send(tcp(WEB_1, 80, WORLD, 40_000).ack().payload(b"200"))
            .expect(tx(tcp(HOST, 8080, WORLD, 40_000).ack().payload(b"200")))
            .flows(1),
        case("a published UDP port leads to the endpoint, and its replies back")
            .given(publish(Udp, 53, DB_1, 5353))
            .send(udp(LAN, 40_000, HOST, 53).payload(b"?"))
            .expect(rx(udp(LAN, 40_000, DB_1, 5353).payload(b"?")))
            .send(udp(DB_1, 5353, LAN, 40_000).payload(b"!"))
            .expect(tx(udp(HOST, 53, LAN, 40_000).payload(b"!"))),
        case("published under its own number, ports stay as they are")
            .given(publish(Tcp, 80, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 80).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn())),
        case("a port of the other protocol is not published")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(udp(WORLD, 40_000, HOST, 8080))
            .expect(pass(PassReason::NotOurs)),
        case("a port beside the published one is not published")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8081).syn())
            .expect(pass(PassReason::NotOurs))
            .send(tcp(WORLD, 40_000, HOST, 80).syn())
            .expect(pass(PassReason::NotOurs)),
        case("only the host's own address is published")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, LAN, 8080).syn().to_mac(HOST.mac))
            .expect(pass(PassReason::NotOurs)),
        case("a frame to another station is not ours")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn().to_mac(LAN.mac))
            .expect(pass(PassReason::NotOurs))
            .flows(0),
        case("the connection's address is not the endpoint's from outside")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, WEB_1, 80).syn())
            .expect(refuse(NotPublished))
            .send(echo_request(WORLD, WEB_1, 7))
            .expect(refuse(NotPublished))
            .send(raw(WORLD, DB_1, Protocols::SCTP))
            .expect(refuse(NotPublished))
            .send(tcp(LAN, 40_000, INNER_1, 80).syn())
            .expect(refuse(NotPublished))
            .flows(0),
        case("two clients with one port are two flows")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .send(tcp(WORLD_2, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD_2, 40_000, WEB_1, 80).syn()))
            .flows(2),
        case("one client at two ports of one service is two flows to the endpoint")
            .given(snat_ports(50_000, 50_000))
            .given(publish(Tcp, 8080, WEB_1, 80))
            .given(publish(Tcp, 9090, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .send(tcp(WORLD, 40_000, HOST, 9090).syn())
            .expect(rx(tcp(WORLD, 50_000, WEB_1, 80).syn()))
            .send(tcp(WEB_1, 80, WORLD, 50_000).syn().ack())
            .expect(tx(tcp(HOST, 9090, WORLD, 40_000).syn().ack())),
        case("a client follows a published port to the restarted endpoint")
            .given(publish(Udp, 5000, WEB_1, 50))
            .send(udp(WORLD, 40_000, HOST, 5000))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 50)))
            .given(restart(WEB_1))
            .send(udp(WORLD, 40_000, HOST, 5000))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 50)))
            .send(udp(WEB_1, 50, WORLD, 40_000))
            .expect(tx(udp(HOST, 5000, WORLD, 40_000))),
        case("the restarted endpoint does not answer for the one before")
            .given(publish(Udp, 5000, WEB_1, 50))
            .send(udp(WORLD, 40_000, HOST, 5000))
            .expect(rx(udp(WORLD, 40_000, WEB_1, 50)))
            .given(restart(WEB_1))
            .send(udp(WEB_1, 50, WORLD, 40_000))
            .expect(tx(udp(HOST, 50, WORLD, 40_000))),
        case("a published port of an endpoint that is gone is said so")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .given(remove(WEB_1))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(refuse(EndpointGone))
            .given(bring_back(WEB_1))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn())),
        case("a flow in being is used though its port is published no more")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .given(quota(0))
            .send(tcp(WORLD, 40_000, HOST, 8080).ack())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).ack())),
        case("clients from outside count for the endpoint that they come to")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .given(publish(Tcp, 9090, WEB_2, 80))
            .given(quota(1))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .send(tcp(WORLD, 40_001, HOST, 8080).syn())
            .expect(refuse(FlowQuota))
            .send(tcp(WORLD, 40_001, HOST, 9090).syn())
            .expect(rx(tcp(WORLD, 40_001, WEB_2, 80).syn())),
        case("a reset opens nothing")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).rst())
            .expect(refuse(NoFlow))
            .flows(0),
        case("a source that is nobody's outside opens nothing")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send_at(Hook::FromOutside, tcp(WEB_2, 5000, HOST, 8080).syn().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress))
            .send_at(Hook::FromOutside, tcp(HOST, 5000, HOST, 8080).syn().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress))
            .flows(0),
        case("a source of ours does not pass through the host")
            .send_at(Hook::FromOutside, tcp(WEB_1, 5432, LAN, 1234).syn().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress)),
        case("a source of ours from outside is spoofed")
            .given(publish(Tcp, 8080, WEB_2, 80))
            .send(tcp(WEB_1, 5000, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 5000, WORLD, 443).syn()))
            .send_at(Hook::FromOutside, tcp(WEB_1, 5000, WORLD, 443).ack().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress)),
        case("what an endpoint opens does not meet what was opened to it")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .given(snat_ports(50_000, 50_000))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn())
            .expect(rx(tcp(WORLD, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_2, 8080, WORLD, 40_000).syn())
            .expect(tx(tcp(HOST, 50_000, WORLD, 40_000).syn()))
            .flows(2),
    ]
}
