//! An uplink that is a network card: XDP in its driver, where it is asked for.
//!
//! `cargo xtask vm` has two virtio cards for it; whoever has two others cabled with each other names them in
//! `NETEBPF_CARDS`.

use crate::xdp::hook;
use netebpf_tests::lab::{
    Cards, Family, Lab, Wire, both,
    family::{C1, HOST, LAN, ROUTER, SERVER},
    frame::{self, Seen, ether, proto},
    topology,
    traffic::{ask, bulk, say},
};
use std::net::Ipv4Addr;

netebpf_tests::tests![by_its_driver];

/// Bytes of many packets, and few enough for an emulated machine.
const MANY: usize = 2 << 20;
/// Bytes of a datagram that is sent in fragments.
const LONG: usize = 8000;

/// One test: to come up takes an emulated machine a minute.
fn by_its_driver() {
    let lab = Lab::on_cards(Cards::of_this_machine());
    let published = topology().ports("c1", &["8080:80", "8080:80/udp", "8001:5001"]);
    lab.up_again(&published, &["--xdp", "native"]).ok();
    assert_eq!(hook(&lab, "up0"), Some((Some("XDP native".to_owned()), "asked for".to_owned())));
    let _echo = [lab.server.echo(7), lab.endpoint("c1").echo(80), lab.host.echo(7)];
    every_way(&lab);
    refused(&lab, Place::Driver);
    let mut lasting = lab.lan.connect(HOST.port(Family::V4, 8080)).expect("published");
    translated(&lab, Place::Driver, || say(&mut lasting, b"by the driver").expect("an answer"));
    // The same flows by TC alone.
    lab.up_again(&published, &["--xdp", "off"]).ok();
    let (mechanism, reason) = hook(&lab, "up0").expect("an uplink");
    assert!(mechanism.is_none() && reason.contains("--xdp native"), "{reason}");
    translated(&lab, Place::Tc, || say(&mut lasting, b"by TC").expect("an answer"));
    refused(&lab, Place::Tc);
}

/// Replies, published ports and what is not ours, by packets that are long, many or in fragments.
fn every_way(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    both(|family| {
        c1.reaches(SERVER.of(family));
        c1.ask_both(SERVER.port(family, 7));
        c1.refused(SERVER.port(family, 9));
        for outsider in [&lab.lan, &lab.server] {
            outsider.ask_both(HOST.port(family, 8080));
        }
        let long: Vec<u8> = (0..LONG).map(|n| n as u8).collect();
        for (who, to) in [(&lab.lan, HOST.port(family, 8080)), (&c1, SERVER.port(family, 7))] {
            ask(&who.udp(family, 0), to, &long).expect("fragments there and back");
        }
        bulk(&lab.lan, &c1, 5001, HOST.port(family, 8001), MANY);
        bulk(&c1, &lab.server, 5001, SERVER.port(family, 5001), MANY);
        // Not ours.
        lab.lan.reaches(HOST.of(family));
        // Not whom c1 has asked with the same identifier: that flow's answers are c1's.
        lab.host.reaches(ROUTER.of(family));
        lab.lan.ask_both(HOST.port(family, 7));
        lab.host.ask_both(SERVER.port(family, 7));
        lab.lan.refused(HOST.port(family, 8081));
        bulk(&lab.lan, &lab.host, 5001, HOST.port(family, 5001), MANY);
    });
}

/// Where something becomes of a packet: before raw sockets see it, or after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Driver,
    Tc,
}

/// What is addressed into a network, or comes from there, ends, and is counted.
fn refused(lab: &Lab, place: Place) {
    let wire = Wire::open(&lab.lan, "eth0");
    let (own, host) = (lab.lan.mac("eth0"), lab.host.mac("up0"));
    both(|family| {
        let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
        for (from, to, counter) in
            [(LAN, C1, "drop/not_published"), (C1, SERVER, "drop/spoofed_address")]
        {
            let (from, to) = (from.of(family), to.of(family));
            let at_card = lab.sniff(&lab.host, "up0");
            let before = lab.counter("up0", counter);
            let packet = frame::udp((from, 9), (to, 80), b"nobody asked");
            wire.send(&frame::ethernet(host, own, kind, &packet));
            // What comes after it.
            lab.lan.reaches(HOST.of(family));
            at_card.wait_for("the ping", |seen| {
                seen.addresses == Some((LAN.of(family), HOST.of(family)))
            });
            assert_eq!(lab.counter("up0", counter), before + 1, "{family}: {counter}, {place:?}");
            let seen = at_card.saw(|seen| seen.is(proto::UDP, from, to));
            assert_eq!(seen, place == Place::Tc, "{family}: {counter}");
        }
    });
}

/// What a published port is asked during this was translated there.
fn translated(lab: &Lab, place: Place, asking: impl FnOnce()) {
    let at_card = lab.sniff(&lab.host, "up0");
    let is_to = |seen: &Seen, to: Ipv4Addr| seen.is(proto::TCP, LAN.0.into(), to.into());
    asking();
    at_card.wait_for("what was asked", |seen| is_to(seen, C1.0) || is_to(seen, HOST.0));
    let to = |to| at_card.saw(|seen| is_to(seen, to));
    let driver = place == Place::Driver;
    assert_eq!((to(C1.0), to(HOST.0)), (driver, !driver), "{:#?}", at_card.frames());
}
