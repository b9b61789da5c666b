//! `up` and `down`: whole or not at all, twice as once, and nothing left.

use netebpf_tests::lab::{
    Lab, Ns, both, eventually,
    family::{C1, C2, HOST, SERVER},
    topology,
};
use std::net::TcpListener;

netebpf_tests::tests![
    up_twice,
    down_twice,
    dry_run,
    only_differences,
    others_stay,
    a_failure_half_way,
    a_failed_change,
    two_hosts,
    an_existing_namespace,
    a_namespace_with_somebody_in_it,
    somebody_elses_namespace,
    a_vanished_namespace,
    a_short_service,
    several_networks,
    picked_by_itself,
    bridge_deleted_by_hand,
    a_renamed_uplink,
    namespace_deleted_by_hand,
    corrupt_state,
    foreign_pins,
    killed_in_the_middle_of_up,
];

/// The second changes nothing, says so, and makes nothing again.
fn up_twice() {
    let published = topology().ports("c1", &["8080:80"]);
    let lab = Lab::bare();
    let said = lab.up_again(&published, &[]).ok();
    assert!(said.contains("10.10.0.11") && said.contains("8080"), "{said}");
    let before = (lab.pins(), lab.now(), lab.endpoint("c1").links(), lab.daemon_pid());
    // As one writes with Compose.
    let said = lab.up_again(&published, &["-d"]).ok();
    assert!(said.contains("nothing to change"), "{said}");
    let after = (lab.pins(), lab.now(), lab.endpoint("c1").links(), lab.daemon_pid());
    assert_eq!(before, after);
}

fn down_twice() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    both(|family| {
        lab.endpoint("c1").reaches(SERVER.of(family));
    });
    lab.run("down").ok();
    lab.nothing_left();
    lab.run("down").ok();
    lab.nothing_left();
    lab.run("down --all").ok();
    lab.nothing_left();
}

/// Prints the plan, and does nothing of it.
fn dry_run() {
    let lab = Lab::bare();
    let said = lab.up_again(&topology(), &["--dry-run"]).ok();
    assert!(said.contains("10.10.0.1") && said.contains("c1"), "{said}");
    lab.nothing_left();
    lab.up_again(&topology(), &[]).ok();
    let before = (lab.pins(), lab.now());
    let said = lab.up_again(&topology().ports("c2", &["8080:80"]), &["--dry-run"]).ok();
    assert!(said.contains("8080") || said.contains("c2"), "{said}");
    assert_eq!((lab.pins(), lab.now()), before);
    assert_eq!(lab.run("port c2").ok(), "");
}

/// Another file of the same name: what is in both is left alone, connections with it.
fn only_differences() {
    let lab = Lab::bare();
    let up = |services: &str| {
        lab.up_text(&format!("name: lab\nnetworks:\n  front: {{ipam: {{config: [{{subnet: 10.10.0.0/24}}]}}}}\nservices:\n{services}"))
    };
    up("  c1: {networks: {front: {ipv4_address: 10.10.0.11}}}\n  gone: {networks: [front]}\n").ok();
    let c1 = lab.endpoint("c1");
    let (links, pins) = (c1.links(), lab.pins());
    let _echo = lab.server.echo(7);
    let family = netebpf_tests::lab::Family::V4;
    let mut stream = c1.connect(SERVER.port(family, 7)).expect("connected");
    let said = up("  c1: {networks: {front: {ipv4_address: 10.10.0.11}}, ports: [\"8080:80\"]}\n  c2: {networks: {front: {ipv4_address: 10.10.0.12}}}\n").ok();
    assert!(said.contains("c2") && said.contains("gone"), "{said}");
    assert_eq!(c1.links(), links);
    let stayed = |pin: &std::path::PathBuf, id: &String| lab.pins().get(pin) == Some(id);
    assert!(
        pins.iter().filter(|(pin, id)| stayed(pin, id)).count() > 0,
        "all pins were made again"
    );
    netebpf_tests::lab::traffic::say(&mut stream, b"still here").expect("answered");
    c1.reaches(C2.of(family));
    let _echo = c1.echo(80);
    lab.lan.ask_tcp(HOST.port(family, 8080));
    assert!(!Ns::path(&c1).with_file_name(format!("{}.gone", lab.instance())).exists());
}

