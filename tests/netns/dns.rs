//! Names, as programs in an endpoint ask for them.

use hickory_proto::op::ResponseCode;
use netebpf_tests::lab::{
    Family, Lab, Ns, Upstream, Way, both, delete_namespace, eventually,
    family::{C1, C2, HOST, LAN, SERVER},
    moment, patience, question, topology,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

netebpf_tests::tests![
    names,
    one_alias_of_several,
    a_change_is_known_when_it_returns,
    others_are_asked,
    a_slow_resolver_delays_nobody,
    the_next_resolver_is_asked,
    memory_of_those_who_wait,
    resolvers_are_followed,
    resolvers_of_ones_own,
    resolvers_of_a_shared_namespace,
    internal_networks_ask_nobody,
    the_default_network,
    resolv_conf,
    resolv_conf_of_others_stays,
    resolv_conf_of_a_running_command,
    resolv_conf_that_is_no_file,
    resolv_conf_half_written,
    a_daemon_that_is_killed,
    nonsense,
    too_many_connections,
    a_server_of_names,
    programs_that_come_and_go,
    entries_of_others,
    by_a_mapped_address,
    a_flood_by_tcp,
    many_at_once,
];

const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 80), Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x80));

/// How long a question to somebody who is silent is under way at least.
const PATIENCE_OF_FORWARDS: Duration = Duration::from_millis(2500);

fn upstream(ns: &Ns, at: IpAddr) -> Upstream {
    Upstream::start(ns, at, OUTSIDE.0, OUTSIDE.1)
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A laboratory whose host asks a resolver behind the router, one of each family.
fn lab_with_resolv_conf(servers: &[IpAddr]) -> Lab {
    let lab = Lab::bare();
    resolv_conf_of_the_host(&lab, servers);
    lab
}

fn resolv_conf_of_the_host(lab: &Lab, servers: &[IpAddr]) {
    let servers: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
    let text = format!("{servers}search example.com\noptions timeout:3 ndots:2\n");
    lab.etc_file("resolv.conf", &text);
}

fn names() {
    let lab = Lab::up(&topology());
    let (c1, i1) = (lab.endpoint("c1"), lab.endpoint("i1"));
    for way in [Way::Udp, Way::Edns(1232), Way::Tcp] {
        both(|family| {
            let (kind, mine, others) = match family {
                Family::V4 => ("A", C1.of(family), C2.of(family)),
                Family::V6 => ("AAAA", C1.of(family), C2.of(family)),
            };
            for name in ["c2", "C2", "c2.front", "c2.Front"] {
                let reply = c1.resolve_by(way, name, kind);
                assert!(reply.authoritative && !reply.truncated);
                assert_eq!(reply.ok(), [others.to_string()], "{name}");
            }
            assert_eq!(c1.resolve_by(way, "c1", kind).ok(), [mine.to_string()]);
            let reverse = reverse_name(others);
            assert_eq!(c1.resolve_by(way, &reverse, "PTR").ok(), ["c2.front."]);
        });
        for kind in ["MX", "TXT", "SRV"] {
            assert!(c1.resolve_by(way, "c2", kind).ok().is_empty(), "{kind}");
        }
        // Another network's.
        let reply = c1.resolve_by(way, &reverse_name([10, 20, 0, 11].into()), "PTR");
        assert_eq!(reply.code, ResponseCode::NXDomain);
        assert_eq!(i1.resolve_by(way, "i2", "A").ok(), ["10.30.0.12"]);
    }
    let id = lab.json("inspect c2")[0]["Id"].as_str().expect("an identifier")[..12].to_owned();
    assert_eq!(c1.resolve(&id, "A").ok(), [C2.of(Family::V4).to_string()]);
    // As programs do.
    let text = lab.run("exec c1 -- getent ahostsv4 c2").ok();
    assert!(text.starts_with("10.10.0.12 "), "{text}");
    let text = lab.run("exec c1 -- getent hosts fd10::12").ok();
    assert!(text.trim_end().ends_with("c2.front"), "{text}");
}

/// The name under which an address is looked for (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: String = digits.map(|digit| format!("{digit:x}.")).collect();
            format!("{digits}ip6.arpa")
        }
    }
}

fn one_alias_of_several() {
    let lab = Lab::bare();
    lab.up_text(
        "name: lab\n\
         networks:\n\
         \x20 a: {ipam: {config: [{subnet: 10.10.0.0/24}]}}\n\
         \x20 b: {ipam: {config: [{subnet: 10.20.0.0/24}]}}\n\
         services:\n\
         \x20 x: {networks: {a: {ipv4_address: 10.10.0.11, aliases: [www]}}}\n\
         \x20 y: {networks: {a: {ipv4_address: 10.10.0.12, aliases: [www, lone]}}}\n\
         \x20 z: {networks: {a: {ipv4_address: 10.10.0.13}, b: {ipv4_address: 10.20.0.13}}}\n\
         \x20 w: {networks: {a: {ipv4_address: 10.10.0.14}, b: {ipv4_address: 10.20.0.14}}}\n",
    )
    .ok();
    let x = lab.endpoint("x");
    let both = set(&["10.10.0.11", "10.10.0.12"]);
    let mut first = BTreeSet::new();
    for _ in 0..4 {
        let data = x.resolve("www", "A").ok();
        assert_eq!(data.iter().cloned().collect::<BTreeSet<_>>(), both);
        first.insert(data[0].clone());
    }
    assert_eq!(first, both, "each was the first");
    assert_eq!(x.resolve("lone.a", "A").ok(), ["10.10.0.12"]);
    assert_eq!(x.resolve("z", "A").ok(), ["10.10.0.13"]);
    let w = lab.endpoint("w");
    assert_eq!(w.resolve("z", "A").set(), set(&["10.10.0.13", "10.20.0.13"]));
    assert_eq!(w.resolve("z.b", "A").ok(), ["10.20.0.13"]);
}

