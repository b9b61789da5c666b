//! Layer 1: what holds for every packet, and whatever happens to the tables meanwhile.

use netebpf_common::{
    abi::Protocol,
    datapath::FamilyId,
    testkit::{
        Fate, Frame, Given, HOST, Hook, Layout, Machine, Memory, Operation, Station, TableName,
        WEB_1, WEB_2, WORLD, WORLD_2, capacity, checksums_are_right, echo_reply, echo_request,
        embryonic_quota, publish, recompute_checksums, restart, tcp, to_outside, udp,
    },
    verdict::{DeliverReason, Verdict},
};
use netebpf_tests::fuzzing::{answer, any_hook, busy_machine, go_wrong, is_private, send_any};
use proptest::prelude::*;
use std::{cell::RefCell, collections::HashSet, rc::Rc};

fn family() -> impl Strategy<Value = FamilyId> {
    prop_oneof![Just(FamilyId::V4), Just(FamilyId::V6)]
}

/// A TCP segment or UDP datagram from one to the other.
fn transport(from: Station, to: Station) -> impl Strategy<Value = Frame> {
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (any::<bool>(), any::<u16>(), any::<u16>(), payload, any::<u8>(), 2..=255_u8).prop_map(
        move |(is_tcp, source, destination, payload, class, hops)| {
            let frame = if is_tcp {
                tcp(from, source, to, destination).ack()
            } else {
                udp(from, source, to, destination)
            };
            frame.payload(&payload).traffic_class(class).hop_limit(hops)
        },
    )
}

/// What an endpoint sends to the world, all that is translated.
fn outward() -> impl Strategy<Value = Frame> {
    let ping = (any::<u16>(), prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(id, payload)| echo_request(WEB_1, WORLD, id).payload(&payload));
    let options = prop::collection::vec(Just([1_u8; 4]), 0..=10).prop_map(|words| words.concat());
    let plain = prop_oneof![3 => transport(WEB_1, WORLD), 1 => ping];
    (plain, options, 0..4_u8).prop_map(|(frame, options, form)| match form {
        0 => frame.ip_options(&options),
        1 => frame.hop_by_hop().destination_options(),
        2 => frame.atomic(),
        _ => frame,
    })
}

