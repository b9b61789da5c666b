//! Flows as the user sees them, and that none outlives its endpoint.

use netebpf_tests::lab::{
    Family, Lab, both, eventually,
    family::{C1, HOST, LAN, ROUTER, SERVER},
    moment, topology,
    traffic::ask,
};
use serde_json::Value;

netebpf_tests::tests![
    listed,
    removed,
    none_for_a_new_endpoint,
    a_client_follows_a_new_endpoint,
    another_address_of_the_uplink,
    the_table_does_not_fill_without_the_daemon,
];

fn flows(lab: &Lab) -> Vec<Value> {
    lab.json("conntrack ls").as_array().expect("an array").clone()
}

/// Protocol, state, both tuples, endpoint, packets, bytes, age.
fn listed() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    let c1 = lab.endpoint("c1");
    let _echo = [lab.server.echo(7), c1.echo(80)];
    both(|family| {
        let stream = c1.connect(SERVER.port(family, 7)).expect("connected");
        let port = stream.local_addr().expect("bound").port();
        let mut all = flows(&lab);
        all.retain(|flow| {
            endpoint_of(flow, "original", "source") == C1.port(family, port).to_string()
        });
        let [flow] = all.as_slice() else { panic!("one flow was expected: {all:#?}") };
        let tuple = |direction: &str| {
            ["source", "destination"].map(|side| endpoint_of(flow, direction, side))
        };
        let server = SERVER.port(family, 7).to_string();
        assert_eq!(tuple("original"), [C1.port(family, port).to_string(), server.clone()]);
        assert_eq!(tuple("reply"), [server, HOST.port(family, port).to_string()]);
        assert_eq!(flow["protocol"], "tcp");
        assert_eq!(flow["state"].as_str().map(str::to_lowercase).as_deref(), Some("established"));
        assert_eq!(flow["endpoint"], "c1");

        let port = lab.lan.ask_udp(HOST.port(family, 8080));
        let client = LAN.port(family, port).to_string();
        let published = |flow: &Value| endpoint_of(flow, "original", "source") == client;
        let flow = flows(&lab).into_iter().find(published).expect("a published flow");
        assert_eq!(flow["protocol"], "udp");
        assert_eq!(
            endpoint_of(&flow, "original", "destination"),
            HOST.port(family, 8080).to_string()
        );
        assert_eq!(endpoint_of(&flow, "reply", "source"), C1.port(family, 80).to_string());
        assert_eq!(flow["endpoint"], "c1");
    });
}

/// `ADDRESS:PORT` of one side of a tuple.
fn endpoint_of(flow: &Value, direction: &str, side: &str) -> String {
    let tuple = &flow[direction];
    let address: std::net::IpAddr = tuple[side].as_str().expect("an address").parse().expect("one");
    let port = tuple[format!("{side}_port")].as_u64().expect("a port") as u16;
    std::net::SocketAddr::new(address, port).to_string()
}

fn removed() {
    let lab = Lab::up(&topology());
    let _echo = lab.server.echo(7);
    both(|family| {
        lab.endpoint("c1").ask_both(SERVER.port(family, 7));
    });
    assert!(!flows(&lab).is_empty());
    lab.run("conntrack rm --all").ok();
    assert_eq!(flows(&lab), Vec::<Value>::new());
    both(|family| lab.endpoint("c1").ask_both(SERVER.port(family, 7)));
}

/// An endpoint with the address of an earlier one gets nothing that was the earlier one's.
fn none_for_a_new_endpoint() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    both(|family| {
        let outside = lab.server.udp(family, 7);
        let socket = c1.udp(family, 40_000);
        socket.send_to(b"open", SERVER.port(family, 7)).expect("sent");
        let (_, binding) = outside.recv_from(&mut [0; 64]).expect("arrived");
        outside.send_to(b"answer", binding).expect("sent");
        socket.recv_from(&mut [0; 64]).expect("the answer");
        drop(socket);

        lab.run("rm -f c1").ok();
        lab.up_again(&topology(), &[]).ok();
        let socket = lab.endpoint("c1").udp(family, 40_000);
        socket.set_read_timeout(Some(moment())).expect("a time limit");
        outside.send_to(b"for the earlier one", binding).expect("sent");
        let got = socket.recv_from(&mut [0; 64]);
        assert!(got.is_err(), "a new endpoint got what was an earlier one's: {got:?}");
    });
}