fn a_change_is_known_when_it_returns() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let outside = upstream(&lab.server, SERVER.of(Family::V4));
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    for round in 0..5 {
        let host = 100 + round;
        lab.run(&format!("create --name new --network front:ip=10.10.0.{host},alias=too")).ok();
        for name in ["new", "too"] {
            assert_eq!(c1.resolve(name, "A").ok(), [format!("10.10.0.{host}")]);
        }
        assert_eq!(lab.endpoint("new").resolve("c1", "A").ok(), ["10.10.0.11"]);
        assert_eq!(outside.names(), BTreeSet::new());
        lab.run("rm new").ok();
        // Nobody's here: so it is asked outside.
        assert_eq!(c1.resolve("new", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(outside.names(), set(&["new"]));
    }
    let d1 = lab.endpoint("d1");
    for _ in 0..3 {
        lab.run("network connect --alias first --ip 10.20.0.99 back c1").ok();
        assert_eq!(c1.resolve("d1", "A").ok(), ["10.20.0.11"]);
        assert_eq!(d1.resolve("first", "A").ok(), ["10.20.0.99"]);
        assert_eq!(c1.resolve("c1", "A").set(), set(&["10.10.0.11", "10.20.0.99"]));
        assert_eq!(outside.names(), BTreeSet::new());
        lab.run("network disconnect back c1").ok();
        assert_eq!(c1.resolve("d1", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(d1.resolve("first", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(outside.names(), set(&["d1", "first"]));
    }
    // Off its last network nobody answers; back on one, as before.
    lab.run("network disconnect front c1").ok();
    assert!(c1.try_resolve(Way::Udp, "c2", "A", moment()).is_err(), "nobody answers any more");
    lab.run("network connect front c1").ok();
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
}

fn others_are_asked() {
    both(|family| {
        let server = SERVER.of(family);
        let lab = lab_with_resolv_conf(&[server]);
        let outside = upstream(&lab.server, server);
        lab.up_again(&topology(), &[]).ok();
        let c1 = lab.endpoint("c1");
        for way in [Way::Udp, Way::Edns(1232), Way::Tcp] {
            assert_eq!(c1.resolve_by(way, "www.example", "A").ok(), [OUTSIDE.0.to_string()]);
            assert_eq!(c1.resolve_by(way, "www.example", "AAAA").ok(), [OUTSIDE.1.to_string()]);
            assert_eq!(c1.resolve_by(way, "nx.example", "A").code, ResponseCode::NXDomain);
            assert_eq!(c1.resolve_by(way, "fail.example", "A").code, ResponseCode::ServFail);
            assert_eq!(c1.resolve_by(way, "forged.example", "A").ok(), [OUTSIDE.0.to_string()]);
            let big = c1.resolve_by(way, "big.example", "TXT");
            let (count, truncated) = if way == Way::Tcp { (100, false) } else { (0, true) };
            assert_eq!((big.data.len(), big.truncated), (count, truncated), "{way:?}");
            let long = c1.resolve_by(way, "long.example", "TXT");
            assert_eq!((long.data.len(), long.truncated), (count, truncated), "{way:?}");
        }
        let asked = outside.asked();
        assert!(asked.iter().all(|asked| asked.from.ip() == HOST.of(family)), "{asked:?}");
        let ports: BTreeSet<u16> = asked.iter().map(|asked| asked.from.port()).collect();
        let ids: BTreeSet<u16> = asked.iter().map(|asked| asked.id).collect();
        assert!(ports.len() > 15 && ids.len() > 15, "each from a port of its own: {asked:?}");
        // Known here, so nobody outside hears of them.
        c1.resolve("c2", "MX").ok();
        c1.resolve(&reverse_name([10, 20, 0, 11].into()), "PTR");
        assert_eq!(outside.names(), BTreeSet::new());
    });
}

fn a_slow_resolver_delays_nobody() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let outside = upstream(&lab.server, SERVER.of(Family::V4));
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    // More than may be under way: what is too much is refused at once, the rest waits. Meanwhile names of ours are
    // answered.
    let mut waiting = Vec::new();
    let refused = |socket: &UdpSocket| {
        socket.set_nonblocking(true).expect("a socket");
        let mut buffer = [0; 512];
        socket.recv(&mut buffer).is_ok_and(|_| buffer[3] & 15 == 2)
    };
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE_OF_FORWARDS && !waiting.iter().any(refused) {
        for _ in 0..50 {
            let name = format!("silent{}.example", waiting.len());
            waiting.push(c1.ask_later(&question(Way::Udp, &name, "A")));
        }
        for way in [Way::Udp, Way::Tcp] {
            assert_eq!(c1.resolve_by(way, "c2", "A").ok(), ["10.10.0.12"]);
        }
    }
    assert!(waiting.len() <= 1100, "nothing was refused of {}", waiting.len());
    assert!(outside.asked().len() >= 200, "the others were asked");
    // Another endpoint has all of its own.
    assert_eq!(lab.endpoint("c2").resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    // There is an end to it.
    for socket in &waiting[..3] {
        eventually("no answer to be a failure", || refused(socket));
    }
    // One connection: the second question is answered before the first.
    let mut stream = c1.resolver();
    for name in ["silent.example", "c2"] {
        let question = question(Way::Udp, name, "A");
        let length = u16::try_from(question.len()).expect("short");
        stream.write_all(&[&length.to_be_bytes()[..], &question].concat()).expect("taken");
    }
    let mut answer = [0; 200];
    let length = stream.read(&mut answer).expect("answered");
    assert_eq!(&answer[length - 4..length], &[10, 10, 0, 12]);
}

fn the_next_resolver_is_asked() {
    // Nobody is at the first address; the second refuses, the third answers.
    let dead = "192.0.2.77".parse().expect("an address");
    let lab = lab_with_resolv_conf(&[dead, LAN.of(Family::V4), SERVER.of(Family::V6)]);
    let outside = upstream(&lab.server, SERVER.of(Family::V6));
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    assert_eq!(c1.resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    // One that fails is asked, and the next one counts.
    let first = Upstream::start(&lab.lan, LAN.of(Family::V4), Ipv4Addr::LOCALHOST, OUTSIDE.1);
    assert_eq!(c1.resolve("fail.example", "A").code, ResponseCode::ServFail);
    assert_eq!(
        (first.names(), outside.names().contains("fail.example")),
        (set(&["fail.example"]), true)
    );
    // Three, as a C library does.
    resolv_conf_of_the_host(&lab, &[dead, LAN.of(Family::V6), dead, SERVER.of(Family::V6)]);
    assert_eq!(c1.resolve("www.example", "A").code, ResponseCode::ServFail);
    assert_eq!(outside.names(), BTreeSet::new());
}

/// Who waits for an answer takes next to nothing of the daemon's memory.
fn memory_of_those_who_wait() {
    const WAITING: usize = 900;
    let lab =
        lab_with_resolv_conf(&[SERVER.of(Family::V4), SERVER.of(Family::V6), LAN.of(Family::V4)]);
    let _others =
        [SERVER.of(Family::V4), SERVER.of(Family::V6)].map(|at| upstream(&lab.server, at));
    let last = upstream(&lab.lan, LAN.of(Family::V4));
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    c1.resolve("www.example", "A").ok();
    let pid = lab.daemon_pid().expect("a daemon runs");
    let data = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    let before = data();
    let mut waiting = Vec::new();
    let (mut asked, mut most) = (0, 0);
    for n in 0..WAITING {
        waiting.push(c1.ask_later(&question(Way::Udp, &format!("silent{n}.example"), "A")));
    }
    eventually("all resolvers to be asked", || {
        asked += last.asked().len();
        most = most.max(data());
        asked >= WAITING
    });
    assert!(most < before + 16 * 1024, "{before} kB before, {most} kB with {WAITING} who wait");
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
}

fn resolvers_are_followed() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let (old, new) = (
        upstream(&lab.server, SERVER.of(Family::V4)),
        Upstream::start(&lab.lan, LAN.of(Family::V4), Ipv4Addr::new(203, 0, 113, 81), OUTSIDE.1),
    );
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    assert_eq!(c1.resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!((old.names().len(), new.names().len()), (1, 0));
    lab.etc_file(
        "resolv.conf",
        &format!("nameserver {}\nsearch new.example\n", LAN.of(Family::V4)),
    );
    assert_eq!(c1.resolve("www.example", "A").ok(), ["203.0.113.81"]);
    assert_eq!((old.names().len(), new.names().len()), (0, 1));
    // What is written of it follows.
    let file = format!("netns/{}.c1/resolv.conf", lab.instance());
    let written = || lab.read_etc_file(&file).is_some_and(|text| text.contains("new.example"));
    eventually("the endpoint's resolv.conf to follow", written);
}

fn resolvers_of_ones_own() {
    let lab = lab_with_resolv_conf(&[LAN.of(Family::V4)]);
    lab.settings(&format!("dns = {{ upstreams = [\"{}\"] }}", SERVER.of(Family::V4)));
    let (settings, hosts) =
        (upstream(&lab.server, SERVER.of(Family::V4)), upstream(&lab.lan, LAN.of(Family::V4)));
    lab.up_text(&format!(
        "name: lab\nnetworks: {{front: {{}}}}\nservices:\n  a: {{networks: [front]}}\n  \
         b: {{networks: [front], dns: {}, dns_search: [corp.example], dns_opt: [use-vc]}}\n",
        LAN.of(Family::V4)
    ))
    .ok();
    assert_eq!(lab.endpoint("a").resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!((settings.names().len(), hosts.names().len()), (1, 0));
    assert_eq!(lab.endpoint("b").resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!((settings.names().len(), hosts.names().len()), (0, 1));
    assert_eq!(lab.endpoint("b").resolve("a", "TXT").ok(), [""; 0]);
    let text = lab.run("exec b -- cat /etc/resolv.conf").ok();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines, ["nameserver 127.0.0.11", "search corp.example", "options ndots:0 use-vc"]);
    lab.run("run --dns nonsense -- true").fails_saying(2, &["--dns", "nonsense"]);
    lab.up_text("name: lab\nservices: {a: {dns: nonsense}}\n")
        .fails_saying(1, &["dns", "nonsense"]);
}

/// Whoever is in another's namespace asks as its owner does, and nobody else's choice is passed over in silence.
fn resolvers_of_a_shared_namespace() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4), Ipv4Addr::LOCALHOST.into()]);
    lab.up_again(&topology(), &[]).ok();
    let other = Ns::create(format!("{}-app", lab.instance()));
    lab.run(&format!("create --name n --netns /run/netns/{} --network front", other.name())).ok();
    lab.run("create --name j --network container:n").ok();
    lab.run("create --name k --network container:j").ok();
    for name in ["n", "j", "k"] {
        let text = lab.run(&format!("exec {name} -- cat /etc/resolv.conf")).ok();
        assert_eq!(text.lines().nth(1), Some("nameserver 127.0.0.11"), "{name}: {text}");
        assert!(lab.run(&format!("exec {name} -- getent hosts c1")).ok().contains("c1"));
    }
    let conflict = "conflicting options: dns and the network mode";
    for chosen in ["--dns 192.0.2.1", "--dns-search corp.example", "--dns-option use-vc"] {
        lab.run(&format!("create --name x --network container:c1 {chosen}"))
            .fails_saying(1, &[conflict]);
    }
    let file =
        "name: other\nservices:\n  y: {}\n  x: {network_mode: \"service:y\", dns: 192.0.2.1}\n";
    lab.up_text(file).fails_saying(1, &["x", conflict]);
    // On the host, and with nobody at all, it counts as anywhere.
    for mode in ["host", "none"] {
        let read = |chosen: &str| {
            let text = format!("run --rm --network {mode} {chosen} -- cat /etc/resolv.conf");
            lab.run(&text).ok().lines().map(str::to_owned).skip(1).collect::<Vec<_>>()
        };
        let own = ["nameserver 192.0.2.1", "search example.com", "options use-vc"];
        assert_eq!(read("--dns 192.0.2.1 --dns-option use-vc"), own, "{mode}");
        let search = ["nameserver 198.51.100.9", "nameserver 127.0.0.1", "search corp.example"];
        assert_eq!(read("--dns-search corp.example")[..3], search, "{mode}");
    }
}

fn internal_networks_ask_nobody() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let outside = upstream(&lab.server, SERVER.of(Family::V4));
    lab.up_again(&topology(), &[]).ok();
    let i1 = lab.endpoint("i1");
    for way in [Way::Udp, Way::Tcp] {
        assert_eq!(i1.resolve_by(way, "i2", "A").ok(), ["10.30.0.12"]);
        for (name, kind) in
            [("www.example", "A"), ("c1", "AAAA"), ("9.100.51.198.in-addr.arpa", "PTR")]
        {
            assert_eq!(i1.resolve_by(way, name, kind).code, ResponseCode::ServFail, "{name}");
        }
    }
    assert_eq!(outside.asked(), []);
}

fn the_default_network() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4), Ipv4Addr::LOCALHOST.into()]);
    let read = |name: &str| {
        let text = lab.run(&format!("exec {name} -- cat /etc/resolv.conf")).ok();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    lab.run("create --name one").ok();
    lab.run("create --name two").ok();
    let host = ["nameserver 198.51.100.9", "search example.com", "options timeout:3 ndots:2"];
    assert_eq!(read("one"), host);
    let one = lab.endpoint("one");
    assert!(one.try_resolve(Way::Udp, "two", "A", moment()).is_err(), "nobody answers there");
    // The host's resolvers are where the endpoint does not reach them: through us, and still without names.
    let outside = upstream(&lab.host, Ipv4Addr::LOCALHOST.into());
    resolv_conf_of_the_host(&lab, &[Ipv4Addr::LOCALHOST.into()]);
    let through_us = ["nameserver 127.0.0.11", "search example.com", "options ndots:0 timeout:3"];
    eventually("the file to follow", || read("one") == through_us);
    assert_eq!(one.resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!(one.resolve("two", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!(outside.names(), set(&["www.example", "two"]));
    resolv_conf_of_the_host(&lab, &[SERVER.of(Family::V4)]);
    eventually("the file to follow", || read("one") == host);
}

fn resolv_conf() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let path = lab.file("resolv.conf.seen", "");
    let path = path.to_str().expect("plain");
    let show = format!("cat /etc/resolv.conf > {path}; sleep 1000");
    lab.up_again(&topology().command("c2", &["sh", "-c", &show]), &[]).ok();
    let expected = ["nameserver 127.0.0.11", "search example.com", "options ndots:0 timeout:3"];
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let name = format!("{}.c1", lab.instance());
    let cat = ["cat", "/etc/resolv.conf"];
    let by_ip = lab.tool_with_etc("ip", &[&["netns", "exec", &name], &cat[..]].concat()).ok();
    assert_eq!(lines(&by_ip), expected);
    assert_eq!(lines(&lab.netebpf(&[&["exec", "c1", "--"], &cat[..]].concat()).ok()), expected);
    let run = ["run", "--rm", "--network", "front", "--"];
    assert_eq!(lines(&lab.netebpf(&[&run[..], &cat].concat()).ok()), expected);
    let seen = || std::fs::read_to_string(path).expect("our own file");
    eventually("the service to read it", || lines(&seen()) == expected);
    // The host's own is as it was.
    let host = lab.tool_with_etc("cat", &["/etc/resolv.conf"]).ok();
    assert!(host.starts_with("nameserver 198.51.100.9\n"), "{host}");
    // In a namespace of others.
    let other = Ns::create(format!("{}-app", lab.instance()));
    let netns = format!("/run/netns/{}", other.name());
    lab.run(&format!("create --name app --netns {netns} --network front")).ok();
    assert_eq!(lines(&lab.netebpf(&[&["exec", "app", "--"], &cat[..]].concat()).ok()), expected);
    assert_eq!(other.resolve("c1", "A").ok(), ["10.10.0.11"]);
    let its_own = format!("netns/{}/resolv.conf", other.name());
    assert_eq!(lab.read_etc_file(&its_own), None);
    lab.etc_file(&its_own, "nameserver 192.0.2.1\n");
    let text = lab.netebpf(&[&["exec", "app", "--"], &cat[..]].concat()).ok();
    assert_eq!(text, "nameserver 192.0.2.1\n", "what its owner wrote counts");
    lab.run("rm app").ok();
    assert!(other.try_resolve(Way::Udp, "c1", "A", moment()).is_err(), "nobody answers any more");
    // A link that leads elsewhere, as systemd-resolved has it.
    lab.etc_file("elsewhere", "nameserver 198.51.100.9\n");
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&format!("netns/{name}/resolv.conf")), None);
    lab.tool_with_etc("ln", &["-sf", "elsewhere", "/etc/resolv.conf"]).ok();
    lab.up_again(&topology(), &[]).ok();
    let text = lab.netebpf(&[&["exec", "c1", "--"], &cat[..]].concat()).ok();
    assert_eq!(lines(&text), ["nameserver 127.0.0.11", "options ndots:0"]);
    lab.tool_with_etc("rm", &["/etc/resolv.conf"]).ok();
    lab.run("exec c1 -- true").ok();
}

