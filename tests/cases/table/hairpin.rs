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
        case("what is published where no endpoint is leads nowhere")
            .given(publish(Tcp, 8080, WEB_2, 80))
            .given(remove(WEB_2))
            .send(tcp(WEB_1, 40_000, HOST, 8080).syn())
            .expect(refuse(EndpointGone))
            .flows(0),
    ]
}
