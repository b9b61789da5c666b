//! From outside to a published port, and nowhere else.

use netebpf_tests::lab::{
    Lab, Sniffer, Topology, Wire, address, both, cable,
    family::{BACK, C1, C2, D1, FRONT, Family, HOST, I1, INNER, LAN, Pair, SERVER},
    frame::{self, ether},
    patience,
    probe::{Answer, port_unreachable, time_exceeded},
    topology, traffic,
};
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

netebpf_tests::tests![
    from_outside,
    nobody_listens,
    on_one_address,
    a_new_address_of_the_uplink,
    a_range,
    a_port_that_moves_takes_its_clients_along,
    the_port_is_held,
    not_published,
    not_by_a_route,
    not_from_loopback,
    transit_is_left_alone,
    the_last_hop,
    path_mtu,
    back_by_the_uplink_that_it_came_by,
    while_it_runs,
];

/// UDP has no connections: one socket goes on asking, and whom it asks is who has the port now.
fn a_port_that_moves_takes_its_clients_along() {
    let with = |endpoint| topology().ports(endpoint, &["8080:80/udp"]);
    let lab = Lab::up(&with("c1"));
    let (first, then) = (lab.endpoint("c1").echo(80), lab.endpoint("c2").echo(80));
    let neighbour = lab.endpoint("d1");
    let clients = [Family::V4, Family::V6].map(|family| {
        [&lab.lan, &neighbour].map(|ns| (ns.udp(family, 0), HOST.port(family, 8080)))
    });
    let all_ask = || {
        for (socket, host) in clients.as_flattened() {
            traffic::ask(socket, *host, b"who is there?").expect("answered");
        }
    };
    all_ask();
    lab.up_again(&with("c2"), &[]).ok();
    all_ask();
    assert_eq!((first.clients().len(), then.clients().len()), (4, 4));
}

fn web() -> Topology {
    topology().ports("c1", &["8080:80", "8080:80/udp"])
}

/// From a neighbour and from behind a router: the client's own address arrives, the answer comes back
/// from where it was asked.
fn from_outside() {
    let lab = Lab::up(&web());
    let echo = lab.endpoint("c1").echo(80);
    for (ns, them) in [(&lab.server, SERVER), (&lab.lan, LAN)] {
        both(|family| {
            let ways = [("up0", "deliver/inward"), ("c1", "forward/masquerade_or_reply")];
            let before = ways.map(|(of, name)| lab.counter(of, name));
            let client = ns.ask_tcp(HOST.port(family, 8080));
            assert_eq!(echo.client(), client);
            assert_eq!(client.ip(), them.of(family));
            let port = ns.ask_udp(HOST.port(family, 8080));
            assert_eq!(echo.client(), them.port(family, port));
            // Neither way was the host's stack's.
            for ((of, name), before) in ways.into_iter().zip(before) {
                assert!(lab.counter(of, name) >= before + 3, "{of}: {name}");
            }
        });
    }
}

/// The answer that nobody listens comes from the host's address.
fn nobody_listens() {
    let lab = Lab::up(&web());
    both(|family| {
        match lab.lan.datagram(HOST.port(family, 8080)).send() {
            Answer::Error(error) => {
                assert_eq!(error.kind, port_unreachable(family));
                assert_eq!(error.from, Some(HOST.of(family)));
                assert_eq!(error.errno, libc::ECONNREFUSED);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.lan.refused(HOST.port(family, 8080)), ErrorKind::ConnectionRefused);
    });
}

fn second_address(lab: &Lab) -> [IpAddr; 2] {
    lab.host.ip("address add 192.0.2.2/24 dev up0");
    lab.host.ip("address add 2001:db8:1::2/64 dev up0 nodad");
    [Ipv4Addr::new(192, 0, 2, 2).into(), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2).into()]
}

fn remove_second_address(lab: &Lab) {
    lab.host.ip("address delete 192.0.2.2/24 dev up0");
    lab.host.ip("address delete 2001:db8:1::2/64 dev up0");
}