fn resolv_conf_of_others_stays() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let file = format!("netns/{}.c1/resolv.conf", lab.instance());
    let text = "nameserver 192.0.2.1\n";
    lab.etc_file(&file, text);
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains(&file) && said.contains("not ours"), "{said}");
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&file).as_deref(), Some(text));
}

/// The host's file is replaced while commands run, as systemd-resolved and NetworkManager do: theirs stays what it is.
fn resolv_conf_of_a_running_command() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let seen = ["service", "run", "exec"].map(|name| lab.file(name, ""));
    let show = seen.each_ref().map(|path| {
        let path = path.to_str().expect("plain");
        format!(
            "while sleep 0.05; do cat /etc/resolv.conf > {path}.new; mv {path}.new {path}; done"
        )
    });
    lab.up_again(&topology().command("c2", &["sh", "-c", &show[0]]), &[]).ok();
    let _run = lab.start(&["run", "--rm", "--network", "front", "--", "sh", "-c", &show[1]]);
    let _exec = lab.start(&["exec", "c1", "--", "sh", "-c", &show[2]]);
    let all_see = |domain: &str| {
        let expected = [
            "nameserver 127.0.0.11".to_owned(),
            format!("search {domain}"),
            "options ndots:0".to_owned(),
        ];
        for path in &seen {
            eventually(&format!("{} to see {domain}", path.display()), || {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>() == expected
            });
        }
    };
    let text = |domain: &str| format!("nameserver 198.51.100.9\nsearch {domain}\n");
    lab.etc_file("resolv.conf", &text("first.example"));
    all_see("first.example");
    let replace = |with: &str| lab.tool_with_etc("mv", &["-T", with, "/etc/resolv.conf"]).ok();
    for domain in ["second.example", "third.example"] {
        lab.etc_file("resolv.conf.new", &text(domain));
        replace("/etc/resolv.conf.new");
        all_see(domain);
    }
    // A link to a file in its place, which is replaced; and then a file again.
    lab.etc_file("run/stub", &text("link.example"));
    lab.tool_with_etc("ln", &["-s", "run/stub", "/etc/link"]).ok();
    replace("/etc/link");
    all_see("link.example");
    lab.etc_file("run/new", &text("linked.example"));
    lab.tool_with_etc("mv", &["/etc/run/new", "/etc/run/stub"]).ok();
    all_see("linked.example");
    lab.etc_file("resolv.conf.new", &text("file.example"));
    replace("/etc/resolv.conf.new");
    all_see("file.example");
    // While nobody keeps the service's.
    lab.kill_daemon();
    lab.etc_file("resolv.conf.new", &text("last.example"));
    replace("/etc/resolv.conf.new");
    lab.run("ps").ok();
    all_see("last.example");
}

