//! Joining and leaving while it runs, and what is on no network of its own.

use super::super::{
    Group, Row, Same,
    engine::Side,
    see::{both_ways, ended},
};
use netebpf_tests::lab::{
    Family, Ns,
    family::{D1, SERVER},
};

pub(in super::super) const GROUP: Group =
    Group { about: "Joining, leaving, and no network at all", set_up, rows: ROWS };

fn set_up(side: &Side) {
    side.run("network create --subnet 10.10.0.0/24 --gateway 10.10.0.1 front").ok();
    side.run("network create --subnet 10.20.0.0/24 --gateway 10.20.0.1 back").ok();
    side.start("c1", "--network front --ip 10.10.0.11");
    side.start("d1", "--network back --ip 10.20.0.11");
    side.start("alone", "--network none");
    side.try_start("hosted", "--network host").ok();
    side.try_start("guest", "--network container:c1").ok();
}

const ROWS: &[Row] = &[
    Row {
        name: "interfaces before",
        look: |side| interfaces(&side.inside("c1")),
        seen: Same("lo eth0"),
    },
    Row { name: "before another network is joined", look: to_d1, seen: Same("no way") },
    Row { name: "`network connect --ip`", look: connect, seen: Same("0: 10.20.0.77/24") },
    Row {
        name: "interfaces after",
        look: |side| interfaces(&side.inside("c1")),
        seen: Same("lo eth0 eth1"),
    },
    Row { name: "after it", look: to_d1, seen: Same("answered, for 10.20.0.77") },
    Row { name: "to the outside after it", look: outside, seen: Same("answered, for the host") },
    Row {
        name: "the default route: of the first by name",
        look: default_route,
        seen: Same("10.20.0.1"),
    },
    Row { name: "joined again", look: again, seen: Same("1: already exists in network back") },
    Row { name: "`network disconnect`", look: disconnect, seen: Same("0") },
    Row {
        name: "interfaces then",
        look: |side| interfaces(&side.inside("c1")),
        seen: Same("lo eth0"),
    },
    Row { name: "left", look: to_d1, seen: Same("no way") },
    Row { name: "the default route then", look: default_route, seen: Same("10.10.0.1") },
    Row { name: "left again", look: disconnect, seen: Same("1: is not connected to") },
    Row {
        name: "none: interfaces",
        look: |side| interfaces(&side.inside("alone")),
        seen: Same("lo"),
    },
    Row { name: "none: joins a network", look: none_joins, seen: Same("1: private (none) mode") },
    Row { name: "none: the mode", look: |side| mode(side, "alone"), seen: Same("none") },
    Row { name: "host: sees the host's uplink", look: hosted, seen: Same("yes") },
    Row { name: "host: the mode", look: |side| mode(side, "hosted"), seen: Same("host") },
    Row {
        name: "host: joins a network",
        look: host_joins,
        seen: Same("1: sharing network namespace"),
    },
    Row {
        name: "host: leaves",
        look: host_leaves,
        seen: Same("1: cannot be disconnected from host network"),
    },
    Row { name: "container: sees the other's address", look: guest, seen: Same("yes") },
    Row {
        name: "container: joins a network",
        look: guest_joins,
        seen: Same("1: sharing network namespace"),
    },
    Row {
        name: "container: publishes a port",
        look: guest_publishes,
        seen: Same("125: conflicting options: port publishing and the container type network mode"),
    },
    Row { name: "container: of one that is not there", look: no_host, seen: Same("125: nosuch") },
    Row {
        name: "host: publishes a port",
        look: host_publishes,
        seen: Same("0: Published ports are discarded when using host network mode"),
    },
    Row { name: "an address outside the network", look: wrong_address, seen: Same("125") },
    Row {
        name: "an address that is taken",
        look: taken_address,
        seen: Same("125: Address already in use"),
    },
    Row {
        name: "a network that is not there",
        look: no_network,
        seen: Same("125: network nosuch not found"),
    },
    Row { name: "a name that is taken", look: taken_name, seen: Same("125: is already in use") },
];

fn interfaces(ns: &Ns) -> String {
    // The kernel's own that come with each namespace on some machines.
    let links = ns.links().into_iter().map(|(name, _)| name);
    links.filter(|name| name == "lo" || name.starts_with("eth")).collect::<Vec<_>>().join(" ")
}

fn to_d1(side: &Side) -> String {
    let echo = side.inside("d1").echo(80);
    both_ways(&side.inside("c1"), D1.port(Family::V4, 80), &echo)
}

fn connect(side: &Side) -> String {
    let ran = side.run("network connect --ip 10.20.0.77 back c1");
    let shown = side.inside("c1").ip("-4 -o address show dev eth1");
    let address = shown.split_whitespace().find(|word| word.contains('/'));
    format!("{}: {}", ran.code, address.unwrap_or("no address"))
}

fn outside(side: &Side) -> String {
    let echo = side.lab.server.echo(7);
    both_ways(&side.inside("c1"), SERVER.port(Family::V4, 7), &echo)
}

fn default_route(side: &Side) -> String {
    let routes = side.inside("c1").ip_json("-4 route show default");
    routes[0]["gateway"].as_str().unwrap_or("none").to_owned()
}

fn again(side: &Side) -> String {
    ended(side.run("network connect back c1"), &["already exists in network back"])
}

fn disconnect(side: &Side) -> String {
    ended(side.run("network disconnect back c1"), &["is not connected to"])
}

fn none_joins(side: &Side) -> String {
    ended(side.run("network connect front alone"), &["private (none) mode"])
}

fn mode(side: &Side, of: &str) -> String {
    side.field(of, "{{.HostConfig.NetworkMode}}")
}

fn hosted(side: &Side) -> String {
    yes(side.exec("hosted", "ip address").ok().contains("192.0.2.1/24"))
}

fn yes(so: bool) -> String {
    if so { "yes" } else { "no" }.to_owned()
}

fn host_joins(side: &Side) -> String {
    ended(side.run("network connect front hosted"), &["sharing network namespace"])
}

fn host_leaves(side: &Side) -> String {
    ended(side.run("network disconnect host hosted"), &["cannot be disconnected from host network"])
}

fn guest(side: &Side) -> String {
    yes(side.exec("guest", "ip address").ok().contains("10.10.0.11/24"))
}

fn guest_joins(side: &Side) -> String {
    ended(side.run("network connect back guest"), &["sharing network namespace"])
}

fn guest_publishes(side: &Side) -> String {
    let words = "conflicting options: port publishing and the container type network mode";
    ended(side.try_start("guest2", "--network container:c1 -p 80:80"), &[words])
}

fn no_host(side: &Side) -> String {
    ended(side.try_start("guest3", "--network container:nosuch"), &["nosuch"])
}

fn host_publishes(side: &Side) -> String {
    let words = "Published ports are discarded when using host network mode";
    ended(side.try_start("hosted2", "--network host -p 80:80"), &[words])
}

fn wrong_address(side: &Side) -> String {
    ended(side.try_start("w1", "--network front --ip 10.99.0.1"), &[])
}

fn taken_address(side: &Side) -> String {
    ended(side.try_start("w2", "--network front --ip 10.10.0.11"), &["Address already in use"])
}

fn no_network(side: &Side) -> String {
    ended(side.try_start("w3", "--network nosuch"), &["network nosuch not found"])
}

fn taken_name(side: &Side) -> String {
    ended(side.try_start("c1", "--network front"), &["is already in use"])
}
