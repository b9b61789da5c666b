//! From the host itself to its published ports.

use netebpf_tests::lab::{
    Lab, Ns, Topology, Wire, both,
    family::{BACK, C1, FRONT, Family, HOST, LAN, LOOPBACK, SERVER},
    frame::{self, ether},
    moment, patience, topology,
    traffic::{self, Port, ask},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

netebpf_tests::tests![
    by_every_address,
    a_mapped_address,
    in_bulk,
    loopback_is_for_the_host_alone,
    the_most_specific_wins,
    two_hosts_do_not_meet,
    to_networks_of_every_kind,
    an_ipv4_endpoint_by_ipv6,
    with_the_daemon_dead,
    no_descriptors_left,
    what_ends_is_refused,
    a_source_on_the_loopback,
    others_are_left_alone,
    what_status_says,
];

fn web() -> Topology {
    topology().ports("c1", &["8080:80", "8080:80/udp"])
}

/// A program asks by TCP, and by UDP without a connection and with one. It must be answered, and see that it talks to
/// what it asked.
#[track_caller]
fn asks(ns: &Ns, to: SocketAddr) {
    let mut stream = ns.connect(to).unwrap_or_else(|error| panic!("TCP to {to}: {error}"));
    traffic::say(&mut stream, b"over TCP").unwrap_or_else(|error| panic!("TCP to {to}: {error}"));
    assert_eq!(stream.peer_addr().expect("connected"), to);
    ns.ask_udp(to);
    let socket = ns.udp(Family::of(to.ip()), 0);
    socket.connect(to).unwrap_or_else(|error| panic!("UDP to {to}: {error}"));
    assert_eq!(socket.peer_addr().expect("connected"), to);
    socket.send(b"connected").expect("sent");
    let mut buffer = [0; 64];
    let (length, from) =
        socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("UDP to {to}: {error}"));
    assert_eq!((&buffer[..length], from), (&b"connected"[..], to));
}

/// How both protocols fail, and that they do at once.
#[track_caller]
fn is_refused(ns: &Ns, to: SocketAddr) {
    let begun = Instant::now();
    assert_eq!(ns.refused(to), ErrorKind::ConnectionRefused, "TCP to {to}");
    let socket = ns.udp(Family::of(to.ip()), 0);
    let sent = socket.send_to(b"anybody?", to).map_err(|error| error.kind());
    assert_eq!(sent, Err(ErrorKind::ConnectionRefused), "UDP to {to}");
    assert!(begun.elapsed() < netebpf_tests::lab::scaled(Duration::from_secs(1)));
}

/// Loopback, uplink, both gateways: the endpoint sees its own gateway.
fn by_every_address() {
    let lab = Lab::up(&web());
    let c1 = lab.endpoint("c1");
    let echo = c1.echo(80);
    let at_c1 = lab.sniff(&c1, "eth0");
    both(|family| {
        for address in [LOOPBACK, HOST, FRONT, BACK] {
            asks(&lab.host, address.port(family, 8080));
            let clients = echo.clients();
            assert_eq!(clients.len(), 3, "{clients:?}");
            assert!(clients.iter().all(|client| client.ip() == FRONT.of(family)), "{clients:?}");
        }
    });
    asks(&lab.host, SocketAddr::from(([127, 1, 2, 3], 8080)));
    // Linux takes it for the loopback.
    lab.host.connect(SocketAddr::from(([0, 0, 0, 0], 8080))).expect("connected");
    lab.host.connect(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080))).expect("connected");
    // One socket, several addresses: each answer comes from where it was asked.
    let socket = lab.host.udp(Family::V4, 0);
    for address in [LOOPBACK, HOST, FRONT, LOOPBACK] {
        ask(&socket, address.port(Family::V4, 8080), b"who?").expect("answered");
    }
    let odd = |address: IpAddr| address.is_loopback();
    let seen = at_c1
        .frames()
        .into_iter()
        .find(|seen| seen.addresses.is_some_and(|(from, to)| odd(from) || odd(to)));
    assert_eq!(seen, None, "a loopback address left the host");
}

/// IPv4 on a socket of IPv6.
fn a_mapped_address() {
    let lab = Lab::up(&web());
    let echo = lab.endpoint("c1").echo(80);
    for address in [LOOPBACK, HOST, FRONT] {
        let mapped = SocketAddr::from((address.0.to_ipv6_mapped(), 8080));
        asks(&lab.host, mapped);
        assert!(echo.clients().iter().all(|client| client.ip() == FRONT.of(Family::V4)));
    }
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 8081));
    assert_eq!(lab.host.refused(mapped), ErrorKind::ConnectionRefused);
}

