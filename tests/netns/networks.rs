//! Networks that endpoints join and leave while they are there, and what is said of networks.

use netebpf_tests::lab::{
    Family, Lab, Ns, both,
    family::{BACK, C1, D1, FRONT, HOST, SERVER},
    topology,
};
use std::net::IpAddr;

netebpf_tests::tests![
    connect_and_disconnect,
    a_connection_outlives_another_network,
    the_default_route_moves,
    published_ports_move,
    none_at_all,
    put_back_by_up,
    connect_survives_a_dead_daemon,
    wrong_connections,
];

/// The gateways of the default routes of a namespace.
fn gateways(ns: &Ns, family: Family) -> Vec<IpAddr> {
    let version = if family == Family::V4 { "-4" } else { "-6" };
    let routes = ns.ip_json(&format!("{version} route show default"));
    let all = routes.as_array().into_iter().flatten();
    all.map(|route| route["gateway"].as_str().expect("a gateway").parse().expect("one")).collect()
}

fn interfaces(ns: &Ns) -> Vec<String> {
    ns.links().into_iter().map(|(name, _)| name).collect()
}

fn connect_and_disconnect() {
    let lab = Lab::up(&topology());
    let (c1, d1) = (lab.endpoint("c1"), lab.endpoint("d1"));
    both(|family| {
        c1.never_reaches(D1.of(family));
    });
    let silent = "network connect --ip 10.20.0.77 --ip6 fd20::77 --alias other back c1";
    assert_eq!(lab.run(silent).ok(), "");
    assert_eq!(interfaces(&c1), ["lo", "eth0", "eth1"]);
    both(|family| {
        c1.reaches(D1.of(family));
        c1.reaches(SERVER.of(family));
    });
    d1.reaches("10.20.0.77".parse().expect("an address"));
    d1.reaches("fd20::77".parse().expect("an address"));
    let joined = &lab.json("inspect c1")[0]["NetworkSettings"]["Networks"]["back"];
    assert_eq!(joined["IPAddress"], "10.20.0.77");
    assert_eq!(joined["Aliases"][0], "other");
    assert_eq!(joined["Interface"], "eth1");
    let on_back = &lab.json("network inspect back")[0]["Containers"];
    assert_eq!(on_back.as_object().expect("endpoints").len(), 2);

    // By the beginnings of identifiers, as everywhere.
    let id = lab.json("network inspect back")[0]["Id"].as_str().expect("one").to_owned();
    assert_eq!(lab.run(&format!("network disconnect {} c1", &id[..12])).ok(), "");
    assert_eq!(interfaces(&c1), ["lo", "eth0"]);
    both(|family| {
        c1.never_reaches(D1.of(family));
        c1.reaches(SERVER.of(family));
    });
    let options = "--driver-opt com.docker.network.endpoint.ifname=up back c1";
    lab.run(&format!("network connect {options}")).ok();
    assert_eq!(interfaces(&c1), ["lo", "eth0", "up"]);
    lab.run("network disconnect -f back c1").ok();
}

/// What an endpoint does on one network is not disturbed by another one that comes and goes.
fn a_connection_outlives_another_network() {
    let lab = Lab::up(&topology());
    let (_echo, c1) = (lab.server.echo(7), lab.endpoint("c1"));
    let before = c1.links();
    let mut stream = c1.connect(SERVER.port(Family::V4, 7)).expect("connected");
    lab.run("network connect --gw-priority=-1 back c1").ok();
    netebpf_tests::lab::traffic::say(&mut stream, b"one").expect("answered");
    lab.run("network disconnect back c1").ok();
    netebpf_tests::lab::traffic::say(&mut stream, b"two").expect("answered");
    assert_eq!(c1.links(), before);
}

/// The network with the highest priority leads out, then the first by name; internal ones never do.
fn the_default_route_moves() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let led_by = |who: &[IpAddr]| {
        both(|family| {
            let wanted: Vec<_> =
                who.iter().copied().filter(|address| Family::of(*address) == family).collect();
            assert_eq!(gateways(&c1, family), wanted);
            if !wanted.is_empty() {
                c1.reaches(SERVER.of(family));
            }
        });
    };
    let (front, back) = ([FRONT.0.into(), FRONT.1.into()], [BACK.0.into(), BACK.1.into()]);
    led_by(&front);
    lab.run("network connect --gw-priority=-1 back c1").ok();
    led_by(&front);
    lab.run("network disconnect back c1").ok();
    // The first by name.
    lab.run("network connect back c1").ok();
    led_by(&back);
    lab.run("network disconnect back c1").ok();
    led_by(&front);
    lab.run("network connect --gw-priority 5 back c1").ok();
    led_by(&back);
    lab.run("network connect --gw-priority 9 inner c1").ok();
    led_by(&back);
    assert_eq!(interfaces(&c1), ["lo", "eth0", "eth1", "eth2"]);
    lab.run("network disconnect back c1").ok();
    led_by(&front);
    lab.run("network disconnect front c1").ok();
    led_by(&[]);
    // The first free names.
    lab.run("network connect back c1").ok();
    led_by(&back);
    assert_eq!(
        lab.json("inspect c1")[0]["NetworkSettings"]["Networks"]["back"]["Interface"],
        "eth0"
    );
}

