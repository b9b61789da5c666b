//! Who reaches whom: computed from the desired state, and tried with packets.
//!
//! Four networks (nat, routed, internal, without peers), two endpoints on each, the host, and a neighbour on the LAN who
//! knows the routes to all of them. Each sends to every address and port that anybody might be reached by, over TCP and
//! UDP, IPv4 and IPv6: by sockets, and by frames to the Ethernet address of the router, of the receiver, and of
//! everybody. What arrives nowhere must be seen nowhere.

mod clients;
mod desired;
mod probes;
mod rules;

use desired::{ENDPOINTS, File, NETWORKS, OWN, Place, SERVED};
use netebpf_tests::lab::{
    Family, Lab,
    family::{HOST, LAN, LOOPBACK},
};
use probes::{Outcome, Probe, Protocol, Stations};
use rules::By;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;

netebpf_tests::tests![as_desired];

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// After `up`, with the daemon dead, and with the next one.
fn as_desired() {
    many_sockets();
    let lab = laboratory();
    let _servers = serve(&lab);
    let stations = Stations::open(&lab);
    let mut numbers = 0..;
    let mut different = Vec::new();
    let mut compare = |when: &str| {
        let found = differences(&stations, &mut numbers);
        println!("{when}: {} differences", found.len());
        different.extend(found.into_iter().map(|line| format!("{when}: {line}")));
    };
    compare("after up");
    lab.kill_daemon();
    compare("without a daemon");
    lab.up_text(&File.to_string()).ok();
    compare("after another up");
    assert!(different.is_empty(), "{} differences:\n{}", different.len(), different.join("\n"));
}

/// A program has 1,024 files at once unless it says that it wants more.
fn many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many files as root may have");
}

fn laboratory() -> Lab {
    let lab = Lab::bare();
    lab.outsiders_know_private_addresses();
    lab.up_text(&File.to_string()).ok();
    for (network, subnet) in NETWORKS.iter().flat_map(|n| n.subnets().map(|subnet| (n, subnet))) {
        let family = if subnet.contains(':') { Family::V6 } else { Family::V4 };
        lab.lan.ip(&format!("route add {subnet} via {}", HOST.of(family)));
        // Without a way out, nothing would be tried.
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.network.name == network.name) {
            if let Some(gateway) = network.gateway(family).filter(|_| network.internal) {
                lab.endpoint(endpoint.name).ip(&format!("route add default via {gateway}"));
            }
        }
    }
    lab
}

/// Everybody serves.
fn serve(lab: &Lab) -> Vec<netebpf_tests::lab::traffic::Echo> {
    let inside = ENDPOINTS.iter().flat_map(|endpoint| SERVED.map(|port| (endpoint, port)));
    let inside = inside.map(|(endpoint, port)| lab.endpoint(endpoint.name).echo(port));
    inside.chain([lab.host.echo(OWN), lab.lan.echo(OWN)]).collect()
}

/// Tries all, and tells what is not as it should be, a line each.
fn differences(stations: &Stations, numbers: &mut impl Iterator<Item = u16>) -> Vec<String> {
    let expected = |probe: &Probe| rules::receiver(probe.from, probe.to, probe.by);
    // A server's kernel answers no connection that is addressed to everybody.
    let must_answer = |probe: &Probe| expected(probe).is_some() && probe.by != By::Broadcast;
    let wrong = |(probe, outcome): (&Probe, &Outcome)| {
        let (place, Probe { from, to, by, protocol, .. }) = (expected(probe), probe);
        let (from, wanted) = (from.name(), place.map_or("nobody", Place::name));
        let Outcome { heard_by, answered } = outcome;
        let line = format!(
            "{from} to {to} over {protocol:?} by {by:?} must reach {wanted}: \
             arrived at {heard_by:?}, answered: {answered}"
        );
        (!is_as(place, *by, outcome)).then_some(line)
    };
    let mut lines = Vec::new();
    for (by_socket, family) in [true, false].into_iter().flat_map(|by| FAMILIES.map(|f| (by, f))) {
        let probes = probes(by_socket, family, numbers);
        let outcomes = stations.send(&probes, must_answer);
        let reached = probes.iter().filter(|probe| expected(probe).is_some()).count();
        assert!(reached > 0 && reached < probes.len(), "something must arrive, and something not");
        println!("{family}: {} probes, {reached} must arrive", probes.len());
        lines
            .extend(probes.iter().map(|probe| (probe, &outcomes[&probe.number])).filter_map(wrong));
    }
    lines
}

/// Whether what became of a probe is what must: it arrived there and nowhere else, and the answer came back.
fn is_as(expected: Option<Place>, by: By, outcome: &Outcome) -> bool {
    let Outcome { heard_by, answered } = outcome;
    // Nobody watches the host's interfaces: that it heard is told by its answer.
    let heard = expected.filter(|place| *place != Place::Host).map(Place::name);
    heard_by.iter().copied().eq(heard) && (*answered == expected.is_some() || by == By::Broadcast)
}

/// All that is tried in a family.
fn probes(by_socket: bool, family: Family, numbers: &mut impl Iterator<Item = u16>) -> Vec<Probe> {
    let mut all = Vec::new();
    for from in Place::all() {
        let both = |to| [Protocol::Tcp, Protocol::Udp].map(|protocol| (to, protocol));
        for (to, protocol) in targets(family).flat_map(both) {
            for by in ways(from, to, by_socket) {
                let number = numbers.next().expect("numbers enough");
                all.push(Probe { number, from, to, by, protocol });
            }
        }
    }
    all
}

/// Endpoints by their own addresses; all that is published, and something of the host's own, by each of the host's;
/// the neighbour on the LAN.
fn targets(family: Family) -> impl Iterator<Item = SocketAddr> {
    let endpoints = ENDPOINTS.iter().map(move |endpoint| endpoint.address(family));
    let endpoints = endpoints.flat_map(|address| SERVED.map(|port| SocketAddr::new(address, port)));
    let gateways = NETWORKS.iter().filter_map(move |network| network.gateway(family));
    let of_the_host = gateways.chain([HOST.of(family), LOOPBACK.of(family)]);
    let published = || ENDPOINTS.iter().flat_map(|endpoint| endpoint.ports).map(|port| port.host);
    let mut ports: Vec<_> = published().chain([OWN]).collect();
    ports.sort_unstable();
    ports.dedup();
    let of_the_host = of_the_host.flat_map(move |address| {
        ports.clone().into_iter().map(move |port| SocketAddr::new(address, port))
    });
    endpoints.chain(of_the_host).chain([LAN.port(family, OWN)])
}

/// The ways that mean something: nobody leaves his own namespace for his own address.
fn ways(from: Place, to: SocketAddr, by_socket: bool) -> Vec<By> {
    let own = to.ip() == from.address(Family::of(to.ip())) && from != Place::Host;
    let own_loopback = to.ip().is_loopback() && from != Place::Host;
    let is_endpoint = ENDPOINTS.iter().any(|e| e.address(Family::of(to.ip())) == to.ip());
    match (by_socket, from) {
        _ if own => vec![],
        (true, _) if own_loopback => vec![],
        (true, _) => vec![By::Socket],
        (false, Place::Host) => vec![],
        (false, _) if is_endpoint => vec![By::Router, By::Direct, By::Broadcast],
        (false, _) => vec![By::Router],
    }
}
