//! The tools that people reach for, and a firewall that others have set up.

use netebpf_tests::lab::{
    Family, Lab, Ns, both,
    family::{C1, C2, FRONT, HOST, ROUTER, SERVER},
    needs, topology,
};
use std::{
    io::{Read, Write},
    net::{Ipv6Addr, TcpListener},
    thread,
};

netebpf_tests::tests![ping, traceroute, curl, nmap, a_firewall_that_drops_everything];

fn ping() {
    needs("ping");
    let lab = Lab::up(&topology());
    both(|family| {
        for target in [C2, FRONT, SERVER] {
            let target = target.of(family).to_string();
            lab.endpoint("c1").tool("ping", &["-c", "1", "-W", "5", &target]).ok();
        }
    });
}

fn traceroute() {
    needs("traceroute");
    let lab = Lab::up(&topology());
    both(|family| {
        let c1 = lab.endpoint("c1");
        for (target, path) in [(C2, &[C2][..]), (SERVER, &[FRONT, ROUTER, SERVER])] {
            let target = target.of(family).to_string();
            let text = c1.tool("traceroute", &["-n", "-q", "1", "-w", "5", &target]).ok();
            let hops: Vec<&str> =
                text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
            let path: Vec<String> = path.iter().map(|hop| hop.of(family).to_string()).collect();
            assert_eq!(hops, path, "{text}");
        }
    });
}

/// Answers HTTP requests until nobody asks any more.
fn web_server(ns: &Ns, port: u16) -> TcpListener {
    let listener =
        ns.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).expect("a free port");
    let accepting = listener.try_clone().expect("a descriptor");
    thread::spawn(move || {
        for mut stream in accepting.incoming().flatten() {
            let answer = "HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nhello\n";
            // A client that hangs up has lost its answer, and nobody else has lost anything.
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    listener
}

fn curl() {
    needs("curl");
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _servers = [web_server(&c1, 80), web_server(&lab.server, 80)];
    both(|family| {
        let ways = [
            (&c2, C1.port(family, 80)),
            (&c2, SERVER.port(family, 80)),
            (&lab.lan, HOST.port(family, 8080)),
            (&lab.server, HOST.port(family, 8080)),
        ];
        for (client, server) in ways {
            let url = format!("http://{server}/");
            assert_eq!(client.tool("curl", &["-sSg", "-m", "20", &url]).ok(), "hello\n");
        }
    });
}

/// A scan from the LAN finds what is published, and nothing else.
fn nmap() {
    needs("nmap");
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let _echo = lab.endpoint("c1").echo(80);
    let host = HOST.of(Family::V4).to_string();
    let text = lab.lan.tool("nmap", &["-n", "-Pn", "-p", "1-9000", "-oG", "-", &host]).ok();
    let open: Vec<&str> = text.split([' ', ',']).filter(|part| part.contains("/open/")).collect();
    assert_eq!(open, ["8080/open/tcp//http-proxy///"], "{text}");
}

/// Forwarding and translation do not go by netfilter: neither its DROP nor its being flushed is felt.
fn a_firewall_that_drops_everything() {
    needs("iptables");
    needs("ip6tables");
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = [c1.echo(80), lab.server.echo(7)];
    let everything = || {
        both(|family| {
            c2.ask_both(C1.port(family, 80));
            c2.ask_both(SERVER.port(family, 7));
            c2.reaches(SERVER.of(family));
            lab.lan.ask_both(HOST.port(family, 8080));
            lab.server.ask_both(HOST.port(family, 8080));
        });
    };
    everything();
    for tool in ["iptables", "ip6tables"] {
        lab.host.tool(tool, &["-P", "FORWARD", "DROP"]).ok();
        lab.host.tool(tool, &["-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "DROP"]).ok();
    }
    everything();
    for tool in ["iptables", "ip6tables"] {
        lab.host.tool(tool, &["-F"]).ok();
        lab.host.tool(tool, &["-P", "FORWARD", "ACCEPT"]).ok();
    }
    everything();
}