/// What another file, or the command line, made is not this file's business.
fn others_stay() {
    let lab = Lab::up(&topology());
    let other = "name: other\nservices:\n  o1: {}\n";
    let file = lab.file("other.yaml", other);
    lab.netebpf(&["up", "-f", file.to_str().expect("plain")]).ok();
    lab.run("create --name mine --network front").ok();
    let names = || {
        let text = lab.run("ps --format {{.Name}}").ok();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["c1", "c2", "d1", "i1", "i2", "mine", "o1"]);
    lab.netebpf(&["down", "-f", file.to_str().expect("plain")]).ok();
    assert_eq!(names(), ["c1", "c2", "d1", "i1", "i2", "mine"]);
    lab.up_again(&topology(), &[]).ok();
    assert_eq!(names().len(), 6);
    lab.run("down").ok();
    lab.nothing_left();
}

/// The second endpoint cannot be made: the first is gone, too.
fn a_failure_half_way() {
    let lab = Lab::bare();
    let no_namespace = "name: lab\nservices:\n  a: {}\n  b: {netns: /run/netns/there-is-none}\n";
    lab.up_text(no_namespace).fails_saying(1, &["b", "/run/netns/there-is-none"]);
    lab.nothing_left();

    let no_program = "name: lab\nservices:\n  a: {command: [sleep, \"1000\"]}\n  b: {command: [/there/is/none]}\n";
    lab.up_text(no_program).fails_saying(1, &["b", "/there/is/none"]);
    lab.nothing_left();
    // What shows only when it is started, after another was.
    let script = lab.file("script", "#!/there/is/none\n");
    let script = script.to_str().expect("plain");
    lab.host.tool("chmod", &["755", script]).ok();
    lab.up_text(&no_program.replace("/there/is/none", script)).fails_saying(1, &["b", script]);
    lab.nothing_left();

    let address = HOST.port(netebpf_tests::lab::Family::V4, 8080);
    let holder = lab.host.run(|| TcpListener::bind(address)).expect("a free port");
    let taken = lab.up_again(&topology().ports("c2", &["8080:80"]), &[]);
    taken.fails_saying(1, &["c2", "8080", "already"]);
    lab.nothing_left();
    drop(holder);
    lab.up_again(&topology().ports("c2", &["8080:80"]), &[]).ok();
}

/// A change that fails leaves what was there as it was.
fn a_failed_change() {
    let lab = Lab::up(&topology().command("d1", &["sleep", "1000"]));
    let pid = || lab.json("inspect d1")[0]["State"]["Pid"].as_u64().expect("a pid");
    let runs = pid();
    let before = (lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok());
    let address = HOST.port(netebpf_tests::lab::Family::V4, 8080);
    let _holder = lab.host.run(|| TcpListener::bind(address)).expect("a free port");
    lab.up_again(&topology().ports("c1", &["9090:90"]).ports("c2", &["8080:80"]), &[]).fails(1);
    assert_eq!((lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok()), before);
    let missing = format!("{}  late: {{netns: /run/netns/there-is-none}}\n", topology());
    lab.up_text(&missing).fails_saying(1, &["late"]);
    assert_eq!((lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok()), before);
    for command in [&["there-is-none"], &["/there/is/none"]] {
        let another = topology().command("d1", command);
        lab.up_again(&another, &[]).fails_saying(1, &["d1", command[0]]);
        lab.up_again(&another, &["--dry-run"]).fails_saying(1, &["d1", command[0]]);
        assert_eq!((lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok()), before);
    }
    assert_eq!(pid(), runs, "a service that would have gone was stopped nevertheless");
    lab.endpoint("c1").reaches(C2.0.into());
}

/// Two instances on two hosts know nothing of one another, the same subnets on both.
fn two_hosts() {
    let published = topology().ports("c1", &["8080:80"]);
    let (one, other) = (Lab::up(&published), Lab::up(&published));
    let echoes = [one.endpoint("c1").echo(80), other.endpoint("c1").echo(80)];
    both(|family| {
        for (lab, echo) in [&one, &other].into_iter().zip(&echoes) {
            lab.lan.ask_tcp(HOST.port(family, 8080));
            assert_eq!(echo.clients().len(), 1);
            lab.endpoint("c2").reaches(C1.of(family));
        }
    });
    one.run("down").ok();
    one.nothing_left();
    both(|family| {
        other.lan.ask_tcp(HOST.port(family, 8080));
    });
}

/// A namespace of the user's own is used, and is there afterwards as it was.
fn an_existing_namespace() {
    let lab = Lab::bare();
    let own = Ns::create(format!("{}-own", lab.instance()));
    let before = own.links();
    let text = format!("name: lab\nservices:\n  app: {{netns: {}}}\n", own.path().display());
    lab.up_text(&text).ok();
    let _echo = lab.server.echo(7);
    own.ask_both(SERVER.port(netebpf_tests::lab::Family::V4, 7));
    lab.run("down").ok();
    lab.nothing_left();
    assert_eq!(own.links(), before);
}

