//! Published ports: from where they are reached, as whom, and who may not have them.

use super::super::{
    Better, Group, Otherwise, Row, Same,
    engine::Side,
    see::{both_ways, ended, families, lines, tcp, tcp_bound},
};
use netebpf_tests::lab::{
    Family, Ns,
    family::{C1, HOST, INNER, LOOPBACK, SERVER},
    traffic::Port,
};
use std::net::SocketAddr;

pub(in super::super) const GROUP: Group = Group { about: "Published ports", set_up, rows: ROWS };

fn set_up(side: &Side) {
    for (name, second) in [("front", 10), ("back", 20)] {
        let v4 = format!("--subnet 10.{second}.0.0/24 --gateway 10.{second}.0.1");
        let v6 = format!("--ipv6 --subnet fd{second}::/64 --gateway fd{second}::1");
        side.run(&format!("network create {v4} {v6} {name}")).ok();
    }
    let ports = "-p 8080:80 -p 8080:80/udp -p 127.0.0.1:8081:81 -p 9000-9002:90-92 -p 85";
    side.start("c1", &format!("--network front --ip 10.10.0.11 --ip6 fd10::11 {ports}"));
    side.start("c2", "--network front --ip 10.10.0.12 --ip6 fd10::12");
    side.start("d1", "--network back --ip 10.20.0.11 --ip6 fd20::11");
    let v4 = "--subnet 10.30.0.0/24 --gateway 10.30.0.1";
    let v6 = "--ipv6 --subnet fd30::/64 --gateway fd30::1";
    side.run(&format!("network create --internal {v4} {v6} inner")).ok();
    side.start("i1", "--network inner --ip 10.30.0.11 --ip6 fd30::11");
    let lan = &side.lab.lan;
    side.lab.outsiders_know_private_addresses();
    lan.ip("route add 10.10.0.0/24 via 192.0.2.1");
    // A neighbour that sends to 127.0.0.1 by the wire.
    lan.ip("address del 127.0.0.1/8 dev lo");
    lan.sysctl("net/ipv4/conf/eth0/route_localnet", "1");
    lan.ip("route add 127.0.0.1 via 192.0.2.1");
}

