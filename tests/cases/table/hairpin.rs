//! From endpoints to published ports of their own host.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("an endpoint reaches a neighbour's published port, which sees the host")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_1, 80, HOST, 40_000).syn().ack())
            .expect(hairpin(tcp(HOST, 8080, WEB_2, 40_000).syn().ack()))
            .send(tcp(WEB_2, 40_000, HOST, 8080).ack().payload(b"GET /"))
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).ack().payload(b"GET /")))
            .flows(1),
        case("an endpoint reaches its own published port")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WEB_1, 40_000, HOST, 5353).payload(b"?"))
            .expect(hairpin(udp(HOST, 40_000, WEB_1, 53).payload(b"?")))
            .send(udp(WEB_1, 53, HOST, 40_000).payload(b"!"))
            .expect(hairpin(udp(HOST, 5353, WEB_1, 40_000).payload(b"!"))),
        case("an endpoint reaches another network's published port, and nothing else there")
            .given(publish(Tcp, 8080, DB_1, 80))
            .send(tcp(WEB_1, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, DB_1, 80).syn()))
            .send(tcp(DB_1, 80, HOST, 40_000).syn().ack())
            .expect(hairpin(tcp(HOST, 8080, WEB_1, 40_000).syn().ack()))
            .send(tcp(WEB_1, 40_000, DB_1, 80).syn())
            .expect(refuse(OtherNetwork)),
        case("an endpoint reaches a neighbour's and its own published port by its gateway")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, WEB.gateway, 8080).syn())
            .expect(hairpin(tcp(WEB.gateway, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_1, 80, WEB.gateway, 40_000).syn().ack())
            .expect(hairpin(tcp(WEB.gateway, 8080, WEB_2, 40_000).syn().ack()))
            .send(tcp(WEB_1, 41_000, WEB.gateway, 8080).syn())
            .expect(hairpin(tcp(WEB.gateway, 41_000, WEB_1, 80).syn()))
            .flows(2),
        case("what a socket of the host waits for is the host's, whoever had its port before")
            .given(publish(Udp, 53, WEB_1, 53))
            .send(udp(WEB_2, 40_000, WEB.gateway, 53))
            .expect(hairpin(udp(WEB.gateway, 40_000, WEB_1, 53)))
            .send(udp(WEB_1, 53, WEB.gateway, 40_000))
            .expect(hairpin(udp(WEB.gateway, 53, WEB_2, 40_000)))
            .given(socket(Udp, 40_000))
            .send(udp(WEB_1, 53, WEB.gateway, 40_000))
            .expect(pass(PassReason::ToHost))
            .flows(1),
        case("an endpoint reaches a published port by another network's gateway, and nothing else there")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, DB.gateway, 8080).syn())
            .expect(hairpin(tcp(WEB.gateway, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_1, 80, WEB.gateway, 40_000).syn().ack())
            .expect(hairpin(tcp(DB.gateway, 8080, WEB_2, 40_000).syn().ack()))
            .send(tcp(WEB_2, 40_000, DB.gateway, 8081).syn())
            .expect(refuse(OtherNetwork)),
        case("a server sees the gateway of its own network, whichever its client used")
            .given(snat_ports(50_000, 50_000))
            .given(publish(Udp, 53, DB_1, 53))
            .send(udp(WEB_1, 40_000, WEB.gateway, 53).payload(b"?"))
            .expect(hairpin(udp(DB.gateway, 40_000, DB_1, 53).payload(b"?")))
            .send(udp(DB_1, 53, DB.gateway, 40_000).payload(b"!"))
            .expect(hairpin(udp(WEB.gateway, 53, WEB_1, 40_000).payload(b"!")))
            .send(udp(WEB_1, 40_000, DB.gateway, 53).payload(b"?"))
            .expect(hairpin(udp(DB.gateway, 50_000, DB_1, 53).payload(b"?")))
            .send(icmp_error(
                ErrorKind::PortUnreachable,
                DB_1,
                udp(DB.gateway, 40_000, DB_1, 53).payload(b"?"),
            ))
            .expect(hairpin(icmp_error(
                ErrorKind::PortUnreachable,
                WEB.gateway,
                udp(WEB_1, 40_000, WEB.gateway, 53).payload(b"?"),
            )))
            .flows(2),
        case("what is not published at a gateway is the host's")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, WEB.gateway, 22).syn())
            .expect(pass(PassReason::ToHost))
            .send(udp(WEB_2, 40_000, WEB.gateway, 8080).payload(b"?"))
            .expect(pass(PassReason::ToHost))
            .flows(0),
        case("nobody outside reaches a published port by a gateway")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send_at(
                Hook::FromOutside,
                tcp(WORLD, 40_000, WEB.gateway, 8080).syn().to_mac(HOST.mac),
            )
            .expect(refuse(NotPublished))
            .flows(0),
        case("an internal network reaches no published port by its gateway")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(INNER_1, 40_000, INNER.gateway, 8080).syn())
            .expect(pass(PassReason::ToHost))
            .flows(0),
        case("two endpoints with one port are two clients")
            .given(snat_ports(50_000, 50_000))
            .given(publish(Tcp, 8080, DB_1, 80))
            .send(tcp(WEB_1, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, DB_1, 80).syn()))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 50_000, DB_1, 80).syn())),
        case("an answer that nobody asked for goes to the host")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_1, 80, HOST, 40_000).syn().ack())
            .expect(pass(PassReason::ToHost)),
        case("a reset opens no way to a published port")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).rst())
            .expect(refuse(NoFlow))
            .flows(0),
        case("an internal network reaches no published port")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(INNER_1, 40_000, HOST, 8080).syn())
            .expect(refuse(InternalNetwork)),
        case("nobody outside speaks in a hairpin's flow")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .send_at(Hook::FromOutside, tcp(WEB_1, 80, HOST, 40_000).ack().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress))
            .send_at(Hook::FromOutside, tcp(WEB_2, 40_000, HOST, 8080).ack().to_mac(HOST.mac))
            .expect(refuse(SpoofedAddress)),
        case("nor does the host's stack carry one out")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .send_at(to_outside(), tcp(WEB_2, 40_000, HOST, 8080).ack())
            .expect(refuse(PrivateSource)),
        case("a client follows a published port to the restarted neighbour")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(DB_1, 40_000, HOST, 5353))
            .expect(hairpin(udp(HOST, 40_000, WEB_1, 53)))
            .given(restart(WEB_1))
            .send(udp(DB_1, 40_000, HOST, 5353))
            .expect(hairpin(udp(HOST, 40_000, WEB_1, 53)))
            .send(udp(WEB_1, 53, HOST, 40_000))
            .expect(hairpin(udp(HOST, 5353, DB_1, 40_000))),
        case("who comes with a neighbour's address does not come with its connections")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(DB_1, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .given(restart(WEB_1))
            .send(tcp(WEB_1, 80, HOST, 40_000).ack())
            .expect(pass(PassReason::ToHost))
            .given(remove(WEB_1))
            .send(tcp(DB_1, 40_000, HOST, 8080).ack())
            .expect(refuse(EndpointGone)),
        case("a client's connections go with it")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(DB_1, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .given(restart(DB_1))
            .send(tcp(WEB_1, 80, HOST, 40_000).ack())
            .expect(pass(PassReason::ToHost)),
        case("an error goes back to the client")
            .given(publish(Udp, 5353, WEB_1, 53))
            .send(udp(WEB_2, 40_000, HOST, 5353).payload(b"?"))
            .expect(hairpin(udp(HOST, 40_000, WEB_1, 53).payload(b"?")))
            .send(icmp_error(
                ErrorKind::PortUnreachable,
                WEB_1,
                udp(HOST, 40_000, WEB_1, 53).payload(b"?"),
            ))
            .expect(hairpin(icmp_error(
                ErrorKind::PortUnreachable,
                HOST,
                udp(WEB_2, 40_000, HOST, 5353).payload(b"?"),
            ))),
        case("the last hop is not answered, and opens nothing")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn().hop_limit(1))
            .expect(refuse(Unanswerable))
            .flows(0),
        case("what is too long for the neighbour is not answered")
            .given(publish(Udp, 5353, WEB_1, 53))
            .given(way_in_takes(WEB_1, 1400))
            .send(udp(WEB_2, 40_000, HOST, 5353).payload(&[0; 1400]))
            .expect(refuse(Unanswerable))
            .flows(0)
            .send(udp(WEB_2, 40_000, HOST, 5353).payload(b"?"))
            .expect(hairpin(udp(HOST, 40_000, WEB_1, 53).payload(b"?")))
            .send(udp(WEB_2, 40_000, HOST, 5353).payload(&[0; 1400]))
            .expect(refuse(Unanswerable)),
        case("a published port is for peers that are kept apart, too")
            .given(peers_apart(WEB))
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_2, 40_000, WEB_1, 80).syn())
            .expect(refuse(PeersApart)),
        case("hairpins count for the client")
            .given(quota(1))
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WEB_2, 40_000, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_000, WEB_1, 80).syn()))
            .send(tcp(WEB_2, 40_001, HOST, 8080).syn())
            .expect(refuse(FlowQuota))
            .send(tcp(DB_1, 40_001, HOST, 8080).syn())
            .expect(hairpin(tcp(HOST, 40_001, WEB_1, 80).syn())),
        case("what is published where no endpoint is leads nowhere")
            .given(publish(Tcp, 8080, WEB_2, 80))
            .given(remove(WEB_2))
            .send(tcp(WEB_1, 40_000, HOST, 8080).syn())
            .expect(refuse(EndpointGone))
            .flows(0),
    ]
}