fn any_port_taken() -> Memory {
    let mut layout = Layout::default();
    layout.change(&publish(Protocol::Tcp, 8080, WEB_1, 80));
    let mut machine = Memory::default();
    machine.arrange(&layout).expect("memory can be anything");
    machine
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two senders with the same ports: the second one's port is changed as well.
    #[test]
    fn checksums_are_what_recomputation_gives(frame in outward(), family in family()) {
        prop_assume!(frame.is_of(family));
        let mut machine = any_port_taken();
        for sender in [WEB_2, WEB_1] {
            let mut bytes = frame.clone().between(sender, WORLD).bytes(family);
            prop_assert!(checksums_are_right(&bytes));
            let verdict = machine.verdict(Hook::Veth(sender), &mut bytes, 0);
            prop_assert!(matches!(verdict, Verdict::Forward { .. }), "{:?}", verdict);
            prop_assert!(checksums_are_right(&bytes), "{:02x?}", bytes);
        }
    }

    /// A checksum that was wrong is as wrong afterwards: nothing is recomputed.
    #[test]
    fn a_reply_undoes_what_was_done(
        frame in transport(WEB_1, WORLD),
        family in family(),
        damage in any::<[u8; 2]>(),
        taken in any::<bool>(),
    ) {
        let mut machine = any_port_taken();
        let mut sent = frame.bytes(family);
        let transport = if family == FamilyId::V4 { 34 } else { 54 };
        let is_tcp = sent.len() >= transport + 20 && sent[if family == FamilyId::V4 { 23 } else { 20 }] == 6;
        let field = transport + if is_tcp { 16 } else { 6 };
        // UDP has values of its own for "none", which a wrong checksum may become.
        if is_tcp {
            sent[field..field + 2].copy_from_slice(&damage);
        }
        if taken {
            let other = frame.between(WEB_2, WORLD);
            let _ = machine.verdict(Hook::Veth(WEB_2), &mut other.bytes(family), 0);
        }
        let mut bytes = sent.clone();
        let out = machine.verdict(Hook::Veth(WEB_1), &mut bytes, 0);
        prop_assert!(matches!(out, Verdict::Forward { .. }), "{:?}", out);
        let mut back = answer(&bytes, family);
        let verdict = machine.verdict(Hook::FromOutside, &mut back, 0);
        if back_is_last_hop(&bytes, family) {
            return Ok(());
        }
        let inward = matches!(verdict, Verdict::Deliver { reason: DeliverReason::Inward, .. });
        prop_assert!(inward, "{:?}", verdict);
        let undone = answer(&back, family);
        let zero = |bytes: &[u8]| bytes[field..field + 2] == [0, 0] || bytes[field..field + 2] == [0xff, 0xff];
        let same_sum = undone[field..field + 2] == sent[field..field + 2] || (zero(&undone) && zero(&sent));
        prop_assert!(same_sum, "{:02x?} became {:02x?}", sent, undone);
        prop_assert_eq!(without_hops(&undone, family, field), without_hops(&sent, family, field));
    }

    /// Random senders, ports and ends of flows: no tuple is ever two flows'.
    #[test]
    fn no_two_flows_share_a_tuple(
        steps in prop::collection::vec(any::<[u8; 4]>(), 1..40),
        embryonic in 1..8_u32,
    ) {
        let mut machine = Memory::default();
        let mut layout = Layout::default();
        layout.change(&embryonic_quota(embryonic));
        layout.change(&Given::SnatPorts(1000, 1003));
        layout.change(&publish(Protocol::Udp, 5353, WEB_1, 53));
        layout.change(&publish(Protocol::Udp, 1002, WEB_1, 1001));
        machine.arrange(&layout).expect("memory can be anything");
        for step in steps {
            one_step(&mut machine, &mut layout, step);
            assert_distinct(&machine);
            assert_counted(&machine);
        }
    }

    /// The same, with another CPU's packet between any two operations of one.
    #[test]
    fn no_two_cpus_share_a_tuple(
        before in prop::collection::vec(any::<[u8; 4]>(), 0..12),
        here in any::<[u8; 4]>(),
        there in any::<[u8; 4]>(),
        when in 0..40_usize,
        places in 2..8_usize,
        embryonic in 1..4_u32,
    ) {
        let mut machine = Memory::default();
        let mut layout = Layout::default();
        layout.change(&capacity(places));
        layout.change(&embryonic_quota(embryonic));
        layout.change(&Given::SnatPorts(1000, 1003));
        layout.change(&publish(Protocol::Udp, 5353, WEB_1, 53));
        machine.arrange(&layout).expect("memory can be anything");
        for step in before {
            one_step(&mut machine, &mut layout, step);
        }
        let other = RefCell::new(machine.beside());
        let mut operations = 0;
        machine.chaos.follow(move |_| {
            operations += 1;
            if operations == when + 1 {
                packet(&mut other.borrow_mut(), there);
            }
            Fate::Succeeds
        });
        packet(&mut machine, here);
        machine.chaos.rest();
        assert_distinct(&machine);
        machine.state.consistent(false).expect("no half flow");
    }

    /// Any entry may vanish and any insertion fail, at any step of any packet.
    #[test]
    fn nothing_private_leaves_when_entries_vanish(
        steps in prop::collection::vec((outward(), any::<u8>()), 1..8),
        family in family(),
        often in 1..20_u32,
    ) {
        let mut machine = busy_machine();
        go_wrong(&machine, often);
        for (frame, place) in steps {
            if !frame.is_of(family) {
                continue;
            }
            let hook = if place & 1 == 0 { Hook::Veth(WEB_1) } else { to_outside() };
            let bytes = frame.bytes(family);
            send_any(&mut machine, hook, &bytes, true);
            let reply = frame.between(WORLD, HOST);
            send_any(&mut machine, Hook::FromOutside, &reply.bytes(family), true);
        }
    }

    #[test]
    fn any_bytes_at_any_hook(bytes in prop::collection::vec(any::<u8>(), 0..200), hook in any::<u8>()) {
        send_any(&mut busy_machine(), any_hook(hook), &bytes, false);
    }

    /// Bytes that are nearly a frame get farther than any.
    #[test]
    fn nearly_a_frame_at_any_hook(
        frame in outward(),
        family in family(),
        hook in any::<u8>(),
        changes in prop::collection::vec((0..120_usize, any::<u8>()), 0..6),
        length in 0..140_usize,
    ) {
        prop_assume!(frame.is_of(family));
        let mut bytes = frame.bytes(family);
        for (at, byte) in changes {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        if length > 14 {
            bytes.truncate(length);
        }
        send_any(&mut busy_machine(), any_hook(hook), &bytes, false);
    }
}

fn back_is_last_hop(frame: &[u8], family: FamilyId) -> bool {
    frame[if family == FamilyId::V4 { 22 } else { 21 }] <= 1
}

/// A frame without what a hop changes: Ethernet addresses, hop limit, the IPv4 header's checksum, and
/// the transport's, which is compared by itself.
fn without_hops(frame: &[u8], family: FamilyId, field: usize) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes[..12].fill(0);
    bytes[field..field + 2].fill(0);
    match family {
        FamilyId::V4 => {
            assert!({
                let mut header = bytes[..34].to_vec();
                header.copy_from_slice(&frame[..34]);
                recompute_checksums(&mut header);
                header == frame[..34]
            });
            bytes[22] = 0;
            bytes[24..26].fill(0);
        }
        FamilyId::V6 => bytes[21] = 0,
    }
    bytes
}