const ROWS: &[Row] = &[
    Row {
        name: "`8080:80` from the LAN",
        look: from_the_lan,
        seen: Better {
            netebpf: "answered, for the LAN",
            docker: "IPv4: answered, for the LAN; IPv6: answered, for the gateway",
            row: "P6, IPv6",
        },
    },
    Row {
        name: "… from the host, by its loopback",
        look: from_the_loopback,
        seen: Same("answered, for the gateway"),
    },
    Row {
        name: "… from the host, by its own address",
        look: from_the_host,
        seen: Otherwise {
            netebpf: "answered, for the gateway",
            docker: "IPv4: answered, for the host; IPv6: answered, for the gateway",
            why: "the host's programs are led to the endpoint where they connect",
        },
    },
    Row {
        name: "… from another of the same network",
        look: from_a_neighbour,
        seen: Better {
            netebpf: "answered, for the host",
            docker: "TCP: answered, for the gateway; UDP: no answer, though it came from the gateway",
            row: "P7",
        },
    },
    Row {
        name: "… from one of another network",
        look: from_another_network,
        seen: Better {
            netebpf: "answered, for the host",
            docker: "TCP: answered, for the gateway; UDP: no answer, though it came from the gateway",
            row: "P7",
        },
    },
    Row {
        name: "… from itself",
        look: from_itself,
        seen: Better {
            netebpf: "answered, for the host",
            docker: "TCP: answered, for the gateway; UDP: no answer, though it came from the gateway",
            row: "P7",
        },
    },
    Row {
        name: "… from one of an internal network",
        look: from_inner,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: TCP: answered, for the gateway; UDP: no answer, though it came from the gateway",
            row: "IPv6",
        },
    },
    Row {
        name: "… by the gateway of that",
        look: from_inner_by_gateway,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: answered, for the gateway",
            row: "IPv6",
        },
    },
    Row {
        name: "… from the host by its loopback, by a socket with an address and a port there",
        look: from_a_bound_source,
        seen: Otherwise {
            netebpf: "no way",
            docker: "answered, for the gateway",
            why: "only a proxy could (P5); the program is told so",
        },
    },
    Row {
        name: "… by one that gets its port when it connects",
        look: from_a_source_without_port,
        seen: Same("answered, for the gateway"),
    },
    Row {
        name: "… by one with a port there to the host's own address",
        look: from_a_bound_source_to_the_host,
        seen: Otherwise {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: answered, for the gateway",
            why: "the same",
        },
    },
    Row {
        name: "… by a route to its own address",
        look: by_a_route,
        seen: Better { netebpf: "no way", docker: "answered, for the LAN", row: "P4" },
    },
    Row {
        name: "`127.0.0.1:8081:81` from the host",
        look: loopback_only,
        seen: Same("answered, for the gateway"),
    },
    Row {
        name: "… from the LAN by the host's address",
        look: loopback_from_the_lan,
        seen: Same("no way"),
    },
    Row {
        name: "… from the LAN, sent to 127.0.0.1 by the wire",
        look: loopback_by_the_wire,
        seen: Better { netebpf: "no way", docker: "answered, for the LAN", row: "P3" },
    },
    Row {
        name: "… from the LAN by a route to its own address",
        look: loopback_by_a_route,
        seen: Better { netebpf: "no way", docker: "answered, for the LAN", row: "P3" },
    },
    Row {
        name: "`85`: a random port, in both families",
        look: random,
        seen: Same("one port, answered"),
    },
    Row { name: "`9000-9002:90-92`", look: range, seen: Same("answered, answered, answered") },
    Row {
        name: "processes for 7 published ports",
        look: processes,
        seen: Better { netebpf: "0", docker: "13", row: "P5" },
    },
    Row {
        name: "a source port of an endpoint that is published",
        look: published_source,
        seen: Better { netebpf: "another port", docker: "the same port", row: "P10" },
    },
    Row {
        name: "`port c1`",
        look: |side| lines(side, &["port", "c1", "80"]),
        seen: Otherwise {
            netebpf: "0.0.0.0:8080, [::]:8080",
            docker: "0.0.0.0:8080, :::8080",
            why: "RFC 5952 §6",
        },
    },
    Row { name: "a second `8080:80`", look: claimed, seen: Same("125: already allocated") },
    Row { name: "… leaves nothing that runs", look: nothing_runs, seen: Same("") },
    Row {
        name: "a port that a socket of the host has",
        look: held,
        seen: Otherwise {
            netebpf: "125: already allocated",
            docker: "125: address already in use",
            why: "the same message, whoever has it",
        },
    },
    Row {
        name: "`0:80`",
        look: zero,
        seen: Otherwise {
            netebpf: "125",
            docker: "0",
            why: "0 is no port; `80` alone asks for any",
        },
    },
    Row { name: "`70000:80`", look: too_large, seen: Same("125") },
    Row { name: "`1-2:80-85`", look: unequal, seen: Same("125") },
];

/// From a namespace to an address of the host, TCP and UDP, in both families.
fn asked(side: &Side, from: &Ns, host: netebpf_tests::lab::family::Pair) -> String {
    let echo = side.inside("c1").echo(80);
    families(|family| both_ways(from, host.port(family, 8080), &echo))
}

fn from_the_lan(side: &Side) -> String {
    asked(side, &side.lab.lan, HOST)
}

fn from_the_loopback(side: &Side) -> String {
    asked(side, &side.lab.host, LOOPBACK)
}

fn from_the_host(side: &Side) -> String {
    asked(side, &side.lab.host, HOST)
}

fn from_a_neighbour(side: &Side) -> String {
    asked(side, &side.inside("c2"), HOST)
}

fn from_another_network(side: &Side) -> String {
    asked(side, &side.inside("d1"), HOST)
}

fn from_itself(side: &Side) -> String {
    asked(side, &side.inside("c1"), HOST)
}

fn from_inner(side: &Side) -> String {
    asked(side, &side.inside("i1"), HOST)
}

fn from_inner_by_gateway(side: &Side) -> String {
    asked(side, &side.inside("i1"), INNER)
}

/// By a socket of the host's that is bound to its loopback.
fn bound(side: &Side, to: netebpf_tests::lab::family::Pair, port: Port) -> String {
    let echo = side.inside("c1").echo(80);
    let from = |family| (LOOPBACK.of(family), port);
    families(|family| tcp_bound(&side.lab.host, from(family), to.port(family, 8080), &echo))
}

