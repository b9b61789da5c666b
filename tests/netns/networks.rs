//! Networks that endpoints join and leave while they are there, and what is said of networks.

use netebpf_tests::lab::{
    Family, Lab, Ns, both, eventually,
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
    what_stood_in_the_way,
    wrong_connections,
    lists_and_filters,
    pruned,
    removed_one_by_one,
    options_of_an_endpoint,
    stale_neighbours,
    wrong_commands,
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
    ("network rm front", 1, &["front", "has active endpoints", "c1"]),
];

/// Somebody's interface has the name that ours would have; when it is gone, nothing is.
fn what_stood_in_the_way() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    c1.ip("link add eth1 type bridge");
    lab.run("network connect back c1").fails_saying(1, &["interface eth1 already"]);
    c1.ip("link del eth1");
    lab.run("network connect back c1").ok();
    both(|family| {
        c1.reaches(D1.of(family));
    });
}

fn wrong_connections() {
    let lab = Lab::up(&topology());
    let state = || (lab.pins(), lab.now(), lab.endpoint("c1").links(), lab.json("inspect c1"));
    let before = state();
    for (command, code, words) in WRONG {
        lab.run(command).fails_saying(*code, words);
        assert_eq!(state(), before, "{command}");
    }
}

fn lists_and_filters() {
    let lab = Lab::up(&topology());
    lab.run("network create web --label tier=front --label old").ok();
    let list = |filters: &str| {
        let text = lab.run(&format!("network ls --format {{{{.Name}}}} {filters}")).ok();
        text.lines().collect::<Vec<_>>().join(" ")
    };
    let id = lab.json("network inspect web")[0]["Id"].as_str().expect("one").to_owned();
    for (filters, expected) in [
        ("--filter name=ron", "front"),
        ("-f name=back -f name=^we", "back web"),
        ("-f driver=host -f driver=null", "host none"),
        ("-f type=builtin", "bridge host none"),
        ("-f type=custom", "back front inner web"),
        ("-f dangling=true", "web"),
        ("-f dangling=false -f type=custom", "back front inner"),
        ("-f label=tier", "web"),
        ("-f label=tier=front -f label=old", "web"),
        ("-f label=tier=back", ""),
        ("-f scope=local -f name=inner", "inner"),
        ("-f scope=swarm", ""),
        (&format!("-f id={}", &id[..12]), "web"),
        (&format!("-f id=^{} -f driver=bridge", &id[..12]), "web"),
    ] {
        assert_eq!(list(filters), expected, "{filters}");
    }
    assert_eq!(lab.run("network ls -q -f name=web").ok().trim(), &id[..12]);
    assert_eq!(lab.run("network ls -q --no-trunc -f name=web").ok().trim(), id);
    let row = lab.run("network ls -f name=web --format json").ok();
    let row: serde_json::Value = serde_json::from_str(&row).expect("one object");
    assert_eq!(row["Labels"], "old=,tier=front");

    // What is not there does not hide what is.
    let both = lab.run("network inspect --format {{.Name}} front nowhere web");
    assert_eq!((both.code, both.out.as_str()), (1, "front\nweb\n"));
    assert!(both.err.contains("nowhere"), "{both:?}");
    let nothing = lab.run("network inspect -v nowhere");
    assert_eq!((nothing.code, nothing.out.as_str()), (1, "[]\n"));
}

fn pruned() {
    let lab = Lab::up(&topology());
    assert_eq!(lab.run("network prune -f").ok(), "");
    lab.run("network create a --label keep").ok();
    lab.run("network create b").ok();
    lab.run("network prune").fails_saying(1, &["-f"]);
    assert_eq!(lab.run("network prune --force --filter until=1h").ok(), "");
    let said = lab.run("network prune -f --filter label!=keep").ok();
    assert_eq!(said, "Deleted Networks:\nb\n\n");
    let said = lab.run("network prune -f --filter label=keep").ok();
    assert_eq!(said, "Deleted Networks:\na\n\n");
    let names = lab.run("network ls --format {{.Name}}").ok();
    assert_eq!(names.lines().count(), 6, "{names}");
    // With the last endpoint and the last network goes the daemon.
    lab.run("down").ok();
    lab.run("network create a").ok();
    assert_eq!(lab.run("network prune -f").ok(), "Deleted Networks:\na\n\n");
    lab.nothing_left();
    assert_eq!(lab.run("network prune -f").ok(), "");
    lab.nothing_left();
}

/// Docker's `network rm`: each by itself.
fn removed_one_by_one() {
    let lab = Lab::up(&topology());
    lab.run("network create a").ok();
    lab.run("network create b").ok();
    let ran = lab.run("network rm a front nowhere bridge b");
    assert_eq!((ran.code, ran.out.as_str()), (1, "a\nb\n"));
    for words in ["front", "in use", "nowhere", "bridge is a pre-defined network"] {
        assert!(ran.err.contains(words), "{ran:?}");
    }
    assert_eq!(lab.run("network rm -f nowhere").ok(), "");
    lab.run("network rm -f front").fails_saying(1, &["in use"]);
}