/// The most specific binding wins, whatever the order.
fn on_one_address() {
    let lab = Lab::bare();
    let others = second_address(&lab);
    let ports_c1 = ["8080:80", "192.0.2.1:8081:80", "[2001:db8:1::1]:8081:80"];
    let ports_c2 = ["192.0.2.2:8082:80", "[2001:db8:1::2]:8082:80"];
    lab.up_again(&topology().ports("c1", &ports_c1).ports("c2", &ports_c2), &[]).ok();
    let _echo = [lab.endpoint("c1").echo(80), lab.endpoint("c2").echo(80)];
    for other in others {
        let family = Family::of(other);
        println!("— {family} —");
        let (first, second) = (HOST.of(family), other);
        for (address, port, answered) in [
            (first, 8080, true),
            (second, 8080, true),
            (first, 8081, true),
            (second, 8081, false),
            (first, 8082, false),
            (second, 8082, true),
        ] {
            let to = SocketAddr::new(address, port);
            if answered {
                lab.lan.ask_tcp(to);
            } else {
                assert_eq!(lab.lan.refused(to), ErrorKind::ConnectionRefused, "{to}");
            }
        }
    }
    lab.run("down").ok();
    remove_second_address(&lab);
}

/// A port published on every address answers on one that comes later.
fn a_new_address_of_the_uplink() {
    let lab = Lab::up(&web());
    let _echo = lab.endpoint("c1").echo(80);
    for address in second_address(&lab) {
        let to = SocketAddr::new(address, 8080);
        netebpf_tests::lab::eventually("the new address to answer", || {
            lab.lan.connect_from(None, to, patience()).is_ok()
        });
        lab.lan.ask_tcp(to);
    }
    remove_second_address(&lab);
}

fn a_range() {
    let lab = Lab::up(&topology().ports("c1", &["8000-8003:80-83", "9000-9001:90-91/udp"]));
    let c1 = lab.endpoint("c1");
    let echoes: Vec<_> = (80..=83).chain(90..=91).map(|port| c1.echo(port)).collect();
    both(|family| {
        for (outside, echo) in (8000..=8003).zip(&echoes) {
            lab.lan.ask_tcp(HOST.port(family, outside));
            assert_eq!(echo.clients().len(), 1, "port {outside} led elsewhere");
        }
        for (outside, echo) in (9000..=9001).zip(&echoes[4..]) {
            lab.lan.ask_udp(HOST.port(family, outside));
            assert_eq!(echo.clients().len(), 1, "port {outside} led elsewhere");
        }
    });
}

/// Nobody on the host can take a published port by accident.
fn the_port_is_held() {
    let lab = Lab::up(&web());
    both(|family| {
        let address = HOST.port(family, 8080);
        let tcp = lab.host.run(|| std::net::TcpListener::bind(address)).expect_err("held");
        let udp = lab.host.run(|| std::net::UdpSocket::bind(address)).expect_err("held");
        assert_eq!([tcp.kind(), udp.kind()], [ErrorKind::AddrInUse; 2]);
    });
}

/// What is not published is the host's own: refused, or answered by the host.
fn not_published() {
    let lab = Lab::up(&web());
    let echo = lab.endpoint("c1").echo(80);
    let own = lab.host.echo(22);
    both(|family| {
        assert_eq!(lab.lan.refused(HOST.port(family, 80)), ErrorKind::ConnectionRefused);
        assert_eq!(lab.lan.refused(HOST.port(family, 8081)), ErrorKind::ConnectionRefused);
        lab.lan.ask_both(HOST.port(family, 22));
        lab.lan.reaches(HOST.of(family));
    });
    assert!(echo.clients().is_empty());
    assert_eq!(own.clients().len(), 4);
}

/// A neighbour that knows the endpoints' subnets and routes to them by the host.
fn not_by_a_route() {
    let lab = Lab::up(&web());
    lab.outsiders_know_private_addresses();
    let endpoints = ["c1", "c2", "d1", "i1"].map(|name| lab.endpoint(name));
    let _echo: Vec<_> = endpoints.iter().map(|endpoint| endpoint.echo(80)).collect();
    let sniffers: Vec<Sniffer> = endpoints.iter().map(|ns| lab.sniff(ns, "eth0")).collect();
    for second in [10, 20, 30] {
        lab.lan.ip(&format!("route add 10.{second}.0.0/24 via {}", HOST.0));
        lab.lan.ip(&format!("route add fd{second}::/64 via {}", HOST.1));
    }
    both(|family| {
        for target in [C1, C2, D1, I1, FRONT, BACK, INNER] {
            lab.lan.never_reaches(target.of(family));
            lab.lan.refused(target.port(family, 80));
        }
    });
    lab.settle();
    for (endpoint, sniffer) in endpoints.iter().zip(&sniffers) {
        let outsider = |address: IpAddr| address == LAN.0 || address == LAN.1;
        let came = sniffer
            .frames()
            .into_iter()
            .find(|seen| seen.is_ip() && seen.addresses.is_some_and(|(from, _)| outsider(from)));
        assert_eq!(came, None, "{} got a packet from outside", endpoint.name());
    }
    assert!(lab.counter("up0", "drop/not_published") > 0);
}

