//! Floods, full tables, and many at once: what one does, nobody else suffers from.

use super::*;
use netebpf_tests::lab::traffic::bulk;
use std::{net::IpAddr, sync::Barrier};

/// The laboratory again, with other settings of netebpf's.
fn with_settings(lab: &Lab, settings: &str) {
    if !lab.is_reference() {
        lab.run("down").ok();
        lab.settings(settings);
        lab.up_again(&crate::nat::published(), &[]).ok();
    }
}

/// While frames are sent as fast as it goes, and after that: what c2 has open goes on, and what it opens comes about.
fn others_go_on_during(lab: &Lab, family: Family, attack: impl FnOnce() + Send) {
    let (c2, there, server) = (lab.endpoint("c2"), &lab.server, SERVER.port(family, 7));
    let mut open = c2.connect(server).expect("connected");
    thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let transfer = scope.spawn(|| bulk(&c2, there, 5001, SERVER.port(family, 5001), 8 << 20));
        while !(attack.is_finished() && transfer.is_finished()) {
            c2.ask_tcp(server);
            say(&mut open, b"still here").expect("answered");
        }
    });
    for _ in 0..50 {
        c2.ask_tcp(server);
    }
    c2.ask_udp(server);
    say(&mut open, b"still here").expect("answered");
}

/// A packet in a frame of a sender's to somebody beside it.
fn framed(to: frame::Mac, from: frame::Mac, family: Family, packet: &[u8]) -> Vec<u8> {
    let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
    frame::ethernet(to, from, kind, packet)
}

pub(in crate::nat) fn a_flood_from_an_endpoint(lab: &Lab) {
    let (c1, _echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let (wire, to, from) = (Wire::open(&c1, "eth0"), gateway(lab), c1.mac("eth0"));
    // Nobody answers the flood: the way ends at the router, which shall not tell each time.
    lab.router.sysctl("net/ipv4/icmp_ratelimit", "1000");
    lab.router.sysctl("net/ipv6/icmp/ratelimit", "1000");
    both(|family| {
        let syn = |port| {
            let packet = frame::syn((C1.of(family), port), (SERVER.of(family), 7));
            framed(to, from, family, &frame::with_hops(packet, 2))
        };
        others_go_on_during(lab, family, || wire.flood((20_000..=60_999).map(syn)));
    });
}

pub(in crate::nat) fn a_flood_from_outside(lab: &Lab) {
    let _echoes = [lab.server.echo(7), lab.endpoint("c1").echo(80)];
    let (wire, to, from) = (Wire::open(&lab.lan, "eth0"), lab.host.mac("up0"), lab.lan.mac("eth0"));
    for nobody in ["203.0.113.0/24", "2001:db8:bad::/64"] {
        lab.router.ip(&format!("route add blackhole {nobody}"));
    }
    both(|family| {
        let syn = |n: u32| {
            let [a, b, c, d] = n.wrapping_mul(0x9e37_79b9).to_be_bytes();
            let source: IpAddr = match family {
                Family::V4 => [203, 0, 113, a].into(),
                Family::V6 => [0x2001, 0xdb8, 0xbad, 0, 0, 0, b.into(), a.into()].into(),
            };
            let port = u16::from_be_bytes([c, d]) | 1;
            let packet = frame::syn((source, port), (HOST.of(family), 8080));
            framed(to, from, family, &packet)
        };
        others_go_on_during(lab, family, || wire.flood((0..30_000).map(syn)));
    });
}

pub(in crate::nat) fn a_full_table(lab: &Lab) {
    with_settings(lab, "flows = {capacity = 1024}");
    let [c1, c2, d1] = ["c1", "c2", "d1"].map(|name| lab.endpoint(name));
    let _echoes = [lab.server.echo(7), c1.echo(80)];
    let mut open = Vec::new();
    both(|family| {
        for endpoint in [&c1, &c2, &d1] {
            open.push(endpoint.connect(SERVER.port(family, 7)).expect("connected"));
        }
        open.push(lab.lan.connect(HOST.port(family, 8080)).expect("connected"));
    });
    open.iter_mut().for_each(|stream| say(stream, b"before").expect("answered"));
    both(|family| {
        for endpoint in [&c1, &d1] {
            let socket = endpoint.udp(family, 0);
            for port in 10_000..10_500 {
                socket.send_to(b"one of many", SERVER.port(family, port)).expect("sent");
            }
        }
    });
    open.iter_mut().for_each(|stream| say(stream, b"after").expect("answered"));
}

/// What the NAT refused to c2 for lack of a port.
fn refused(lab: &Lab) -> u64 {
    if !lab.is_reference() {
        return lab.counter("c2", "drop/no_free_port");
    }
    let statistics = lab.host.tool("conntrack", &["-S"]).ok();
    let dropped = statistics.split_whitespace().filter_map(|word| word.strip_prefix("drop="));
    dropped.map(|count| count.parse::<u64>().expect("a number")).sum()
}

pub(in crate::nat) fn no_port_left(lab: &Lab) {
    // Linux has other ports for those below 1024 only.
    with_settings(lab, "snat_port_range = \"600-615\"");
    let (c1, c2, d1) = (lab.endpoint("c1"), lab.endpoint("c2"), lab.endpoint("d1"));
    let _echo = lab.server.echo(7);
    both(|family| {
        let server = SERVER.port(family, 7);
        let sockets: Vec<_> = (600..1024).map(|port| c1.udp(family, port)).collect();
        sockets.iter().for_each(|socket| ask(socket, server, b"mine").expect("answered"));
        let before = refused(lab);
        let taken: Vec<_> = (600..1024)
            .map(|port| frame::udp((C2.of(family), port), (server.ip(), 7), b"mine, too"))
            .collect();
        craft(lab, "c2", family, &taken);
        assert!(refused(lab) > before, "nobody counted what was refused");
        sockets.iter().for_each(|socket| ask(socket, server, b"still mine").expect("answered"));
        [&c2, &d1].iter().for_each(|ns| ns.ask_both(server));
    });
}

pub(in crate::nat) fn two_questions_at_once(lab: &Lab) {
    const SOCKETS: usize = 500;
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(53);
    both(|family| {
        for _ in 0..4 {
            let bind = || UdpSocket::bind(SocketAddr::new(family.any(), 0)).expect("a free port");
            let sockets: Vec<_> = c1.run(|| (0..SOCKETS).map(|_| bind()).collect());
            let (server, meet) = (SERVER.port(family, 53), Barrier::new(2));
            let question = |what: &[u8], socket: &UdpSocket| {
                socket.set_read_timeout(Some(patience())).expect("a time limit");
                meet.wait();
                socket.send_to(what, server).expect("sent");
                socket.recv_from(&mut [0; 64]).expect("an answer, to this one or the other");
            };
            // Both answers come to one socket, so two threads that each read one have read both.
            thread::scope(|scope| {
                for what in [&b"A"[..], b"AAAA"] {
                    let (question, sockets) = (&question, &sockets);
                    scope.spawn(move || sockets.iter().for_each(|socket| question(what, socket)));
                }
            });
        }
    });
}
