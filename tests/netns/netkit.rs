//! netkit devices instead of veths: every way of a packet is the same, by the program in the sender's own context.
//!
//! Where the kernel has none: what is said, and that veths are there instead.

use netebpf_tests::{
    lab::{
        Lab, both,
        family::{C2, HOST, LAN},
        topology, with_device,
    },
    runner::{Test, skip},
};

netebpf_tests::tests![
    every_way,
    from_veths_and_back,
    where_there_are_none,
    peers,
    masquerade,
    published,
    hairpin,
    isolation,
    spoofing,
    neighbours,
    obscure,
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
    assert!(hooks(&lab).iter().all(|(by, _)| by == "netkit"), "{:?}", hooks(&lab));
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
    assert!(hooks(&lab).iter().all(|(_, why)| why.contains("CONFIG_NETKIT")), "{:?}", hooks(&lab));
    both(|family| lab.endpoint("c1").reaches(C2.of(family)));
}

/// What others try with veths.
fn all_of(tests: &[Test]) {
    needed(&Lab::bare());
    with_device("netkit");
    for test in tests {
        println!("{}", test.name);
        (test.run)();
    }
}

fn peers() {
    all_of(crate::peers::TESTS);
}

fn masquerade() {
    all_of(crate::masquerade::TESTS);
}

fn published() {
    all_of(crate::published::TESTS);
}

fn hairpin() {
    all_of(crate::hairpin::TESTS);
}

fn isolation() {
    all_of(crate::isolation::TESTS);
}

fn spoofing() {
    all_of(crate::spoofing::TESTS);
}

fn neighbours() {
    all_of(crate::neighbours::TESTS);
}

fn obscure() {
    all_of(crate::obscure::TESTS);
}
