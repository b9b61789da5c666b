//! An endpoint that lies: nobody hears it, and the lie is counted by name.

use netebpf_tests::lab::{
    Lab, Wire,
    family::{C1, C2, D1, FRONT, SERVER},
    frame::{self, BROADCAST, Mac, ether},
    topology,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

netebpf_tests::tests![nobody_hears_a_lie, a_lie_poisons_nobody, malformed_frames];

const EVERY_NODE: Mac = [0x33, 0x33, 0, 0, 0, 1];
const STRANGER: Mac = [2, 0, 0, 0, 0, 0x66];

/// One lie: what it is, the frame, the counter that must rise.
struct Lie {
    what: &'static str,
    frame: Vec<u8>,
    counter: &'static str,
}

fn lie(what: &'static str, counter: &'static str, frame: Vec<u8>) -> Lie {
    Lie { what, frame, counter }
}

/// A neighbour or router message's target and Ethernet address option (RFC 4861 §4.6.1).
fn discovery(flags: [u8; 4], target: Ipv6Addr, option: u8, mac: Mac) -> Vec<u8> {
    [&flags[..], &target.octets(), &[option, 1], &mac].concat()
}

fn lies(own: Mac, peer: Mac) -> Vec<Lie> {
    let all_nodes: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
    let (c1, c2, gateway) = (C1, C2, FRONT);
    let (c1_v6, c2_v6): (IpAddr, IpAddr) = (c1.1.into(), c2.1.into());
    let link_local = IpAddr::from(netebpf_common::abi::Mac(own).link_local().octets());
    let word = b"a lie";
    let v4 = |from: Ipv4Addr| frame::udp((from.into(), 7), (c2.0.into(), 7), word);
    let v6 = |from: Ipv6Addr| frame::udp((from.into(), 7), (c2.1.into(), 7), word);
    let to_peer = |kind, packet: &[u8]| frame::ethernet(peer, own, kind, packet);
    let to_all = |kind, packet: &[u8]| frame::ethernet(BROADCAST, own, kind, packet);
    let nd = |from, kind, body: &[u8]| {
        let packet = frame::icmp(from, all_nodes, kind, 0, body);
        frame::ethernet(EVERY_NODE, own, ether::IPV6, &packet)
    };
    let dhcp = [&[2, 1, 6, 0], &[0; 232][..], &[99, 130, 83, 99, 53, 1, 2, 255]].concat();
    let offer = frame::udp((c1.0.into(), 67), (Ipv4Addr::BROADCAST.into(), 68), &dhcp);
    let advertise = frame::udp((link_local, 547), (c2_v6, 546), &[2, 0, 0, 1]);
    let tagged = [&[0, 5][..], &ether::IPV4.to_be_bytes(), &v4(c1.0)].concat();
    vec![
        lie(
            "another Ethernet address",
            "drop/spoofed_mac",
            frame::ethernet(peer, STRANGER, ether::IPV4, &v4(c1.0)),
        ),
        lie("the peer's Ethernet address", "drop/spoofed_mac", {
            frame::ethernet(
                BROADCAST,
                peer,
                ether::ARP,
                &frame::arp(1, (peer, c1.0), ([0; 6], c2.0)),
            )
        }),
        lie(
            "a free address",
            "drop/spoofed_address",
            to_peer(ether::IPV4, &v4([10, 10, 0, 99].into())),
        ),
        lie("the gateway's address", "drop/spoofed_address", to_peer(ether::IPV4, &v4(gateway.0))),
        lie("an outside address", "drop/spoofed_address", to_peer(ether::IPV4, &v4(SERVER.0))),
        lie("another network's address", "drop/spoofed_address", to_peer(ether::IPV4, &v4(D1.0))),
        lie(
            "the gateway's IPv6 address",
            "drop/spoofed_address",
            to_peer(ether::IPV6, &v6(gateway.1)),
        ),
        lie("an outside IPv6 address", "drop/spoofed_address", to_peer(ether::IPV6, &v6(SERVER.1))),
        lie("a foreign link-local address", "drop/spoofed_address", {
            to_peer(ether::IPV6, &v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x66)))
        }),
        lie("ARP for the gateway", "drop/spoofed_neighbour", {
            to_all(ether::ARP, &frame::arp(2, (own, gateway.0), (peer, c2.0)))
        }),
        lie("gratuitous ARP for the gateway", "drop/spoofed_neighbour", {
            to_all(ether::ARP, &frame::arp(1, (own, gateway.0), ([0; 6], gateway.0)))
        }),
        lie("ARP with a foreign Ethernet address", "drop/spoofed_neighbour", {
            to_all(ether::ARP, &frame::arp(2, (STRANGER, c1.0), (peer, c2.0)))
        }),
        lie("a neighbour advertisement for the gateway", "drop/spoofed_neighbour", {
            nd(c1_v6, 136, &discovery([0x20, 0, 0, 0], gateway.1, 2, own))
        }),
        lie(
            "a neighbour advertisement with a foreign Ethernet address",
            "drop/spoofed_neighbour",
            nd(c1_v6, 136, &discovery([0x20, 0, 0, 0], c1.1, 2, STRANGER)),
        ),
        lie("a router advertisement", "drop/rogue_router", {
            nd(link_local, 134, &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0])
        }),
        lie("a redirect", "drop/rogue_router", {
            nd(link_local, 137, &discovery([0; 4], SERVER.1, 2, own))
        }),
        lie("a DHCP offer", "drop/rogue_dhcp", to_all(ether::IPV4, &offer)),
        lie("a DHCPv6 advertisement", "drop/rogue_dhcp", to_peer(ether::IPV6, &advertise)),
        lie("a VLAN tag", "drop/vlan_tag", to_peer(ether::VLAN, &tagged)),
    ]
}

