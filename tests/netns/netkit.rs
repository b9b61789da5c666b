//! netkit devices instead of veths: every way of a packet is the same, by the program in the sender's own context.
//!
//! Where the kernel has none: what is said, and that veths are there instead.

use netebpf_tests::{
    lab::{
        Family, Lab, Wire, both, eventually,
        family::{C1, C2, FRONT, HOST, LAN, SERVER},
        frame::{self, ether},
        probe::Answer,
        topology, with_device,
    },
    runner::{Test, skip},
};

netebpf_tests::tests![
    every_way,
    frames_in_disguise,
    damaged,
    from_veths_and_back,
    where_there_are_none,
    inside_as_with_veths,
    outside_as_with_veths,
];

/// Whether the kernel makes them.
fn are_there(lab: &Lab) -> bool {
    let features = lab.json("doctor");
    let mut rows = features.as_array().into_iter().flatten();
    let row = rows.find(|row| row["name"] == "netkit devices").expect("doctor tells of them");
    row["present"] == true
}

fn needed(lab: &Lab) {
    if !are_there(lab) {
        skip("the kernel has no netkit devices (CONFIG_NETKIT)");
    }
}

/// By what the program of an endpoint's interface hangs there, and why.
fn hooks(lab: &Lab) -> Vec<(String, String)> {
    let status = lab.json("status");
    let rows = status["hooks"].as_array().expect("a list").iter();
    let rows = rows.filter(|row| row["program"] == "endpoint_ingress");
    let text =
        |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.map(|row| (text(row, "mechanism"), text(row, "reason"))).collect()
}

fn kinds(lab: &Lab) -> Vec<String> {
    let links = lab.host.ip_json("-d link show");
    let links = links.as_array().expect("a list").iter();
    let kind = |link: &serde_json::Value| link["linkinfo"]["info_kind"].as_str().map(str::to_owned);
    let of_endpoints = |link: &&serde_json::Value| {
        link["ifalias"].as_str().is_some_and(|alias| alias.contains(":endpoint:"))
    };
    links.filter(of_endpoints).filter_map(kind).collect()
}

/// Between endpoints, out and back, in by a published port, to one from within; with the daemon and without.
fn every_way() {
    with_device("netkit");
    let lab = Lab::bare();
    needed(&lab);
    lab.up_again(&topology().ports("c2", &["8080:7", "8080:7/udp"]), &[]).ok();
    assert_eq!(kinds(&lab), ["netkit"; 5]);
    assert_eq!(hooks(&lab), vec![("netkit".to_owned(), String::new()); 5]);
    let (c1, c2, d1) = (lab.endpoint("c1"), lab.endpoint("c2"), lab.endpoint("d1"));
    let (inside, outside) = (c2.echo(7), lab.lan.echo(7));
    let every_way = || {
        both(|family| {
            c1.reaches(C2.of(family));
            c1.ask_both(C2.port(family, 7));
            c1.reaches(LAN.of(family));
            c1.ask_both(LAN.port(family, 7));
            lab.lan.ask_both(HOST.port(family, 8080));
            lab.host.ask_both(HOST.port(family, 8080));
            d1.ask_both(HOST.port(family, 8080));
            d1.refused(C2.port(family, 7));
            assert!(outside.clients().iter().all(|client| client.ip() == HOST.of(family)));
        });
        inside.clients();
    };
    every_way();
    for counter in ["deliver/peer", "forward/masquerade_or_reply"] {
        assert!(lab.counter("c1", counter) > 0, "{counter}: the kernel carried it");
    }
    lab.kill_daemon();
    every_way();
    lab.run("rm --force c1").ok();
    assert_eq!(kinds(&lab), ["netkit"; 4]);
    assert_eq!(hooks(&lab).len(), 4);
}

