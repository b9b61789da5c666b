//! The table of flows is whole while packets flow, and `doctor` tells when it is not.

use aya::maps::{HashMap, Map, MapData};
use netebpf_tests::lab::{
    Family, Lab, Ns,
    family::{HOST, SERVER},
    topology,
    traffic::{ask, say},
};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

netebpf_tests::tests![whole_while_endpoints_come_and_go, what_is_broken_is_told, without_a_daemon];

/// How many times an endpoint is removed and made again.
const ROUNDS: u32 = 4;
/// How often one client asks: so many flows are nobody's quota.
const QUESTIONS: u32 = 5_000;

/// Short connections and single datagrams, each from a new port, one after the other.
fn talk(ns: &Ns, to: SocketAddr, stop: &AtomicBool) {
    for _ in 0..QUESTIONS {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = ns.connect(to).unwrap_or_else(|e| panic!("{} -> {to}: {e}", ns.name()));
        say(&mut stream, b"short").expect("answered");
        ns.ask_udp(to);
    }
}

/// Many sockets, and where each of them sends to.
fn sockets(ns: &Ns, to: &[SocketAddr]) -> Vec<(UdpSocket, SocketAddr)> {
    let socket = |to: SocketAddr| (ns.udp(Family::of(to.ip()), 0), to);
    to.iter().flat_map(|to| [*to; 100]).map(socket).collect()
}

/// Datagrams of an endpoint that is removed meanwhile: nobody answers, and what cannot be sent is lost.
fn send(sockets: &[(UdpSocket, SocketAddr)], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        sockets.iter().for_each(|(socket, to)| drop(socket.send_to(b"unanswered", *to)));
        // Those who wait for answers have a right to the CPU.
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends what runs in the background, also when a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn whole_while_endpoints_come_and_go() {
    let everything = topology()
        .ports("c1", &["8080:80", "8080:80/udp", "8081:81/udp"])
        .ports("c2", &["9090:90", "9090:90/udp"]);
    let lab = Lab::up(&everything);
    let (c1, d1) = (lab.endpoint("c1"), lab.endpoint("d1"));
    let _echo = [lab.server.echo(7), c1.echo(80)];
    let _silent = [lab.server.udp(Family::V6, 9), c1.udp(Family::V6, 81)];
    let families = [Family::V4, Family::V6];
    let silent = families.map(|family| [SERVER.port(family, 9), HOST.port(family, 8081)]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (client, to) in [
            (&c1, SERVER.port(Family::V4, 7)),
            (&c1, SERVER.port(Family::V6, 7)),
            (&d1, HOST.port(Family::V4, 8080)),
            (&lab.lan, HOST.port(Family::V6, 8080)),
        ] {
            let over = &over;
            scope.spawn(move || talk(client, to, over));
        }
        let _end = End(&over);
        for _ in 0..ROUNDS {
            let sockets = sockets(&lab.endpoint("c2"), silent.as_flattened());
            let gone = AtomicBool::new(false);
            thread::scope(|scope| {
                let _end = End(&gone);
                scope.spawn(|| send(&sockets, &gone));
                assert_eq!(lab.flow_findings(), None);
                lab.run("rm -f c2").ok();
                assert_eq!(lab.flow_findings(), None);
            });
            lab.up_again(&everything, &[]).ok();
            assert_eq!(lab.flow_findings(), None);
        }
    });
    let used = lab.json("status")["flows"]["used"].as_u64();
    assert!(used > Some(1000), "hardly anything flowed: {used:?}");
}

/// The index of flows, as it is pinned: 40 bytes a key, the generation, the place and the direction a value.
fn index(lab: &Lab) -> HashMap<MapData, [u8; 40], [u8; 16]> {
    let pins = lab.pins();
    let pin = pins.keys().find(|path| path.ends_with("FLOW_INDEX")).expect("it is pinned");
    let map = MapData::from_pin(pin).and_then(Map::from_map_data).expect("it is a map");
    map.try_into().expect("keys and values are so long")
}

fn what_is_broken_is_told() {
    let lab = Lab::up(&topology());
    let _echo = lab.server.echo(7);
    let c1 = lab.endpoint("c1");
    let socket = c1.udp(Family::V4, 40_000);
    ask(&socket, SERVER.port(Family::V4, 7), b"open").expect("answered");
    assert_eq!(lab.flow_findings(), None);

    let mut index = index(&lab);
    for half in index.iter().collect::<Result<Vec<_>, _>>().expect("nobody changes it") {
        let (key, entry) = half;
        index.remove(&key).expect("it is there");
        let said = lab.flow_findings().expect("half a flow is told");
        assert!(said.contains("is not found by udp") && said.contains(":40000"), "{said}");
        index.insert(key, entry, 0).expect("there is room");
    }
    assert_eq!(lab.flow_findings(), None);

    let (mut key, mut entry) = index.iter().next().expect("an entry").expect("nobody changes it");
    key[..16].copy_from_slice(&[0xfd; 16]);
    entry[8..12].copy_from_slice(&77_u32.to_ne_bytes());
    index.insert(key, entry, 0).expect("there is room");
    let said = lab.flow_findings().expect("an entry that leads nowhere is told");
    assert!(said.contains("fdfd:") && said.contains("leads to place 77"), "{said}");
    let text = lab.run("doctor").ok();
    assert!(text.lines().any(|line| line.starts_with("flow table   ") && line.contains("warning")));
    index.remove(&key).expect("it is there");
    assert_eq!(lab.flow_findings(), None);
}

fn without_a_daemon() {
    let lab = Lab::up(&topology());
    lab.kill_daemon();
    // Asked again, too: a question starts none.
    for _ in 0..2 {
        let said = lab.flow_findings().expect("it is told");
        assert!(said.contains("no daemon"), "{said}");
    }
}
