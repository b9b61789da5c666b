//! The networks that are always there, and endpoints that are on none of their own.

use netebpf_tests::lab::{
    Family, Lab, Ns, binary, both, eventually,
    family::{C1, C2, HOST, SERVER},
    topology,
};
use serde_json::Value;

netebpf_tests::tests![
    always_there,
    bridge_is_made_for_the_first,
    none,
    host,
    somebody_elses_namespace,
    whoever_is_joined_stays,
    modes_of_a_file,
    wrong_modes,
];

fn inspected(lab: &Lab, network: &str) -> Value {
    lab.json(&format!("network inspect {network}"))[0].clone()
}

fn interfaces(ns: &Ns) -> Vec<String> {
    ns.links().into_iter().map(|(name, _)| name).collect()
}

/// Before anything was made, with a daemon and without, and always the same ones.
fn always_there() {
    let lab = Lab::bare();
    let list = "network ls --format {{.Name}}/{{.Driver}}/{{.Scope}}";
    let all = "bridge/bridge/local\nhost/host/local\nnone/null/local\n";
    assert_eq!(lab.run(list).ok(), all);
    let ids = lab.run("network ls -q --no-trunc").ok();
    assert!(ids.lines().count() == 3 && ids.lines().all(|id| id.len() == 64), "{ids}");
    lab.nothing_left();
    let bridge = inspected(&lab, "bridge");
    assert_eq!(bridge["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
    assert_eq!(bridge["IPAM"]["Config"][0]["Gateway"], "172.17.0.1");
    assert_eq!(inspected(&lab, "none")["Driver"], "null");
    let id = ids.lines().next().expect("bridge");
    assert_eq!(inspected(&lab, &id[..6])["Name"], "bridge");
    for name in ["bridge", "host", "none"] {
        let why = format!("{name} is a pre-defined network and cannot be removed");
        lab.run(&format!("network rm {name}")).fails_saying(1, &[&why]);
        let why = format!("operation is not permitted on predefined {name} network");
        lab.run(&format!("network create {name}")).fails_saying(1, &[&why]);
        let text = format!("name: lab\nnetworks:\n  {name}: {{}}\n");
        lab.up_text(&text).fails_saying(1, &["netebpf.yaml:3:", &why]);
        lab.nothing_left();
    }
    lab.run("create --name c1 --network none").ok();
    assert_eq!(lab.run(list).ok(), all);
    assert_eq!(lab.run("network ls -q --no-trunc").ok(), ids);
    lab.run("network rm bridge").fails_saying(1, &["pre-defined"]);
}

/// Its device comes with the first who joins it, by whatever way, with the subnet that was told before.
fn bridge_is_made_for_the_first() {
    let lab = Lab::bare();
    lab.settings("bip = \"10.77.0.1/24\"\n");
    let told = inspected(&lab, "bridge");
    assert_eq!(told["IPAM"]["Config"][0]["Subnet"], "10.77.0.0/24");
    lab.run("create --name c1 --network none").ok();
    assert_eq!(lab.host.ifindex(&lab.bridge("bridge")), None);
    assert_eq!(inspected(&lab, "bridge")["IPAM"], told["IPAM"]);
    lab.run("network disconnect none c1").ok();
    lab.run("network connect bridge c1").ok();
    assert!(lab.host.ifindex(&lab.bridge("bridge")).is_some());
    let made = inspected(&lab, "bridge");
    assert_eq!((&made["Id"], &made["IPAM"]), (&told["Id"], &told["IPAM"]));
    lab.endpoint("c1").reaches(SERVER.0.into());
    lab.run("rm c1").ok();
    lab.nothing_left();

    let text = "name: lab\nservices:\n  c1: {network_mode: bridge}\n";
    lab.up_text(text).ok();
    lab.endpoint("c1").reaches(SERVER.0.into());
    assert!(lab.up_text(text).ok().contains("nothing to change"));
    lab.run("down").ok();
    let text = "name: lab\nnetworks:\n  usual: {name: bridge, external: true}\nservices:\n  c1: {networks: [usual]}\n";
    lab.up_text(text).ok();
    lab.endpoint("c1").reaches(SERVER.0.into());
}

/// A namespace with the loopback, which is up.
fn none() {
    let lab = Lab::bare();
    let told =
        lab.netebpf(&["run", "--rm", "--network", "none", "--", "ip", "-br", "address"]).ok();
    assert!(told.lines().count() == 1 && told.contains("127.0.0.1/8"), "{told}");
    lab.nothing_left();
    lab.run("create --name c1 --network none").ok();
    let c1 = lab.endpoint("c1");
    assert_eq!(interfaces(&c1), ["lo"]);
    c1.reaches("127.0.0.1".parse().expect("one"));
    c1.reaches("::1".parse().expect("one"));
    both(|family| {
        c1.refused(HOST.port(family, 80));
    });
    assert!(lab.json("inspect c1")[0]["NetworkSettings"]["Networks"]["none"].is_object());
    assert_eq!(inspected(&lab, "none")["Containers"].as_object().expect("endpoints").len(), 1);
    // Alone is alone.
    lab.run("network create front --subnet 10.10.0.0/24").ok();
    let private = "one of the networks in private (none) mode";
    lab.run("network connect front c1").fails_saying(1, &["c1", private]);
    lab.run("network connect none c1").fails_saying(1, &["c1 already exists in network none"]);
    lab.run("network disconnect none c1").ok();
    lab.run("network connect front c1").ok();
    lab.run("network connect none c1").fails_saying(1, &[private]);
    assert_eq!(interfaces(&c1), ["lo", "eth0"]);
    lab.run("rm c1").ok();
    let discarded = lab.run("create --name c2 --network none -p 8080:80");
    assert!(discarded.err.contains("Published ports are discarded"), "{discarded:?}");
    discarded.ok();
}

/// In the host's namespace, with nothing made there and no port held.
fn host() {
    let lab = Lab::bare();
    let told = lab.netebpf(&["run", "--rm", "--network", "host", "--", "ip", "-br", "link"]).ok();
    assert!(told.contains("up0"), "{told}");
    lab.nothing_left();
    let before = lab.host.links();
    let ran = lab.netebpf(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "host",
        "-p",
        "8080:8080",
        "--",
        "python3",
        "-m",
        "http.server",
        "8080",
    ]);
    let warning = "Published ports are discarded when using host network mode";
    assert!(ran.err.contains(warning), "{ran:?}");
    ran.ok();
    assert_eq!(lab.host.links(), before);
    assert_eq!(lab.run("port web").ok(), "");
    eventually("the command to listen", || lab.lan.connect(HOST.port(Family::V4, 8080)).is_ok());
    let told = lab.netebpf(&["exec", "web", "--", "ip", "-br", "link"]).ok();
    assert!(told.contains("up0"), "{told}");
    let web = lab.json("inspect web");
    assert_eq!(web[0]["HostConfig"]["NetworkMode"], "host");
    assert!(web[0]["NetworkSettings"]["Networks"]["host"].is_object());
    assert_eq!(lab.run("ps --format {{.Networks}}").ok(), "host\n");
    lab.run("network disconnect host web").fails_saying(1, &["host network"]);
    // Whose host it is does not depend on who asks.
    let mut elsewhere = lab.lan.command(binary());
    elsewhere.args(["--instance", lab.instance(), "exec", "web", "ip", "-br", "link"]);
    let told = elsewhere.output().expect("it runs").stdout;
    assert!(String::from_utf8_lossy(&told).contains("up0"));
    lab.run("network connect bridge web").fails_saying(1, &["sharing network namespace"]);
    // A daemon that takes over finds it, and only its own process ends with it.
    lab.kill_daemon();
    assert_eq!(lab.run("ps --format {{.State}}").ok(), "running\n");
    lab.run("rm -f web").ok();
    lab.lan.refused(HOST.port(Family::V4, 8080));
    lab.nothing_left();
}

/// Who joins another is where the other is, sees its interfaces and its ports.
fn somebody_elses_namespace() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let told =
        lab.netebpf(&["run", "--rm", "--network", "container:c1", "--", "ip", "-br", "address"]);
    let told = told.ok();
    assert!(told.contains("10.10.0.11/24") && told.contains("fd10::11/64"), "{told}");
    let id = lab.json("inspect c1")[0]["Id"].as_str().expect("one").to_owned();
    let serve = ["python3", "-m", "http.server", "--bind", "::", "80"];
    let begin = ["run", "-d", "--name", "side", "--network"];
    let network = format!("container:{}", &id[..12]);
    lab.netebpf(&[&begin[..], &[&network, "--"], &serve].concat()).ok();
    both(|family| {
        eventually("an answer", || lab.lan.connect(HOST.port(family, 8080)).is_ok());
        eventually("an answer", || lab.endpoint("c2").connect(C1.port(family, 80)).is_ok());
    });
    assert_eq!(lab.json("inspect side")[0]["HostConfig"]["NetworkMode"], "container:c1");
    // It sees what its host joins.
    lab.run("network connect back c1").ok();
    let told = lab.netebpf(&["exec", "side", "--", "ip", "-br", "link"]).ok();
    assert!(told.contains("eth1"), "{told}");
    lab.run("network connect back side").fails_saying(1, &["sharing network namespace"]);
    let conflict = "conflicting options: port publishing and the container type network mode";
    lab.run("create --name x --network container:c1 -p 81:81").fails_saying(1, &[conflict]);
    lab.run("rm -f side").ok();
    // The other is as it was.
    both(|family| lab.endpoint("c1").reaches(C2.of(family)));
    assert!(lab.up_again(&topology().ports("c1", &["8080:80"]), &[]).ok().contains("remove"));
}