/// A packet socket names the protocol by which the kernel goes on, and may name another than the frame's: what the program
/// sees must be what becomes of it. Fragments that come before their first cannot be kept.
fn frames_in_disguise() {
    with_device("netkit");
    let lab = Lab::bare();
    needed(&lab);
    lab.up_again(&topology(), &[]).ok();
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let [at_c2, at_host] =
        [(&c2, "eth0"), (&lab.host, "up0")].map(|(ns, name)| lab.sniff(ns, name));
    let (wire, own, other) = (Wire::open(&c1, "eth0"), c1.mac("eth0"), c2.mac("eth0"));
    let gateway = lab.host.mac(&lab.bridge("front"));
    let word = b"not what it looks like";
    const UNKNOWN: u16 = 0x88b5;
    let lie = frame::arp(2, (own, FRONT.0), (other, C2.0));
    let lie = [&[0, 0], &ether::ARP.to_be_bytes()[..], &lie, word].concat();
    let forged = |family: Family| {
        let (from, to) = (LAN.of(family), SERVER.of(family));
        frame::udp((from, 9), (to, 9), word)
    };
    let [v4, v6] = [Family::V4, Family::V6].map(forged);
    let frames = [
        (other, UNKNOWN, 0x8100, &lie),
        (other, UNKNOWN, 0x88a8, &lie),
        (gateway, UNKNOWN, ether::IPV4, &v4),
        (gateway, UNKNOWN, ether::IPV6, &v6),
        (gateway, UNKNOWN, ether::ARP, &lie),
        (gateway, ether::IPV4, ether::IPV6, &v4),
        (gateway, 100, ether::IPV4, &v4),
    ];
    for (to, says, taken_for, payload) in frames {
        wire.send_as(taken_for, &frame::ethernet(to, own, says, payload));
    }
    // An unknown protocol goes as always, and a length is no protocol.
    for kind in [UNKNOWN, 100] {
        wire.send(&frame::ethernet(other, own, kind, b"honest"));
    }
    c1.reaches(C2.0.into());
    lab.settle();
    assert_eq!(lab.counter("c1", "drop/malformed"), frames.len() as u64);
    let honest = at_c2.frames().iter().filter(|seen| seen.contains(b"honest")).count();
    assert_eq!(honest, 2);
    for sniffer in [&at_c2, &at_host] {
        assert!(!sniffer.saw(|seen| seen.contains(word)), "a frame in disguise arrived");
    }

    both(|family| {
        let (from, to) = (C1.of(family), SERVER.of(family));
        let datagram = frame::udp_datagram((from, 9), (to, 9), &[7; 64]);
        let kind = if from.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
        let pieces = frame::in_pieces(from, to, (frame::proto::UDP, 77), &datagram, 32);
        let before = lab.counter("c1", "drop/no_first_fragment");
        wire.send(&frame::ethernet(gateway, own, kind, &pieces[1]));
        assert_eq!(lab.counter("c1", "drop/no_first_fragment"), before + 1);
    });
}

/// A link that somebody removed, or its pin: nothing passes without the program, and `up` puts it back.
fn damaged() {
    with_device("netkit");
    let lab = Lab::bare();
    needed(&lab);
    let up = || lab.up_again(&topology(), &[]).ok();
    up();
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let index = lab.host.ip_json("-d link show");
    let index = index.as_array().expect("a list").iter().find_map(|link| {
        let alias = link["ifalias"].as_str()?;
        alias.contains(":endpoint:c1:").then(|| link["ifindex"].as_u64()).flatten()
    });
    let layouts = std::fs::read_dir(format!("/sys/fs/bpf/netebpf/{}", lab.instance()));
    let layout = layouts.expect("pins").flatten().next().expect("a layout").path();
    let pin = layout.join(format!("links/{}-endpoint_ingress-netkit", index.expect("c1's")));
    let remove = || std::fs::remove_file(&pin).expect("the link is pinned");
    // At once: the link is there until the kernel's readers are done.
    remove();
    up();
    both(|family| c1.reaches(C2.of(family)));
    remove();
    eventually("what c1 sends is dropped", || {
        !matches!(c1.ping(C2.0.into()).send(), Answer::Reply)
    });
    up();
    both(|family| c1.reaches(C2.of(family)));
    // The endpoint takes its own interface away, and with it the other side.
    c1.ip("link delete eth0");
    up();
    both(|family| {
        c1.reaches(C2.of(family));
        c2.reaches(C1.of(family));
    });
}

/// The same file with another device: endpoints are connected anew, and reach one another.
fn from_veths_and_back() {
    let lab = Lab::bare();
    needed(&lab);
    let veths = topology();
    with_device("netkit");
    for (topology, kind) in [(&veths, "veth"), (&topology(), "netkit"), (&veths, "veth")] {
        lab.up_again(topology, &[]).ok();
        assert_eq!(kinds(&lab), [kind; 5]);
        both(|family| lab.endpoint("c1").reaches(C2.of(family)));
    }
}

fn where_there_are_none() {
    with_device("netkit");
    let lab = Lab::bare();
    if are_there(&lab) {
        skip("the kernel has netkit devices");
    }
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains("CONFIG_NETKIT") && said.contains("front"), "{said}");
    assert_eq!(kinds(&lab), ["veth"; 5]);
    let hooks = hooks(&lab);
    assert!(
        hooks.len() == 5 && hooks.iter().all(|(_, why)| why.contains("CONFIG_NETKIT")),
        "{hooks:?}"
    );
    both(|family| lab.endpoint("c1").reaches(C2.of(family)));
}

/// What others try with veths, one after the other: by hand, for it takes an emulated machine a quarter of an hour.
fn all_of(tests: &[&[Test]]) {
    needed(&Lab::bare());
    with_device("netkit");
    for test in tests.concat() {
        println!("{}", test.name);
        (test.run)();
    }
}

fn inside_as_with_veths() {
    use crate::{hairpin, isolation, neighbours, obscure, peers, spoofing};
    all_of(&[
        isolation::TESTS,
        spoofing::TESTS,
        peers::TESTS,
        hairpin::TESTS,
        neighbours::TESTS,
        obscure::TESTS,
    ]);
}

fn outside_as_with_veths() {
    all_of(&[crate::masquerade::TESTS, crate::published::TESTS]);
}