fn in_bulk() {
    let lab = Lab::up(&topology().ports("c1", &["8001:5001"]));
    let c1 = lab.endpoint("c1");
    both(|family| traffic::bulk(&lab.host, &c1, 5001, LOOPBACK.port(family, 8001), 8 << 20));
}

/// Nobody else reaches what is published on a loopback address: not by an address of the host, and not by a packet to
/// the loopback itself, whether it comes from outside or from an endpoint.
fn loopback_is_for_the_host_alone() {
    let own = ["127.0.0.1:8080:80", "127.0.0.1:8080:80/udp", "[::1]:8080:80", "[::1]:8080:80/udp"];
    let lab = Lab::up(&topology().ports("c1", &own));
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let echo = c1.echo(80);
    both(|family| {
        asks(&lab.host, LOOPBACK.port(family, 8080));
        assert_eq!(echo.clients().len(), 3);
        for address in [HOST, FRONT, BACK] {
            assert_eq!(lab.host.refused(address.port(family, 8080)), ErrorKind::ConnectionRefused);
        }
        for ns in [&lab.lan, &lab.server, &c2] {
            assert_eq!(ns.refused(HOST.port(family, 8080)), ErrorKind::ConnectionRefused);
        }
        assert_eq!(c2.refused(FRONT.port(family, 8080)), ErrorKind::ConnectionRefused);
    });
    assert_eq!(
        lab.host.refused(SocketAddr::from(([127, 0, 0, 2], 8080))),
        ErrorKind::ConnectionRefused
    );
    let at_c1 = lab.sniff(&c1, "eth0");
    let gateway = lab.host.mac(&lab.bridge("front"));
    let forgers =
        [(&lab.lan, LAN, lab.host.mac("up0")), (&c2, netebpf_tests::lab::family::C2, gateway)];
    both(|family| {
        let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
        for (ns, address, to_mac) in &forgers {
            let (wire, own) = (Wire::open(ns, "eth0"), ns.mac("eth0"));
            let (from, to) = ((address.of(family), 40_000), (LOOPBACK.of(family), 8080));
            wire.send(&frame::ethernet(*to_mac, own, kind, &frame::syn(from, to)));
            wire.send(&frame::ethernet(*to_mac, own, kind, &frame::udp(from, to, b"forged")));
        }
    });
    // Not forged, but by a route.
    lab.lan.sysctl("net/ipv4/conf/all/route_localnet", "1");
    lab.lan.ip("rule add pref 0 to 127.0.0.2 lookup 77");
    lab.lan.ip("rule add pref 1 lookup local");
    lab.lan.ip("rule delete pref 0 lookup local");
    lab.lan.ip(&format!("route add 127.0.0.2 via {} dev eth0 table 77", HOST.0));
    lab.lan.udp(Family::V4, 0).send_to(b"routed", "127.0.0.2:8080").expect("it has a route");
    lab.settle();
    lab.lan.reaches(HOST.0.into());
    let came = at_c1.frames().into_iter().find(|seen| {
        seen.ports.is_some_and(|(from, _)| from == 40_000) || seen.contains(b"routed")
    });
    assert_eq!(came, None, "it reached the endpoint");
    assert!(echo.clients().is_empty());
}

/// Whatever was published first.
fn the_most_specific_wins() {
    let narrow = |on: Topology| on.ports("c1", &["127.0.0.1:8080:80", "192.0.2.1:9090:80"]);
    let wide = |on: Topology| on.ports("c2", &["[::]:8080:80", "127.0.0.1:9090:80"]);
    let lab = Lab::up(&topology());
    let echoes = ["c1", "c2"].map(|name| lab.endpoint(name).echo(80));
    for first in [narrow(topology()), wide(topology())] {
        lab.up_again(&first, &[]).ok();
        lab.up_again(&wide(narrow(topology())), &[]).ok();
        for (to, led_to) in [
            (LOOPBACK.port(Family::V4, 8080), 0),
            (LOOPBACK.port(Family::V6, 8080), 1),
            (HOST.port(Family::V6, 8080), 1),
            (FRONT.port(Family::V6, 8080), 1),
            (HOST.port(Family::V4, 9090), 0),
            (LOOPBACK.port(Family::V4, 9090), 1),
        ] {
            lab.host.ask_tcp(to);
            let asked = echoes.each_ref().map(|echo| echo.clients().len());
            assert_eq!(asked[led_to], 1, "{to} led elsewhere");
        }
        for to in [HOST.port(Family::V4, 8080), FRONT.port(Family::V4, 9090)] {
            assert_eq!(lab.host.refused(to), ErrorKind::ConnectionRefused, "{to}");
        }
        lab.up_again(&topology(), &[]).ok();
        assert_eq!(lab.host.refused(LOOPBACK.port(Family::V4, 8080)), ErrorKind::ConnectionRefused);
    }
}

