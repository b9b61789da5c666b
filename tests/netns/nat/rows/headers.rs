//! What a NAT leaves as it is: tags, types of service, checksums, what is not to be translated.

use super::*;
use netebpf_tests::lab::{
    Sniffer, eventually,
    frame::Seen,
    traffic::{bulk, in_segments},
};

pub(in crate::nat) fn tagged_frames(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let (wire, own) = (Wire::open(&c1, "eth0"), c1.mac("eth0"));
    let tags: [&[(u16, u16)]; 4] = [
        &[(ether::VLAN, 5)],
        &[(ether::QINQ, 5), (ether::VLAN, 6)],
        &[(ether::VLAN, 0)],
        &[(ether::VLAN, 0), (ether::VLAN, 0)],
    ];
    both(|family| {
        let packet = frame::udp((C1.of(family), 5026), (SERVER.of(family), 7), b"tagged");
        let plain = frame::ethernet(gateway(lab), own, ether_type(family), &packet);
        tags.iter().for_each(|tags| wire.send(&frame::tagged(&plain, tags)));
    });
    lab.settle();
    assert_eq!(lab.at_router().private(), []);
}

pub(crate) fn priority_tags(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let (wire, own) = (Wire::open(&lab.lan, "eth0"), lab.lan.mac("eth0"));
    both(|family| {
        let (socket, there) = (c1.udp(family, 5026), lab.lan.udp(family, 7));
        socket.send_to(b"question", LAN.port(family, 7)).expect("sent");
        there.recv_from(&mut [0; 64]).expect("it arrives");
        let answer = frame::udp((LAN.of(family), 7), (HOST.of(family), 5026), b"answer");
        let plain = frame::ethernet(lab.host.mac("up0"), own, ether_type(family), &answer);
        wire.send(&frame::tagged(&plain, &[(ether::VLAN, 5 << 13)]));
        let (_, from) = socket.recv_from(&mut [0; 64]).expect("it arrives");
        assert_eq!(from, LAN.port(family, 7));
    });
}

pub(in crate::nat) fn classes(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let inside = lab.sniff(&c1, "eth0");
    let wire = Wire::open(&lab.lan, "eth0");
    let (host, lan) = (lab.host.mac("up0"), lab.lan.mac("eth0"));
    both(|family| {
        let _sockets = (c1.udp(family, 5027), lab.lan.udp(family, 7), lab.server.udp(family, 7));
        let packets = |from, to| -> Vec<_> {
            let packet = |class| frame::with_class(frame::udp(from, to, b"class"), class);
            (0..=255).map(packet).collect()
        };
        let all = |from, to| {
            let classes = move |frames: Vec<Seen>| {
                let ours = frames.into_iter().filter(|seen| seen.is(proto::UDP, from, to));
                let mut classes: Vec<_> = ours.map(|seen| seen.class()).collect();
                classes.sort_unstable();
                classes
            };
            move |sniffer: &Sniffer| classes(sniffer.frames()) == (0..=255).collect::<Vec<_>>()
        };
        let (own, here) = ((C1.of(family), 5027), (LAN.of(family), 7));
        craft(lab, "c1", family, &packets(own, (SERVER.of(family), 7)));
        let arrived = all(HOST.of(family), SERVER.of(family));
        eventually("all outside", || arrived(lab.at_router()));

        craft(lab, "c1", family, &packets(own, here)[..1]);
        for packet in packets(here, (HOST.of(family), 5027)) {
            wire.send(&frame::ethernet(host, lan, ether_type(family), &packet));
        }
        let arrived = all(LAN.of(family), C1.of(family));
        eventually("all inside", || arrived(&inside));
    });
}

pub(in crate::nat) fn wrong_checksums(lab: &Lab) {
    lab.wrong_checksums_are_sent();
    both(|family| {
        let server = lab.server.udp(family, 7);
        let (from, to) = ((C1.of(family), 5028), (SERVER.of(family), 7));
        let mut datagram = frame::udp_datagram(from, to, b"damaged on the way");
        *datagram.last_mut().expect("not empty") ^= 1;
        craft(lab, "c1", family, &[frame::ip(from.0, to.0, proto::UDP, &datagram)]);
        hears_nothing(&server);
    });
    lab.settle();
    assert_eq!(lab.at_router().private(), []);
}