/// The host's own one, by any of its paths, and an endpoint's by another path than the endpoint has: refused.
fn a_namespace_with_somebody_in_it() {
    let lab = Lab::bare();
    let before = (lab.host.links(), lab.host.tool("ip", &["route"]).ok());
    for path in [lab.host.path().display().to_string(), "/proc/self/ns/net".to_owned()] {
        let text = format!("name: lab\nservices:\n  app: {{netns: {path}}}\n");
        lab.up_text(&text).fails_saying(1, &["app", &path, "the host's own"]);
        lab.run(&format!("create --netns {path}")).fails_saying(1, &[&path, "the host's own"]);
        lab.nothing_left();
    }
    assert_eq!((lab.host.links(), lab.host.tool("ip", &["route"]).ok()), before);
    let own = Ns::create(format!("{}-own", lab.instance()));
    lab.run(&format!("create --name c1 --netns {}", own.path().display())).ok();
    lab.run("create --name c2").ok();
    let links = own.links();
    for (file, endpoint) in
        [(own.name().to_owned(), "c1"), (format!("{}.c2", lab.instance()), "c2")]
    {
        let path = format!("/run/../run/netns/{file}");
        lab.run(&format!("create --name c3 --netns {path}"))
            .fails_saying(1, &["c3", &path, &format!("that of endpoint {endpoint:?}")]);
    }
    assert_eq!(own.links(), links);
    lab.run("down").ok();
    lab.nothing_left();
}

/// One that only has the name of ours: refused, and what runs in it lives on.
fn somebody_elses_namespace() {
    let lab = Lab::bare();
    let theirs = Ns::create(format!("{}.web", lab.instance()));
    let mut process = theirs.command("sleep").arg("1000").spawn().expect("sleep runs");
    lab.up_text("name: lab\nservices:\n  web: {}\n").fails_saying(1, &["web", "already"]);
    let runs = process.try_wait().expect("our child").is_none();
    drop(process.kill());
    drop(process.wait());
    assert!(runs, "it was killed");
    netebpf_tests::lab::delete_namespace(theirs.name());
    lab.nothing_left();
}

/// The user's namespace goes, with the daemon alive and without: the rest can still be changed.
fn a_vanished_namespace() {
    let lab = Lab::bare();
    let own = Ns::create(format!("{}-own", lab.instance()));
    let text = format!("name: lab\nservices:\n  app: {{netns: {}}}\n", own.path().display());
    lab.up_text(&text).ok();
    netebpf_tests::lab::delete_namespace(own.name());
    let said = lab.up_text(&format!("{text}  more: {{}}\n")).ok();
    assert!(said.contains("app is left out"), "{said}");
    lab.endpoint("more").reaches(SERVER.0.into());
    lab.kill_daemon();
    lab.run("ps").ok();
    lab.run("down").ok();
    lab.nothing_left();
}

/// What ended well is not a difference.
fn a_short_service() {
    let lab = Lab::bare();
    let text = "name: lab\nservices:\n  job: {command: [\"true\"]}\n";
    lab.up_text(text).ok();
    eventually("its end", || lab.json("inspect job")[0]["State"]["Running"] == false);
    let said = lab.up_text(text).ok();
    assert!(said.contains("nothing to change"), "{said}");
}

/// An endpoint on two networks reaches both, and goes out by one.
fn several_networks() {
    let lab = Lab::up(&topology());
    let two = format!(
        "{}  both:\n    networks: {{front: {{ipv4_address: 10.10.0.50}}, inner: {{ipv4_address: 10.30.0.50}}}}\n",
        topology()
    );
    lab.up_text(&two).ok();
    let ns = lab.endpoint("both");
    ns.unlimited_errors();
    both(|family| {
        for peer in [C1, netebpf_tests::lab::family::I1, SERVER] {
            ns.reaches(peer.of(family));
        }
    });
    lab.endpoint("c1").reaches(std::net::Ipv4Addr::new(10, 10, 0, 50).into());
    lab.endpoint("i1").reaches(std::net::Ipv4Addr::new(10, 30, 0, 50).into());
    // It is no router between the two.
    lab.endpoint("c1").never_reaches(std::net::Ipv4Addr::new(10, 30, 0, 50).into());
}

