//! What the other arms forward by.

use super::super::{
    BenchError,
    host::{APP, Family, Namespace, WEB},
    rules::{self, Backend},
};

/// A bridge as Docker and podman make one, and two endpoints on it.
pub(in crate::bench) fn bridge(host: &Namespace) -> Result<Vec<Namespace>, BenchError> {
    host.ip([
        "link add br-front type bridge",
        "address add 172.18.0.1/16 dev br-front",
        "address add fd18::1/64 dev br-front nodad",
        "link set br-front up",
    ])?;
    for sysctl in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        host.set(sysctl)?;
    }
    let mut endpoints = Vec::new();
    for (name, place) in [("web", WEB), ("app", APP)] {
        let endpoint = Namespace::new(&format!("{}-{name}", host.name), &host.left)?;
        host.ip([
            &format!("link add {name} type veth peer name eth0 netns {}", endpoint.name),
            &format!("link set {name} master br-front up"),
        ])?;
        endpoint.ip([
            &format!("address add {}/16 dev eth0", place.of(Family::V4)),
            &format!("address add {}/64 dev eth0 nodad", place.of(Family::V6)),
            "link set eth0 up",
            "route add default via 172.18.0.1",
            "route add default via fd18::1",
        ])?;
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

/// What an engine has on its host beside rules, and what would cost only here.
pub(super) fn as_with_its_engine(backend: Backend, host: &Namespace) -> Result<(), BenchError> {
    if matches!(backend, Backend::Netavark | Backend::NetavarkFlowtable)
        && rules::has_bridge_netfilter(&host.name)
    {
        // Docker loads it and podman does not; where it is loaded every namespace has it.
        for sysctl in ["bridge-nf-call-iptables=0", "bridge-nf-call-ip6tables=0"] {
            host.set(&format!("net.bridge.{sysctl}"))?;
        }
    }
    // A datagram of an endpoint or of a network card needs no look at its checksum; one that comes out of nothing would.
    host.set("net.netfilter.nf_conntrack_checksum=0")
}
