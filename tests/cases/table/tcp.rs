//! TCP's beginnings and ends.

use netebpf_common::{abi::Protocol::Tcp, testkit::*, verdict::DropReason::*, verdict::PassReason};

/// A connection of WEB_1's, set up.
fn established(name: &'static str) -> Case {
    case(name)
        .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
        .send(tcp(WORLD, 443, HOST, 40_000).syn().ack())
        .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn().ack()))
        .send(tcp(WEB_1, 40_000, WORLD, 443).ack())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).ack()))
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        established("a reset is translated and does not free the binding")
            .send(tcp(WORLD, 443, HOST, 40_000).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).rst()))
            .send(tcp(WORLD, 443, HOST, 40_000).ack().payload(b"still here"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).ack().payload(b"still here")))
            .flows(1),
        established("late segments after both ends are translated")
            .send(tcp(WEB_1, 40_000, WORLD, 443).fin().ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).fin().ack()))
            .send(tcp(WORLD, 443, HOST, 40_000).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).fin().ack()))
            .send(tcp(WEB_1, 40_000, WORLD, 443).ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).ack()))
            .send(tcp(WORLD, 443, HOST, 40_000).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).fin().ack())),
        established("a tuple in TIME_WAIT is used again at once, with its port")
            .send(tcp(WEB_1, 40_000, WORLD, 443).fin().ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).fin().ack()))
            .send(tcp(WORLD, 443, HOST, 40_000).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).fin().ack()))
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
            .send(tcp(WORLD, 443, HOST, 40_000).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn().ack()))
            .flows(1),
        case("both may open at once")
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
            .send(tcp(WORLD, 443, HOST, 40_000).syn())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).syn()))
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn().ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn().ack())),
        established("a connection whose state was lost is picked up in the middle")
            .given(flow_vanishes(Tcp, (WEB_1, 40_000), (WORLD, 443)))
            .send(tcp(WEB_1, 40_000, WORLD, 443).ack().payload(b"and on"))
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).ack().payload(b"and on")))
            .send(tcp(WORLD, 443, HOST, 40_000).ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).ack()))
            .flows(1),
        case("a reset opens nothing outward")
            .send(tcp(WEB_1, 40_000, WORLD, 443).rst())
            .expect(refuse(NoFlow))
            .flows(0),
        case("a reset of nobody's connection never leaves with a private source")
            .send_at(to_outside(), tcp(WEB_1, 40_000, WORLD, 443).rst())
            .expect(refuse(PrivateSource)),
        case("a segment of a connection to the host itself is the host's")
            .send(tcp(WORLD, 40_000, HOST, 22).syn())
            .expect(pass(PassReason::NotOurs))
            .send_at(to_outside(), tcp(HOST, 22, WORLD, 40_000).syn().ack())
            .expect(pass(PassReason::NotOurs)),
    ]
}