/// The network that carried a published port goes: another one carries it.
fn published_ports_move() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    let _echo = lab.endpoint("c1").echo(80);
    let answers = || {
        both(|family| {
            lab.lan.ask_both(HOST.port(family, 8080));
        });
    };
    answers();
    lab.run("network connect --gw-priority=-1 back c1").ok();
    answers();
    lab.run("network disconnect front c1").ok();
    answers();
    lab.run("network disconnect back c1").ok();
    both(|family| {
        lab.lan.refused(HOST.port(family, 8080));
    });
    // An internal network lets nobody in.
    lab.run("network connect inner c1").ok();
    both(|family| {
        lab.lan.refused(HOST.port(family, 8080));
    });
    lab.run("network connect front c1").ok();
    answers();
}

/// Without its last network an endpoint is alone, and still there.
fn none_at_all() {
    let lab = Lab::up(&topology());
    lab.run("network disconnect front c1").ok();
    assert_eq!(interfaces(&lab.endpoint("c1")), ["lo"]);
    assert!(lab.run("ps --format {{.Name}}").ok().contains("c1"));
    assert_eq!(lab.netebpf(&["exec", "c1", "--", "echo", "alive"]).ok(), "alive\n");
    lab.run("network connect back c1").ok();
    both(|family| lab.endpoint("c1").reaches(D1.of(family)));
}

/// What was changed by hand is as the file says after the next `up`.
fn put_back_by_up() {
    let lab = Lab::up(&topology());
    lab.run("network disconnect front c1").ok();
    lab.run("network connect back c1").ok();
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    assert_eq!(interfaces(&c1), ["lo", "eth0"]);
    both(|family| {
        assert_eq!(gateways(&c1, family), [FRONT.of(family)]);
        lab.endpoint("c2").reaches(C1.of(family));
        c1.reaches(SERVER.of(family));
    });
    assert!(lab.up_again(&topology(), &[]).ok().contains("nothing to change"));
}

/// A daemon that takes over has nothing to do.
fn connect_survives_a_dead_daemon() {
    let lab = Lab::up(&topology());
    lab.run("network connect --gw-priority 1 back c1").ok();
    let (c1, before) = (lab.endpoint("c1"), lab.endpoint("c1").links());
    lab.kill_daemon();
    both(|family| c1.reaches(D1.of(family)));
    lab.run("network disconnect front c1").ok();
    assert_eq!(before.len(), c1.links().len() + 1);
    both(|family| {
        c1.reaches(SERVER.of(family));
        assert_eq!(gateways(&c1, family), [BACK.of(family)]);
    });
}

#[rustfmt::skip]
const WRONG: &[(&str, i32, &[&str])] = &[
    ("network connect front c1", 1, &["endpoint with name c1 already exists in network front"]),
    ("network connect nowhere c1", 1, &["network", "nowhere"]),
    ("network connect back nobody", 1, &["endpoint", "nobody"]),
    ("network connect --ip 10.99.0.9 back c1", 1, &["c1", "back", "10.99.0.9 is outside 10.20.0.0/24"]),
    ("network connect --ip 10.20.0.11 back c1", 1, &["10.20.0.11", "d1"]),
    ("network connect --ip 10.20.0.1 back c1", 1, &["10.20.0.1", "gateway"]),
    ("network connect --ip6 fd99::9 back c1", 1, &["fd99::9 is outside fd20::/64"]),
    ("network connect --ip ten back c1", 2, &["ten"]),
    ("network connect --gw-priority high back c1", 2, &["high"]),
    ("network connect --alias a/b back c1", 1, &["alias", "a/b"]),
    ("network connect --driver-opt colour=red back c1", 1, &["colour", "com.docker.network.endpoint.ifname"]),
    ("network connect --driver-opt com.docker.network.endpoint.ifname=much-too-long-a-name back c1", 1, &["much-too-long-a-name", "15"]),
    ("network connect --driver-opt com.docker.network.endpoint.ifname=eth0 back c1", 1, &["eth0"]),
    ("network disconnect back c1", 1, &["endpoint c1 is not connected to network back"]),
    ("network disconnect nowhere c1", 1, &["network", "nowhere"]),
    ("network disconnect front nobody", 1, &["endpoint", "nobody"]),
    ("network rm front", 1, &["front", "in use", "c1"]),
];

fn wrong_connections() {
    let lab = Lab::up(&topology());
    let state = || (lab.pins(), lab.now(), lab.endpoint("c1").links(), lab.json("inspect c1"));
    let before = state();
    for (command, code, words) in WRONG {
        lab.run(command).fails_saying(*code, words);
        assert_eq!(state(), before, "{command}");
    }
}
