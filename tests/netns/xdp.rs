//! The uplink's program in XDP, generic mode: what a veth is good for.

use netebpf_tests::lab::{
    Lab, both,
    family::{HOST, LAN, SERVER},
    topology, traffic,
};

netebpf_tests::tests![generic, off_unless_asked_for, native_on_request];

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