/// Docker's long form of `--network`, and what stands in Compose's place for it.
fn options_of_an_endpoint() {
    let lab = Lab::bare();
    lab.run("network create front --subnet 10.10.0.0/24 --ipv6 --attachable --scope local").ok();
    lab.run("network create six --ipv4=false --ipv6 --subnet fd66::/64").ok();
    let front = concat!(
        "name=front,ip=10.10.0.77,alias=x,mac-address=02:42:00:00:00:07,gw-priority=3,",
        "driver-opt=com.docker.network.endpoint.ifname=wan,",
        "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    );
    lab.netebpf(&["create", "--name", "c1", "--network", front, "--network", "six"]).ok();
    let c1 = lab.endpoint("c1");
    let set = c1.tool("cat", &["/proc/sys/net/ipv4/conf/wan/log_martians"]).ok();
    assert_eq!(set.trim(), "1");
    assert_eq!(c1.mac("wan"), [2, 0x42, 0, 0, 0, 7]);
    let six = lab.json("inspect c1")[0]["NetworkSettings"]["Networks"]["six"].clone();
    assert_eq!((&six["IPAddress"], &six["Interface"]), (&"".into(), &"eth0".into()));
    c1.reaches(SERVER.0.into());
    lab.run("rm c1").ok();
    let file = r#"
name: lab
networks: {front: {external: true}}
services:
  c2:
    networks:
      front:
        gw_priority: 1
        mac_address: "02:42:00:00:00:08"
        driver_opts:
          com.docker.network.endpoint.ifname: wan
          com.docker.network.endpoint.sysctls: net.ipv6.conf.IFNAME.hop_limit=9
"#;
    lab.up_text(file).ok();
    let c2 = lab.endpoint("c2");
    assert_eq!(c2.tool("cat", &["/proc/sys/net/ipv6/conf/wan/hop_limit"]).ok().trim(), "9");
    assert!(lab.up_text(file).ok().contains("nothing to change"));
    let refused = file.replace("gw_priority: 1", "link_local_ips: [169.254.1.1]");
    lab.up_text(&refused).fails_saying(1, &["c2", "link_local_ips", "169.254.1.1"]);
    let refused = file.replace("endpoint.ifname", "endpoint.colour");
    lab.up_text(&refused).fails_saying(1, &["c2", "colour", "com.docker.network.endpoint.ifname"]);
    // A sysctl that there is none of: nothing is left half-made.
    let wrong = file.replace("hop_limit", "no_such_switch").replace("c2:", "c3:");
    lab.up_text(&wrong).fails_saying(1, &["no_such_switch"]);
    assert_eq!(lab.run("ps --format {{.Name}}").ok(), "c2\n");
}

/// An address that was one Ethernet address's is another's at once, to neighbours and the host.
fn stale_neighbours() {
    let lab = Lab::bare();
    lab.run("network create front --subnet 10.10.0.0/24 --subnet fd10::/64").ok();
    let make = |mac: &str| {
        let network = format!("front:ip=10.10.0.9,ip6=fd10::9,mac={mac}");
        lab.netebpf(&["create", "--name", "c1", "--network", &network]).ok();
    };
    lab.run("create --name c2 --network front").ok();
    let (c2, bridge) = (lab.endpoint("c2"), lab.bridge("front"));
    let known = |ns: &Ns, interface: &str, mac: &str| {
        ["10.10.0.9", "fd10::9"].into_iter().all(|address| {
            let entries = ns.ip(&format!("neighbour show {address} dev {interface}"));
            entries.contains(mac)
        })
    };
    let (first, second) = ("02:42:00:00:00:01", "02:42:00:00:00:02");
    make(first);
    for address in ["10.10.0.9", "fd10::9"] {
        let address = address.parse().expect("an address");
        c2.reaches(address);
        lab.host.reaches(address);
    }
    assert!(known(&c2, "eth0", first) && known(&lab.host, &bridge, first));
    lab.run("rm c1").ok();
    make(second);
    eventually("a neighbour to know", || known(&c2, "eth0", second));
    eventually("the host to know", || known(&lab.host, &bridge, second));
    // The same by connecting.
    lab.run("network disconnect front c1").ok();
    lab.run("network connect --ip 10.10.0.9 --ip6 fd10::9 front c1").ok();
    let third = "02:42:0a:0a:00:09";
    eventually("a neighbour to know", || known(&c2, "eth0", third));
    eventually("the host to know", || known(&lab.host, &bridge, third));
}

#[rustfmt::skip]
const WRONG_COMMANDS: &[(&str, i32, &[&str])] = &[
    ("network ls -f colour=red", 2, &["invalid filter", "dangling="]),
    ("network ls -f type=own", 2, &["custom or builtin"]),
    ("network ls -f dangling=maybe", 2, &["true or false"]),
    ("network prune -f --filter name=x", 1, &["invalid filter", "until="]),
    ("network prune -f --filter until=soon", 1, &["soon", "24h"]),
    ("network create x --scope swarm", 2, &["swarm", "local"]),
    ("network create x --ipam-driver mine", 2, &["mine", "default"]),
    ("network create x --ipv4=false", 1, &["x", "IPv4", "IPv6"]),
    ("network create x -o com.docker.network.colour=red", 2, &["com.docker.network.colour", "com.docker.network.driver.mtu"]),
    ("create --name x --network ip=10.0.0.1", 2, &["name=NET"]),
    ("create --name x --network name=bridge,link-local-ip=169.254.0.9", 2, &["link-local"]),
    ("create --name x --network name=bridge,driver-opt=colour=red", 2, &["colour", "ifname"]),
    ("create --name x --network name=bridge,driver-opt=com.docker.network.endpoint.sysctls=kernel.msgmax=1", 2, &["kernel.msgmax", "IFNAME"]),
];

fn wrong_commands() {
    let lab = Lab::bare();
    for (command, code, words) in WRONG_COMMANDS {
        lab.run(command).fails_saying(*code, words);
        lab.nothing_left();
    }
}