/// A link, a pipe or a directory in the place of a file: named, left alone, and nobody waits for it.
fn resolv_conf_that_is_no_file() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let ours = format!("# netebpf:{}:\n", lab.instance());
    lab.etc_file("elsewhere", &ours);
    let place = |name: &str| format!("/etc/netns/{}.{name}/resolv.conf", lab.instance());
    for name in ["c1", "c2"] {
        lab.etc_file(&format!("netns/{}.{name}/hosts", lab.instance()), "");
    }
    lab.tool_with_etc("ln", &["-s", "/etc/elsewhere", &place("c1")]).ok();
    lab.tool_with_etc("mkfifo", &[&place("c2")]).ok();
    lab.tool_with_etc("mkdir", &["-p", &place("d1")]).ok();
    let said = lab.up_again(&topology(), &[]).ok();
    for name in ["c1", "c2", "d1"] {
        let line = said.lines().find(|line| line.contains(&place(name)));
        assert!(line.is_some_and(|line| line.contains("no regular file")), "{name}: {said}");
    }
    assert_eq!(lab.read_etc_file("elsewhere"), Some(ours));
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
    lab.run("down").ok();
    // What was there stays, and what was made for us is gone.
    let left = lab.tool_with_etc("sh", &["-c", "cd /etc/netns; find . -type d | sort"]).ok();
    let of = |name: &str| format!("./{}.{name}\n", lab.instance());
    let d1 = format!("{}{}resolv.conf\n", of("d1"), of("d1").trim_end().to_owned() + "/");
    assert_eq!(left, format!(".\n{}{}{d1}", of("c1"), of("c2")));
}

