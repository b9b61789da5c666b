//! The requirements, each a function that panics where it does not hold.

mod abuse;
mod connections;
mod headers;
mod uplink;

pub(super) use abuse::*;
pub(super) use connections::*;
pub(crate) use headers::priority_tags;
pub(super) use headers::*;
pub(super) use uplink::*;

use netebpf_tests::lab::{
    Family, Lab, Ns, Wire, both,
    family::{C1, C2, FRONT, HOST, LAN, Pair, ROUTER, SERVER},
    frame::{self, ether, proto},
    moment, patience,
    probe::{Answer, port_unreachable, too_big},
    traffic::{ask, say},
};
use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, UdpSocket},
    thread,
    time::Duration,
};

/// The client that an echo server saw is the host, at this port.
#[track_caller]
fn is_host(client: SocketAddr, family: Family, port: u16) {
    assert_eq!(client, HOST.port(family, port));
}

pub(super) fn independent_mapping(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let echoes = [lab.server.echo(7), lab.lan.echo(7)];
    both(|family| {
        let socket = c1.udp(family, 5000);
        for (echo, them) in echoes.iter().zip([SERVER, LAN]) {
            ask(&socket, them.port(family, 7), b"which port?").expect("answered");
            is_host(echo.client(), family, 5000);
            let connected = c1.connect_from(Some(5000), them.port(family, 7), patience());
            say(&mut connected.expect("connected"), b"which port?").expect("answered");
            is_host(echo.client(), family, 5000);
        }
    });
}

pub(super) fn independent_mapping_of_another_port(lab: &Lab) {
    let (first, second) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (there, here) = (lab.server.echo(7), lab.lan.echo(7));
    both(|family| {
        ask(&first.udp(family, 5001), SERVER.port(family, 7), b"mine").expect("answered");
        is_host(there.client(), family, 5001);
        let socket = second.udp(family, 5001);
        ask(&socket, SERVER.port(family, 7), b"which port?").expect("answered");
        ask(&socket, LAN.port(family, 7), b"which port?").expect("answered");
        let outside = there.client();
        assert_ne!(outside, HOST.port(family, 5001));
        assert_eq!(outside, here.client());
    });
}

pub(super) fn outside_tuples_are_unique(lab: &Lab) {
    let endpoints = [lab.endpoint("c1"), lab.endpoint("c2"), lab.endpoint("d1")];
    let echo = lab.server.echo(7);
    both(|family| {
        let server = SERVER.port(family, 7);
        let sockets: Vec<UdpSocket> = endpoints.iter().map(|ns| ns.udp(family, 5000)).collect();
        let mut streams: Vec<_> = endpoints
            .iter()
            .map(|ns| ns.connect_from(Some(5001), server, patience()).expect("connected"))
            .collect();
        sockets.iter().for_each(|socket| ask(socket, server, b"UDP").expect("answered"));
        streams.iter_mut().for_each(|stream| say(stream, b"TCP").expect("answered"));
        let mut clients = echo.clients();
        clients.sort();
        clients.dedup();
        // A port may be one flow's of TCP and another's of UDP.
        let kept = [5000, 5001].map(|port| HOST.port(family, port));
        assert!(kept.iter().all(|kept| clients.contains(kept)), "{clients:?}");
        assert!(clients.len() >= 5 && clients.iter().all(|client| client.ip() == kept[0].ip()));
    });
}

pub(super) fn the_port_is_kept(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let echo = lab.server.echo(7);
    both(|family| {
        for port in [5001, 5002, 700, 1023, 60_001] {
            ask(&c1.udp(family, port), SERVER.port(family, 7), b"kept?").expect("answered");
            is_host(echo.client(), family, port);
        }
    });
}

pub(super) fn the_hosts_sockets(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let echo = lab.server.echo(7);
    both(|family| {
        let address = SocketAddr::new(family.any(), 5003);
        let _listener = lab.host.run(|| TcpListener::bind(address)).expect("a free port");
        let _socket = lab.host.udp(family, 5003);
        ask(&c1.udp(family, 5003), SERVER.port(family, 7), b"whose?").expect("answered");
        assert_ne!(echo.client(), HOST.port(family, 5003));
        let connected = c1.connect_from(Some(5003), SERVER.port(family, 7), patience());
        say(&mut connected.expect("connected"), b"whose?").expect("answered");
        assert_ne!(echo.client(), HOST.port(family, 5003));
    });
}

