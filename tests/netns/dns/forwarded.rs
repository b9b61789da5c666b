//! Names that are nobody's here: others are asked, by the rules of each endpoint.

use super::*;

netebpf_tests::tests![
    others_are_asked,
    a_slow_resolver_delays_nobody,
    the_next_resolver_is_asked,
    memory_of_those_who_wait,
    resolvers_are_followed,
    resolvers_of_ones_own,
    resolvers_of_a_shared_namespace,
    internal_networks_ask_nobody,
];

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
