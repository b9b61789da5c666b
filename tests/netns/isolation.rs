//! What one network cannot do to another, and what an internal one cannot do at all.

use netebpf_tests::lab::{
    Lab, Wire, both,
    family::{BACK, C1, D1, FRONT, HOST, I1, I2, INNER, LAN, ROUTER, SERVER},
    frame::{self, BROADCAST, Seen, ether},
    topology,
};

netebpf_tests::tests![networks_are_apart, frames_stay_in_their_network, internal];

/// By IP, to the endpoints and to the other network's gateway.
fn networks_are_apart() {
    let lab = Lab::up(&topology());
    let [c1, d1, i1] = ["c1", "d1", "i1"].map(|name| lab.endpoint(name));
    let echoes = [c1.echo(7), d1.echo(7), i1.echo(7)];
    // Without a way out, nothing would be tried.
    i1.ip(&format!("route add default via {}", INNER.0));
    i1.ip(&format!("route add default via {}", INNER.1));
    both(|family| {
        for (from, others) in [
            (&c1, [D1, I1, BACK, INNER]),
            (&d1, [C1, I1, FRONT, INNER]),
            (&i1, [C1, D1, FRONT, BACK]),
        ] {
            for other in others {
                from.never_reaches(other.of(family));
                from.refused(other.port(family, 7));
            }
        }
    });
    for echo in &echoes {
        assert_eq!(echo.clients(), []);
    }
    assert!(lab.counter("d1", "drop/other_network") > 0);
}

/// By frames with the other's Ethernet address, by link-local addresses, by broadcast.
fn frames_stay_in_their_network() {
    let lab = Lab::up(&topology());
    let (c1, d1) = (lab.endpoint("c1"), lab.endpoint("d1"));
    let at_c1 = lab.sniff(&c1, "eth0");
    let (wire, own, theirs) = (Wire::open(&d1, "eth0"), d1.mac("eth0"), c1.mac("eth0"));
    let gateway = d1_gateway(&lab);
    let word = b"from another network";
    both(|family| {
        let kind = if D1.of(family).is_ipv4() { ether::IPV4 } else { ether::IPV6 };
        let packet = frame::udp((D1.of(family), 7), (C1.of(family), 7), word);
        for to in [theirs, gateway, BROADCAST] {
            wire.send(&frame::ethernet(to, own, kind, &packet));
        }
    });
    let link_local = |mac: [u8; 6]| {
        let bytes = netebpf_common::abi::Mac(mac).link_local().octets();
        std::net::IpAddr::from(bytes)
    };
    let packet = frame::udp((link_local(own), 7), (link_local(theirs), 7), word);
    wire.send(&frame::ethernet(theirs, own, ether::IPV6, &packet));
    let question = frame::arp(1, (own, D1.0), ([0; 6], C1.0));
    wire.send(&frame::ethernet(BROADCAST, own, ether::ARP, &question));

    // What may come comes, after all of that.
    lab.endpoint("c2").ping(C1.0.into()).send();
    lab.settle();
    let came = |seen: &Seen| seen.contains(word) || seen.from == own;
    assert!(!at_c1.saw(came), "a frame of another network arrived");
}

fn d1_gateway(lab: &Lab) -> [u8; 6] {
    lab.endpoint("d1").ip(&format!("neighbour show {}", BACK.0));
    let [a, b, c, d] = BACK.0.octets();
    [2, 0x42, a, b, c, d]
}

/// No way out, none in; peers and the host are there.
fn internal() {
    let lab = Lab::up(&topology());
    let (i1, i2) = (lab.endpoint("i1"), lab.endpoint("i2"));
    let _echo = [i2.echo(7), lab.server.echo(7), lab.lan.echo(7)];
    assert_eq!(i1.ip("route show default"), "");
    both(|family| {
        i1.reaches(I2.of(family));
        i1.ask_both(I2.port(family, 7));
        i1.reaches(INNER.of(family));
    });
    i1.ip(&format!("route add default via {}", INNER.0));
    i1.ip(&format!("route add default via {}", INNER.1));
    lab.settle();
    lab.at_router().clear();
    lab.at_lan().clear();
    both(|family| {
        for outside in [SERVER, LAN, ROUTER] {
            i1.never_reaches(outside.of(family));
            i1.refused(outside.port(family, 7));
        }
        lab.lan.refused(HOST.port(family, 7));
    });
    lab.settle();
    let host = lab.host.mac("up0");
    let talk = |seen: &Seen| {
        let inner = [I1, I2, INNER].into_iter().flat_map(|pair| [pair.0.into(), pair.1.into()]);
        let inner: Vec<std::net::IpAddr> = inner.collect();
        let about = |pair: Option<(std::net::IpAddr, std::net::IpAddr)>| {
            pair.is_some_and(|(from, to)| inner.contains(&from) || inner.contains(&to))
        };
        let outward = seen.addresses.is_some_and(|(_, to)| to == SERVER.0 || to == SERVER.1);
        seen.from == host && (about(seen.addresses) || about(seen.quoted) || outward)
    };
    for sniffer in [lab.at_router(), lab.at_lan()] {
        let came: Vec<_> = sniffer.frames().into_iter().filter(talk).collect();
        assert!(came.is_empty(), "an internal network was heard outside: {came:#?}");
    }
    assert!(lab.counter("i1", "drop/internal_network") > 0);
}