/// Nothing arrives at a socket.
#[track_caller]
fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(moment())).expect("a time limit");
    let got = socket.recv_from(&mut [0; 64]);
    assert!(got.is_err(), "it came in: {got:?}");
}

pub(super) fn filtering(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        let socket = c1.udp(family, 5004);
        ask(&socket, SERVER.port(family, 7), b"open").expect("answered");
        // Another address, and another port of the same one.
        for (stranger, port) in [(&lab.lan, 7), (&lab.server, 8)] {
            let stranger = stranger.udp(family, port);
            stranger.send_to(b"knock", HOST.port(family, 5004)).expect("sent");
        }
        hears_nothing(&socket);
    });
}

/// What the NAT says of the connection from this port.
fn tcp_state(lab: &Lab, family: Family, port: u16) -> String {
    if lab.is_reference() {
        let family = if family == Family::V4 { "ipv4" } else { "ipv6" };
        let port = port.to_string();
        let list = ["-L", "-p", "tcp", "-f", family, "--orig-port-src", &port];
        let line = lab.host.tool("conntrack", &list).ok();
        // Protocol, its number, seconds left, state.
        return line.split_whitespace().nth(3).expect("a connection").to_owned();
    }
    let flows = lab.json("conntrack ls");
    let ours = |flow: &&serde_json::Value| {
        let outside = &flow["reply"];
        outside["destination_port"] == port && outside["destination"] == HOST.of(family).to_string()
    };
    let flow = flows.as_array().expect("an array").iter().find(ours).expect("a connection");
    flow["state"].as_str().expect("a name").to_owned()
}

/// The Ethernet address of front's gateway.
fn gateway(lab: &Lab) -> [u8; 6] {
    if lab.is_reference() { lab.host.mac("br-front") } else { [2, 0x42, 10, 10, 0, 1] }
}

pub(super) fn forged_resets(lab: &Lab) {
    let (c1, echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let wire = Wire::open(&lab.lan, "eth0");
    let (host, lan) = (lab.host.mac("up0"), lab.lan.mac("eth0"));
    both(|family| {
        let mut stream = c1.connect(SERVER.port(family, 7)).expect("connected");
        say(&mut stream, b"before").expect("answered");
        let port = echo.client().port();
        let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
        for sequence in [1, 1 << 30, 1 << 31] {
            let forged = frame::reset((SERVER.of(family), 7), (HOST.of(family), port), sequence);
            wire.send(&frame::ethernet(host, lan, kind, &forged));
        }
        thread::sleep(Duration::from_millis(100));
        assert_eq!(tcp_state(lab, family, port), "ESTABLISHED");
        say(&mut stream, b"after").expect("answered");
    });
}

pub(super) fn tuples_are_used_again(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        let server = SERVER.port(family, 77);
        let listener = lab.server.run(|| TcpListener::bind(server)).expect("a free port");
        for _ in 0..2 {
            let client = c1.connect_from(Some(5009), server, patience()).expect("connected");
            // Who ends a connection first waits; here it is the server.
            let (accepted, from) = listener.accept().expect("it comes");
            is_host(from, family, 5009);
            drop(accepted);
            assert_eq!((&client).read(&mut [0]).expect("the end"), 0);
        }
    });
}

/// Crafted packets of an endpoint on front to somewhere outside.
fn craft(lab: &Lab, endpoint: &str, family: Family, packets: &[Vec<u8>]) {
    let endpoint = lab.endpoint(endpoint);
    let (wire, own) = (Wire::open(&endpoint, "eth0"), endpoint.mac("eth0"));
    for packet in packets {
        wire.send(&frame::ethernet(gateway(lab), own, ether_type(family), packet));
    }
}

fn ether_type(family: Family) -> u16 {
    if family == Family::V4 { ether::IPV4 } else { ether::IPV6 }
}