/// What was begun is ended; a directory that somebody made stays, one that was made for us goes.
fn resolv_conf_half_written() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let file = |name: &str| format!("netns/{}.{name}/resolv.conf", lab.instance());
    lab.etc_file(&file("c1"), "#");
    // Somebody wants no resolver.
    lab.etc_file(&file("i1"), "");
    lab.etc_file(&file("c2"), "# netebpf:");
    // Of a daemon that was killed while it made one.
    lab.etc_file(&format!("netns/.netebpf.{}./resolv.conf", lab.instance()), "# net");
    lab.up_again(&topology(), &[]).ok();
    for name in ["c1", "c2", "d1"] {
        let text = lab.read_etc_file(&file(name)).expect("a file");
        assert!(
            text.contains("nameserver 127.0.0.11\n") && text.starts_with("# netebpf:"),
            "{text}"
        );
    }
    lab.run("down").ok();
    assert_eq!(lab.read_etc_file(&file("i1")).as_deref(), Some(""));
    lab.tool_with_etc("sh", &["-c", "rm /etc/netns/*.i1/resolv.conf; rmdir /etc/netns/*.i1"]).ok();
    let left = lab.tool_with_etc("sh", &["-c", "cd /etc/netns; find . | sort"]).ok();
    let of = |name: &str| format!("./{}.{name}\n", lab.instance());
    assert_eq!(left, format!(".\n{}{}", of("c1"), of("c2")), "the directories of others");
    // Where there was none, none stays.
    lab.tool_with_etc("sh", &["-c", "rmdir /etc/netns/*; rmdir /etc/netns"]).ok();
    lab.up_again(&topology(), &[]).ok();
    assert!(lab.read_etc_file(&file("c1")).is_some());
    lab.run("down").ok();
    let left = lab.tool_with_etc("ls", &["-A", "/etc"]).ok();
    assert!(!left.contains("netns"), "{left}");
}

