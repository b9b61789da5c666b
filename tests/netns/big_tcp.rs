//! BIG TCP: packets of more than 64 KiB, cut where they leave.

use netebpf_tests::{
    lab::{
        Lab, Ns, Sniffer, both,
        family::{C2, HOST, LAN},
        topology,
        traffic::bulk,
    },
    runner::skip,
};
use serde_json::Value;
use std::net::SocketAddr;

netebpf_tests::tests![as_the_uplink_takes_them, cut_where_an_uplink_takes_less];

const USUAL: u32 = 1 << 16;
const BIG: u32 = 3 << 16;
const BYTES: usize = 64 << 20;
const LISTEN: u16 = 5001;

/// Default on where every uplink's owner has raised its sizes; every byte comes, on all three ways, in long packets.
fn as_the_uplink_takes_them() {
    let lab = Lab::bare();
    let (host, lan, switch) = (&lab.host, &lab.lan, &lab.segment);
    for (ns, interface) in [(host, "up0"), (lan, "eth0"), (switch, "to-host"), (switch, "to-lan")] {
        ns.longest_packets(interface, BIG).unwrap_or_else(|error| skip(error));
    }
    let topology = topology().ports("c1", &["8001:5001"]);
    lab.up_again(&topology, &[]).ok();
    assert_eq!(sizes(&lab, "front"), (BIG, "as uplink up0 takes them".to_owned()));
    let [c1, c2] = ["c1", "c2"].map(|name| lab.endpoint(name));
    assert_eq!(longest(&c1, "eth0"), BIG);
    both(|family| {
        for (client, server, to) in [
            (&c1, &c2, C2.port(family, LISTEN)),
            (&c1, &lab.lan, LAN.port(family, LISTEN)),
            (&lab.lan, &c1, HOST.port(family, 8001)),
        ] {
            assert!(sent(client, server, to) > 66_000, "{family:?}: no long packet to {to}");
        }
    });
    // Each went the short way: Linux's own would take IPv6's for too long.
    for of in ["c1", "c2", "up0"] {
        assert_eq!(lab.counter(of, "pass/too_long"), 0, "of {of}");
    }
    let again = lab.up_again(&topology, &[]);
    assert!(!again.ok().contains("GSO"), "nothing is left to change");

    // Its owner has thought again.
    lab.host.longest_packets("up0", USUAL).expect("it could be set before");
    let said = lab.up_again(&topology, &[]).ok();
    assert!(said.contains("GSO up to 65536"), "{said}");
    assert_eq!(longest(&c1, "eth0"), USUAL);
    both(|family| bulk(&c1, &lab.lan, LISTEN, LAN.port(family, LISTEN), BYTES / 8));
}

/// What nobody raised has what Linux gives every interface, but where no uplink is on the way; and whoever insists has
/// the kernel cut them.
fn cut_where_an_uplink_takes_less() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    assert_eq!(sizes(&lab, "front"), (USUAL, "as uplink up0 takes them".to_owned()));
    let (within, reason) = sizes(&lab, "inner");
    if reason == "the kernel has none" {
        skip(reason);
    }
    assert_eq!((within, reason.as_str()), (BIG, "no uplink is on the way"));
    assert_eq!(longest(&c1, "eth0"), USUAL);
    for (mode, front, inner) in [("on", BIG, BIG), ("off", USUAL, USUAL)] {
        lab.up_again(&topology(), &["--big-tcp", mode]).ok();
        assert_eq!((sizes(&lab, "front").0, sizes(&lab, "inner").0), (front, inner), "{mode}");
        assert_eq!(longest(&c1, "eth0"), front, "{mode}");
        both(|family| bulk(&c1, &lab.lan, LISTEN, LAN.port(family, LISTEN), BYTES / 4));
        assert_eq!(lab.counter("c1", "pass/too_long"), 0);
    }
    // As long as nothing else is said.
    lab.up_again(&topology(), &[]).ok();
    assert_eq!(sizes(&lab, "inner").0, USUAL);
}

/// What `status` says of a network.
fn sizes(lab: &Lab, network: &str) -> (u32, String) {
    let status = lab.json("status");
    let gso = &status["gso"][network];
    let (v4, v6) = (size(&gso["sizes"]["v4"]), size(&gso["sizes"]["v6"]));
    assert_eq!(v4, v6, "{gso}");
    (v4, gso["reason"].as_str().expect("a reason").to_owned())
}

fn size(value: &Value) -> u32 {
    value.as_u64().and_then(|bytes| bytes.try_into().ok()).expect("a number of bytes")
}

fn longest(ns: &Ns, interface: &str) -> u32 {
    let link = ns.ip_json(&format!("-details link show dev {interface}"));
    size(&link[0]["gso_max_size"])
}

/// Moves bytes each way, and answers with the length of the longest packet that the client sent.
fn sent(client: &Ns, server: &Ns, to: SocketAddr) -> usize {
    let sniffer = Sniffer::start(client, "eth0");
    bulk(client, server, LISTEN, to, BYTES);
    let seen = sniffer.frames();
    let ours = seen.iter().filter(|seen| seen.addresses.is_some_and(|(_, at)| at == to.ip()));
    ours.map(|seen| seen.length).max().unwrap_or_default()
}