pub(super) fn options_and_extension_headers(lab: &Lab) {
    both(|family| {
        let server = lab.server.udp(family, 7);
        let (from, to) = ((C1.of(family), 5024), (SERVER.of(family), 7));
        let datagram = frame::udp_datagram(from, to, b"with options");
        let packet = if family == Family::V4 {
            // No operation, three times, and the end (RFC 791 §3.1).
            frame::ip_with(from.0, to.0, proto::UDP, 64, &[1, 1, 1, 0], &datagram)
        } else {
            // Destination options: six bytes of padding (RFC 8200 §4.6).
            let options = [&[proto::UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
            frame::ip(from.0, to.0, 60, &options)
        };
        craft(lab, "c1", family, &[packet]);
        let mut payload = [0; 64];
        let (length, from) = server.recv_from(&mut payload).expect("it arrives");
        assert_eq!(&payload[..length], b"with options");
        is_host(from, family, 5024);
    });
}

pub(super) fn unknown_protocols(lab: &Lab) {
    let unknown = [proto::GRE, proto::ESP, proto::SCTP, proto::EXPERIMENT];
    both(|family| {
        let (from, to) = (C1.of(family), SERVER.of(family));
        let packets = unknown.map(|protocol| frame::ip(from, to, protocol, b"0123456789abcdef"));
        craft(lab, "c1", family, &packets);
    });
    lab.settle();
    assert!(lab.at_router().private().is_empty());
}

/// The NAT forgets every flow.
fn forget(lab: &Lab) {
    if lab.is_reference() {
        lab.host.tool("conntrack", &["-F"]).ok();
    } else {
        lab.run("conntrack rm --all").ok();
    }
}

pub(super) fn mid_flow(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        let mut stream = c1.connect(SERVER.port(family, 7)).expect("connected");
        say(&mut stream, b"before").expect("answered");
        forget(lab);
        say(&mut stream, b"after").expect("answered");
    });
}

pub(super) fn late_reply(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        let (socket, server) = (c1.udp(family, 5005), lab.server.udp(family, 7));
        socket.send_to(b"question", SERVER.port(family, 7)).expect("sent");
        let (_, from) = server.recv_from(&mut [0; 64]).expect("it arrives");
        is_host(from, family, 5005);
        forget(lab);
        server.send_to(b"answer", from).expect("sent");
        hears_nothing(&socket);
    });
}

fn hairpin_from(lab: &Lab, client: &Ns) {
    let echo = lab.endpoint("c1").echo(80);
    both(|family| {
        client.ask_tcp(HOST.port(family, 8080));
        client.ask_udp(HOST.port(family, 8080));
        drop(echo.clients());
    });
}

pub(super) fn hairpin(lab: &Lab) {
    hairpin_from(lab, &lab.endpoint("c2"));
}

pub(super) fn hairpin_to_another_network(lab: &Lab) {
    hairpin_from(lab, &lab.endpoint("d1"));
}

pub(super) fn hairpin_to_itself(lab: &Lab) {
    hairpin_from(lab, &lab.endpoint("c1"));
}

pub(super) fn hairpin_errors(lab: &Lab) {
    let clients = ["c2", "c1"].map(|name| lab.endpoint(name));
    both(|family| {
        for client in &clients {
            match client.datagram(HOST.port(family, 8080)).send() {
                Answer::Error(error) => {
                    assert_eq!(error.kind, port_unreachable(family));
                    assert_eq!(error.from, Some(HOST.of(family)));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(
                client.refused(HOST.port(family, 8080)),
                std::io::ErrorKind::ConnectionRefused
            );
        }
    });
}

pub(super) fn ping_identifiers(lab: &Lab) {
    let endpoints = [lab.endpoint("c1"), lab.endpoint("c2")];
    both(|family| {
        let server = SERVER.of(family).to_string();
        let arguments = ["-e", "4711", "-c", "3", "-i", "0.2", "-W", "5", &server];
        thread::scope(|scope| {
            let pings = endpoints.each_ref().map(|ns| {
                // One after the other begins: of two that do so at once netfilter may lose a packet.
                let ping = scope.spawn(move || ns.tool("ping", &arguments));
                thread::sleep(Duration::from_millis(100));
                ping
            });
            for ping in pings {
                let out = ping.join().expect("no panic").ok();
                assert!(out.contains(" 3 received"), "{out}");
            }
        });
    });
}

pub(super) fn inbound_errors(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        match c1.datagram(SERVER.port(family, 9)).send() {
            Answer::Error(error) => {
                assert_eq!(error.kind, port_unreachable(family));
                assert_eq!(error.from, Some(SERVER.of(family)));
            }
            other => panic!("{other:?}"),
        }
        // TCP's is a reset, and the error about an echo is the router's.
        assert_eq!(c1.refused(SERVER.port(family, 9)), std::io::ErrorKind::ConnectionRefused);
        match c1.ping(SERVER.of(family)).hops(2).send() {
            Answer::Error(error) => assert_eq!(error.from, Some(ROUTER.of(family))),
            other => panic!("{other:?}"),
        }
    });
}

