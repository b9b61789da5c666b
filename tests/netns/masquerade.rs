//! From an endpoint to the outside, its source translated to the uplink's address.

use netebpf_tests::lab::{
    Family, Lab, Ns, address, both,
    family::{FRONT, HOST, HOST_2, LAN, ROUTER, SERVER},
    moment, patience,
    probe::{Answer, port_unreachable, time_exceeded, too_big},
    topology,
    traffic::{self, ask, say},
};

use rustix::net::sockopt::set_socket_linger;
use std::{
    io::{ErrorKind, Read as _},
    net::Shutdown,
    time::Duration,
};

netebpf_tests::tests![
    reaches_the_outside,
    by_a_fixed_address,
    a_taken_port_is_exchanged,
    errors_come_back,
    exhaustion_is_answered,
    one_hop_more,
    path_mtu,
    a_binding_is_nobody_elses,
    a_port_is_the_hosts_again,
    many_flows,
    tunnels,
];

/// The server sees the uplink's address, and the source port where it was free.
fn reaches_the_outside() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    for (ns, them) in [(&lab.server, SERVER), (&lab.lan, LAN)] {
        let echo = ns.echo(7);
        both(|family| {
            let [out, back] = [("c1", OUT), ("up0", BACK)].map(|(of, name)| lab.counter(of, name));
            c1.reaches(them.of(family));
            let port = c1.ask_tcp(them.port(family, 7)).port();
            assert_eq!(echo.client(), HOST.port(family, port));
            let port = c1.ask_udp(them.port(family, 7));
            assert_eq!(echo.client(), HOST.port(family, port));
            // An echo, a connection and a datagram, none of them by the host's stack.
            assert!(lab.counter("c1", OUT) >= out + 5, "past the fast way out");
            assert!(lab.counter("up0", BACK) >= back + 4, "past the fast way in");
        });
    }
}

const SNAT_V4: &str = "com.docker.network.host_ipv4";
const SNAT_V6: &str = "com.docker.network.host_ipv6";
const OUT: &str = "forward/masquerade_or_reply";
const BACK: &str = "deliver/inward";

/// A network whose packets leave with an address of their own.
fn by_a_fixed_address() {
    let lab = Lab::up(&topology());
    address(&lab.host, "up0", HOST_2);
    let options = format!("-o {SNAT_V4}={} -o {SNAT_V6}={}", HOST_2.0, HOST_2.1);
    lab.run(&format!("network create own --ipv6 {options}")).ok();
    let network = &lab.json("network inspect own")[0];
    assert_eq!(network["Options"][SNAT_V6], HOST_2.1.to_string());
    lab.run("create --name e1 --network own").ok();
    let (e1, c1) = (lab.endpoint("e1"), lab.endpoint("c1"));
    for (ns, them) in [(&lab.server, SERVER), (&lab.lan, LAN)] {
        let echo = ns.echo(7);
        both(|family| {
            e1.reaches(them.of(family));
            let port = e1.ask_tcp(them.port(family, 7)).port();
            assert_eq!(echo.client(), HOST_2.port(family, port));
            let port = e1.ask_udp(them.port(family, 7));
            assert_eq!(echo.client(), HOST_2.port(family, port));
            let port = c1.ask_udp(them.port(family, 7));
            assert_eq!(echo.client(), HOST.port(family, port));
        });
    }
    // What is no address of the host is said.
    let file = format!("name: t\nnetworks: {{n: {{driver_opts: {{{SNAT_V4}: 192.0.2.77}}}}}}\n");
    let note = lab.up_text(&file);
    assert!(note.out.contains("no uplink has the address 192.0.2.77"), "{note:?}");
    lab.host.ip(&format!("address del {}/24 dev up0", HOST_2.0));
    lab.host.ip(&format!("address del {}/64 dev up0", HOST_2.1));
}

/// Two endpoints from one source port to one server: both work, from different ports.
fn a_taken_port_is_exchanged() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let echo = lab.server.echo(7);
    both(|family| {
        let server = SERVER.port(family, 7);
        let mut streams = [&c1, &c2].map(|endpoint| {
            endpoint.connect_from(Some(40_000), server, patience()).expect("connected")
        });
        for _ in 0..2 {
            streams.iter_mut().for_each(|stream| say(stream, b"both at once").expect("answered"));
        }
        assert_distinct(&echo.clients(), HOST.port(family, 40_000));

        let sockets = [c1.udp(family, 40_000), c2.udp(family, 40_000)];
        for _ in 0..2 {
            sockets.iter().for_each(|socket| ask(socket, server, b"UDP").expect("answered"));
        }
        let mut clients = echo.clients();
        clients.sort();
        clients.dedup();
        assert_distinct(&clients, HOST.port(family, 40_000));
    });
}