fn whoever_is_joined_stays() {
    let lab = Lab::bare();
    lab.run("create --name c1").ok();
    lab.netebpf(&[
        "run",
        "-d",
        "--name",
        "side",
        "--network",
        "container:c1",
        "--",
        "sleep",
        "1000",
    ])
    .ok();
    lab.run("rm c1").fails_saying(1, &["c1", "side", "rm -f"]);
    assert_eq!(lab.run("ps -q").ok().lines().count(), 2);
    lab.run("rm -f c1").ok();
    eventually("its process to be gone", || lab.run("ps --format {{.State}}").ok() != "running\n");
    assert_eq!(lab.run("ps --format {{.Name}}").ok(), "side\n");
    lab.run("rm -f side").ok();
    lab.nothing_left();
    // Both at once.
    lab.run("create --name c1").ok();
    lab.run("create --name side --network container:c1").ok();
    lab.run("rm c1 side").ok();
    lab.nothing_left();
}

/// Compose's `network_mode`.
fn modes_of_a_file() {
    let lab = Lab::bare();
    let text = r#"
name: lab
services:
  alone: {network_mode: none}
  beside: {network_mode: "service:main", command: [python3, -m, http.server, --bind, "::", "80"]}
  main: {container_name: m, ports: ["8080:80"], command: [sleep, "1000"]}
  above: {network_mode: host}
"#;
    lab.up_text(text).ok();
    assert_eq!(interfaces(&lab.endpoint("alone")), ["lo"]);
    assert_eq!(lab.json("inspect above")[0]["HostConfig"]["NetworkMode"], "host");
    let answers = || {
        eventually("an answer", || lab.lan.connect(HOST.port(Family::V4, 8080)).is_ok());
    };
    answers();
    assert!(lab.up_text(text).ok().contains("nothing to change"));
    // With the namespace's owner goes who is in it, and comes again.
    lab.up_text(&text.replace("\"1000\"", "\"2000\"")).ok();
    answers();
    let without = text.replace("  main:", "  other:").replace("service:main", "container:m");
    lab.up_text(&without).ok();
    answers();
    lab.run("down").ok();
    lab.nothing_left();
}