pub(super) fn outbound_errors(lab: &Lab) {
    both(|family| match lab.lan.datagram(HOST.port(family, 8080)).send() {
        Answer::Error(error) => {
            assert_eq!(error.kind, port_unreachable(family));
            assert_eq!(error.from, Some(HOST.of(family)));
        }
        other => panic!("{other:?}"),
    });
}

pub(super) fn errors_end_nothing(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        let (socket, server) = (c1.udp(family, 5006), SERVER.port(family, 7));
        let echo = lab.server.echo(7);
        ask(&socket, server, b"before").expect("answered");
        is_host(echo.client(), family, 5006);
        drop(echo);
        // Nobody is there: an error comes back, and the mapping stays.
        socket.send_to(b"anybody?", server).expect("sent");
        hears_nothing(&socket);
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        let echo = lab.server.echo(7);
        ask(&socket, server, b"after").expect("answered");
        is_host(echo.client(), family, 5006);
    });
}

pub(super) fn hop_limit(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        let path = [FRONT, ROUTER, SERVER].map(|hop| Some(hop.of(family)));
        assert_eq!(c1.trace_echo(SERVER.of(family)), path);
        assert_eq!(c1.trace_udp(SERVER.of(family)), path);
    });
}

pub(super) fn path_mtu(lab: &Lab) {
    lab.narrow_path();
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| match c1.datagram(SERVER.port(family, 7)).whole(1420).send() {
        Answer::Error(error) => {
            assert_eq!((error.kind, error.info), (too_big(family), 1400));
            assert_eq!(error.from, Some(ROUTER.of(family)));
        }
        other => panic!("{other:?}"),
    });
}

pub(super) fn fragments_of_a_ping(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        for payload in [1473, 4000, 20_000] {
            let answer = c1.ping(SERVER.of(family)).payload(payload).send();
            assert_eq!(answer, Answer::Reply, "{payload} bytes");
        }
    });
}

pub(super) fn fragments_of_a_datagram(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        for payload in [1473, 4000, 20_000] {
            let text = vec![b'x'; payload];
            ask(&c1.udp(family, 0), SERVER.port(family, 7), &text).expect("answered");
        }
    });
}

/// A UDP datagram of an endpoint's to the server, in two fragments.
fn two_fragments(family: Family, endpoint: Pair, text: &[u8]) -> [Vec<u8>; 2] {
    let (from, to) = ((endpoint.of(family), 5022), (SERVER.of(family), 7));
    let datagram = frame::udp_datagram(from, to, text);
    let pieces = frame::in_pieces(from.0, to.0, (proto::UDP, 9), &datagram, 24);
    pieces.try_into().expect("two")
}

/// A UDP datagram in many fragments, the last one first.
fn backwards(from: SocketAddr, to: SocketAddr, identification: u16, text: &[u8]) -> Vec<Vec<u8>> {
    let datagram = frame::udp_datagram((from.ip(), from.port()), (to.ip(), to.port()), text);
    let name = (proto::UDP, identification);
    let mut pieces = frame::in_pieces(from.ip(), to.ip(), name, &datagram, 1400);
    pieces.reverse();
    pieces
}

pub(super) fn fragments_around_the_first(lab: &Lab) {
    let kept = || match lab.is_reference() {
        true => 0,
        false => lab.counter("c1", "keep/later_fragment"),
    };
    both(|family| {
        let server = lab.server.udp(family, 7);
        let (from, to) = ((C1.of(family), 5032), (SERVER.of(family), 7));
        let text = |n: u16| format!("{n:04} in three fragments, the first of them in between");
        let pieces = |n: u16| {
            let datagram = frame::udp_datagram(from, to, text(n).as_bytes());
            let mut pieces = frame::in_pieces(from.0, to.0, (proto::UDP, n), &datagram, 24);
            pieces.swap(0, 1);
            pieces
        };
        craft(lab, "c1", family, &(100..200).flat_map(pieces).collect::<Vec<_>>());
        for _ in 100..200 {
            let mut bytes = [0; 128];
            let (length, _) = server.recv_from(&mut bytes).expect("it arrives");
            let arrived = std::str::from_utf8(&bytes[..length]).expect("text");
            let n = arrived[..4].parse().expect("its number");
            assert_eq!(arrived, text(n));
        }
        // None of them goes round for ever.
        let before = kept();
        thread::sleep(moment());
        assert_eq!(kept(), before);
    });
}

