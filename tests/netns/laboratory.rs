//! The laboratory itself, without netebpf: what a later failure means depends on it.

use netebpf_tests::lab::{
    Lab, both,
    family::{HOST, LAN, ROUTER, SERVER},
    frame::Seen,
    probe::{Answer, port_unreachable, time_exceeded, too_big},
    traffic,
};

netebpf_tests::tests![reachable, errors_come_back, path_mtu, bulk_arrives, a_leak_is_seen];

fn reachable() {
    let lab = Lab::bare();
    let _echo = [lab.server.echo(7), lab.host.echo(7), lab.lan.echo(7)];
    both(|family| {
        for (ns, others) in [
            (&lab.host, [LAN, SERVER, ROUTER]),
            (&lab.lan, [HOST, SERVER, ROUTER]),
            (&lab.server, [HOST, LAN, ROUTER]),
        ] {
            others.iter().for_each(|other| ns.reaches(other.of(family)));
            ns.ask_both(others[0].port(family, 7));
        }
    });
}

fn errors_come_back() {
    let lab = Lab::bare();
    both(|family| {
        let path = [Some(ROUTER.of(family)), Some(SERVER.of(family))];
        assert_eq!(lab.host.trace_echo(SERVER.of(family)), path);
        assert_eq!(lab.host.trace_udp(SERVER.of(family)), path);
        match lab.host.datagram(SERVER.port(family, 9)).send() {
            Answer::Error(error) => {
                assert_eq!(error.kind, port_unreachable(family));
                assert_eq!(error.from, Some(SERVER.of(family)));
                assert_eq!(error.errno, libc::ECONNREFUSED);
            }
            other => panic!("{other:?}"),
        }
        match lab.host.ping(SERVER.of(family)).hops(1).send() {
            Answer::Error(error) => assert_eq!(error.kind, time_exceeded(family)),
            other => panic!("{other:?}"),
        }
        lab.lan.refused(SERVER.port(family, 9));
    });
}

fn path_mtu() {
    let lab = Lab::bare();
    lab.narrow_path();
    let _echo = lab.server.echo(7);
    both(|family| {
        let probe = || lab.host.datagram(SERVER.port(family, 7)).whole(1420).send();
        match probe() {
            Answer::Error(error) => {
                assert_eq!((error.kind, error.info), (too_big(family), 1400));
                assert_eq!(error.from, Some(ROUTER.of(family)));
            }
            other => panic!("{other:?}"),
        }
        // Now the kernel knows, and says so itself.
        assert!(matches!(probe(), Answer::Error(error) if error.from.is_none()));

        // By TCP: the router has to say it to whoever answers, too.
        traffic::bulk(&lab.server, &lab.lan, 5001, LAN.port(family, 5001), 4 << 20);
        let told = |seen: &Seen| seen.quoted == Some((LAN.of(family), SERVER.of(family)));
        assert!(lab.at_router().saw(told), "the way was not too narrow");
    });
}

fn bulk_arrives() {
    let lab = Lab::bare();
    both(|family| {
        traffic::bulk(&lab.host, &lab.server, 5001, SERVER.port(family, 5001), 16 << 20);
    });
}

/// The sniffers see what they are there for. The laboratory that leaked is not checked at its end.
fn a_leak_is_seen() {
    let leaked = std::panic::catch_unwind(|| {
        let lab = Lab::bare();
        lab.host.ip("address add 10.10.0.1/24 dev lo");
        let socket = lab.host.run(|| std::net::UdpSocket::bind("10.10.0.1:0")).expect("a socket");
        socket.send_to(b"x", SERVER.port(netebpf_tests::lab::Family::V4, 9)).expect("sent");
    });
    let panic = leaked.expect_err("the laboratory must complain");
    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.contains("private addresses were seen outside"), "{text}");
}
