//! From endpoints to published ports, by any address of the host.

use netebpf_tests::lab::{
    Lab, both,
    family::{BACK, FRONT, HOST, INNER},
    topology,
};
use std::{io::ErrorKind, net::SocketAddr};

netebpf_tests::tests![endpoints_by_any_address, a_server_on_two_networks];

/// An endpoint reaches a published port by its gateway, others' gateways and the uplink, and by all of them itself. The
/// server sees its own gateway, whichever it was.
fn endpoints_by_any_address() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    let echo = lab.endpoint("c1").echo(80);
    let own = lab.host.echo(22);
    for name in ["c1", "c2", "d1"] {
        let ns = lab.endpoint(name);
        both(|family| {
            for (address, seen) in [(HOST, HOST), (FRONT, FRONT), (BACK, FRONT)] {
                println!("{name} by {}", address.of(family));
                ns.ask_both(address.port(family, 8080));
                let clients = echo.clients();
                let by_it = |client: &SocketAddr| client.ip() == seen.of(family);
                assert!(clients.len() == 2 && clients.iter().all(by_it), "{clients:?}");
            }
        });
    }
    both(|family| {
        // Its gateway is the host's as before.
        lab.endpoint("c2").ask_both(FRONT.port(family, 22));
        lab.endpoint("i1").ask_both(INNER.port(family, 22));
        assert_eq!(own.clients().len(), 4);
        assert_eq!(
            lab.endpoint("c2").refused(FRONT.port(family, 8081)),
            ErrorKind::ConnectionRefused
        );
        lab.endpoint("i1").refused(HOST.port(family, 8080));
        lab.endpoint("i1").refused(INNER.port(family, 8080));
    });
    // From outside a gateway answers for nobody.
    lab.outsiders_know_private_addresses();
    lab.lan.ip(&format!("route add 10.10.0.0/24 via {}", HOST.0));
    lab.lan.ip(&format!("route add fd10::/64 via {}", HOST.1));
    both(|family| {
        lab.lan.refused(FRONT.port(family, 8080));
    });
    assert!(echo.clients().is_empty());
}

/// A server that has a way of its own to each gateway sees that of the network which its port is published from, also
/// where a client used the other.
fn a_server_on_two_networks() {
    let lab = Lab::bare();
    let text = format!(
        "{}  both:
    networks:
      front: {{ipv4_address: 10.10.0.50, ipv6_address: \"fd10::50\"}}
      back: {{ipv4_address: 10.20.0.50, ipv6_address: \"fd20::50\"}}
    ports: [\"8080:80\", \"8080:80/udp\"]
",
        topology()
    );
    lab.up_text(&text).ok();
    let both_networks = lab.endpoint("both");
    both_networks.unlimited_errors();
    let echo = both_networks.echo(80);
    for name in ["c1", "d1", "both"] {
        let ns = lab.endpoint(name);
        both(|family| {
            for (address, seen) in [(FRONT, BACK), (BACK, BACK), (HOST, HOST)] {
                println!("{name} by {}", address.of(family));
                ns.ask_both(address.port(family, 8080));
                let clients = echo.clients();
                let by_it = |client: &SocketAddr| client.ip() == seen.of(family);
                assert!(clients.len() == 2 && clients.iter().all(by_it), "{clients:?}");
            }
        });
    }
}
