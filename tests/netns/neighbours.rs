//! Who is asked for an Ethernet address: nobody who need not be.

use netebpf_tests::lab::{
    Lab, Ns, Sniffer, Wire, both,
    family::{C1, C2, FRONT, Family},
    frame::{self, BROADCAST, Mac, Seen, ether, proto},
    topology,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

netebpf_tests::tests![
    no_other_endpoint_is_asked,
    the_host_asks_one,
    an_address_that_is_taken,
    announcements_reach_everybody,
    who_is_gone_is_noticed,
];

const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];
/// The gateway of c1 and c2.
const GATEWAY: Mac = [2, 0x42, 10, 10, 0, 1];

/// Whether this frame asks where an address is, or says so: an ARP message or one of neighbour discovery.
fn is_about(seen: &Seen, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => {
            seen.kind == ether::ARP
                && seen.addresses.is_some_and(|(from, to)| from == address || to == address)
        }
        IpAddr::V6(v6) => {
            seen.kind == ether::IPV6
                && seen.protocol == proto::ICMPV6
                && matches!(seen.payload.get(40), Some(135 | 136))
                && seen.payload.get(48..64) == Some(&v6.octets())
        }
    }
}

/// Everything that was said about an address.
fn about(sniffer: &Sniffer, address: IpAddr) -> Vec<Seen> {
    sniffer.frames().into_iter().filter(|seen| is_about(seen, address)).collect()
}

/// Forgets every neighbour, so that who speaks next has to ask.
fn forget(ns: &Ns) {
    ns.ip("neighbour flush all");
}

/// What was sent before this has been seen by all that see anything.
fn everybody_has_heard(lab: &Lab, from: &Ns, listeners: &[&Sniffer]) {
    lab.settle();
    let mark = frame::ethernet(BROADCAST, from.mac("eth0"), ether::MARK, b"the end");
    Wire::open(from, "eth0").send(&mark);
    for listener in listeners {
        listener.wait_for("the end", |seen| seen.contains(b"the end"));
    }
}

/// An endpoint's questions for its gateway and its neighbour are answered once, and heard by nobody.
fn no_other_endpoint_is_asked() {
    let lab = Lab::up(&topology());
    let [c1, c2] = ["c1", "c2"].map(|name| lab.endpoint(name));
    let echo = c2.echo(7);
    let (at_c1, at_c2) = (lab.sniff(&c1, "eth0"), lab.sniff(&c2, "eth0"));
    let at_gateway = lab.sniff(&lab.host, &lab.bridge("front"));
    both(|family| {
        for (address, mac) in [(FRONT, GATEWAY), (C2, c2.mac("eth0"))] {
            [&at_c1, &at_c2, &at_gateway].into_iter().for_each(Sniffer::clear);
            forget(&c1);
            let address = address.of(family);
            c1.reaches(address);
            let known = c1.ip(&format!("neighbour show {address}"));
            assert!(known.contains(&netebpf_common::abi::Mac(mac).to_string()), "{known}");
            everybody_has_heard(&lab, &c1, &[&at_c2, &at_gateway]);
            let asked = |seen: &Seen| seen.from == c1.mac("eth0") && seen.to[0] & 1 == 1;
            for listener in [&at_c2, &at_gateway] {
                let heard: Vec<_> = about(listener, address).into_iter().filter(asked).collect();
                assert!(heard.is_empty(), "{address} was asked for: {heard:#?}");
            }
            let answers: Vec<_> = about(&at_c1, address)
                .into_iter()
                .filter(|seen| seen.to == c1.mac("eth0") && seen.from == mac)
                .collect();
            assert_eq!(answers.len(), 1, "{answers:#?}");
        }
        c1.ask_both(C2.port(family, 7));
    });
    assert_eq!(echo.clients().len(), 4);
    assert!(lab.counter("c1", "deliver/answered") >= 4);
}

