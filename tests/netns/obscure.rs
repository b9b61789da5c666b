//! Packets that we do not translate: none leaves with a private source. (Every test's sniffers see to
//! that; here are those who try.)

use netebpf_tests::lab::{
    Lab, Wire, both,
    family::{C1, SERVER},
    frame::{self, ether, proto},
    moment,
    probe::Answer,
    topology,
};

netebpf_tests::tests![unknown_protocols, fragments, options_and_extension_headers];

const GATEWAY: [u8; 6] = [2, 0x42, 10, 10, 0, 1];

fn unknown_protocols() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let (wire, own) = (Wire::open(&c1, "eth0"), c1.mac("eth0"));
    both(|family| {
        let (from, to) = (C1.of(family), SERVER.of(family));
        let kind = if from.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
        let before = lab.counter("up0", "drop/private_source");
        for protocol in [proto::GRE, proto::ESP, proto::SCTP, proto::EXPERIMENT] {
            let packet = frame::ip(from, to, protocol, b"0123456789abcdef");
            wire.send(&frame::ethernet(GATEWAY, own, kind, &packet));
        }
        netebpf_tests::lab::eventually("four refused packets", || {
            lab.counter("up0", "drop/private_source") >= before + 4
        });
    });
    let host = lab.host.mac("up0");
    lab.settle();
    let unknown = [proto::GRE, proto::ESP, proto::SCTP, proto::EXPERIMENT];
    let out =
        |seen: &frame::Seen| seen.from == host && seen.is_ip() && unknown.contains(&seen.protocol);
    assert!(!lab.at_router().saw(out));
}

/// Fragments of what is too long: translated or refused, never half of each.
fn fragments() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        let probe = c1.datagram(SERVER.port(family, 7)).payload(4000);
        println!("{:?}", probe.clone().within(moment()).send());
        println!("{:?}", c1.ping(SERVER.of(family)).payload(4000).within(moment()).send());
        assert_eq!(c1.datagram(SERVER.port(family, 7)).send(), Answer::Reply);
    });
}

/// IPv4 options and IPv6 extension headers before UDP.
fn options_and_extension_headers() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let (wire, own) = (Wire::open(&c1, "eth0"), c1.mac("eth0"));
    let echo = lab.server.echo(7);
    both(|family| {
        let (from, to) = ((C1.of(family), 40_000), (SERVER.of(family), 7));
        let datagram = frame::udp_datagram(from, to, b"with options");
        let (kind, packet) = if from.0.is_ipv4() {
            // No operation, three times, and the end (RFC 791 §3.1).
            (ether::IPV4, frame::ip_with(from.0, to.0, proto::UDP, 64, &[1, 1, 1, 0], &datagram))
        } else {
            // Destination options: six bytes of padding (RFC 8200 §4.6).
            let options = [&[proto::UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
            (ether::IPV6, frame::ip(from.0, to.0, 60, &options))
        };
        wire.send(&frame::ethernet(GATEWAY, own, kind, &packet));
        c1.ask_udp(SERVER.port(family, 7));
        let clients = echo.clients();
        assert!(clients.iter().all(|client| !netebpf_tests::lab::family::is_private(client.ip())));
    });
}