fn from_a_bound_source(side: &Side) -> String {
    bound(side, LOOPBACK, Port::Now)
}

fn from_a_source_without_port(side: &Side) -> String {
    bound(side, LOOPBACK, Port::Later)
}

fn from_a_bound_source_to_the_host(side: &Side) -> String {
    bound(side, HOST, Port::Now)
}

fn by_a_route(side: &Side) -> String {
    let echo = side.inside("c1").echo(80);
    tcp(&side.lab.lan, C1.port(Family::V4, 80), &echo)
}

/// To the port that is published on 127.0.0.1.
fn to_the_loopback(side: &Side, from: &Ns, to: SocketAddr) -> String {
    let echo = side.inside("c1").echo(81);
    tcp(from, to, &echo)
}

fn loopback_only(side: &Side) -> String {
    to_the_loopback(side, &side.lab.host, LOOPBACK.port(Family::V4, 8081))
}

fn loopback_from_the_lan(side: &Side) -> String {
    to_the_loopback(side, &side.lab.lan, HOST.port(Family::V4, 8081))
}

fn loopback_by_the_wire(side: &Side) -> String {
    to_the_loopback(side, &side.lab.lan, LOOPBACK.port(Family::V4, 8081))
}

fn loopback_by_a_route(side: &Side) -> String {
    to_the_loopback(side, &side.lab.lan, C1.port(Family::V4, 81))
}

/// The host's port for port 85 of c1, in the first line of `port`.
fn random(side: &Side) -> String {
    let told = side.run("port c1 85").ok();
    let ports: std::collections::BTreeSet<u16> =
        told.lines().filter_map(|line| line.rsplit(':').next()?.parse().ok()).collect();
    let echo = side.inside("c1").echo(85);
    let port = *ports.first().expect("a port");
    let seen = tcp(&side.lab.lan, HOST.port(Family::V4, port), &echo);
    let word = if ports.len() == 1 { "one port" } else { "two ports" };
    format!("{word}, {}", seen.split(',').next().unwrap_or_default())
}

fn range(side: &Side) -> String {
    let seen = [90_u16, 91, 92].map(|inside| {
        let echo = side.inside("c1").echo(inside);
        let seen = tcp(&side.lab.lan, HOST.port(Family::V4, inside + 8910), &echo);
        seen.split(',').next().unwrap_or_default().to_owned()
    });
    seen.join(", ")
}

fn processes(side: &Side) -> String {
    let all = side.lab.host.processes();
    let names =
        all.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    names.filter(|name| name.contains("proxy")).count().to_string()
}

/// c2 asks the server from port 8080, which the host has published.
fn published_source(side: &Side) -> String {
    let (c2, server) = (side.inside("c2"), side.lab.server.echo(7));
    let socket = c2.udp(Family::V4, 8080);
    let asked = netebpf_tests::lab::traffic::ask(&socket, SERVER.port(Family::V4, 7), b"port");
    match (asked, server.clients().first().map(SocketAddr::port)) {
        (Ok(()), Some(8080)) => "the same port".to_owned(),
        (Ok(()), Some(_)) => "another port".to_owned(),
        (seen, _) => format!("{seen:?}"),
    }
}

fn claimed(side: &Side) -> String {
    let ran = side.try_start("c3", "--network front -p 8080:80");
    ended(ran, &["already allocated"])
}

fn nothing_runs(side: &Side) -> String {
    let running = side.words(&["ps", "--format", "{{.Names}}"]).ok();
    running.lines().filter(|name| *name == "c3").collect()
}

fn held(side: &Side) -> String {
    let _held = side.lab.host.echo(8090);
    let ran = side.try_start("c4", "--network front -p 8090:80");
    ended(ran, &["already allocated", "address already in use"])
}

fn zero(side: &Side) -> String {
    ended(side.try_start("c5", "-p 0:80"), &[])
}

fn too_large(side: &Side) -> String {
    ended(side.try_start("c6", "-p 70000:80"), &[])
}

fn unequal(side: &Side) -> String {
    ended(side.try_start("c7", "-p 1-2:80-85"), &[])
}