/// Subnets and addresses that nobody named overlap no route of the host.
fn picked_by_itself() {
    let lab = Lab::bare();
    lab.host.ip("route add 172.16.0.0/12 via 192.0.2.254");
    lab.up_text("name: lab\nservices:\n  a: {}\n  b: {}\n").ok();
    let address = |name: &str| {
        let networks = &lab.json(&format!("inspect {name}"))[0]["NetworkSettings"]["Networks"];
        let first = networks.as_object().expect("networks").values().next().expect("one").clone();
        first["IPAddress"]
            .as_str()
            .expect("text")
            .parse::<std::net::Ipv4Addr>()
            .expect("an address")
    };
    let (a, b) = (address("a"), address("b"));
    let octets = a.octets();
    assert!(!(octets[0] == 172 && (16..32).contains(&octets[1])), "{a} overlaps a route");
    lab.endpoint("a").reaches(b.into());
    lab.endpoint("a").reaches(SERVER.0.into());
    lab.run("down").ok();
    lab.host.ip("route delete 172.16.0.0/12 via 192.0.2.254");
}

/// A bridge that somebody deleted is named, and made again by the next `up`.
fn bridge_deleted_by_hand() {
    let lab = Lab::up(&topology());
    let bridge = lab.bridge("front");
    lab.host.ip(&format!("link delete {bridge}"));
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains("front") || said.contains(&bridge), "{said}");
    let _echo = lab.server.echo(7);
    both(|family| {
        lab.endpoint("c1").reaches(C2.of(family));
        lab.endpoint("c1").ask_both(SERVER.port(family, 7));
    });
}

/// An uplink takes its sysctls with it when it is renamed, and `down` finds them.
fn a_renamed_uplink() {
    let lab = Lab::up(&topology());
    let rename = |from: &str, to: &str| {
        lab.host.ip(&format!("link set {from} down"));
        lab.host.ip(&format!("link set {from} name {to}"));
        lab.uplink_comes_up(to);
    };
    rename("up0", "wan0");
    let follows = || lab.json("status")["sysctls"].to_string().contains("/wan0/");
    eventually("what is written down to follow", follows);
    lab.run("down").ok();
    rename("wan0", "up0");
    lab.nothing_left();
}

/// The same with an endpoint's namespace.
fn namespace_deleted_by_hand() {
    let lab = Lab::up(&topology());
    let name = lab.endpoint("c1").name().to_owned();
    netebpf_tests::lab::delete_namespace(&name);
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains("c1"), "{said}");
    both(|family| {
        lab.endpoint("c1").reaches(C2.of(family));
        lab.endpoint("c1").reaches(SERVER.of(family));
    });
}

/// A state file that cannot be read is put aside and named; `up` and `down` still do their work.
fn corrupt_state() {
    for damage in ["", "{\"version\":1,", "no JSON at all", "{\"version\":9999}"] {
        println!("— {damage:?} —");
        let lab = Lab::up(&topology());
        lab.kill_daemon();
        let directory = format!("/var/lib/netebpf/{}", lab.instance());
        let files: Vec<_> = std::fs::read_dir(&directory).expect("state").flatten().collect();
        assert!(!files.is_empty());
        for file in files.iter().filter(|file| file.path().is_file()) {
            std::fs::write(file.path(), damage).expect("written");
        }
        let ran = lab.up_again(&topology(), &[]);
        if damage.contains("9999") {
            // A newer netebpf's: nothing is touched.
            ran.fails_saying(1, &["9999"]);
            for file in &files {
                std::fs::write(file.path(), "").expect("written");
            }
            lab.up_again(&topology(), &[]).ok();
        } else {
            ran.ok();
        }
        both(|family| {
            lab.endpoint("c1").reaches(C2.of(family));
            lab.endpoint("c1").reaches(SERVER.of(family));
        });
    }
}

/// Pins of another layout are in nobody's way: `up` takes them away once its own stand.
fn foreign_pins() {
    let lab = Lab::bare();
    let other = format!("/sys/fs/bpf/netebpf/{}/v0", lab.instance());
    std::fs::create_dir_all(format!("{other}/maps")).expect("bpffs is mounted");
    lab.up_again(&topology(), &[]).ok();
    lab.endpoint("c1").reaches(C2.0.into());
    assert!(!std::path::Path::new(&other).exists(), "{other} is left");
    lab.run("down").ok();
    lab.nothing_left();
}

/// `up` is killed, daemon and all, at any moment: the next one gets there, and `down` leaves nothing.
fn killed_in_the_middle_of_up() {
    let lab = Lab::bare();
    let topology = topology().command("c1", &["sleep", "1000"]);
    let file = lab.file("netebpf.yaml", &topology.to_string());
    for milliseconds in [30, 60, 120, 250] {
        let _running = lab.start(&["up", "-f", file.to_str().expect("plain")]);
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        lab.kill_everything();
    }
    lab.up_again(&topology, &[]).ok();
    lab.endpoint("c1").reaches(C2.0.into());
    eventually("one process", || lab.endpoint("c1").processes().len() == 1);
    lab.run("down").ok();
    lab.nothing_left();
}