fn nobody_hears_a_lie() {
    let lab = Lab::up(&topology());
    let [c1, c2, d1] = ["c1", "c2", "d1"].map(|name| lab.endpoint(name));
    let (own, wire) = (c1.mac("eth0"), Wire::open(&c1, "eth0"));
    let bridge = lab.bridge("front");
    let listeners = [
        ("c2", lab.sniff(&c2, "eth0")),
        ("d1", lab.sniff(&d1, "eth0")),
        ("the gateway", lab.sniff(&lab.host, &bridge)),
    ];
    let lies = lies(own, c2.mac("eth0"));
    for (n, lie) in lies.iter().enumerate() {
        let before = lab.counter("c1", lie.counter);
        wire.send(&lie.frame);
        // What c1 says truly arrives after it.
        let target = Ipv4Addr::new(10, 10, 0, 100 + n as u8);
        let truth = frame::arp(1, (own, C1.0), ([0; 6], target));
        wire.send(&frame::ethernet(BROADCAST, own, ether::ARP, &truth));
        let heard =
            |seen: &frame::Seen| seen.kind == ether::ARP && seen.payload.starts_with(&truth);
        for (_, listener) in [&listeners[0], &listeners[2]] {
            listener.wait_for("a true ARP question", heard);
        }
        let after = lab.counter("c1", lie.counter);
        assert!(after > before, "{}: {} did not rise from {before}", lie.what, lie.counter);
    }
    lab.settle();
    for lie in &lies {
        let body = &lie.frame[14..lie.frame.len().min(150)];
        let heard =
            |seen: &frame::Seen| seen.payload.starts_with(body) && seen.from == lie.frame[6..12];
        for (who, listener) in &listeners {
            assert!(!listener.saw(heard), "{who} heard {}", lie.what);
        }
        assert!(!lab.at_router().saw(heard) && !lab.at_lan().saw(heard), "outside: {}", lie.what);
    }
}

/// The peer's and the host's neighbour tables are what they were, and traffic goes on.
fn a_lie_poisons_nobody() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = lab.server.echo(7);
    let wire = Wire::open(&c1, "eth0");
    netebpf_tests::lab::both(|family| {
        c2.reaches(FRONT.of(family));
        c2.reaches(SERVER.of(family));
        for lie in lies(c1.mac("eth0"), c2.mac("eth0")) {
            wire.send(&lie.frame);
        }
        c2.reaches(FRONT.of(family));
        c2.ask_both(SERVER.port(family, 7));
        c1.ask_both(SERVER.port(family, 7));
        let neighbours = c2.ip("neighbour show");
        assert!(!neighbours.contains("02:00:00:00:00:66"), "{neighbours}");
    });
}

/// Headers that contradict themselves, cut short, or run over: everything else goes on.
fn malformed_frames() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    lab.wrong_checksums_are_sent();
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = [c1.echo(80), lab.server.echo(7)];
    let inside = (Wire::open(&c2, "eth0"), c2.mac("eth0"), [2, 0x42, 10, 10, 0, 1]);
    let outside = (Wire::open(&lab.lan, "eth0"), lab.lan.mac("eth0"), lab.host.mac("up0"));
    let host = netebpf_tests::lab::family::HOST;
    let lan = netebpf_tests::lab::family::LAN;
    for ((wire, own, to), from, target) in [(inside, C2, SERVER), (outside, lan, host)] {
        netebpf_tests::lab::both(|family| {
            let kind = if from.of(family).is_ipv4() { ether::IPV4 } else { ether::IPV6 };
            let whole =
                frame::udp((from.of(family), 9), (target.of(family), 8080), b"cut me short");
            for length in 0..whole.len() {
                wire.send(&frame::ethernet(to, own, kind, &whole[..length]));
            }
            for at in 0..whole.len().min(48) {
                for value in [0, 1, 0x0f, 0x4f, 0x7f, 0x80, 0xff] {
                    let mut bent = whole.clone();
                    bent[at] = value;
                    // A source that is another's is no private address outside.
                    wire.send(&frame::ethernet(to, own, kind, &bent));
                }
            }
        });
    }
    netebpf_tests::lab::both(|family| {
        c2.ask_both(SERVER.port(family, 7));
        lab.lan.ask_both(host.port(family, 8080));
    });
}
