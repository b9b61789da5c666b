//! Looking: what becomes of a connection, a datagram, a question, in words.
//!
//! **Invariant**: nothing here panics because a packet did not come; that is what was seen.

use super::engine::Side;
use netebpf_tests::lab::{
    Family, Ns, Ran, Way,
    family::{self, Pair},
    moment, patience,
    traffic::{Echo, Port, ask, say},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How long an answer is waited for: most are there at once, and some never come.
fn a_while() -> Duration {
    2 * moment()
}

/// Whose address it is.
pub(super) fn who(address: IpAddr) -> String {
    const BRIDGE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 17, 0, 1));
    let known: [(&str, Pair); 11] = [
        ("the loopback", family::LOOPBACK),
        ("the host", family::HOST),
        ("the LAN", family::LAN),
        ("the server", family::SERVER),
        ("the gateway", family::FRONT),
        ("the gateway of back", family::BACK),
        ("c1", family::C1),
        ("c2", family::C2),
        ("d1", family::D1),
        ("i1", family::I1),
        ("i2", family::I2),
    ];
    let named = known.iter().find(|(_, pair)| pair.of(Family::of(address)) == address);
    match named {
        Some((name, _)) => (*name).to_owned(),
        None if address == BRIDGE => "the gateway of bridge".to_owned(),
        None => address.to_string(),
    }
}

/// A connection to an echo server.
pub(super) fn tcp(from: &Ns, to: SocketAddr, server: &Echo) -> String {
    server.clients();
    let answered = from.connect_from(None, to, a_while()).and_then(|mut stream| {
        stream.set_read_timeout(Some(a_while()))?;
        say(&mut stream, b"over TCP")
    });
    told(answered.is_ok(), server)
}

/// A connection from an address, see [`Port`].
pub(super) fn tcp_bound(
    from: &Ns,
    (own, port): (IpAddr, Port),
    to: SocketAddr,
    server: &Echo,
) -> String {
    server.clients();
    let answered = from
        .connect_bound(SocketAddr::new(own, 0), to, port)
        .and_then(|mut stream| say(&mut stream, b"over TCP"));
    told(answered.is_ok(), server)
}

/// A datagram to an echo server; an answer from elsewhere is none.
pub(super) fn udp(from: &Ns, to: SocketAddr, server: &Echo) -> String {
    server.clients();
    let socket = from.udp(Family::of(to.ip()), 0);
    socket.set_read_timeout(Some(a_while())).expect("a time limit");
    told(ask(&socket, to, b"over UDP").is_ok(), server)
}

/// Whether it was answered, and who the server says asked.
fn told(answered: bool, server: &Echo) -> String {
    let clients: BTreeSet<_> = server.clients().iter().map(|client| who(client.ip())).collect();
    let clients: Vec<_> = clients.into_iter().collect();
    match (answered, clients.join(" and ")) {
        (true, clients) => format!("answered, for {clients}"),
        (false, clients) if clients.is_empty() => "no way".to_owned(),
        (false, clients) => format!("no answer, though it came from {clients}"),
    }
}

/// The same in both families; in one sentence where they agree.
pub(super) fn families(mut look: impl FnMut(Family) -> String) -> String {
    let (v4, v6) = (look(Family::V4), look(Family::V6));
    if v4 == v6 { v4 } else { format!("IPv4: {v4}; IPv6: {v6}") }
}

/// By TCP and UDP; in one sentence where they agree.
pub(super) fn both_ways(from: &Ns, to: SocketAddr, server: &Echo) -> String {
    let (tcp, udp) = (tcp(from, to, server), udp(from, to, server));
    if tcp == udp { tcp } else { format!("TCP: {tcp}; UDP: {udp}") }
}

/// A name, as something inside asks for it.
pub(super) fn name(ns: &Ns, name: &str, kind: &str) -> String {
    name_by(ns, Way::Udp, name, kind)
}

/// The same, by datagram or connection.
pub(super) fn name_by(ns: &Ns, way: Way, name: &str, kind: &str) -> String {
    asked(ns, way, name, kind, patience())
}

/// The same, when it may be that nobody answers.
pub(super) fn name_or_nothing(ns: &Ns, name: &str, kind: &str) -> String {
    asked(ns, Way::Udp, name, kind, a_while())
}

fn asked(ns: &Ns, way: Way, name: &str, kind: &str, wait: Duration) -> String {
    match ns.try_resolve(way, name, kind, wait) {
        Err(_) => "nobody answers".to_owned(),
        Ok(reply) => {
            let data: BTreeSet<_> = reply.data.into_iter().collect();
            let data: Vec<_> = data.into_iter().collect();
            format!("{} {}", reply.code, data.join(" ")).trim().to_owned()
        }
    }
}

/// How a command ended, and which of these words it said.
pub(super) fn ended(ran: Ran, words: &[&str]) -> String {
    let said = format!("{}{}", ran.out, ran.err);
    let said: Vec<_> = words.iter().copied().filter(|word| said.contains(word)).collect();
    match (ran.code, said.join(", ")) {
        (code, said) if said.is_empty() => format!("{code}"),
        (code, said) => format!("{code}: {said}"),
    }
}

/// The lines of what a command prints, without what is at the sides.
pub(super) fn lines(side: &Side, words: &[&str]) -> String {
    let ran = side.words(words);
    match ran.code {
        0 => {
            let lines = ran.out.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.collect::<Vec<_>>().join(", ")
        }
        code => format!("{code}: {}", ran.err.trim()),
    }
}

/// Words separated by spaces; a template is one.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match words.last_mut() {
            Some(last) if last.matches("{{").count() > last.matches("}}").count() => {
                *last += " ";
                *last += word;
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}
