//! The uplink's address, name, MTU and routes change, and it goes and comes.

use super::*;
use netebpf_tests::lab::{
    eventually,
    family::{HOST_TOO, ROUTER_TOO},
    traffic::bulk,
};
use std::{
    io::{ErrorKind, Write as _},
    net::TcpStream,
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What goes on between c1 and others: a connection out, one to its published port, where c1 speaks first, and a
/// socket of UDP.
struct Talk {
    family: Family,
    out: TcpStream,
    inward: [TcpStream; 2],
    socket: UdpSocket,
}

/// The port of the socket: each has its own, since a socket of IPv6 takes IPv4's port, too.
fn own_port(family: Family) -> u16 {
    if family == Family::V4 { 5037 } else { 5038 }
}

impl Talk {
    /// With a client on the LAN.
    fn begin(lab: &Lab, family: Family) -> Self {
        Self::with(&lab.lan, lab, family)
    }

    /// With a client that is reached by the default route.
    fn with_one_far_away(lab: &Lab, family: Family) -> Self {
        Self::with(&lab.server, lab, family)
    }

    fn with(client: &Ns, lab: &Lab, family: Family) -> Self {
        let c1 = lab.endpoint("c1");
        let out = c1.connect(SERVER.port(family, 7)).expect("connected");
        let listener = c1.run(|| TcpListener::bind(SocketAddr::new(family.any(), 80)));
        let there = client.connect(HOST.port(family, 8080)).expect("connected");
        let (here, _) = listener.expect("a free port").accept().expect("it comes");
        here.set_read_timeout(Some(patience())).expect("a time limit");
        let (inward, socket) = ([here, there], c1.udp(family, own_port(family)));
        let mut talk = Self { family, out, inward, socket };
        talk.goes_on();
        talk
    }

    #[track_caller]
    fn goes_on(&mut self) {
        say(&mut self.out, b"out").expect("answered");
        self.inward_goes_on();
        self.socket_goes_on();
    }

    #[track_caller]
    fn inward_goes_on(&self) {
        let [here, there] = &self.inward;
        for (mut from, mut to) in [(here, there), (there, here)] {
            from.write_all(b"inward").expect("sent");
            to.read_exact(&mut [0; 6]).expect("it arrives");
        }
    }

    /// A datagram may be lost while something changes; the socket may not.
    #[track_caller]
    fn socket_goes_on(&self) {
        self.socket.set_read_timeout(Some(moment())).expect("a time limit");
        eventually("an answer", || ask(&self.socket, SERVER.port(self.family, 7), b"UDP").is_ok());
    }
}

/// Waits until netebpf has followed what changed and serves these uplinks; Linux is what changes.
fn serves(lab: &Lab, names: &[&str]) {
    let served = || -> Vec<String> {
        let status = lab.json("status");
        let hooks = status["hooks"].as_array().expect("an array").iter();
        let of_uplinks = hooks.filter(|hook| hook["program"] == "uplink_egress");
        of_uplinks.map(|hook| hook["interface"].as_str().expect("a name").to_owned()).collect()
    };
    if !lab.is_reference() {
        eventually(&format!("{names:?} to be served"), || served() == names);
    }
}

pub(in crate::nat) fn another_address(lab: &Lab) {
    let (c1, echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let new = Pair([192, 0, 2, 51].into(), "2001:db8:1::51".parse().expect("an address"));
    both(|family| {
        let length = if family == Family::V4 { 24 } else { 64 };
        let moves = |from: Pair, to: Pair| {
            lab.host.ip(&format!("address del {}/{length} dev up0", from.of(family)));
            lab.host.ip(&format!("address add {}/{length} dev up0 nodad", to.of(family)));
            lab.default_route(ROUTER.of(family));
        };
        let mut talk = Talk::begin(lab, family);
        let _published = c1.echo(80);
        drop(echo.clients());
        moves(HOST, new);
        // Until netebpf has noticed an answer may still go to the old address.
        talk.socket.set_read_timeout(Some(moment())).expect("a time limit");
        eventually("an answer to the new address", || {
            let answered = ask(&talk.socket, SERVER.port(family, 7), b"after").is_ok();
            answered && echo.clients().last() == Some(&new.port(family, own_port(family)))
        });
        eventually("the published port to be at the new address", || {
            lab.lan.connect_from(None, new.port(family, 8080), moment()).is_ok()
        });
        lab.lan.ask_both(new.port(family, 8080));
        // The server knows nothing of a connection with the new address.
        let ended = say(&mut talk.out, b"after").expect_err("the old connection is over");
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        lab.settle();
        lab.at_router().clear();
        c1.ask_both(SERVER.port(family, 7));
        lab.settle();
        let old = |pair: &(_, _)| pair.0 == HOST.of(family);
        assert!(!lab.at_router().saw(|seen| seen.is_ip() && seen.addresses.iter().any(old)));
        moves(new, HOST);
    });
}

pub(in crate::nat) fn a_flap(lab: &Lab) {
    let (c1, _echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let mut talks = FAMILIES.map(|family| Talk::with_one_far_away(lab, family));
    let _published = c1.echo(80);
    let all_goes_on = |talks: &mut [Talk]| {
        talks.iter_mut().for_each(Talk::goes_on);
        both(|family| {
            c1.ask_both(SERVER.port(family, 7));
            lab.lan.ask_both(HOST.port(family, 8080));
        });
    };
    let cable = |state: &str| {
        lab.segment.ip(&format!("link set to-host {state}"));
        let pulled = || {
            let flags = &lab.host.ip_json("link show dev up0")[0]["flags"];
            flags.as_array().expect("flags").iter().any(|flag| flag == "NO-CARRIER")
        };
        eventually("the uplink to see it", || pulled() == (state == "down"));
    };
    // Another uplink comes: who serves that has followed what became of the first.
    let is_followed = |talks: &mut [Talk]| {
        lab.second_uplink();
        serves(lab, &["up0", "up1"]);
        lab.uplink_comes_up("up0");
        all_goes_on(talks);
        lab.host.ip("link delete up1");
        serves(lab, &["up0"]);
    };
    println!("— the cable —");
    cable("down");
    cable("up");
    all_goes_on(&mut talks);
    println!("— the interface —");
    lab.host.ip("link set up0 down");
    is_followed(&mut talks);
    println!("— the interface, for a moment —");
    lab.host.sysctl("net/ipv6/conf/up0/keep_addr_on_down", "1");
    lab.host.ip("link set up0 down");
    lab.host.ip("link set up0 up");
    // When somebody looks it is up, without its routes.
    is_followed(&mut talks);
    lab.host.sysctl("net/ipv6/conf/up0/keep_addr_on_down", "0");
}

pub(in crate::nat) fn another_name(lab: &Lab) {
    let (c1, _echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let mut talks = FAMILIES.map(|family| Talk::with_one_far_away(lab, family));
    let _published = c1.echo(80);
    for (from, to) in [("up0", "wan0"), ("wan0", "up0")] {
        lab.host.ip(&format!("link set {from} down"));
        lab.host.ip(&format!("link set {from} name {to}"));
        lab.uplink_comes_up(to);
        serves(lab, &[to]);
        talks.iter_mut().for_each(Talk::goes_on);
        both(|family| {
            c1.ask_both(SERVER.port(family, 7));
            lab.lan.ask_both(HOST.port(family, 8080));
        });
    }
}

pub(in crate::nat) fn another_mtu(lab: &Lab) {
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let everybody = [(&lab.host, "up0"), (&lab.router, "lan0"), (&lab.lan, "eth0")];
    let mtu = |mtu: u32| {
        everybody.iter().for_each(|(ns, name)| drop(ns.ip(&format!("link set {name} mtu {mtu}"))));
    };
    let _echo = lab.server.echo(7);
    let probe =
        |ns: &Ns, family| ns.datagram(SERVER.port(family, 7)).whole(1420).within(moment()).send();
    both(|family| assert_eq!(probe(&c1, family), Answer::Reply));
    mtu(1400);
    both(|family| {
        // The gateway says so, or c1's own kernel, which was told.
        let told = |answer| matches!(answer, Answer::Error(error) if error.info == 1400);
        eventually("too big", || told(probe(&c1, family)));
        bulk(&c1, &lab.server, 5001, SERVER.port(family, 5001), 2 << 20);
        bulk(&lab.lan, &c1, 80, HOST.port(family, 8080), 2 << 20);
    });
    mtu(1500);
    both(|family| {
        // Not c1, which remembers the path for ten minutes.
        eventually("room again", || probe(&c2, family) == Answer::Reply);
    });
}

pub(in crate::nat) fn another_default_route(lab: &Lab) {
    let (c1, echo) = (lab.endpoint("c1"), lab.server.echo(7));
    let mut talks = FAMILIES.map(|family| Talk::begin(lab, family));
    let _published = c1.echo(80);
    lab.second_uplink();
    let at_router = lab.sniff(&lab.router, "lan1");
    both(|family| {
        let version = if family == Family::V4 { "-4" } else { "-6" };
        let gateway = ROUTER_TOO.of(family);
        lab.host.ip(&format!("{version} route add default via {gateway} metric 2000"));
    });
    serves(lab, &["up0", "up1"]);
    for talk in &mut talks {
        println!("— {} —", talk.family);
        let (family, server) = (talk.family, SERVER.port(talk.family, 7));
        // It is worse than the first: nothing changes, but that a published port answers there, too.
        talk.goes_on();
        lab.router.ask_both(HOST_TOO.port(family, 8080));
        drop(echo.clients());
        c1.ask_tcp(server);
        assert_eq!(echo.client().ip(), HOST.of(family));

        let version = if family == Family::V4 { "-4" } else { "-6" };
        lab.host.ip(&format!("{version} route del default via {}", ROUTER.of(family)));
        talk.socket.set_read_timeout(Some(moment())).expect("a time limit");
        eventually("an answer by the second", || {
            let answered = ask(&talk.socket, server, b"by the second").is_ok();
            answered && echo.clients().last() == Some(&HOST_TOO.port(family, own_port(family)))
        });
        c1.ask_tcp(server);
        assert_eq!(echo.client().ip(), HOST_TOO.of(family));
        // Who is on the first one's own segment is not concerned.
        talk.inward_goes_on();
        lab.lan.ask_both(HOST.port(family, 8080));

        lab.default_route(ROUTER.of(family));
        talk.socket_goes_on();
        drop(echo.clients());
        c1.ask_tcp(server);
        assert_eq!(echo.client().ip(), HOST.of(family));
    }
    assert_eq!(at_router.private(), []);
    lab.host.ip("link delete up1");
}

pub(in crate::nat) fn a_loss(lab: &Lab) {
    let (c1, echo) = (lab.endpoint("c1"), lab.server.echo(7));
    lab.second_uplink();
    let at_router = lab.sniff(&lab.router, "lan1");
    FAMILIES.iter().for_each(|family| lab.default_route(ROUTER_TOO.of(*family)));
    serves(lab, &["up0", "up1"]);
    let mut talks = FAMILIES.map(|family| Talk::begin(lab, family));
    let _published = c1.echo(80);
    let clients = echo.clients();
    assert!(clients.iter().all(|who| FAMILIES.map(|f| HOST_TOO.of(f)).contains(&who.ip())));
    lab.host.ip("link delete up1");
    FAMILIES.iter().for_each(|family| lab.default_route(ROUTER.of(*family)));
    for talk in &mut talks {
        println!("— {} —", talk.family);
        let server = SERVER.port(talk.family, 7);
        talk.socket.set_read_timeout(Some(moment())).expect("a time limit");
        eventually("an answer by the first", || {
            let answered = ask(&talk.socket, server, b"by the first").is_ok();
            answered
                && echo.clients().last() == Some(&HOST.port(talk.family, own_port(talk.family)))
        });
        talk.inward_goes_on();
        c1.ask_both(server);
    }
    serves(lab, &["up0"]);
    assert_eq!(at_router.private(), []);
}

/// The endpoint behind a published port is made again.
fn restart(lab: &Lab) {
    if lab.is_reference() {
        // With its namespace it would go a while later.
        lab.host.ip("link delete to-c1");
        netebpf_tests::lab::delete_namespace(lab.endpoint("c1").name());
        lab.reference_endpoint("c1");
    } else {
        lab.run("rm -f c1").ok();
        lab.up_again(&crate::nat::published(), &[]).ok();
    }
}

pub(in crate::nat) fn a_restarted_endpoint(lab: &Lab) {
    both(|family| {
        let (client, published) = (lab.lan.udp(family, 5036), HOST.port(family, 8080));
        let echo = lab.endpoint("c1").echo(80);
        ask(&client, published, b"first").expect("answered");
        drop(echo);
        restart(lab);
        let _echo = lab.endpoint("c1").echo(80);
        client.set_read_timeout(Some(moment())).expect("a time limit");
        eventually("the new one's answer", || ask(&client, published, b"second").is_ok());
    });
}
