//! Packets that are not what one would send, and what a header may hold besides.

use netebpf_common::{
    abi::Protocol::Tcp,
    datapath::FamilyId::{V4, V6},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// The world's IPv4 address in the clothes of IPv6.
const MAPPED: Station =
    Station { v6: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 9], ..WORLD };

pub(crate) fn cases() -> Vec<Case> {
    let datagram = || udp(WEB_1, 40_000, WORLD, 53).payload(&[6; 64]);
    let syn = || tcp(WEB_1, 40_000, WORLD, 443).syn();
    let syn_out = || tcp(HOST, 40_000, WORLD, 443).syn();
    vec![
        case("protocols that nobody translates go the kernel's way, and do not leave untranslated")
            .send(raw(WEB_1, WORLD, Protocols::SCTP))
            .expect(pass(PassReason::NotUnderstood))
            .send(raw(WEB_1, WORLD, Protocols::GRE))
            .expect(pass(PassReason::NotUnderstood))
            .send(raw(WEB_1, WORLD, Protocols::ESP))
            .expect(pass(PassReason::NotUnderstood))
            .send_at(to_outside(), raw(WEB_1, WORLD, Protocols::SCTP))
            .expect(refuse(PrivateSource))
            .send_at(to_outside(), raw(WEB_1, WORLD, 253))
            .expect(refuse(PrivateSource))
            .flows(0),
        case("other ICMP queries are not translated")
            .send(icmp_message(WEB_1, WORLD, 13, 139).payload(&[0; 12]))
            .expect(pass(PassReason::NotUnderstood))
            .send_at(to_outside(), icmp_message(WEB_1, WORLD, 13, 139).payload(&[0; 12]))
            .expect(refuse(PrivateSource)),
        case("IPv4 options are stepped over")
            .send(syn().ip_options(&[7, 7, 4, 0, 0, 0, 0, 0]))
            .expect(tx(syn_out().ip_options(&[7, 7, 4, 0, 0, 0, 0, 0])))
            .send(syn().ip_options(&[1; 40]))
            .expect(tx(syn_out().ip_options(&[1; 40]))),
        case("IPv6 extension headers are stepped over")
            .send(syn().hop_by_hop())
            .expect(tx(syn_out().hop_by_hop()))
            .send(syn().hop_by_hop().destination_options())
            .expect(tx(syn_out().hop_by_hop().destination_options())),
        case("an atomic fragment is a whole packet")
            .send(syn().atomic())
            .expect(tx(syn_out().atomic())),
        case("a routing header is not understood")
            .send(syn().routing())
            .expect(pass(PassReason::NotUnderstood))
            .send_at(to_outside(), syn().routing())
            .expect(refuse(PrivateSource)),
        case("five extension headers are too many to follow")
            .send(syn().hop_by_hop().destination_options().hop_by_hop().hop_by_hop().hop_by_hop())
            .expect(refuse(Malformed)),
        case("a UDP checksum of 0 stays 0")
            .send(datagram().no_checksum().only(V4))
            .expect(tx(udp(HOST, 40_000, WORLD, 53).payload(&[6; 64]).no_checksum()))
            .send(udp(WORLD, 53, HOST, 40_000).no_checksum())
            .expect(rx(udp(WORLD, 53, WEB_1, 40_000).no_checksum())),
        case("DSCP and ECN stay")
            .send(syn().traffic_class(0xb9))
            .expect(tx(syn_out().traffic_class(0xb9)))
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ack().traffic_class(3))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn().ack().traffic_class(3))),
        case("a packet too big to state its length has the frame's")
            .send(
                tcp(WEB_1, 40_000, WORLD, 443)
                    .ack()
                    .payload(&[1; 900])
                    .segments(300)
                    .stated_length(0),
            )
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).ack().payload(&[1; 900]).stated_length(0)))
            .send(tcp(WEB_1, 40_000, WORLD, 443).ack().payload(&[1; 90]).stated_length(0).only(V4))
            .expect(refuse(Malformed)),
        case("a length beyond the frame is malformed")
            .send(syn().stated_length(1200))
            .expect(refuse(Malformed)),
        case("a total length below the header's is malformed")
            .send(syn().stated_length(19).only(V4))
            .expect(refuse(Malformed)),
        case("a header shorter than its fixed part is malformed")
            .send(syn().network_bytes(0, &[0x44]).only(V4))
            .expect(refuse(Malformed)),
        case("an IPv4 packet in an IPv6 frame is malformed")
            .send(syn().network_bytes(0, &[0x45]).only(V6))
            .expect(refuse(Malformed)),
        case("an IPv6 packet in an IPv4 frame is malformed")
            .send(syn().network_bytes(0, &[0x65]).only(V4))
            .expect(refuse(Malformed)),
        case("a TCP header shorter than its fixed part is malformed")
            .send(syn().transport_bytes(12, &[0x40]))
            .expect(refuse(Malformed)),
        case("a transport header that is cut off is malformed")
            .send(raw(WEB_1, WORLD, 6).payload(&[1; 10]))
            .expect(refuse(Malformed))
            .send(raw(WEB_1, WORLD, 17).payload(&[1; 7]))
            .expect(refuse(Malformed)),
        case("malformed from outside is the host's to judge")
            .send(tcp(WORLD, 443, HOST, 40_000).stated_length(1200))
            .expect(pass(PassReason::NotOurs)),
        case("malformed into a network is refused")
            .send_at(into_network(WEB, UPLINK), tcp(WORLD, 443, WEB_1, 40_000).stated_length(1200))
            .expect(refuse(Malformed)),
        case("malformed with a private source does not leave")
            .send_at(to_outside(), syn().transport_bytes(12, &[0x40]))
            .expect(refuse(PrivateSource))
            .send_at(to_outside(), raw(WEB_1, WORLD, 6).payload(&[1; 10]))
            .expect(refuse(PrivateSource)),
        case("an IPv4-mapped address in an IPv6 header is malformed")
            .send(tcp(WEB_1, 40_000, MAPPED, 443).syn().only(V6))
            .expect(refuse(Malformed))
            .send(tcp(WEB_1.calling_itself(&MAPPED), 40_000, WORLD, 443).syn())
            .expect(refuse(Malformed)),
        case("what is neither IP nor ARP is the bridge's inside, and nobody's outside")
            .send(syn().ether_type(0x88cc))
            .expect(pass(PassReason::Bridge))
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ether_type(0x88cc))
            .expect(pass(PassReason::NotOurs))
            .send_at(into_network(WEB, UPLINK), syn().ether_type(0x88cc))
            .expect(refuse(NotPublished)),
        case("a tag from outside is the host's to take off")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 40_000, HOST, 8080).syn().vlan(5))
            .expect(pass(PassReason::NotOurs)),
        case("damage is not hidden: a wrong checksum stays as wrong as it was")
            .send(udp(WEB_1, 40_000, WORLD, 53).payload(b"payload").transport_bytes(8, b"q"))
            .expect(tx(udp(HOST, 40_000, WORLD, 53).payload(b"payload").transport_bytes(8, b"q"))),
    ]
}