/// A client that keeps its socket finds the endpoint's successor behind the same published port.
fn a_client_follows_a_new_endpoint() {
    let published = topology().ports("c1", &["8080:80/udp"]);
    let lab = Lab::up(&published);
    both(|family| {
        let client = lab.lan.udp(family, 0);
        let echo = lab.endpoint("c1").echo(80);
        ask(&client, HOST.port(family, 8080), b"first").expect("answered");
        drop(echo);
        lab.run("rm -f c1").ok();
        lab.up_again(&published, &[]).ok();
        let _echo = lab.endpoint("c1").echo(80);
        ask(&client, HOST.port(family, 8080), b"second").expect("answered by the new one");
    });
}

/// The uplink gets another address (a DHCP lease ended): what an open socket sends next leaves with the
/// new one, and no flow with the old one is left.
fn another_address_of_the_uplink() {
    let lab = Lab::up(&topology());
    let _echo = lab.server.echo(7);
    let c1 = lab.endpoint("c1");
    both(|family| {
        let new = match family {
            Family::V4 => "192.0.2.51/24",
            Family::V6 => "2001:db8:1::51/64 nodad",
        };
        let (old, length) = match family {
            Family::V4 => (HOST.0.to_string(), 24),
            Family::V6 => (HOST.1.to_string(), 64),
        };
        let socket = c1.udp(family, 40_000);
        ask(&socket, SERVER.port(family, 7), b"before").expect("answered");
        let outside = || {
            let all = flows(&lab).into_iter();
            let ours = |flow: &Value| {
                endpoint_of(flow, "original", "source") == C1.port(family, 40_000).to_string()
            };
            all.filter(ours)
                .map(|flow| endpoint_of(&flow, "reply", "destination"))
                .collect::<Vec<_>>()
        };
        assert_eq!(outside(), [HOST.port(family, 40_000).to_string()]);
        lab.host.ip(&format!("address del {old}/{length} dev up0"));
        lab.host.ip(&format!("address add {new} dev up0"));
        let version = if family == Family::V4 { "-4" } else { "-6" };
        let route = format!("{version} route replace default via {}", ROUTER.of(family));
        lab.host.ip(&route);
        eventually("the old flow to end", || outside().is_empty());
        eventually("an answer", || ask(&socket, SERVER.port(family, 7), b"after").is_ok());
        let address = new.split('/').next().expect("an address").parse().expect("one");
        assert_eq!(outside(), [std::net::SocketAddr::new(address, 40_000).to_string()]);
        // As it was.
        lab.host.ip(&format!("address del {} dev up0", new.trim_end_matches(" nodad")));
        lab.host.ip(&format!("address add {old}/{length} dev up0 nodad"));
        lab.host.ip(&route);
    });
}

/// With the daemon dead a table full of closed connections makes room for new ones, once those have rested ten seconds.
fn the_table_does_not_fill_without_the_daemon() {
    let lab = Lab::bare();
    lab.settings("flows = {capacity = 1024, quota = 1024}");
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let _echo = lab.server.echo(7);
    let server = SERVER.port(Family::V4, 7);
    lab.kill_daemon();
    // So many that some find no place.
    let open = |port| c1.connect_from(Some(port), server, moment()).is_ok();
    let full = (10_000..11_100).find(|port| !open(*port)).expect("there are 1,024 places");
    assert!(full >= 11_000, "only {} found a place", full - 10_000);
    for port in [full, 20_000] {
        eventually("a place", || open(port));
    }
}
