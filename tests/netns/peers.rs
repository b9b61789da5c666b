//! Endpoint to endpoint, on one network.

use netebpf_tests::lab::{
    Lab, Wire, both,
    family::{C1, C2, FRONT},
    frame::{self, BROADCAST, ether},
    topology,
};

netebpf_tests::tests![reach_each_other, broadcast_and_multicast, what_the_shortcut_does_not_know];

/// Ping, TCP, UDP; one hop; the sender's own address; past the bridge.
fn reach_each_other() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let echo = c2.echo(7);
    both(|family| {
        c1.reaches(C2.of(family));
        c2.reaches(C1.of(family));
        c1.reaches(FRONT.of(family));
        c1.ask_both(C2.port(family, 7));
        assert!(echo.clients().iter().all(|client| client.ip() == C1.of(family)));
        assert_eq!(c1.trace_echo(C2.of(family)), [Some(C2.of(family))]);
        assert_eq!(c1.trace_udp(C2.of(family)), [Some(C2.of(family))]);
    });
    for endpoint in ["c1", "c2"] {
        assert!(lab.counter(endpoint, "deliver/peer") > 0, "the shortcut carried nothing");
    }
    assert_eq!(lab.counter("d1", "deliver/peer"), 0);
}

/// mDNS and its like work inside a network, and stay there.
fn broadcast_and_multicast() {
    let lab = Lab::up(&topology());
    let (c1, c2, d1) = (lab.endpoint("c1"), lab.endpoint("c2"), lab.endpoint("d1"));
    let (at_c2, at_d1) = (lab.sniff(&c2, "eth0"), lab.sniff(&d1, "eth0"));
    let (wire, own) = (Wire::open(&c1, "eth0"), c1.mac("eth0"));
    let (v4, v6) = (C1.0.into(), C1.1.into());
    let groups = [
        (BROADCAST, ether::IPV4, v4, "255.255.255.255"),
        (BROADCAST, ether::IPV4, v4, "10.10.0.255"),
        ([0x01, 0, 0x5e, 0, 0, 0xfb], ether::IPV4, v4, "224.0.0.251"),
        ([0x33, 0x33, 0, 0, 0, 0xfb], ether::IPV6, v6, "ff02::fb"),
    ];
    for (mac, kind, from, to) in groups {
        let to = to.parse().expect("an address");
        let datagram = frame::udp((from, 5353), (to, 5353), b"to everybody");
        wire.send(&frame::ethernet(mac, own, kind, &datagram));
        at_c2.wait_for(&to.to_string(), |seen| seen.is(frame::proto::UDP, from, to));
    }
    lab.settle();
    assert!(!at_d1.saw(|seen| seen.contains(b"to everybody")), "it reached another network");
}

/// Other protocols between peers take the bridge.
fn what_the_shortcut_does_not_know() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let at_c2 = lab.sniff(&c2, "eth0");
    let (wire, own, other) = (Wire::open(&c1, "eth0"), c1.mac("eth0"), c2.mac("eth0"));
    both(|family| {
        let (from, to) = (C1.of(family), C2.of(family));
        let kind = if from.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
        for protocol in [frame::proto::GRE, frame::proto::SCTP, frame::proto::EXPERIMENT] {
            let packet = frame::ip(from, to, protocol, b"anything at all");
            wire.send(&frame::ethernet(other, own, kind, &packet));
            at_c2.wait_for("the packet", |seen| seen.is(protocol, from, to));
        }
        // Fragmented, there and back.
        let _echo = c2.echo(7);
        let answer = c1.datagram(C2.port(family, 7)).payload(4000).send();
        assert_eq!(answer, netebpf_tests::lab::probe::Answer::Reply);
    });
}