pub(super) fn fragments_in_reverse(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let (wire, own) = (Wire::open(&lab.lan, "eth0"), lab.lan.mac("eth0"));
    let text: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
    let arrives = |socket: &UdpSocket| {
        let mut bytes = vec![0; 65_536];
        let (length, _) = socket.recv_from(&mut bytes).expect("it arrives");
        assert!(bytes[..length] == text, "as it was sent");
    };
    both(|family| {
        let (there, here) = (lab.server.udp(family, 7), c1.udp(family, 5031));
        let (inside, server) = (C1.port(family, 5031), SERVER.port(family, 7));
        craft(lab, "c1", family, &backwards(inside, server, 10, &text));
        arrives(&there);
        // From outside: to a socket that has asked, and to a published port.
        here.send_to(b"question", LAN.port(family, 7)).expect("sent");
        lab.at_lan().wait_for("the question", |seen| seen.contains(b"question"));
        let published = c1.udp(family, 80);
        for (socket, port, identification) in [(&here, 5031, 11), (&published, 8080, 12)] {
            let lan = LAN.port(family, 7);
            for packet in backwards(lan, HOST.port(family, port), identification, &text) {
                let to = lab.host.mac("up0");
                wire.send(&frame::ethernet(to, own, ether_type(family), &packet));
            }
            arrives(socket);
        }
        lab.at_lan().clear();
    });
}

pub(super) fn fragments_out_of_order(lab: &Lab) {
    both(|family| {
        let server = lab.server.udp(family, 7);
        let [first, later] = two_fragments(family, C1, b"in two fragments, the other way");
        craft(lab, "c1", family, &[later, first]);
        let mut text = [0; 64];
        let (length, _) = server.recv_from(&mut text).expect("it arrives");
        assert_eq!(&text[..length], b"in two fragments, the other way");
    });
}

pub(super) fn cut_for_an_endpoint(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    if lab.is_reference() {
        for (ns, link) in [(&lab.host, "br-front"), (&lab.host, "to-c1"), (&c1, "eth0")] {
            ns.ip(&format!("link set {link} mtu 1280"));
        }
    } else {
        lab.up_again(&super::published().mtu("front", 1280), &[]).ok();
    }
    // What they send may be cut on its way.
    for ns in [&lab.lan, &lab.server] {
        ns.sysctl("net/ipv4/ip_no_pmtu_disc", "1");
    }
    let _echoes = (c1.echo(80), lab.server.echo(7));
    // Cut by the host only, and by the sender first: the pieces that are too long are cut again.
    for payload in [1400, 4000, 20_000] {
        let published = lab.lan.datagram(HOST.port(Family::V4, 8080)).payload(payload);
        assert_eq!(published.send(), Answer::Reply, "{payload} bytes to a published port");
        let asked = c1.datagram(SERVER.port(Family::V4, 7)).payload(payload);
        assert_eq!(asked.send(), Answer::Reply, "{payload} bytes in answer");
    }
}

pub(super) fn identifications(lab: &Lab) {
    // Put together of what belongs to two, a datagram has one.
    lab.wrong_checksums_are_sent();
    both(|family| {
        let server = lab.server.udp(family, 7);
        let [c1_first, c1_later] = two_fragments(family, C1, b"this one is what c1 had to say");
        let [c2_first, c2_later] = two_fragments(family, C2, b"and that is what was c2's wish");
        craft(lab, "c1", family, &[c1_first]);
        craft(lab, "c2", family, &[c2_first, c2_later]);
        craft(lab, "c1", family, &[c1_later]);
        let mut arrived = Vec::new();
        for _ in 0..2 {
            let mut text = [0; 64];
            let (length, _) = server.recv_from(&mut text).expect("it arrives");
            arrived.push(text[..length].to_vec());
        }
        assert!(arrived.contains(&b"this one is what c1 had to say".to_vec()));
        assert!(arrived.contains(&b"and that is what was c2's wish".to_vec()));
    });
}

pub(super) fn transit(lab: &Lab) {
    let c2 = lab.endpoint("c2");
    let (here, there) = (lab.endpoint("c1").echo(80), lab.server.echo(8080));
    both(|family| {
        c2.ask_both(SERVER.port(family, 8080));
        assert_eq!((here.clients().len(), there.clients().len()), (0, 2));
    });
}