#[rustfmt::skip]
const WRONG: &[(&str, i32, &[&str])] = &[
    ("create --name x --network container:nobody", 1, &["nobody"]),
    ("create --name x --network container:", 2, &["container:NAME"]),
    ("create --name x --network host --network none", 1, &["conflicting options"]),
    ("create --name x --network host --network bridge", 1, &["conflicting options"]),
    ("create --name x --network host --ip 10.0.0.1", 1, &["IP address"]),
    ("create --name x --network none --mac-address 02:42:0a:00:00:01", 1, &["conflicting options: mac-address"]),
    ("create --name x --network host --network-alias y", 1, &["aliases"]),
    ("create --name x --network host:ip=10.0.0.1", 2, &["host takes no options"]),
    ("run --network container:nobody -- true", 125, &["nobody"]),
];

#[rustfmt::skip]
const WRONG_FILES: &[(&str, &[&str])] = &[
    ("  x: {network_mode: overlay}\n", &["netebpf.yaml:3:", "overlay", "service:NAME"]),
    ("  x: {network_mode: \"service:y\"}\n", &["netebpf.yaml:3:", "\"y\""]),
    ("  x: {network_mode: \"service:x\"}\n", &["x", "own network"]),
    ("  x: {network_mode: \"service:y\"}\n  y: {network_mode: \"service:x\"}\n", &["own network"]),
    ("  x: {network_mode: \"container:nobody\"}\n", &["x", "nobody"]),
    ("  x: {network_mode: host, networks: [default]}\n", &["netebpf.yaml:3:", "mutually exclusive"]),
    ("  y: {}\n  x: {network_mode: \"service:y\", ports: [\"80\"]}\n", &["x", "port publishing and the container type network mode"]),
    ("  x: {network_mode: host, netns: /run/netns/y}\n", &["x", "conflicting options"]),
];

fn wrong_modes() {
    let lab = Lab::bare();
    for (command, code, words) in WRONG {
        lab.run(command).fails_saying(*code, words);
        lab.nothing_left();
    }
    for (services, words) in WRONG_FILES {
        lab.up_text(&format!("name: lab\nservices:\n{services}")).fails_saying(1, words);
        lab.nothing_left();
    }
    lab.run("create --name a --network none").ok();
    lab.run("create --name a2 --network container:a").ok();
    // Of one in another's namespace, by the one whose it is.
    lab.run("create --name a3 --network container:a2").ok();
    lab.run("rm -f a a2 a3").ok();
}