/// Each host has its own programs, and they see all calls of the machine.
fn two_hosts_do_not_meet() {
    let with = |port: &str| topology().ports("c1", &["8080:80", port]);
    let (one, other) = (Lab::up(&with("8081:80")), Lab::up(&with("8082:80")));
    let echoes = [one.endpoint("c1").echo(80), other.endpoint("c1").echo(80)];
    both(|family| {
        for (host, echo) in [&one.host, &other.host].into_iter().zip(&echoes) {
            host.ask_tcp(LOOPBACK.port(family, 8080));
            assert_eq!(echo.clients().len(), 1);
        }
        for (host, port) in [(&one.host, 8082), (&other.host, 8081)] {
            assert_eq!(host.refused(LOOPBACK.port(family, port)), ErrorKind::ConnectionRefused);
        }
        // Nor does anybody who is no host.
        for ns in [&one.lan, &one.endpoint("c1"), &one.endpoint("c2")] {
            let to = LOOPBACK.port(family, 8081);
            assert_eq!(ns.refused(to), ErrorKind::ConnectionRefused);
        }
    });
    one.run("down").ok();
    one.nothing_left();
    both(|family| {
        other.host.ask_tcp(LOOPBACK.port(family, 8080));
        assert_eq!(one.host.refused(LOOPBACK.port(family, 8080)), ErrorKind::ConnectionRefused);
    });
}

/// Where endpoints do not reach one another, the host reaches them; and one of an internal network by its own address.
fn to_networks_of_every_kind() {
    let lab = Lab::bare();
    lab.up_text(
        "name: lab\nnetworks:\n  apart:\n    driver_opts: {com.docker.network.bridge.enable_icc: \"false\"}\n    \
         enable_ipv6: true\n    ipam: {config: [{subnet: 10.10.0.0/24}, {subnet: \"fd10::/64\"}]}\n  inner: {internal: true, ipam: \
         {config: [{subnet: 10.30.0.0/24}]}}\nservices:\n  c1: {networks: {apart: {ipv4_address: 10.10.0.11}}, ports: \
         [\"8080:80\", \"8080:80/udp\"]}\n  c2: {networks: [apart]}\n  i1: {networks: {inner: {ipv4_address: 10.30.0.11}}}\n",
    )
    .ok();
    let _echo = ["c1", "i1"].map(|name| lab.endpoint(name).echo(80));
    both(|family| asks(&lab.host, LOOPBACK.port(family, 8080)));
    lab.host.ask_both(SocketAddr::from(([10, 30, 0, 11], 80)));
    lab.endpoint("c2").ask_both(FRONT.port(Family::V4, 8080));
    lab.endpoint("c2").refused(C1.port(Family::V4, 80));
}

/// Who connects an IPv6 socket reaches an endpoint that has IPv4 alone, as by Docker's proxy. A datagram without a
/// connection cannot.
fn an_ipv4_endpoint_by_ipv6() {
    let lab = Lab::bare();
    lab.up_text("name: lab\nservices:\n  c1: {ports: [\"8080:80\", \"8080:80/udp\"]}\n").ok();
    let _echo = lab.endpoint("c1").echo(80);
    asks(&lab.host, LOOPBACK.port(Family::V4, 8080));
    for address in [LOOPBACK, HOST] {
        let to = address.port(Family::V6, 8080);
        let mut stream = lab.host.connect(to).expect("connected");
        traffic::say(&mut stream, b"by another family").expect("answered");
        assert_eq!(stream.peer_addr().expect("connected"), to);
        let socket = lab.host.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).expect("bound");
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        let sent = socket.send_to(b"?", to).map_err(|error| error.kind());
        assert_eq!(sent, Err(ErrorKind::ConnectionRefused));
        socket.connect(to).expect("connected");
        socket.send(b"?").expect("sent");
        let (_, from) = socket.recv_from(&mut [0; 64]).expect("answered");
        assert_eq!(from, to);
    }
}

