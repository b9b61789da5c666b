//! Connections that begin and end in other ways than most, and how long what is idle lives.

use super::*;
use netebpf_tests::lab::eventually;
use std::io::Write as _;

pub(in crate::nat) fn simultaneous_open(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        // The endpoint's SYN is on the way, and not there yet, when the server sends its own.
        let way = format!("route {{}} blackhole {}", SERVER.of(family));
        lab.router.ip(&way.replace("{}", "add"));
        thread::scope(|scope| {
            let connect = || c1.connect_from(Some(5010), SERVER.port(family, 5011), patience());
            let connecting = scope.spawn(connect);
            lab.at_router().wait_for("a SYN of the endpoint", |seen| {
                seen.is(proto::TCP, HOST.of(family), SERVER.of(family))
                    && seen.ports == Some((5010, 5011))
            });
            lab.router.ip(&way.replace("{}", "del"));
            let to = HOST.port(family, 5010);
            let mut there = lab.server.connect_from(Some(5011), to, patience()).expect("connected");
            let mut here = connecting.join().expect("no panic").expect("connected");
            here.write_all(b"there").expect("sent");
            there.read_exact(&mut [0; 5]).expect("it arrives");
            there.write_all(b"back").expect("sent");
            here.read_exact(&mut [0; 4]).expect("it arrives");
        });
    });
}

pub(in crate::nat) fn late_segments(lab: &Lab) {
    const FIN: u8 = 0x01;
    const RST: u8 = 0x04;
    const PSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    const SYN: u8 = 0x02;
    let (c1, _echo) = (lab.endpoint("c1"), lab.server.echo(7));
    both(|family| {
        let server = SERVER.port(family, 7);
        let mut stream = c1.connect_from(Some(5011), server, patience()).expect("connected");
        say(&mut stream, b"and goodbye").expect("answered");
        drop(stream);
        let (from, to) = ((C1.of(family), 5011), (SERVER.of(family), 7));
        let late: Vec<_> = [ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, FIN, 0]
            .into_iter()
            .flat_map(|flags| {
                [0, 1, 1 << 30, 1 << 31].map(|at| frame::segment(from, to, at, flags))
            })
            .collect();
        craft(lab, "c1", family, &late);
        forget(lab);
        craft(lab, "c1", family, &late);
    });
    lab.settle();
    assert_eq!(lab.at_router().private(), []);
}

/// How many seconds the flow from this port of c1's has left.
fn left(lab: &Lab, family: Family, protocol: &str, port: u16) -> u64 {
    if lab.is_reference() {
        let name = if family == Family::V4 { "ipv4" } else { "ipv6" };
        let list = lab.host.tool("conntrack", &["-L", "-p", protocol, "-f", name]).ok();
        let from = format!("src={} ", C1.of(family));
        let own = [format!("sport={port} "), format!("id={port} ")];
        let ours = |line: &&str| line.contains(&from) && own.iter().any(|own| line.contains(own));
        let line = list.lines().find(ours).unwrap_or_else(|| panic!("no flow of {port}: {list}"));
        // Protocol, its number, seconds left.
        return line.split_whitespace().nth(2).expect("three words").parse().expect("a number");
    }
    let flows = lab.json("conntrack ls");
    let ours = |flow: &&serde_json::Value| {
        flow["original"]["source"] == C1.of(family).to_string()
            && flow["original"]["source_port"] == port
            && flow["protocol"] == protocol.trim_end_matches("v6")
    };
    let flow = flows.as_array().expect("an array").iter().find(ours);
    flow.unwrap_or_else(|| panic!("no flow of {port}: {flows:#}"))["left"]
        .as_u64()
        .expect("seconds")
}

/// A second may have passed between the packet and the look.
const JUST_NOW: u64 = 2;

pub(in crate::nat) fn udp_lives_on(lab: &Lab) {
    let (c1, server) = (lab.endpoint("c1"), |family| SERVER.port(family, 7));
    both(|family| {
        let (socket, there) = (c1.udp(family, 5060), lab.server.udp(family, 7));
        let left = || left(lab, family, "udp", 5060);
        socket.send_to(b"one", server(family)).expect("sent");
        let (_, outside) = there.recv_from(&mut [0; 64]).expect("it arrives");
        assert!(left() + JUST_NOW >= 120, "unanswered: {} s", left());
        there.send_to(b"two", outside).expect("sent");
        socket.recv_from(&mut [0; 64]).expect("it arrives");
        let full = left();
        assert!(full + JUST_NOW >= 120, "answered: {full} s");
        // Time passes, and what the endpoint sends gives it back (REQ-6).
        eventually("two seconds to pass", || left() + 2 <= full);
        socket.send_to(b"three", server(family)).expect("sent");
        there.recv_from(&mut [0; 64]).expect("it arrives");
        assert!(left() + 1 >= full, "not refreshed: {} of {full} s", left());
    });
}

pub(in crate::nat) fn established_lives_on(lab: &Lab) {
    let (c1, _echo) = (lab.endpoint("c1"), lab.server.echo(7));
    both(|family| {
        let server = SERVER.port(family, 7);
        let mut stream = c1.connect_from(Some(5070), server, patience()).expect("connected");
        say(&mut stream, b"and then nothing").expect("answered");
        let left = left(lab, family, "tcp", 5070);
        assert!(left + JUST_NOW >= 7440, "established: {left} s");
    });
}

pub(in crate::nat) fn transitory_lives_on(lab: &Lab) {
    let (c1, echo) = (lab.endpoint("c1"), lab.server.echo(7));
    both(|family| {
        let left = |port| left(lab, family, "tcp", port);
        // Nobody has this address.
        let nobody = match LAN.of(family) {
            std::net::IpAddr::V4(_) => "192.0.2.77".parse().expect("an address"),
            std::net::IpAddr::V6(_) => "2001:db8:1::77".parse().expect("an address"),
        };
        craft(lab, "c1", family, &[frame::syn((C1.of(family), 5071), (nobody, 7))]);
        assert!(left(5071) + JUST_NOW >= 240, "opening: {} s", left(5071));

        let server = SERVER.port(family, 7);
        let mut stream = c1.connect_from(Some(5072), server, patience()).expect("connected");
        say(&mut stream, b"and goodbye").expect("answered");
        is_host(echo.client(), family, 5072);
        drop(stream);
        eventually("the end", || tcp_state(lab, family, 5072) == "TIME_WAIT");
        assert!(left(5072) + JUST_NOW >= 240, "closed: {} s", left(5072));
    });
}

pub(in crate::nat) fn queries_live_on(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        let server = SERVER.of(family).to_string();
        let ping = ["-e", "4712", "-c", "1", "-W", "5", &server];
        c1.tool("ping", &ping).ok();
        let protocol = if family == Family::V4 { "icmp" } else { "icmpv6" };
        let left = left(lab, family, protocol, 4712);
        assert!(left + JUST_NOW >= 60, "{left} s");
    });
}