/// A port bound to loopback, and a neighbour who forges that destination.
fn not_from_loopback() {
    let lab = Lab::up(&topology().ports("c1", &["127.0.0.1:8080:80", "[::1]:8080:80"]));
    let c1 = lab.endpoint("c1");
    let _echo = c1.echo(80);
    let at_c1 = lab.sniff(&c1, "eth0");
    let (wire, own, host) =
        (Wire::open(&lab.lan, "eth0"), lab.lan.mac("eth0"), lab.host.mac("up0"));
    both(|family| {
        assert_eq!(lab.lan.refused(HOST.port(family, 8080)), ErrorKind::ConnectionRefused);
        let (kind, loopback): (_, IpAddr) = match family {
            Family::V4 => (ether::IPV4, Ipv4Addr::LOCALHOST.into()),
            Family::V6 => (ether::IPV6, Ipv6Addr::LOCALHOST.into()),
        };
        let (from, to) = ((LAN.of(family), 40_000), (loopback, 8080));
        wire.send(&frame::ethernet(host, own, kind, &frame::syn(from, to)));
        wire.send(&frame::ethernet(host, own, kind, &frame::udp(from, to, b"forged")));
        let from = (loopback, 40_000);
        let to = (HOST.of(family), 8080);
        wire.send(&frame::ethernet(host, own, kind, &frame::syn(from, to)));
    });
    lab.settle();
    lab.lan.reaches(HOST.0.into());
    let came = at_c1.frames().into_iter().find(|seen| seen.ports.is_some());
    assert_eq!(came, None, "it reached the endpoint");
    let host = lab.host.mac("up0");
    let answered = |seen: &frame::Seen| seen.from == host && seen.ports == Some((8080, 40_000));
    assert!(!lab.at_lan().saw(|seen| answered(seen) && seen.payload[33] & 0x12 == 0x12));
}

/// Publishing :7 leaves an endpoint's own way to :7 elsewhere alone, and that of the host.
fn transit_is_left_alone() {
    let lab = Lab::up(&topology().ports("c1", &["7:80", "7:80/udp"]));
    let (inside, outside) = (lab.endpoint("c1").echo(80), lab.server.echo(7));
    both(|family| {
        lab.endpoint("c2").ask_both(SERVER.port(family, 7));
        lab.endpoint("c1").ask_both(SERVER.port(family, 7));
        lab.host.ask_both(SERVER.port(family, 7));
        assert_eq!(outside.clients().len(), 6);
        lab.lan.ask_both(HOST.port(family, 7));
        assert_eq!(inside.clients().len(), 2);
    });
}

