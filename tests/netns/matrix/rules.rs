//! Who reaches what: the rules of the desired state, for one packet or connection.
//!
//! **Invariant**: nothing here knows how netebpf does it.

use super::desired::{At, ENDPOINTS, Endpoint, Mode, NETWORKS, Network, OWN, Place, Port};
use netebpf_tests::lab::{
    Family,
    family::{HOST, LAN, LOOPBACK, Pair},
};
use std::net::{IpAddr, SocketAddr};

/// How something is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// A socket, the kernel, and its routes.
    Socket,
    /// A frame on the sender's own wire, to the Ethernet address of its router: the gateway of its network; the host,
    /// on the LAN.
    Router,
    /// A frame to the Ethernet address of the receiver, wherever that is.
    Direct,
    /// A frame to everybody.
    Broadcast,
}

/// Where something that is sent ends, if anywhere.
pub(super) fn receiver(from: Place, to: SocketAddr, by: By) -> Option<Place> {
    let (family, port) = (Family::of(to.ip()), to.port());
    if to.ip() == LAN.of(family) {
        return has_way_out(from).then_some(Place::Lan);
    }
    if let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.address(family) == to.ip()) {
        let reached = match by {
            By::Socket => reaches_endpoint(from, endpoint, family, port),
            // An internal network has no router: its gateway passes nothing on.
            By::Router => has_way_out(from) && reaches_endpoint(from, endpoint, family, port),
            // No router takes them: they are for whoever hangs on the same bridge.
            By::Direct | By::Broadcast => are_peers(from, endpoint),
        };
        return reached.then_some(Place::Endpoint(endpoint));
    }
    if !reaches_address_of_host(from, to.ip(), port) {
        return None;
    }
    if port == OWN {
        return Some(Place::Host);
    }
    published(to)
        .filter(|(_, port)| may_use(from, port))
        .map(|(endpoint, _)| Place::Endpoint(endpoint))
}

/// By its own address.
fn reaches_endpoint(from: Place, to: &Endpoint, family: Family, port: u16) -> bool {
    match from {
        Place::Endpoint(_) => are_peers(from, to),
        Place::Host => to.network.mode(family) != Mode::Isolated,
        // Published, and with an address that is known outside.
        Place::Lan => {
            is_routed(to.network, family)
                && to.ports.iter().any(|p| p.inside == port && may_use(from, p))
        }
    }
}

fn are_peers(from: Place, to: &Endpoint) -> bool {
    matches!(from, Place::Endpoint(from) if from.network.name == to.network.name && to.network.peers)
}

/// To the LAN, to the host's uplink, and to what others publish.
fn has_way_out(from: Place) -> bool {
    !matches!(from, Place::Endpoint(endpoint) if endpoint.network.internal)
}

/// Whether what is sent to this address of the host's is looked at by the host at all. The host's own services are for
/// the endpoints of a gateway's network; what is published there is for all endpoints.
fn reaches_address_of_host(from: Place, address: IpAddr, port: u16) -> bool {
    if address.is_loopback() {
        return from == Place::Host;
    }
    match (from, gateway_of(address)) {
        (Place::Host, _) => true,
        (Place::Lan, gateway) => gateway.is_none(),
        (Place::Endpoint(from), Some(network)) if port == OWN => network.name == from.network.name,
        (Place::Endpoint(_), _) => has_way_out(from),
    }
}

fn gateway_of(address: IpAddr) -> Option<&'static Network> {
    let family = Family::of(address);
    NETWORKS.iter().find(|network| network.gateway(family) == Some(address))
}

/// What is published at an address of the host: the most specific counts. Nothing leads into an internal network, and
/// a routed one is reached by its own addresses.
fn published(at: SocketAddr) -> Option<(&'static Endpoint, &'static Port)> {
    let family = Family::of(at.ip());
    let open = |endpoint: &&Endpoint| {
        !endpoint.network.internal && endpoint.network.mode(family) == Mode::Nat
    };
    let all = ENDPOINTS.iter().filter(open);
    let all = all.flat_map(|endpoint| endpoint.ports.iter().map(move |port| (endpoint, port)));
    let matching = all.filter(|(_, port)| {
        let here = match port.at {
            At::Every => true,
            At::Loopback => at.ip() == LOOPBACK.of(family),
            At::Uplink => at.ip() == HOST.of(family),
        };
        port.host == at.port() && here
    });
    matching.min_by_key(|(_, port)| port.at == At::Every)
}

fn is_routed(network: &Network, family: Family) -> bool {
    network.mode(family) == Mode::Routed && !network.internal
}

/// By the ranges of sources that a port is for. The host always may.
fn may_use(from: Place, port: &Port) -> bool {
    let is_meant = |Pair(v4, _)| from.address(Family::V4) == IpAddr::from(v4);
    from == Place::Host || port.allow_from.is_none_or(is_meant)
}
