//! The uplink's program in XDP: what a veth is good for, and devices without.

use netebpf_tests::lab::{
    Lab, Snapshot, both, eventually,
    family::{HOST, LAN, SERVER},
    topology, traffic,
};
use std::fs;

netebpf_tests::tests![
    generic,
    off_unless_asked_for,
    native_on_request,
    native_where_a_driver_has_it,
    native_nowhere
];

/// Replies and published ports by XDP; `status` says so, and why.
fn generic() {
    let lab = Lab::bare();
    // A frame from a real wire has its checksum filled in.
    for (ns, interface) in [(&lab.lan, "eth0"), (&lab.router, "lan0"), (&lab.server, "eth0")] {
        ns.no_transmit_checksum(interface);
    }
    let published = topology().ports("c1", &["8080:80", "8080:80/udp", "8001:5001"]);
    lab.up_again(&published, &["--xdp", "generic"]).ok();
    let c1 = lab.endpoint("c1");
    // The kernel takes their tags off between XDP and TC.
    crate::nat::answers_with_priority_tags(&lab);
    // Whoever captures there has the kernel copy each packet, and forget what XDP said of it.
    let captured = lab.sniff(&lab.host, "up0");
    let echoes = [lab.server.echo(7), c1.echo(80), lab.lan.echo(7)];
    both(|family| {
        c1.reaches(SERVER.of(family));
        c1.ask_both(SERVER.port(family, 7));
        c1.ask_both(LAN.port(family, 7));
        c1.refused(SERVER.port(family, 9));
        lab.lan.ask_both(HOST.port(family, 8080));
        lab.server.ask_both(HOST.port(family, 8080));
        lab.lan.refused(HOST.port(family, 8081));
        traffic::bulk(&c1, &lab.server, 5001, SERVER.port(family, 5001), 8 << 20);
        traffic::bulk(&lab.server, &c1, 5001, HOST.port(family, 8001), 8 << 20);
    });
    assert!(
        echoes[1].clients().iter().all(|client| client.ip() != HOST.0 && client.ip() != HOST.1)
    );
    drop(captured);
    both(|family| {
        c1.ask_both(SERVER.port(family, 7));
        lab.lan.ask_both(HOST.port(family, 8080));
        traffic::bulk(&lab.server, &c1, 5001, HOST.port(family, 8001), 8 << 20);
    });
    let text = lab.run("status").ok().to_lowercase();
    assert!(text.contains("generic"), "{text}");
    let link = lab.host.ip("link show dev up0");
    assert!(link.contains("xdpgeneric"), "{link}");
    // And off again.
    lab.up_again(&published, &["--xdp", "off"]).ok();
    assert!(!lab.host.ip("link show dev up0").contains("xdp"));
    both(|family| lab.lan.ask_both(HOST.port(family, 8080)));
}

fn off_unless_asked_for() {
    let lab = Lab::up(&topology());
    let text = lab.run("status").ok().to_lowercase();
    assert!(text.contains("veth"), "status does not say why there is no XDP:\n{text}");
    assert!(!lab.host.ip("link show dev up0").contains("xdp"));
}

/// Native on a veth only when the user insists; then it works.
fn native_on_request() {
    let lab = Lab::bare();
    for (ns, interface) in [(&lab.lan, "eth0"), (&lab.router, "lan0"), (&lab.server, "eth0")] {
        ns.no_transmit_checksum(interface);
    }
    lab.up_again(&topology().ports("c1", &["8080:80"]), &["--xdp", "native"]).ok();
    let _echo = [lab.server.echo(7), lab.endpoint("c1").echo(80)];
    both(|family| {
        lab.endpoint("c1").ask_both(SERVER.port(family, 7));
        for _ in 0..20 {
            lab.lan.ask_tcp(HOST.port(family, 8080));
            // The host's own traffic, in buffers that held an endpoint's a moment before.
            lab.lan.reaches(HOST.of(family));
        }
    });
    assert!(lab.run("status").ok().to_lowercase().contains("native"));
}