/// The host's question reaches the endpoint that it is about, once, and no other.
fn the_host_asks_one() {
    let lab = Lab::up(&topology());
    let [c1, c2] = ["c1", "c2"].map(|name| lab.endpoint(name));
    let (at_c1, at_c2) = (lab.sniff(&c1, "eth0"), lab.sniff(&c2, "eth0"));
    both(|family| {
        at_c1.clear();
        at_c2.clear();
        forget(&lab.host);
        let address = C1.of(family);
        lab.host.reaches(address);
        everybody_has_heard(&lab, &c1, &[&at_c2]);
        // And not what c1 says of itself when it appears.
        let asked = |seen: &Seen| seen.from == GATEWAY && seen.to[0] & 1 == 1;
        let heard: Vec<_> = about(&at_c2, address).into_iter().filter(asked).collect();
        assert!(heard.is_empty(), "{address} was asked for: {heard:#?}");
        let questions: Vec<_> = about(&at_c1, address).into_iter().filter(asked).collect();
        assert_eq!(questions.len(), 1, "{questions:#?}");
    });
}

/// Who would like to have an address that is another's is told, as long as it has none: by ARP's probe and by duplicate
/// address detection.
fn an_address_that_is_taken() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let (own, wire) = (c1.mac("eth0"), Wire::open(&c1, "eth0"));
    let at_c1 = lab.sniff(&c1, "eth0");
    for (pair, mac) in [(FRONT, GATEWAY), (C2, lab.endpoint("c2").mac("eth0"))] {
        let probe = frame::arp(1, (own, Ipv4Addr::UNSPECIFIED), ([0; 6], pair.0));
        wire.send(&frame::ethernet(BROADCAST, own, ether::ARP, &probe));
        let conflict = frame::arp(2, (mac, pair.0), (own, Ipv4Addr::UNSPECIFIED));
        at_c1.wait_for("the conflict", |seen| seen.payload.starts_with(&conflict));
        // The kernel's own probe, which it gives up the address for.
        at_c1.clear();
        c1.sysctl("net/ipv6/conf/eth0/accept_dad", "1");
        c1.ip(&format!("address add {}/64 dev eth0", pair.1));
        netebpf_tests::lab::eventually("the duplicate to be found", || {
            c1.ip("-6 address show dev eth0").contains("dadfailed")
        });
        let answer = |seen: &Seen| is_about(seen, pair.1.into()) && seen.payload[40] == 136;
        at_c1.wait_for("the answer", answer);
        let answers: Vec<_> = at_c1.frames().into_iter().filter(answer).collect();
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!((answers[0].from, answers[0].to), (mac, ALL_NODES));
        c1.ip(&format!("address del {}/64 dev eth0", pair.1));
    }
}

/// What an endpoint says of itself without being asked everybody hears, once.
fn announcements_reach_everybody() {
    let lab = Lab::up(&topology());
    let [c1, c2] = ["c1", "c2"].map(|name| lab.endpoint(name));
    let (own, wire) = (c1.mac("eth0"), Wire::open(&c1, "eth0"));
    let listeners = [lab.sniff(&c2, "eth0"), lab.sniff(&lab.host, &lab.bridge("front"))];
    // netebpf itself announces c1: what nobody reads is another here.
    const MARK: Mac = [6; 6];
    let advertisement = {
        let body = [&[0x20, 0, 0, 1][..], &C1.1.octets(), &[2, 1], &own].concat();
        let all: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
        frame::icmp(C1.1.into(), all, 136, 0, &body)
    };
    let said = [
        (BROADCAST, ether::ARP, frame::arp(1, (own, C1.0), (MARK, C1.0))),
        (BROADCAST, ether::ARP, frame::arp(2, (own, C1.0), (MARK, C1.0))),
        (ALL_NODES, ether::IPV6, advertisement),
    ];
    for (to, kind, message) in &said {
        wire.send(&frame::ethernet(*to, own, *kind, message));
    }
    everybody_has_heard(&lab, &c1, &listeners.each_ref());
    for (_, _, message) in &said {
        for listener in &listeners {
            let heard = listener.frames().into_iter().filter(|s| s.payload.starts_with(message));
            assert_eq!(heard.count(), 1);
        }
    }
}

/// An endpoint that went is answered for by nobody.
fn who_is_gone_is_noticed() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    both(|family| c1.reaches(C2.of(family)));
    lab.netebpf(&["rm", "c2"]).ok();
    forget(&c1);
    for family in [Family::V4, Family::V6] {
        c1.never_reaches(C2.of(family));
        let known = c1.ip(&format!("neighbour show {}", C2.of(family)));
        assert!(!known.contains("lladdr"), "{known}");
    }
}