fn a_daemon_that_is_killed() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    lab.kill_daemon();
    assert!(c1.try_resolve(Way::Udp, "c2", "A", moment()).is_err(), "names rest");
    // Of an endpoint that was removed while nobody could take its file away.
    let stale = format!("netns/{}.gone/resolv.conf", lab.instance());
    lab.etc_file(&stale, &format!("# netebpf:{}:gone: left\n", lab.instance()));
    lab.run("ps").ok();
    for way in [Way::Udp, Way::Tcp] {
        assert_eq!(c1.resolve_by(way, "c2", "A").ok(), ["10.10.0.12"]);
    }
    assert_eq!(lab.read_etc_file(&stale), None);
    lab.etc_file(&stale, &format!("# netebpf:{}:gone: left\n", lab.instance()));
    let said = lab.run("gc --dry-run").ok();
    assert!(said.contains(&stale), "{said}");
    lab.run("gc").ok();
    assert_eq!(lab.read_etc_file(&stale), None);
    // A namespace that was deleted is made again, with its names.
    delete_namespace(&format!("{}.c1", lab.instance()));
    lab.up_again(&topology(), &[]).ok();
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
}

/// Whatever is sent, the others are answered.
fn nonsense() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let good = question(Way::Edns(1232), "c2", "A");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let socket = c1.ask_later(&[]);
    for round in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..random() % 8 {
            let place = random() as usize % bytes.len();
            bytes[place] = random() as u8;
        }
        bytes.truncate(1 + random() as usize % bytes.len());
        bytes.resize(bytes.len() + random() as usize % 3 * 700, random() as u8);
        // Loopback's queue may be full.
        let _ = socket.send(&bytes);
        if round % 100 == 0 {
            let mut stream = c1.resolver();
            let _ = stream.write_all(&bytes);
            assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
        }
    }
    let mut stream = c1.resolver();
    // A length without a message, and one message in pieces.
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).expect("taken");
    let mut whole = c1.resolver();
    let length = u16::try_from(good.len()).expect("short").to_be_bytes();
    for byte in length.iter().chain(&good) {
        whole.write_all(&[*byte]).expect("taken");
    }
    let mut answer = [0; 200];
    assert!(whole.read(&mut answer).expect("answered") > good.len());
    assert_eq!(c1.resolve_by(Way::Tcp, "c2", "A").ok(), ["10.10.0.12"]);
    assert_eq!(lab.endpoint("c2").resolve("c1", "A").ok(), ["10.10.0.11"]);
}