pub(in crate::nat) fn no_checksum(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let (socket, server) = (c1.udp(Family::V4, 5029), lab.server.udp(Family::V4, 7));
    let without = |from: (std::net::IpAddr, u16), to, text| {
        let mut datagram = frame::udp_datagram(from, to, text);
        datagram[6..8].fill(0);
        frame::ip(from.0, to.0, proto::UDP, &datagram)
    };
    let (own, there) = ((C1.0.into(), 5029), (SERVER.0.into(), 7));
    craft(lab, "c1", Family::V4, &[without(own, there, b"without a checksum")]);
    server.recv_from(&mut [0; 64]).expect("it arrives");
    let arrived = |seen: &Seen| {
        seen.is(proto::UDP, HOST.0.into(), SERVER.0.into()) && seen.payload[26..28] == [0, 0]
    };
    assert!(lab.at_router().saw(arrived), "it has got a checksum");

    socket.send_to(b"question", LAN.port(Family::V4, 7)).expect("sent");
    let inside = lab.sniff(&c1, "eth0");
    let answer = without((LAN.0.into(), 7), (HOST.0.into(), 5029), b"answer");
    let (host, lan) = (lab.host.mac("up0"), lab.lan.mac("eth0"));
    Wire::open(&lab.lan, "eth0").send(&frame::ethernet(host, lan, ether::IPV4, &answer));
    inside.wait_for("the answer without a checksum", |seen| {
        seen.is(proto::UDP, LAN.0.into(), C1.0.into()) && seen.payload[26..28] == [0, 0]
    });
}

pub(in crate::nat) fn offloads(lab: &Lab) {
    let c1 = lab.endpoint("c1");
    let everybody = [(&c1, "eth0"), (&lab.server, "eth0"), (&lab.host, "up0")];
    // All of them, none, and one side only.
    for on in [[true; 3], [false; 3], [false, true, true], [true, false, false]] {
        println!("— {on:?} —");
        everybody.iter().zip(on).for_each(|((ns, name), on)| ns.offloads(name, on));
        both(|family| {
            bulk(&c1, &lab.server, 5001, SERVER.port(family, 5001), 4 << 20);
            bulk(&lab.server, &c1, 80, HOST.port(family, 8080), 4 << 20);
            datagrams_in_one(lab, family);
        });
    }
    everybody.iter().for_each(|(ns, name)| ns.offloads(name, true));
}

/// Forty datagrams, which the sender's kernel gets as one and cuts as late as it can.
fn datagrams_in_one(lab: &Lab, family: Family) {
    const EACH: usize = 1200;
    const MANY: usize = 40;
    let (client, server) = (lab.endpoint("c1").udp(family, 0), lab.server.udp(family, 7));
    in_segments(&client, EACH as u16);
    let text: Vec<u8> = (0..EACH * MANY).map(|n| (n / EACH) as u8).collect();
    client.send_to(&text, SERVER.port(family, 7)).expect("sent");
    for part in text.chunks(EACH) {
        let mut buffer = [0; 2 * EACH];
        let (length, _) = server.recv_from(&mut buffer).expect("it arrives");
        assert_eq!(&buffer[..length], part);
    }
}

pub(in crate::nat) fn neighbours(lab: &Lab) {
    // Multicast listener discovery (RFC 3810), and all of neighbour discovery (RFC 4861).
    const KINDS: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];
    let (from, to) = (C1.1.into(), SERVER.1.into());
    let body = [&[0; 4][..], &SERVER.1.octets()].concat();
    let packets = KINDS.map(|kind| frame::icmp(from, to, kind, 0, &body));
    craft(lab, "c1", Family::V6, &packets);
    lab.settle();
    assert_eq!(lab.at_router().private(), []);
    let translated = |seen: &Seen| {
        seen.is(proto::ICMPV6, HOST.1.into(), to) && KINDS.contains(&seen.payload[40])
    };
    assert!(!lab.at_router().saw(translated), "it was translated");
}