/// Programs and ports stay; the next daemon takes them over as they are.
fn with_the_daemon_dead() {
    let lab = Lab::up(&web());
    let _echo = lab.endpoint("c1").echo(80);
    let mut before = lab.host.connect(LOOPBACK.port(Family::V4, 8080)).expect("connected");
    let pins = lab.pins();
    lab.kill_daemon();
    both(|family| {
        for address in [LOOPBACK, HOST, FRONT] {
            asks(&lab.host, address.port(family, 8080));
        }
        lab.endpoint("c2").ask_both(FRONT.port(family, 8080));
    });
    lab.up_again(&web(), &[]).ok();
    assert_eq!(lab.pins(), pins);
    traffic::say(&mut before, b"still here").expect("answered");
    assert_eq!(before.peer_addr().expect("connected"), LOOPBACK.port(Family::V4, 8080));
    both(|family| asks(&lab.host, LOOPBACK.port(family, 8080)));
}

/// A daemon that can open nothing for a while, but for the connection that asks, takes nothing off for it.
fn no_descriptors_left() {
    let lab = Lab::up(&web());
    let _echo = lab.endpoint("c1").echo(80);
    let pid = lab.daemon_pid().expect("a daemon");
    let daemon = Pid::from_raw(pid.cast_signed());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| {
        let limit = Rlimit { current, maximum };
        prlimit(daemon, Resource::Nofile, limit).expect("a limit").current
    };
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").flatten();
    let used: BTreeSet<u64> =
        files.filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
    let pins = lab.pins();
    let before = limit((0..).filter(|number| !used.contains(number)).nth(1));
    let failed = lab.run("network create other");
    lab.host.ip("address add 192.0.2.200/32 dev up0");
    lab.settle();
    limit(before);
    failed.fails_saying(1, &["Too many open files"]);
    lab.run("network create other").ok();
    let now = lab.pins();
    assert!(pins.iter().all(|(path, id)| now.get(path) == Some(id)), "{pins:#?} {now:#?}");
    both(|family| asks(&lab.host, LOOPBACK.port(family, 8080)));
    asks(&lab.host, "192.0.2.200:8080".parse().expect("an address"));
    lab.host.ip("address del 192.0.2.200/32 dev up0");
}

/// What is published no more is nobody's; what is published for an endpoint that is gone is refused at once, also while
/// no daemon holds the port.
fn what_ends_is_refused() {
    let lab = Lab::up(&web());
    let own = Ns::create(format!("{}-own", lab.instance()));
    let name = own.path().display().to_string();
    lab.run(&format!(
        "create --name gone --network front --netns {name} -p 9090:90 -p 9090:90/udp"
    ))
    .ok();
    let _echo = lab.endpoint("c1").echo(80);
    {
        let _echo = own.echo(90);
        both(|family| asks(&lab.host, LOOPBACK.port(family, 9090)));
    }
    // Nobody listens.
    both(|family| {
        let to = LOOPBACK.port(family, 9090);
        assert_eq!(lab.host.refused(to), ErrorKind::ConnectionRefused);
    });
    netebpf_tests::lab::delete_namespace(own.name());
    // Any change makes the daemon look.
    lab.up_again(&web().ports("c2", &["7070:70"]), &[]).ok();
    both(|family| is_refused(&lab.host, LOOPBACK.port(family, 9090)));
    lab.kill_daemon();
    both(|family| is_refused(&lab.host, LOOPBACK.port(family, 9090)));
    lab.up_again(&topology().ports("c1", &["8080:80/udp"]), &[]).ok();
    both(|family| {
        let to = LOOPBACK.port(family, 8080);
        assert_eq!(lab.host.refused(to), ErrorKind::ConnectionRefused);
        lab.host.ask_udp(to);
    });
    let taken = lab.host.run(|| std::net::TcpListener::bind(LOOPBACK.port(Family::V4, 8080)));
    drop(taken.expect("the port is free again"));
}