fn too_many_connections() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let held: Vec<_> = (0..64).map(|_| c1.resolver()).collect();
    // One more is closed.
    let closed = || {
        let mut one = c1.resolver();
        matches!(one.read(&mut [0; 2]), Ok(0) | Err(_))
    };
    eventually("a connection to be refused", closed);
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
    assert_eq!(lab.endpoint("c2").resolve_by(Way::Tcp, "c1", "A").ok(), ["10.10.0.11"]);
    drop(held);
    let answered = || c1.try_resolve(Way::Tcp, "c2", "A", moment()).is_ok();
    eventually("a connection to be answered again", answered);
}

/// Sockets of IPv6 that speak IPv4, as some runtimes have no others.
fn by_a_mapped_address() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let resolver = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 11).to_ipv6_mapped().into(), 53);
    let question = question(Way::Udp, "c2", "A");
    let mut answer = [0; 512];
    let socket = || {
        let socket = c1.run(|| UdpSocket::bind("[::]:0")).expect("a socket");
        socket.set_read_timeout(Some(moment())).expect("a time limit");
        socket
    };
    let connected = socket();
    connected.connect(resolver).expect("led");
    assert_eq!(connected.peer_addr().expect("connected"), resolver);
    connected.send(&question).expect("taken");
    assert!(connected.recv(&mut answer).expect("answered") > question.len());
    let free = socket();
    free.send_to(&question, resolver).expect("taken");
    let (length, from) = free.recv_from(&mut answer).expect("answered");
    assert!(length > question.len());
    assert_eq!(from, resolver);
    let stream = c1.connect(resolver).expect("led");
    assert_eq!(stream.peer_addr().expect("connected"), resolver);
}

/// One who sends what is no query keeps nobody waiting.
fn a_flood_by_tcp() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let mut flooding: Vec<_> = (0..32).map(|_| c1.resolver()).collect();
    let empty = vec![0; 1 << 20];
    for stream in &mut flooding {
        stream.set_write_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        // It hangs up.
        let _ = stream.write_all(&empty);
    }
    assert_eq!(c2.resolve("c1", "A").ok(), ["10.10.0.11"]);
    for stream in &mut flooding {
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

/// Questions that wait together, more than are read at once: each is answered, to whoever asked it.
fn many_at_once() {
    let server = SERVER.of(Family::V4);
    let lab = lab_with_resolv_conf(&[server]);
    let _outside = upstream(&lab.server, server);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let known =
        [("c1", [10, 10, 0, 11]), ("c2", [10, 10, 0, 12]), ("www.example", OUTSIDE.0.octets())];
    let daemon = i32::try_from(lab.daemon_pid().expect("a daemon runs")).expect("a process id");
    let daemon = Pid::from_raw(daemon).expect("not 0");
    kill_process(daemon, Signal::STOP).expect("ours");
    let asked: Vec<_> = (0..150)
        .map(|number| {
            let (name, address) = known[number % known.len()];
            let question = question(Way::Udp, name, "A");
            let socket = c1.ask_later(&question);
            // In between is what nobody answers.
            socket.send(&question[..1]).expect("loopback takes it");
            (socket, question, address)
        })
        .collect();
    kill_process(daemon, Signal::CONT).expect("ours");
    for (socket, question, address) in asked {
        let mut answer = [0; 512];
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        let length = socket.recv(&mut answer).expect("answered");
        assert_eq!(answer[..2], question[..2]);
        assert_eq!(answer[12..question.len()], question[12..]);
        assert_eq!(answer[length - 4..length], address);
    }
}

/// The ports that our resolver has in an endpoint, by UDP and TCP.
fn ports_of_resolver(endpoint: &Ns) -> [Option<u16>; 2] {
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/tcp"].map(|file| {
        let sockets = endpoint.run(|| std::fs::read_to_string(file)).expect("a file of Linux");
        let ours = sockets.lines().find_map(|line| line.split(" 0B00007F:").nth(1));
        ours.and_then(|rest| u16::from_str_radix(&rest[..4], 16).ok())
    })
}

