//! Who gets a place for a flow, and who gives one up.

use netebpf_common::{
    abi::Protocol::{Tcp, Udp},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// Opens a connection of WEB_1's.
fn syn(case: Case, port: u16) -> Case {
    case.send(tcp(WEB_1, port, WORLD, 443).syn()).expect(tx(tcp(HOST, port, WORLD, 443).syn()))
}

/// The server answers, and WEB_1 goes on.
fn confirm(case: Case, port: u16) -> Case {
    case.send(tcp(WORLD, 443, HOST, port).numbers(100, 2).syn().ack())
        .expect(rx(tcp(WORLD, 443, WEB_1, port).numbers(100, 2).syn().ack()))
        .send(tcp(WEB_1, port, WORLD, 443).numbers(2, 101).ack())
        .expect(tx(tcp(HOST, port, WORLD, 443).numbers(2, 101).ack()))
}

/// A client of a published port, its number acknowledged.
fn client(case: Case, port: u16, acknowledged: u32) -> Case {
    case.send(tcp(WORLD, port, HOST, 8080).syn())
        .expect(rx(tcp(WORLD, port, WEB_1, 80).syn()))
        .send(tcp(WEB_1, 80, WORLD, port).numbers(100, 2).syn().ack())
        .expect(tx(tcp(HOST, 8080, WORLD, port).numbers(100, 2).syn().ack()))
        .send(tcp(WORLD, port, HOST, 8080).numbers(2, acknowledged).ack())
        .expect(rx(tcp(WORLD, port, WEB_1, 80).numbers(2, acknowledged).ack()))
}

pub(crate) fn cases() -> Vec<Case> {
    let few = |name| case(name).given(embryonic_quota(2));
    vec![
        [1, 2, 3]
            .into_iter()
            .fold(few("the oldest of too many unconfirmed flows makes room"), syn)
            .flows(2)
            .send(tcp(WORLD, 443, HOST, 1).numbers(100, 2).syn().ack())
            .expect(pass(PassReason::NotOurs))
            .send(tcp(WORLD, 443, HOST, 2).numbers(100, 2).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 2).numbers(100, 2).syn().ack())),
        [2, 3, 4]
            .into_iter()
            .fold(confirm(syn(few("a confirmed flow does not"), 1), 1), syn)
            .flows(3)
            .send(tcp(WORLD, 443, HOST, 1).numbers(101, 2).ack().payload(b"still here"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 1).numbers(101, 2).ack().payload(b"still here"))),
        [1, 2, 3, 4]
            .into_iter()
            .fold(
                few("a flood takes nothing from another endpoint")
                    .send(tcp(WEB_2, 40_000, WORLD, 443).syn())
                    .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn())),
                syn,
            )
            .flows(3)
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_2, 40_000).syn().ack())),
        client(
            client(
                few("who never heard the answer of a published port confirms nothing")
                    .given(publish(Tcp, 8080, WEB_1, 80))
                    .given(embryonic_quota(1)),
                1,
                5_000_000,
            ),
            2,
            101,
        )
        .flows(1)
        .send(tcp(WEB_1, 80, WORLD, 2).numbers(101, 2).ack().payload(b"hello"))
        .expect(tx(tcp(HOST, 8080, WORLD, 2).numbers(101, 2).ack().payload(b"hello"))),
        client(
            client(
                case("who did hear it confirms the flow")
                    .given(publish(Tcp, 8080, WEB_1, 80))
                    .given(embryonic_quota(1)),
                1,
                101,
            ),
            2,
            101,
        )
        .flows(2),
        case("a datagram that is answered is confirmed by the next")
            .given(embryonic_quota(1))
            .send(udp(WEB_1, 40_000, WORLD, 53))
            .expect(tx(udp(HOST, 40_000, WORLD, 53)))
            .send(udp(WORLD, 53, HOST, 40_000))
            .expect(rx(udp(WORLD, 53, WEB_1, 40_000)))
            .send(udp(WEB_1, 40_000, WORLD, 53))
            .expect(tx(udp(HOST, 40_000, WORLD, 53)))
            .send(udp(WEB_1, 40_001, WORLD, 53))
            .expect(tx(udp(HOST, 40_001, WORLD, 53)))
            .flows(2)
            .send(udp(WEB_1, 40_002, WORLD, 53))
            .expect(tx(udp(HOST, 40_002, WORLD, 53)))
            .flows(2)
            .send(udp(WORLD, 53, HOST, 40_000))
            .expect(rx(udp(WORLD, 53, WEB_1, 40_000))),
        case("a flood of datagrams to a published port leaves who talks to it alone")
            .given(publish(Udp, 5353, WEB_1, 53))
            .given(embryonic_quota(2))
            .send(udp(WORLD, 1, HOST, 5353))
            .expect(rx(udp(WORLD, 1, WEB_1, 53)))
            .send(udp(WEB_1, 53, WORLD, 1))
            .expect(tx(udp(HOST, 5353, WORLD, 1)))
            .given(later(3))
            .send(udp(WORLD, 1, HOST, 5353))
            .expect(rx(udp(WORLD, 1, WEB_1, 53)))
            .send(udp(WORLD, 2, HOST, 5353))
            .expect(rx(udp(WORLD, 2, WEB_1, 53)))
            .send(udp(WORLD, 3, HOST, 5353))
            .expect(rx(udp(WORLD, 3, WEB_1, 53)))
            .flows(2)
            .send(udp(WEB_1, 53, WORLD, 1))
            .expect(tx(udp(HOST, 5353, WORLD, 1)))
            .send(udp(WEB_1, 53, WORLD, 3))
            .expect(tx(udp(HOST, 5353, WORLD, 3))),
        case(
            "who sends twice to a published port from a source of somebody else's confirms nothing",
        )
        .given(publish(Udp, 5353, WEB_1, 53))
        .given(embryonic_quota(1))
        .send(udp(WORLD, 1, HOST, 5353))
        .expect(rx(udp(WORLD, 1, WEB_1, 53)))
        .send(udp(WEB_1, 53, WORLD, 1))
        .expect(tx(udp(HOST, 5353, WORLD, 1)))
        .send(udp(WORLD, 1, HOST, 5353))
        .expect(rx(udp(WORLD, 1, WEB_1, 53)))
        .send(udp(WORLD, 2, HOST, 5353))
        .expect(rx(udp(WORLD, 2, WEB_1, 53)))
        .flows(1),
        case("an error is no answer")
            .given(embryonic_quota(1))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .send(icmp_error(ErrorKind::PortUnreachable, WORLD, udp(HOST, 1, WORLD, 53)))
            .expect(rx(icmp_error(ErrorKind::PortUnreachable, WORLD, udp(WEB_1, 1, WORLD, 53))))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .send(udp(WEB_1, 2, WORLD, 53))
            .expect(tx(udp(HOST, 2, WORLD, 53)))
            .flows(1),
        case("a reset does not confirm")
            .given(embryonic_quota(1))
            .send(tcp(WEB_1, 1, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 1, WORLD, 443).syn()))
            .send(tcp(WORLD, 443, HOST, 1).numbers(100, 2).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 1).numbers(100, 2).syn().ack()))
            .send(tcp(WEB_1, 1, WORLD, 443).numbers(2, 0).rst())
            .expect(tx(tcp(HOST, 1, WORLD, 443).numbers(2, 0).rst()))
            .send(tcp(WEB_1, 2, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 2, WORLD, 443).syn()))
            .flows(1),
        case("who may have none gets none")
            .given(embryonic_quota(0))
            .send(udp(WEB_1, 40_000, WORLD, 53))
            .expect(refuse(EmbryonicQuota))
            .flows(0),
        case("what is over makes room where the table is full and nobody sweeps it")
            .given(capacity(2))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .send(udp(WEB_2, 2, WORLD, 53))
            .expect(tx(udp(HOST, 2, WORLD, 53)))
            .given(later(119))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .send(udp(WEB_2, 3, WORLD, 53))
            .expect(refuse(FlowTableFull))
            .given(later(2))
            .send(udp(WEB_2, 3, WORLD, 53))
            .expect(tx(udp(HOST, 3, WORLD, 53)))
            .flows(2)
            .send(udp(WORLD, 53, HOST, 1))
            .expect(rx(udp(WORLD, 53, WEB_1, 1)))
            .send(udp(WORLD, 53, HOST, 2))
            .expect(pass(PassReason::NotOurs)),
        case("what is over does not count against its owner")
            .given(capacity(2))
            .given(quota(1))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .send(udp(WEB_1, 2, WORLD, 53))
            .expect(refuse(FlowQuota))
            .given(later(121))
            .send(udp(WEB_1, 2, WORLD, 53))
            .expect(tx(udp(HOST, 2, WORLD, 53)))
            .flows(1),
        case("what a removed endpoint left makes room")
            .given(capacity(1))
            .send(udp(WEB_1, 1, WORLD, 53))
            .expect(tx(udp(HOST, 1, WORLD, 53)))
            .given(remove(WEB_1))
            .given(later(1))
            .send(udp(WEB_2, 2, WORLD, 53))
            .expect(tx(udp(HOST, 2, WORLD, 53)))
            .flows(1),
    ]
}