/// An uplink whose driver has no XDP does without, be it plugged in later: `up`, `status` and the log say so.
fn native_where_a_driver_has_it() {
    let lab = Lab::bare();
    for (ns, interface) in [(&lab.lan, "eth0"), (&lab.router, "lan0"), (&lab.server, "eth0")] {
        ns.no_transmit_checksum(interface);
    }
    plug_in(&lab, "mv0", "203.0.113.1/25");
    let published = topology().ports("c1", &["8080:80", "8080:80/udp"]);
    let said = lab.up_again(&published, &["--xdp", "native"]).ok();
    assert!(said.contains("mv0: no XDP native: ") && said.contains("not supported"), "{said}");
    assert_eq!(hook(&lab, "up0").expect("an uplink").0.as_deref(), Some("XDP native"));
    let does_without = |uplink: &str| {
        hook(&lab, uplink).is_some_and(|(mechanism, why)| {
            mechanism.is_none() && why.contains("no XDP native: ") && why.contains("not supported")
        })
    };
    assert!(does_without("mv0"), "{:?}", hook(&lab, "mv0"));
    // It is tried again, and nothing else.
    let again = lab.up_again(&published, &[]).ok();
    assert!(again.contains("mv0: no XDP native: ") && !again.contains("attach"), "{again}");

    plug_in(&lab, "mv1", "203.0.113.129/25");
    eventually("an uplink without XDP", || does_without("mv1"));
    let log = fs::read_to_string(format!("/run/netebpf/{}/daemon.log", lab.instance()));
    let log = log.expect("a log");
    assert!(log.contains("mv1: no XDP native: "), "{log}");
    let _echo = lab.endpoint("c1").echo(80);
    both(|family| lab.lan.ask_both(HOST.port(family, 8080)));
    for uplink in ["mv0", "mv1"] {
        lab.host.ip(&format!("link del {uplink}"));
    }
}

/// Where no driver takes it, who asks for it is told, and nothing changes.
fn native_nowhere() {
    let lab = Lab::bare();
    plug_in(&lab, "mv0", "203.0.113.1/24");
    let before = Snapshot::take(&lab.host);
    let asked = |name: &str, topology: &str| {
        let file = lab.file(name, topology);
        let file = file.to_str().expect("a plain path");
        let ran = lab.netebpf(&["up", "-f", file, "--uplink", "mv0", "--xdp", "native"]);
        ran.fails_saying(1, &["no uplink: mv0: no XDP native: ", "not supported", "--xdp off"]);
    };
    asked("usual.yaml", &topology().to_string());
    before.same(&Snapshot::take(&lab.host));
    lab.up_again(&topology(), &[]).ok();
    let during = Snapshot::take(&lab.host);
    asked("usual.yaml", &topology().to_string());
    during.same(&Snapshot::take(&lab.host));
    // What had to go first is made again.
    let other = "name: lab\nnetworks: {other: {}}\nservices: {z1: {networks: [other]}}\n";
    asked("other.yaml", other);
    let (mechanism, why) = hook(&lab, "up0").expect("still an uplink");
    assert!(mechanism.is_none() && why.contains("a veth"), "{why}");
    let _echo = lab.server.echo(7);
    both(|family| lab.endpoint("c1").ask_both(SERVER.port(family, 7)));
    lab.host.ip("link del mv0");
}

/// Gives the host another interface with an address: a macvlan, whose driver has no XDP.
fn plug_in(lab: &Lab, name: &str, address: &str) {
    lab.host.ip(&format!("link add link up0 name {name} type macvlan"));
    lab.host.ip(&format!("address add {address} dev {name}"));
    lab.host.ip(&format!("link set {name} up"));
}

/// How an uplink's XDP program runs, and why.
pub(crate) fn hook(lab: &Lab, uplink: &str) -> Option<(Option<String>, String)> {
    let status = lab.json("status");
    let hooks = status["hooks"].as_array().expect("a list");
    let hook =
        hooks.iter().find(|hook| hook["interface"] == uplink && hook["program"] == "uplink_xdp")?;
    let mechanism = hook["mechanism"].as_str().map(ToOwned::to_owned);
    Some((mechanism, hook["reason"].as_str().expect("a reason").to_owned()))
}