fn assert_distinct(clients: &[std::net::SocketAddr], kept: std::net::SocketAddr) {
    let [one, other] = clients else { panic!("two clients were expected: {clients:?}") };
    assert_ne!(one, other);
    assert!(clients.contains(&kept), "nobody kept {kept}: {clients:?}");
    assert!(clients.iter().all(|client| client.ip() == kept.ip()));
}

/// An ICMP error about a translated packet finds its way into the endpoint.
fn errors_come_back() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    both(|family| {
        match c1.datagram(SERVER.port(family, 9)).send() {
            Answer::Error(error) => {
                assert_eq!(error.errno, libc::ECONNREFUSED);
                assert_eq!(error.kind, port_unreachable(family));
                assert_eq!(error.from, Some(SERVER.of(family)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(c1.refused(SERVER.port(family, 9)), std::io::ErrorKind::ConnectionRefused);
    });
}

/// Who has as many flows as it may have is told so, at once; what it has goes on.
fn exhaustion_is_answered() {
    let lab = Lab::up(&topology());
    lab.run("down").ok();
    lab.settings("flows = {quota = 4, embryonic_quota = 4}");
    lab.up_again(&topology(), &[]).ok();
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = lab.server.echo(7);
    let connect = |family| c1.connect(SERVER.port(family, 7)).expect("connected");
    let mut open: Vec<_> =
        [Family::V4, Family::V6].into_iter().flat_map(|f| [connect(f), connect(f)]).collect();
    open.iter_mut().for_each(|stream| say(stream, b"before").expect("answered"));
    both(|family| {
        let (kind, errno) = match family {
            Family::V4 => ((3, 13), libc::EHOSTUNREACH),
            Family::V6 => ((1, 1), libc::EACCES),
        };
        let server = SERVER.port(family, 7);
        let error = c1.connect(server).expect_err("one too many");
        assert_eq!(error.raw_os_error(), Some(errno), "{error}");
        let probes = [c1.datagram(server), c1.ping(server.ip()), c1.datagram(server).payload(3000)];
        for probe in probes {
            // Not twice in one tick.
            std::thread::sleep(Duration::from_millis(20));
            let answer = probe.send();
            let Answer::Error(error) = answer else { panic!("{answer:?}") };
            assert_eq!((error.kind, error.errno), (kind, errno));
            assert_eq!(error.from, Some(FRONT.of(family)), "in the gateway's name");
        }
        c2.ask_both(server);
    });
    open.iter_mut().for_each(|stream| say(stream, b"after").expect("answered"));
    assert!(lab.counter("c1", "drop/flow_quota") >= 8);
}

/// The gateway first, then as from anywhere.
fn one_hop_more() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    both(|family| {
        let path = [FRONT, ROUTER, SERVER].map(|hop| Some(hop.of(family)));
        assert_eq!(c1.trace_echo(SERVER.of(family)), path);
        assert_eq!(c1.trace_udp(SERVER.of(family)), path);
        match c1.ping(SERVER.of(family)).hops(1).send() {
            Answer::Error(error) => assert_eq!(error.kind, time_exceeded(family)),
            other => panic!("{other:?}"),
        }
    });
}

/// A narrow link behind the router: "too big" reaches the sender, and bulk goes on.
fn path_mtu() {
    let lab = Lab::up(&topology());
    lab.narrow_path();
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        traffic::bulk(&c1, &lab.server, 5001, SERVER.port(family, 5001), 8 << 20);
        let c2 = lab.endpoint("c2");
        let probe = || c2.datagram(SERVER.port(family, 7)).whole(1420).send();
        match probe() {
            Answer::Error(error) => {
                assert_eq!((error.kind, error.info), (too_big(family), 1400));
                assert_eq!(error.from, Some(ROUTER.of(family)));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(probe(), Answer::Error(error) if error.from.is_none()));
        let fits = c2.datagram(SERVER.port(family, 7)).whole(1300).send();
        assert_eq!(fits, Answer::Reply);
    });
}

/// What an endpoint has opened to one server is no way in for another.
fn a_binding_is_nobody_elses() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    both(|family| {
        let socket = c1.udp(family, 40_001);
        ask(&socket, SERVER.port(family, 7), b"open").expect("answered");
        let stranger = lab.lan.udp(family, 7);
        stranger.send_to(b"knock", HOST.port(family, 40_001)).expect("sent");
        socket.set_read_timeout(Some(moment())).expect("a time limit");
        let got = socket.recv_from(&mut [0; 64]);
        assert!(got.is_err(), "a stranger's datagram came in: {got:?}");
    });
}