/// Where the programs that see sockets are gone, names are served at port 53 itself; and when they are there again,
/// calls are led.
fn programs_that_come_and_go() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let is_led = || ports_of_resolver(&c1).iter().all(|port| port.is_some_and(|port| port > 53));
    assert!(is_led());
    let of_calls = |path: &PathBuf| path.to_string_lossy().contains("connect4");
    let links: Vec<_> = lab.pins().into_keys().filter(of_calls).collect();
    let link = links.iter().find(|path| path.to_string_lossy().contains("link"));
    let link = link.unwrap_or_else(|| panic!("{links:?}"));
    // What makes the daemon look at names; it hangs the program up again when something happens to an interface.
    let mut round = 0;
    let at_port_53 = || {
        let _ = std::fs::remove_file(link);
        round += 1;
        lab.etc_file("resolv.conf", &format!("nameserver 192.0.2.7\nsearch s{round}.example\n"));
        std::thread::sleep(Duration::from_millis(200));
        ports_of_resolver(&c1) == [Some(53); 2]
    };
    eventually("names at port 53", at_port_53);
    let answered = |way| c1.try_resolve(way, "c2", "A", moment()).is_ok();
    eventually("an answer by UDP", || answered(Way::Udp));
    eventually("an answer by TCP", || answered(Way::Tcp));
    lab.up_again(&topology(), &[]).ok();
    assert!(is_led());
    for way in [Way::Udp, Way::Tcp] {
        assert_eq!(c1.resolve_by(way, "c2", "A").ok(), ["10.10.0.12"]);
    }
}

/// What somebody wrote among the resolvers' places, or took away there, is put right with the next change.
fn entries_of_others() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let is_it = |path: &PathBuf| path.ends_with("RESOLVERS");
    let map = lab.pins().into_keys().find(is_it).expect("a map");
    let bpftool = |words: &str| {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        let place = ["map", verb, "pinned", map.to_str().expect("plain")];
        let all: Vec<&str> = place.into_iter().chain(rest.split_whitespace()).collect();
        lab.host.tool("bpftool", &[&["-j"], &all[..]].concat()).ok()
    };
    let entries = || {
        let entries: Vec<serde_json::Value> =
            serde_json::from_str(&bpftool("dump")).expect("a list of entries");
        let text = |value: &serde_json::Value| {
            let bytes = value.as_array().expect("bytes").iter();
            bytes.map(|byte| byte.as_str().expect("a number").to_owned()).collect::<Vec<_>>()
        };
        let all = entries.iter().map(|entry| (text(&entry["key"]), text(&entry["value"])));
        all.collect::<std::collections::BTreeMap<_, _>>()
    };
    let right = entries();
    assert!(right.len() > 3, "{right:?}");
    let mut keys = right.keys().map(|key| key.join(" "));
    let (removed, changed) = (keys.next().expect("one"), keys.next().expect("two"));
    bpftool(&format!("delete key {removed}"));
    bpftool(&format!("update key {changed} value 0 1 0 1"));
    bpftool("update key 1 2 3 4 5 6 7 8 value 0 9 0 9");
    lab.run("network create other").ok();
    assert_eq!(entries(), right);
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
}

/// Port 53 is the endpoint's own: a server of names in it has every address, and its programs ask us all the same.
fn a_server_of_names() {
    let lab = Lab::up(&topology().ports("c1", &["53:53", "53:53/udp"]));
    let c1 = lab.endpoint("c1");
    let server = c1.echo(53);
    assert_eq!(c1.resolve("c2", "A").ok().len(), 1);
    c1.try_resolve(Way::Tcp, "c2", "A", moment()).expect("by TCP, too");
    assert_eq!(server.clients(), []);
    both(|family| {
        lab.lan.ask_both(HOST.port(family, 53));
        lab.endpoint("c2").ask_both(C1.port(family, 53));
    });
    lab.kill_daemon();
    lab.run("ps").ok();
    assert_eq!(c1.resolve("c2", "A").ok().len(), 1);
    // Nor has the resolver a port that Linux gives to those who ask for none, which programs choose, too.
    let ports = ports_of_resolver(&c1);
    assert!(ports.iter().all(|port| port.is_some_and(|port| port >= 61_000)), "{ports:?}");
    // Calls of nobody else are led anywhere.
    lab.run("rm -f c1").ok();
    assert_eq!(lab.endpoint("c2").resolve("c2", "A").ok().len(), 1);
}
