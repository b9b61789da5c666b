//! How packets get out of a network and into it: gateway modes, masquerade or not, and for whom a port is.

use netebpf_tests::lab::{
    Lab, Wire, both,
    family::{Family, HOST, LAN, LOOPBACK, Pair, SERVER},
    frame::{self, Mac, ether},
    moment,
    probe::Answer,
    traffic,
};
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

netebpf_tests::tests![
    routed,
    routed_in_pieces,
    one_family_routed,
    without_masquerade,
    never_masqueraded,
    isolated,
    a_port_is_for_whom_it_is_for,
    no_longer_for_a_client,
    bad_input,
];

/// Addresses that are no private ones: they may be seen outside.
const fn at(host: u8) -> Pair {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, host as u16);
    Pair(Ipv4Addr::new(198, 18, 7, host), v6)
}

const GATEWAY: Pair = at(1);
const R1: Pair = at(11);
const R2: Pair = at(12);

const MODE_V4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const MODE_V6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// Network `open` with endpoints r1, which publishes ports, and r2, which does not; and c1 on another network.
fn file(options: &[(&str, &str)], internal: bool, ports: &str) -> String {
    let options: Vec<_> =
        options.iter().map(|(key, value)| format!("{key}: \"{value}\"")).collect();
    format!(
        "name: gateways
networks:
  open:
    internal: {internal}
    driver_opts: {{{}}}
    ipam:
      config:
        - {{subnet: 198.18.7.0/24}}
        - {{subnet: \"2001:db8:7::/64\"}}
  front: {{enable_ipv6: true}}
services:
  r1:
    networks: {{open: {{ipv4_address: {}, ipv6_address: \"{}\"}}}}
    ports: [{ports}]
  r2:
    networks: {{open: {{ipv4_address: {}, ipv6_address: \"{}\"}}}}
  c1: {{networks: [front]}}
",
        options.join(", "),
        R1.0,
        R1.1,
        R2.0,
        R2.1
    )
}

/// Everybody outside knows the way to `open`.
fn routes(lab: &Lab) {
    for ns in [&lab.lan, &lab.router] {
        ns.ip(&format!("route add 198.18.7.0/24 via {}", HOST.0));
        ns.ip(&format!("route add 2001:db8:7::/64 via {}", HOST.1));
    }
}

fn up(options: &[(&str, &str)], internal: bool, ports: &str) -> Lab {
    let lab = Lab::bare();
    routes(&lab);
    lab.up_text(&file(options, internal, ports)).ok();
    lab
}

/// Nobody hears a datagram to there, nor opens a connection.
fn never_asks(from: &netebpf_tests::lab::Ns, to: std::net::SocketAddr) {
    let answer = from.datagram(to).within(moment()).send();
    assert!(!matches!(answer, Answer::Reply), "{} -> {to}: {answer:?}", from.name());
    from.refused(to);
}

/// With their own addresses, in by published ports and echo requests only.
fn routed() {
    let options = [(MODE_V4, "routed"), (MODE_V6, "routed")];
    let ports = "\"8080:80\", \"8080:80/udp\"";
    let lab = up(&options, false, ports);
    let (r1, r2, c1) = (lab.endpoint("r1"), lab.endpoint("r2"), lab.endpoint("c1"));
    let web = r1.echo(80);
    let _others = [r1.echo(81), r1.echo(8080), r2.echo(80)];
    let outside = lab.server.echo(7);
    let work = |family: Family| {
        for (ns, them) in [(&lab.server, SERVER), (&lab.lan, LAN)] {
            let client = ns.ask_tcp(R1.port(family, 80));
            assert_eq!(web.client(), client);
            let port = ns.ask_udp(R1.port(family, 80));
            assert_eq!(web.client(), them.port(family, port));
            ns.reaches(R1.of(family));
            ns.reaches(R2.of(family));
        }
        for (ns, own) in [(&r1, R1), (&r2, R2)] {
            ns.ask_both(SERVER.port(family, 7));
            let clients: Vec<_> = outside.clients().iter().map(|client| client.ip()).collect();
            assert_eq!(clients, [own.of(family); 2]);
            ns.reaches(SERVER.of(family));
        }
        c1.ask_both(SERVER.port(family, 7));
        assert!(outside.clients().iter().all(|client| client.ip() == HOST.of(family)));
    };
    both(work);
    both(|family| {
        for closed in [R1.port(family, 81), R1.port(family, 8080), R2.port(family, 80)] {
            never_asks(&lab.server, closed);
        }
        // No port of the host is taken, and other networks stay apart.
        lab.server.refused(HOST.port(family, 8080));
        never_asks(&c1, R1.port(family, 80));
        c1.never_reaches(R1.of(family));
    });
    let listener = lab.host.run(|| std::net::TcpListener::bind("0.0.0.0:8080"));
    drop(listener.expect("the host's port is free"));
    // And nobody is told of one.
    assert_eq!(shown(&lab, "r1"), "80/tcp, 80/udp");
    let told = &lab.json("inspect r1")[0]["NetworkSettings"]["Ports"]["80/udp"];
    let no_port = |address: &str| json!({"HostIp": address, "HostPort": ""});
    assert_eq!(*told, json!([no_port("0.0.0.0"), no_port("::")]));
    lab.run("port r1 80").fails(1);
    assert_eq!(lab.run("port r1").ok(), "");
    assert_eq!(lab.run("ps --filter publish=8080 --format {{.Names}}").ok(), "");
    lab.kill_daemon();
    both(work);
    lab.up_text(&file(&options, false, ports)).ok();
    both(work);
}

/// A datagram arrives in whatever order its pieces do: out, back, and to a published port.
fn routed_in_pieces() {
    let lab = up(&[(MODE_V4, "routed"), (MODE_V6, "routed")], false, "\"8080:80/udp\"");
    let r1 = lab.endpoint("r1");
    let text: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
    let backwards = |from: SocketAddr, to: SocketAddr, identification| {
        let ends = ((from.ip(), from.port()), (to.ip(), to.port()));
        let datagram = frame::udp_datagram(ends.0, ends.1, &text);
        let name = (frame::proto::UDP, identification);
        let pieces = frame::in_pieces(from.ip(), to.ip(), name, &datagram, 1400);
        pieces.into_iter().rev()
    };
    let arrives = |socket: &UdpSocket| {
        let mut bytes = vec![0; 65_536];
        let (length, _) = socket.recv_from(&mut bytes).expect("it arrives");
        assert!(bytes[..length] == text, "as it was sent");
    };
    let gateway = netebpf_common::abi::Mac([2, 0x42, 198, 18, 7, 1]);
    let inside = (Wire::open(&r1, "eth0"), r1.mac("eth0"), gateway.0);
    let outside = (Wire::open(&lab.lan, "eth0"), lab.lan.mac("eth0"), lab.host.mac("up0"));
    both(|family| {
        let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
        let send = |(wire, own, to): &(Wire, Mac, Mac),
                    pieces: &mut dyn Iterator<Item = Vec<u8>>| {
            pieces.for_each(|piece| wire.send(&frame::ethernet(*to, *own, kind, &piece)));
        };
        let (there, here, published) =
            (lab.lan.udp(family, 7), r1.udp(family, 5031), r1.udp(family, 80));
        let (own, lan) = (R1.port(family, 5031), LAN.port(family, 7));
        // Whoever has to ask for a neighbour first keeps no more than some pieces meanwhile.
        here.send_to(&text, lan).expect("sent");
        arrives(&there);
        send(&inside, &mut backwards(own, lan, 10));
        arrives(&there);
        send(&outside, &mut backwards(lan, own, 11));
        arrives(&here);
        send(&outside, &mut backwards(lan, R1.port(family, 80), 12));
        arrives(&published);
    });
    assert!(lab.counter("up0", "keep/later_fragment") > 0);
}

/// Docker's way of having both: IPv4 by the host's address, IPv6 by the endpoint's own.
fn one_family_routed() {
    let lab = up(&[(MODE_V6, "routed")], false, "\"8080:80\"");
    let web = lab.endpoint("r1").echo(80);
    lab.server.ask_tcp(HOST.port(Family::V4, 8080));
    lab.server.ask_tcp(R1.port(Family::V6, 80));
    assert_eq!(web.clients().len(), 2);
    lab.server.refused(HOST.port(Family::V6, 8080));
    lab.server.refused(R1.port(Family::V4, 80));
    lab.server.never_reaches(R1.of(Family::V4));
    let taken = lab.host.run(|| std::net::TcpListener::bind("0.0.0.0:8080"));
    assert!(taken.is_err(), "the host's IPv4 port is held");
    let options = &lab.json("network inspect open")[0]["Options"];
    assert_eq!(options[MODE_V6], "routed");
    assert_eq!(shown(&lab, "r1"), "0.0.0.0:8080->80/tcp, 80/tcp");
    assert_eq!(lab.run("port r1 80").ok(), "0.0.0.0:8080\n");
    assert_eq!(lab.run("publish r1 8081:81").ok(), "81/tcp -> 0.0.0.0:8081\n");
}

fn shown(lab: &Lab, endpoint: &str) -> String {
    let ports = lab.run(&format!("ps --filter name=^{endpoint}$ --format {{{{.Ports}}}}")).ok();
    ports.trim_end().to_owned()
}

/// What leaves keeps its source; who comes in does so by the host's published ports, translated.
fn without_masquerade() {
    let lab = up(&[(MASQUERADE, "false")], false, "\"8080:80\", \"8080:80/udp\"");
    let (r1, r2) = (lab.endpoint("r1"), lab.endpoint("r2"));
    let (web, outside) = (r1.echo(80), lab.server.echo(7));
    let _other = r2.echo(80);
    both(|family| {
        r1.ask_both(SERVER.port(family, 7));
        assert!(outside.clients().iter().all(|client| client.ip() == R1.of(family)));
        let client = lab.server.ask_tcp(HOST.port(family, 8080));
        assert_eq!(web.client(), client);
        lab.server.ask_udp(HOST.port(family, 8080));
        assert_eq!(web.clients().len(), 1);
        for closed in [R1.port(family, 80), R2.port(family, 80)] {
            never_asks(&lab.server, closed);
        }
        lab.server.never_reaches(R1.of(family));
    });
}

/// To some places with its own address, to all others with the host's.
fn never_masqueraded() {
    let lab = Lab::bare();
    routes(&lab);
    lab.settings("no_masquerade = [\"198.51.100.0/24\", \"2001:db8:2::/64\", \"198.18.7.0/25\"]");
    let said = lab.up_text(&file(&[], false, "")).ok();
    assert!(said.contains("198.18.7.0/25 is left out"), "{said}");
    let (far, near) = (lab.server.echo(7), lab.lan.echo(7));
    let (r1, r2) = (lab.endpoint("r1"), lab.endpoint("r2"));
    let _echo = r2.echo(7);
    both(|family| {
        r1.ask_both(SERVER.port(family, 7));
        assert!(far.clients().iter().all(|client| client.ip() == R1.of(family)));
        r1.ask_both(LAN.port(family, 7));
        assert!(near.clients().iter().all(|client| client.ip() == HOST.of(family)));
        lab.server.never_reaches(R1.of(family));
        r1.ask_both(R2.port(family, 7));
    });
    // By the host's stack as well: at its last hop but one a packet is the stack's to answer.
    both(|family| {
        let path = r1.trace_udp(SERVER.of(family));
        assert_eq!(path.last(), Some(&Some(SERVER.of(family))), "{path:?}");
    });
}

/// Neighbours only: the host has no address there.
fn isolated() {
    let lab = up(&[(MODE_V4, "isolated"), (MODE_V6, "isolated")], true, "");
    let (r1, r2) = (lab.endpoint("r1"), lab.endpoint("r2"));
    let _echo = r2.echo(7);
    let bridge = lab.bridge("open");
    assert_eq!(lab.host.ip(&format!("-4 address show dev {bridge}")), "");
    both(|family| {
        r1.ask_both(R2.port(family, 7));
        r1.never_reaches(GATEWAY.of(family));
        lab.host.never_reaches(R1.of(family));
        lab.lan.never_reaches(R1.of(family));
    });
}

const ONLY_LAN: &str =
    "{target: 80, published: 8080, allow_from: [192.0.2.9, \"2001:db8:1::8/125\"]}";

/// Whoever else asks is refused, endpoints too.
fn a_port_is_for_whom_it_is_for() {
    let lab = up(&[], false, &format!("{ONLY_LAN}, \"8081:80\""));
    let _web = lab.endpoint("r1").echo(80);
    let c1 = lab.endpoint("c1");
    both(|family| {
        lab.lan.ask_tcp(HOST.port(family, 8080));
        lab.server.refused(HOST.port(family, 8080));
        c1.refused(HOST.port(family, 8080));
        for ns in [&lab.lan, &lab.server, &c1] {
            ns.ask_tcp(HOST.port(family, 8081));
        }
        // The host itself always may.
        for address in [LOOPBACK, HOST] {
            lab.host.ask_tcp(address.port(family, 8080));
        }
    });
    assert!(lab.counter("up0", "drop/source_not_allowed") > 0);
    assert!(lab.counter("c1", "drop/source_not_allowed") > 0);
    // By the command line: for every port of the command.
    let publish = ["--publish", "8082:80", "--allow-from", "198.51.100.0/24"];
    lab.netebpf(&[&["create", "--name", "w", "--network", "open"], &publish[..]].concat()).ok();
    let _second = lab.endpoint("w").echo(80);
    lab.server.ask_tcp(HOST.port(Family::V4, 8082));
    lab.lan.refused(HOST.port(Family::V4, 8082));
    lab.server.refused(HOST.port(Family::V6, 8082));
    // And it is told.
    let ports = lab.json("inspect w r1");
    let of = |endpoint: usize, side: usize| {
        ports[endpoint]["NetworkSettings"]["Ports"]["80/tcp"][side].clone()
    };
    assert_eq!(of(0, 0)["AllowFrom"], serde_json::json!(["198.51.100.0/24"]));
    assert!(lab.run("port w").ok().starts_with("80/tcp -> 0.0.0.0:8082 from 198.51.100.0/24\n"));
    assert!(lab.run("port w 80").ok().starts_with("0.0.0.0:8082\n"));
    let told = lab.run("port r1").ok();
    assert!(
        told.contains(":8080 from 192.0.2.9/32, 2001:db8:1::8/125\n") && told.contains(":8081\n"),
        "{told}"
    );
    assert!(of(1, 0)["HostPort"].is_string() && of(1, 3).get("AllowFrom").is_none());
}

/// Whoever is no longer meant loses what it has.
fn no_longer_for_a_client() {
    let udp = |who: &str| {
        let port = "target: 80, published: 8080, protocol: udp";
        file(&[], false, &format!("{{{port}, allow_from: [{who}]}}"))
    };
    let lab = Lab::bare();
    lab.up_text(&udp("192.0.2.9, 198.51.100.9")).ok();
    let web = lab.endpoint("r1").echo(80);
    let (near, far) = (lab.lan.udp(Family::V4, 0), lab.server.udp(Family::V4, 0));
    let host = HOST.port(Family::V4, 8080);
    traffic::ask(&near, host, b"for both").expect("answered");
    traffic::ask(&far, host, b"for both").expect("answered");
    lab.up_text(&udp("198.51.100.9")).ok();
    assert_eq!(web.clients().len(), 2);
    traffic::ask(&far, host, b"for one").expect("answered");
    near.set_read_timeout(Some(moment())).unwrap();
    traffic::ask(&near, host, b"for one").expect_err("no longer");
    assert_eq!(web.clients().len(), 1);
}

/// Each says what would be right, and nothing is made.
fn bad_input() {
    let lab = Lab::bare();
    let create = |option: &str| {
        lab.netebpf(&["network", "create", "-o", option, "--subnet", "198.18.7.0/24", "n"])
    };
    create(&format!("{MODE_V4}=isolated")).fails_saying(1, &["isolated", "internal"]);
    create(&format!("{MODE_V4}=nat-unprotected")).fails_saying(2, &["nat-unprotected", "routed"]);
    create(&format!("{MODE_V4}=bridged")).fails_saying(2, &["bridged", "nat, routed or isolated"]);
    create(&format!("{MASQUERADE}=no")).fails_saying(2, &["true or false"]);
    for (range, words) in [
        ("192.0.2.9/24", ["host bits", "192.0.2.0/24"]),
        ("lan", ["\"lan\"", "192.0.2.0/24"]),
        ("192.0.2.0/33", ["192.0.2.0/33", "range"]),
    ] {
        let arguments = ["create", "--name", "w", "-p", "80", "--allow-from", range];
        lab.netebpf(&arguments).fails_saying(2, &words);
        let port = format!("{{target: 80, allow_from: [\"{range}\"]}}");
        lab.up_text(&file(&[], false, &port)).fails_saying(1, &words);
    }
    assert_eq!(lab.now(), *lab.before());
}