/// A connection that is over is remembered for minutes, and the host's own next one to the same place may have its port
/// meanwhile.
fn a_port_is_the_hosts_again() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    let connect = |ns: &Ns, to, port| ns.connect_from(Some(port), to, patience());
    let ask = |ns: &Ns, to, port| {
        let mut stream = connect(ns, to, port).expect("a server");
        // More than the handshake.
        (0..3).for_each(|_| say(&mut stream, b"whose?").expect("an answer"));
        stream
    };
    for (xdp, first) in [("off", 43_000), ("native", 43_010)] {
        lab.up_again(&topology(), &["--xdp", xdp]).ok();
        both(|family| {
            let to = |port| SERVER.port(family, port);
            let reset = ask(&c1, to(7), first);
            set_socket_linger(&reset, Some(Duration::ZERO)).expect("a socket of ours");
            drop(reset);
            drop(ask(&lab.host, to(7), first));

            let mut finished = ask(&c1, to(7), first + 1);
            finished.shutdown(Shutdown::Write).expect("a connection");
            finished.read_to_end(&mut Vec::new()).expect("the server ends, too");
            drop(finished);
            drop(ask(&lab.host, to(7), first + 1));

            for ns in [&c1, &lab.host] {
                let refused = connect(ns, to(9), first + 2).expect_err("nobody is there");
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{xdp}, {family}");
            }
        });
    }
}

/// Five hundred at once from each of two endpoints, no two alike outside.
fn many_flows() {
    let lab = Lab::up(&topology());
    let endpoints = [lab.endpoint("c1"), lab.endpoint("c2")];
    let echo = lab.server.echo(7);
    both(|family| {
        let mut sockets = Vec::new();
        for port in 42_000..42_500 {
            for endpoint in &endpoints {
                let socket = endpoint.udp(family, port);
                let answer = ask(&socket, SERVER.port(family, 7), &port.to_be_bytes());
                answer.unwrap_or_else(|e| panic!("port {port} of {}: {e}", endpoint.name()));
                sockets.push(socket);
            }
        }
        let mut clients = echo.clients();
        let all = clients.len();
        clients.sort();
        clients.dedup();
        assert_eq!((clients.len(), all), (1000, 1000), "two flows shared a port outside");
    });
}

/// A tunnel's own UDP checksum is absent or whole while the hardware is still to finish the inner packet's: the
/// one stays absent, the other right.
fn tunnels() {
    let lab = Lab::up(&topology().ports("c1", &["4789:4789/udp"]));
    // One end speaks before the other is there, and UDP over IPv6 without a checksum is an error then.
    lab.wrong_checksums_are_sent();
    let c1 = lab.endpoint("c1");
    let ends = [(&c1, SERVER, "172.31.0.1/24"), (&lab.server, HOST, "172.31.0.2/24")];
    both(|family| {
        let checksums = match family {
            Family::V4 => ["noudpcsum", "udpcsum"],
            Family::V6 => ["udp6zerocsumtx udp6zerocsumrx", "noudp6zerocsumtx"],
        };
        for checksum in checksums {
            for (ns, remote, own) in ends {
                let remote = remote.of(family);
                ns.ip(&format!(
                    "link add vx0 type vxlan id 7 dstport 4789 remote {remote} {checksum}"
                ));
                ns.ip("link set vx0 mtu 1400 up");
                ns.ip(&format!("address add {own} dev vx0"));
            }
            let inner = std::net::SocketAddr::from(([172, 31, 0, 2], 5001));
            println!("{checksum}");
            traffic::bulk(&c1, &lab.server, 5001, inner, 1 << 20);
            ends.iter().for_each(|(ns, ..)| drop(ns.ip("link del vx0")));
        }
    });
}