/// A packet that ends at the host is answered from the host's address, about what the client sent.
fn the_last_hop() {
    let lab = Lab::up(&web());
    let _echo = lab.endpoint("c1").echo(80);
    both(|family| {
        match lab.lan.datagram(HOST.port(family, 8080)).hops(1).send() {
            Answer::Error(error) => {
                assert_eq!(error.kind, time_exceeded(family));
                assert_eq!(error.from, Some(HOST.of(family)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.lan.datagram(HOST.port(family, 8080)).hops(2).send(), Answer::Reply);
    });
}

/// A narrow link on the client's way: "too big" reaches the endpoint, about its own packet.
fn path_mtu() {
    let lab = Lab::up(&web());
    lab.narrow_path();
    let c1 = lab.endpoint("c1");
    both(|family| {
        traffic::bulk(&lab.server, &c1, 80, HOST.port(family, 8080), 8 << 20);
        let told = c1.ip(&format!("route get {}", SERVER.of(family)));
        assert!(told.contains("mtu 1400"), "the endpoint was not told: {told}");
    });
}

/// With two uplinks, an answer leaves by the one that the question came in by, and always from its
/// address.
fn back_by_the_uplink_that_it_came_by() {
    let lab = Lab::bare();
    cable((&lab.host, "up1"), (&lab.server, "eth1"));
    let second =
        Pair(Ipv4Addr::new(203, 0, 113, 1), Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1));
    let beyond =
        Pair(Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 9));
    address(&lab.host, "up1", second);
    address(&lab.server, "eth1", beyond);
    for gateway in [beyond.of(Family::V4), beyond.of(Family::V6)] {
        lab.host.ip(&format!("route add default via {gateway} dev up1 metric 4096"));
    }
    lab.up_again(&web(), &[]).ok();
    let echo = lab.endpoint("c1").echo(80);
    let at_server = lab.sniff(&lab.server, "eth1");
    both(|family| {
        // From an address that the host routes by the other uplink.
        let from = SERVER.of(family);
        let socket = lab.server.run(|| std::net::UdpSocket::bind((from, 40_000))).expect("bound");
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        traffic::ask(&socket, second.port(family, 8080), b"by the second").expect("answered");
        assert_eq!(echo.client(), SocketAddr::new(from, 40_000));
        let answer = |seen: &frame::Seen| {
            seen.is(frame::proto::UDP, second.of(family), from)
                && seen.ports == Some((8080, 40_000))
        };
        // The kernel takes an interface as a wish only when it looks up an IPv6 route for a program, and
        // the better metric wins: that answer goes the other way round.
        if family == Family::V4 {
            at_server.wait_for("the answer on the second uplink", answer);
        }
        // What endpoints open goes by the route, and from the address of its uplink.
        let outside = lab.server.echo(7);
        lab.endpoint("c2").ask_udp(SERVER.port(family, 7));
        assert_eq!(outside.client().ip(), HOST.of(family));
        lab.endpoint("c2").ask_udp(beyond.port(family, 7));
        assert_eq!(outside.client().ip(), second.of(family));
    });
    lab.run("down").ok();
    lab.host.ip("link delete up1");
}

/// Published and taken back while the endpoint runs: what else it has goes on.
fn while_it_runs() {
    let lab = Lab::up(&web());
    let c1 = lab.endpoint("c1");
    let _echo = [c1.echo(80), c1.echo(81)];
    let mut open = lab.lan.connect(HOST.port(Family::V4, 8080)).expect("published");
    let said = lab.run("publish c1 8081:81 9000-9001:80-81/udp").ok();
    assert_eq!(
        said,
        "81/tcp -> 0.0.0.0:8081\n81/tcp -> [::]:8081\n80/udp -> 0.0.0.0:9000\n80/udp -> [::]:9000\n\
         81/udp -> 0.0.0.0:9001\n81/udp -> [::]:9001\n"
    );
    let any = lab.run("publish c1 81").ok();
    let port: u16 = any.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    both(|family| {
        lab.lan.ask_tcp(HOST.port(family, 8081));
        lab.lan.ask_udp(HOST.port(family, 9001));
        lab.server.ask_tcp(HOST.port(family, port));
    });
    let taken = lab.host.run(|| std::net::TcpListener::bind("0.0.0.0:8081"));
    assert!(taken.is_err(), "the port is held");
    assert_eq!(lab.run("unpublish c1 8081:81").ok(), "");
    lab.run("unpublish c1 81/udp").ok();
    both(|family| {
        lab.lan.refused(HOST.port(family, 8081));
        lab.lan.ask_tcp(HOST.port(family, 8080));
        lab.lan.ask_udp(HOST.port(family, 9000));
        lab.lan.ask_tcp(HOST.port(family, port));
    });
    traffic::say(&mut open, b"still here").expect("an untouched connection");
    let free = lab.host.run(|| std::net::TcpListener::bind("0.0.0.0:8081"));
    drop(free.expect("given back"));

    let before = lab.json("inspect c1");
    for (command, code, words) in [
        ("publish c1 8080:81", 1, ["already allocated", "\"c1\""]),
        ("publish d1 8080:81", 1, ["already allocated", "\"c1\""]),
        ("publish nobody 80", 1, ["nobody", "netebpf ps"]),
        ("publish c1 0", 1, ["port \"0\"", "any free one"]),
        ("publish c1 65536:80", 1, ["65536", "65535"]),
        ("publish c1 8000-8002:80-81", 1, ["3 ports", "one length"]),
        ("publish c1 8090:80 8080:80", 1, ["already allocated", "8080"]),
        ("unpublish c1 8081:81", 1, ["8081:81/tcp", "not published"]),
        ("unpublish c1 8080:80 8082:80", 1, ["8082:80/tcp", "not published"]),
        ("publish c1", 2, ["PORT", "required"]),
    ] {
        lab.run(command).fails_saying(code, &words);
    }
    assert_eq!(lab.json("inspect c1"), before);
    both(|family| {
        lab.lan.refused(HOST.port(family, 8090));
    });
}