/// A packet out of few: sender, port and server.
fn packet(machine: &mut Memory, [kind, who, port, to]: [u8; 4]) {
    let sender = [WEB_1, WEB_2][usize::from(who & 1)];
    let server = [WORLD, WORLD_2][usize::from(to & 1)];
    let neighbour = [WEB_2, WEB_1][usize::from(who & 1)];
    let port = 1000 + u16::from(port % 3);
    let (hook, frame) = match kind % 6 {
        0 => (Hook::Veth(sender), udp(sender, port, server, 53)),
        1 => (Hook::Veth(sender), echo_request(sender, server, port)),
        2 => (to_outside(), udp(sender, port, server, 53)),
        3 => (Hook::Veth(sender), udp(sender, port, HOST, 5353)),
        4 => (Hook::Veth(neighbour), udp(neighbour, 53, HOST, port)),
        _ => (Hook::FromOutside, udp(server, 53, HOST, port)),
    };
    let mut bytes = frame.bytes(FamilyId::V4);
    let verdict = machine.verdict(hook, &mut bytes, 0);
    if matches!(verdict, Verdict::Forward { .. }) {
        assert!(!is_private(&bytes));
    }
    let mut reply = echo_reply(server, HOST, port).bytes(FamilyId::V4);
    let _ = machine.verdict(Hook::FromOutside, &mut reply, 0);
}

/// A packet, the end of a flow, or the restart of an endpoint.
fn one_step(machine: &mut Memory, layout: &mut Layout, step: [u8; 4]) {
    match step[0] >> 4 {
        0 => {
            layout.change(&restart(WEB_1));
            machine.arrange(layout).expect("memory can be anything");
        }
        1..=4 => {
            let flows = machine.tables().flows;
            if let Some(row) = flows.get(usize::from(step[1]) % flows.len().max(1)) {
                let [original, _] = row.keys;
                machine.end_flow(&original).expect("memory can end flows");
            }
        }
        _ => packet(machine, step),
    }
}

fn assert_distinct(machine: &Memory) {
    let flows = machine.tables().flows;
    let tuples: HashSet<_> = flows.iter().flat_map(|row| row.keys).collect();
    assert_eq!(tuples.len(), 2 * flows.len(), "{flows:#?}");
}

/// The counts of each owner are those of its flows, but for flows of an earlier owner of the slot, which nobody has
/// ended yet.
fn assert_counted(machine: &Memory) {
    let tables = machine.tables();
    for (slot, [opened, closed, confirmed, lapsed]) in tables.usage {
        let (live, embryonic) = (opened - closed, opened - confirmed - lapsed);
        let flows = tables.flows.iter().filter(|row| row.owner == slot).count() as u64;
        assert!(flows <= live && embryonic <= live, "{slot}: {flows}, {live}, {embryonic}");
    }
}

/// The chaos of these tests is not idle: it reaches the operations that matter.
#[test]
fn every_table_is_reached_by_chaos() {
    let machine = busy_machine();
    let seen = Rc::new(RefCell::new(HashSet::new()));
    let reached = Rc::clone(&seen);
    machine.chaos.follow(move |operation| {
        reached.borrow_mut().insert(format!("{operation:?}"));
        Fate::Succeeds
    });
    let mut machine = machine;
    for frame in [tcp(WEB_1, 40_000, WORLD, 443).syn(), udp(WORLD, 40_000, HOST, 5000)] {
        let hook = if frame.from == WEB_1 { Hook::Veth(WEB_1) } else { Hook::FromOutside };
        let _ = machine.verdict(hook, &mut frame.bytes(FamilyId::V6), 0);
    }
    let all = [
        Operation::Claim,
        Operation::Insert(TableName::Index),
        Operation::Get(TableName::Endpoints),
        Operation::Get(TableName::Flows),
        Operation::Get(TableName::Index),
        Operation::Get(TableName::Published),
        Operation::Get(TableName::PublishedPorts),
        Operation::Get(TableName::Settings),
        Operation::Get(TableName::Usage),
    ];
    for operation in all {
        assert!(seen.borrow().contains(&format!("{operation:?}")), "{operation:?}");
    }
}
