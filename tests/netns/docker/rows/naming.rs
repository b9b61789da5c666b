//! Names: who has one, who may ask for it, and what is asked outside.

use super::super::{
    Better, Group, Row, Same,
    engine::Side,
    see::{name, name_by, name_or_nothing},
};
use netebpf_tests::lab::Way;

pub(in super::super) const GROUP: Group = Group { about: "Names", set_up, rows: ROWS };

fn set_up(side: &Side) {
    let dual = "--subnet 10.10.0.0/24 --ipv6 --subnet fd10::/64";
    side.run(&format!("network create {dual} front")).ok();
    side.run("network create --subnet 10.20.0.0/24 back").ok();
    side.run("network create --internal --subnet 10.30.0.0/24 inner").ok();
    side.start("c1", "--network front --ip 10.10.0.11 --ip6 fd10::11 --network-alias www");
    side.start("c2", "--network front --ip 10.10.0.12 --ip6 fd10::12 --network-alias www");
    side.start("d1", "--network back --ip 10.20.0.11");
    side.start("d2", "--network back --ip 10.20.0.12");
    side.start("i1", "--network inner --ip 10.30.0.11");
    side.start("i2", "--network inner --ip 10.30.0.12");
    side.start("b1", "");
    side.start("b2", "");
}

const OK: &str = "No Error";

const ROWS: &[Row] = &[
    Row {
        name: "a neighbour's name",
        look: |side| c1(side, "c2", "A"),
        seen: Same("No Error 10.10.0.12"),
    },
    Row {
        name: "… in capitals",
        look: |side| c1(side, "C2", "A"),
        seen: Same("No Error 10.10.0.12"),
    },
    Row {
        name: "… with its network",
        look: |side| c1(side, "c2.front", "A"),
        seen: Same("No Error 10.10.0.12"),
    },
    Row { name: "… by TCP", look: by_tcp, seen: Same("No Error 10.10.0.12") },
    Row { name: "… AAAA", look: |side| c1(side, "c2", "AAAA"), seen: Same("No Error fd10::12") },
    Row {
        name: "its own name",
        look: |side| c1(side, "c1", "A"),
        seen: Same("No Error 10.10.0.11"),
    },
    Row {
        name: "an alias of two",
        look: |side| c1(side, "www", "A"),
        seen: Same("No Error 10.10.0.11 10.10.0.12"),
    },
    Row { name: "the beginning of an ID (12)", look: by_id, seen: Same("No Error 10.10.0.12") },
    Row {
        name: "PTR",
        look: |side| c1(side, "12.0.10.10.in-addr.arpa", "PTR"),
        seen: Same("No Error c2.front."),
    },
    Row { name: "AAAA of one that has IPv4 alone", look: no_such_type, seen: Same(OK) },
    Row {
        name: "a name of another network",
        look: |side| c1(side, "d1", "A"),
        seen: Same("No Error 203.0.113.80"),
    },
    Row {
        name: "a name that nobody has here",
        look: |side| c1(side, "www.example.org", "A"),
        seen: Same("No Error 203.0.113.80"),
    },
    Row {
        name: "… that does not exist",
        look: |side| c1(side, "nx.example.org", "A"),
        seen: Same("Non-Existent Domain"),
    },
    Row {
        name: "a neighbour on an internal network",
        look: |side| i1(side, "i2"),
        seen: Same("No Error 10.30.0.12"),
    },
    Row {
        name: "a name of the outside there",
        look: nothing_forwarded,
        seen: Better {
            netebpf: "Server Failure; nobody was asked",
            docker: "nobody answers; nobody was asked",
            row: "P12",
        },
    },
    Row { name: "a neighbour's name on `bridge`", look: on_bridge, seen: Same("nobody answers") },
    Row {
        name: "resolv.conf on `bridge`",
        look: |side| resolv_conf(side, "b1"),
        seen: Same("nameserver 198.51.100.9"),
    },
    Row {
        name: "resolv.conf elsewhere",
        look: |side| resolv_conf(side, "c1"),
        seen: Same("nameserver 127.0.0.11; options ndots:0"),
    },
    Row { name: "a name when its owner joined", look: joined, seen: Same("No Error 10.10.0.77") },
    Row {
        name: "its alias there",
        look: |side| c1(side, "database", "A"),
        seen: Same("No Error 10.10.0.77"),
    },
    Row { name: "… when it left", look: left, seen: Same("No Error 203.0.113.80") },
    Row { name: "… when it was removed", look: removed, seen: Same("No Error 203.0.113.80") },
];

fn c1(side: &Side, of: &str, kind: &str) -> String {
    name(&side.inside("c1"), of, kind)
}

fn i1(side: &Side, of: &str) -> String {
    name(&side.inside("i1"), of, "A")
}

fn by_tcp(side: &Side) -> String {
    name_by(&side.inside("c1"), Way::Tcp, "c2", "A")
}

fn by_id(side: &Side) -> String {
    c1(side, &side.field("c2", "{{.Id}}")[..12], "A")
}

fn no_such_type(side: &Side) -> String {
    name(&side.inside("d1"), "d2", "AAAA")
}

fn nothing_forwarded(side: &Side) -> String {
    side.upstream.asked();
    let answer = name_or_nothing(&side.inside("i1"), "www.example.org", "A");
    let asked = side.upstream.names();
    let asked = if asked.is_empty() { "nobody was asked" } else { "the outside was asked" };
    format!("{answer}; {asked}")
}

fn on_bridge(side: &Side) -> String {
    name_or_nothing(&side.inside("b1"), "b2", "A")
}

fn resolv_conf(side: &Side, of: &str) -> String {
    let text = side.exec(of, "cat /etc/resolv.conf").ok();
    let said =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    said.collect::<Vec<_>>().join("; ")
}

fn joined(side: &Side) -> String {
    side.run("network connect --ip 10.10.0.77 --alias database front d1").ok();
    c1(side, "d1", "A")
}

fn left(side: &Side) -> String {
    side.run("network disconnect front d1").ok();
    c1(side, "d1", "A")
}

fn removed(side: &Side) -> String {
    side.run("rm -f c2").ok();
    c1(side, "c2", "A")
}
