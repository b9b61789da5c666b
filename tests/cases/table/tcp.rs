//! TCP's beginnings and ends.

use netebpf_common::{
    abi::Protocol::Tcp, datapath::TcpPhase, testkit::*, verdict::DropReason::*, verdict::PassReason,
};

/// A connection of WEB_1's, set up.
fn established(name: &'static str) -> Case {
    case(name)
        .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn()))
        .send(tcp(WORLD, 443, HOST, 40_000).numbers(100, 2).syn().ack())
        .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(100, 2).syn().ack()))
        .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(2, 101).ack())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(2, 101).ack()))
}

/// The same, and reset by WEB_1.
fn over(name: &'static str) -> Case {
    established(name)
        .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(2, 101).rst())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(2, 101).rst()))
        .phase(TcpPhase::Closed)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        established("a reset is translated and does not free the binding")
            .send(tcp(WORLD, 443, HOST, 40_000).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).rst()))
            .send(tcp(WORLD, 443, HOST, 40_000).ack().payload(b"still here"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).ack().payload(b"still here")))
            .flows(1),
        established("a reset that the endpoint expects ends the connection")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(101, 2).ack().payload(b"hello"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(101, 2).ack().payload(b"hello")))
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(2, 106).ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(2, 106).ack()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(106, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(106, 0).rst()))
            .phase(TcpPhase::Closed),
        established("a reset at what the endpoint has acknowledged ends the connection")
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(2, 777).ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(2, 777).ack()))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(777, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(777, 0).rst()))
            .phase(TcpPhase::Closed),
        established("a reset with any other number is forwarded and ends nothing")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(100, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(100, 0).rst()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(102, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(102, 0).rst()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0, 2).rst().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0, 2).rst().ack()))
            .phase(TcpPhase::Established),
        established("who sends a forged segment first does not choose the number")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(5_000_000, 0).ack().payload(b"forged"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000)
                .numbers(5_000_000, 0)
                .ack()
                .payload(b"forged")))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(5_000_006, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(5_000_006, 0).rst()))
            .phase(TcpPhase::Established),
        established(
            "an endpoint's own reset ends the connection, and its next segment takes that back",
        )
        .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(9, 0).rst())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(9, 0).rst()))
        .phase(TcpPhase::Closed)
        .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(2, 101).ack())
        .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(2, 101).ack()))
        .phase(TcpPhase::Established),
        established("an end with any other number is forwarded and ends nothing")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(50_000_000, 2).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(50_000_000, 2).fin().ack()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(101, 2).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(101, 2).fin().ack()))
            .phase(TcpPhase::Closing),
        case("a SYN that comes twice, with a large number")
            .given(publish(Tcp, 8080, WEB_1, 80))
            .send(tcp(WORLD, 4000, HOST, 8080).numbers(0x9000_0000, 0).syn())
            .expect(rx(tcp(WORLD, 4000, WEB_1, 80).numbers(0x9000_0000, 0).syn()))
            .send(tcp(WORLD, 4000, HOST, 8080).numbers(0x9000_0000, 0).syn())
            .expect(rx(tcp(WORLD, 4000, WEB_1, 80).numbers(0x9000_0000, 0).syn()))
            .send(tcp(WEB_1, 80, WORLD, 4000).numbers(7, 0x9000_0001).syn().ack())
            .expect(tx(tcp(HOST, 8080, WORLD, 4000).numbers(7, 0x9000_0001).syn().ack()))
            .send(tcp(WORLD, 4000, HOST, 8080).numbers(0x9000_0001, 8).ack().payload(b"hello"))
            .expect(rx(tcp(WORLD, 4000, WEB_1, 80).numbers(0x9000_0001, 8).ack().payload(b"hello")))
            .send(tcp(WEB_1, 80, WORLD, 4000).numbers(8, 0x9000_0006).ack())
            .expect(tx(tcp(HOST, 8080, WORLD, 4000).numbers(8, 0x9000_0006).ack()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 4000, HOST, 8080).numbers(0x9000_0006, 8).rst())
            .expect(rx(tcp(WORLD, 4000, WEB_1, 80).numbers(0x9000_0006, 8).rst()))
            .phase(TcpPhase::Closed),
        case("a tuple that was refused and then accepted")
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(7, 0).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(7, 0).syn()))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0, 8).rst().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0, 8).rst().ack()))
            .phase(TcpPhase::Closed)
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(90, 0).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(90, 0).syn()))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0x9000_0000, 91).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0x9000_0000, 91).syn().ack()))
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(91, 0x9000_0001).ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(91, 0x9000_0001).ack()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0x9000_0001, 91).ack().payload(b"hi"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000)
                .numbers(0x9000_0001, 91)
                .ack()
                .payload(b"hi")))
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(91, 0x9000_0003).ack())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(91, 0x9000_0003).ack()))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0x9000_0003, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0x9000_0003, 0).rst()))
            .phase(TcpPhase::Closed),
        established("a segment that answers what was never sent does not choose the number")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(101, 0x5000_0000).ack().payload(b"forged"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000)
                .numbers(101, 0x5000_0000)
                .ack()
                .payload(b"forged")))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(107, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(107, 0).rst()))
            .phase(TcpPhase::Established),
        established("a reset that overtakes the acknowledgement ends nothing, and what comes next is believed again")
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(101, 2).ack().payload(b"hello"))
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(101, 2).ack().payload(b"hello")))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(106, 0).rst())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(106, 0).rst()))
            .phase(TcpPhase::Established)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(106, 2).fin().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(106, 2).fin().ack()))
            .phase(TcpPhase::Closing),
        case("a reset that answers a SYN ends what was begun")
            .send(tcp(WEB_1, 40_000, WORLD, 443).numbers(7, 0).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).numbers(7, 0).syn()))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0, 9).rst().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0, 9).rst().ack()))
            .phase(TcpPhase::SynSent)
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0, 8).rst().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(0, 8).rst().ack()))
            .phase(TcpPhase::Closed),
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
        over("what answers the host's own SYN is the host's, where an endpoint's connection with that tuple is over")
            .given(connects(40_000, 443))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(500, 1).syn().ack())
            .expect(pass(PassReason::NotOurs))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(501, 1).ack().payload(b"to the host"))
            .expect(pass(PassReason::NotOurs))
            .flows(0),
        over("a refusal of the host's own SYN is the host's as well")
            .given(connects(40_000, 443))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(0, 1).rst().ack())
            .expect(pass(PassReason::NotOurs))
            .flows(0),
        over("what is late for a connection that is over is its endpoint's")
            .given(connects(40_000, 443))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(101, 2).ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(101, 2).ack()))
            .flows(1),
        over("who only listens waits for no answer")
            .given(socket(Tcp, 40_000))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(500, 1).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(500, 1).syn().ack()))
            .flows(1),
        established("a connection that goes on is its endpoint's, whoever connects with its tuple")
            .given(connects(40_000, 443))
            .send(tcp(WORLD, 443, HOST, 40_000).numbers(500, 1).syn().ack())
            .expect(rx(tcp(WORLD, 443, WEB_1, 40_000).numbers(500, 1).syn().ack()))
            .flows(1),
    ]
}