/// With a port it cannot be led anywhere, without one it is no source yet; and nothing with such a source leaves the host.
fn a_source_on_the_loopback() {
    let lab = Lab::up(&web());
    let c1 = lab.endpoint("c1");
    let echo = c1.echo(80);
    let at_c1 = lab.sniff(&c1, "eth0");
    both(|family| {
        let from = LOOPBACK.port(family, 0);
        for address in [LOOPBACK, HOST] {
            let to = address.port(family, 8080);
            let socket = lab.host.run(|| UdpSocket::bind(from)).expect("bound");
            let refused = |result: std::io::Result<usize>| result.map_err(|error| error.kind());
            assert_eq!(refused(socket.send_to(b"?", to)), Err(ErrorKind::AddrNotAvailable));
            let connected = socket.connect(to).map(|()| 0);
            assert_eq!(refused(connected), Err(ErrorKind::AddrNotAvailable));
            let tcp = lab.host.connect_bound(from, to, Port::Now);
            assert_eq!(
                tcp.map(drop).map_err(|error| error.kind()),
                Err(ErrorKind::AddrNotAvailable)
            );
            let mut stream = lab.host.connect_bound(from, to, Port::Later).expect("connected");
            traffic::say(&mut stream, b"from the loopback").expect("answered");
            assert_eq!(stream.peer_addr().expect("connected"), to);
            assert_eq!(echo.client().ip(), FRONT.of(family));
            // Of the host's own it stays what it is.
            let own = address.port(family, 22);
            let listener = lab.host.run(|| std::net::TcpListener::bind(own)).expect("a free port");
            let stream = lab.host.connect_bound(from, own, Port::Later).expect("connected");
            assert_eq!(stream.local_addr().expect("connected").ip(), from.ip());
            drop(listener);
        }
        // From any other address of its own it goes.
        let socket = lab.host.run(|| UdpSocket::bind(HOST.port(family, 0))).expect("bound");
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        ask(&socket, LOOPBACK.port(family, 8080), b"from the uplink's").expect("answered");
        assert_eq!(echo.client().ip(), HOST.of(family));
    });
    let odd = |seen: &frame::Seen| seen.addresses.is_some_and(|(from, _)| from.is_loopback());
    assert!(!at_c1.saw(odd));
}

/// The same port elsewhere, and the host's own on the loopback.
fn others_are_left_alone() {
    let lab = Lab::up(&topology().ports("c1", &["192.0.2.1:7:80", "192.0.2.1:7:80/udp", "9:90"]));
    let (own, outside) =
        (lab.host.run(|| std::net::TcpListener::bind("127.0.0.1:7")), lab.server.echo(7));
    let _own = own.expect("only another address of this port is held");
    let (inside, far) = (lab.endpoint("c1").echo(80), lab.server.echo(9));
    lab.host.connect(SocketAddr::from(([127, 0, 0, 1], 7))).expect("its own listener");
    both(|family| {
        lab.host.ask_both(SERVER.port(family, 7));
        lab.host.ask_both(SERVER.port(family, 9));
        assert_eq!((outside.clients().len(), far.clients().len()), (2, 2));
        lab.host.reaches(LOOPBACK.of(family));
    });
    assert!(inside.clients().is_empty());
    lab.host.ask_both(HOST.port(Family::V4, 7));
    assert_eq!(inside.clients().len(), 2);
    assert_eq!(
        lab.host
            .connect_from(None, LOOPBACK.port(Family::V4, 9), moment())
            .map(drop)
            .map_err(|e| e.kind()),
        Err(ErrorKind::ConnectionRefused),
        "nobody listens at the endpoint"
    );
}

fn what_status_says() {
    let lab = Lab::up(&web());
    let status = lab.json("status");
    let hooks = status["hooks"].as_array().expect("a list");
    let of_sockets: Vec<_> = hooks.iter().filter(|hook| hook["mechanism"] == "cgroup").collect();
    assert_eq!(of_sockets.len(), 8, "{hooks:#?}");
    assert!(of_sockets.iter().all(|hook| hook["interface"] == "host programs"));
    let features = lab.json("doctor");
    let is_it = |feature: &&serde_json::Value| feature["name"] == "programs of control groups";
    let row = features.as_array().into_iter().flatten().find(is_it).expect("a row of it");
    assert_eq!(row["present"], true);
    // What somebody takes away is put back.
    let link = |lab: &Lab| lab.pins().into_iter().find(|(path, _)| path.ends_with("0-connect4"));
    let (path, _) = link(&lab).expect("pinned");
    std::fs::remove_file(path).expect("ours");
    assert_eq!(lab.host.refused(LOOPBACK.port(Family::V4, 8080)), ErrorKind::ConnectionRefused);
    lab.up_again(&web(), &[]).ok();
    assert!(link(&lab).is_some());
    let _echo = lab.endpoint("c1").echo(80);
    lab.host.ask_tcp(LOOPBACK.port(Family::V4, 8080));
}
