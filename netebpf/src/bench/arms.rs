//! What is compared: netebpf, a Linux bridge with the rules that Docker or podman make, and a bare veth, which is the
//! limit of all.
//!
//! **Invariant**: arms differ in the host only. Each has the same wire, the same two endpoints, the same neighbour and
//! the same server and client programs. A bare veth has no endpoints: each of its ways is the wire.

use super::{
    BenchError,
    host::{self, APP, Family, HOST, NEIGHBOUR, Namespace, OUTSIDE, PUBLISHED, Place, SERVED, WEB},
    load,
    process::{self, Server},
    report::Absent,
    rules::{self, Backend, Published},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Command,
};

/// The ways of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Within one network.
    EndpointToEndpoint,
    /// From an endpoint to somebody outside, with the host's address.
    Masquerade,
    /// From outside, by a port of the host.
    PublishedPort,
}

impl Way {
    /// Each.
    pub const ALL: [Self; 3] = [Self::EndpointToEndpoint, Self::Masquerade, Self::PublishedPort];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EndpointToEndpoint => "endpoint to endpoint",
            Self::Masquerade => "masquerade",
            Self::PublishedPort => "published port",
        })
    }
}

/// Who forwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This program.
    Netebpf,
    /// Nobody: a veth, and nothing between its ends.
    BareVeth,
    /// A Linux bridge and Docker's rules, in the tables that only iptables knows.
    IptablesLegacy,
    /// The same rules, in the tables of nftables.
    IptablesNft,
    /// A Linux bridge and the rules of netavark (podman), in nftables.
    Netavark,
    /// The same, and a flowtable that takes known connections past them.
    NetavarkFlowtable,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Netebpf => "netebpf",
            Self::BareVeth => "bare veth",
            Self::IptablesLegacy => "iptables (legacy)",
            Self::IptablesNft => "iptables (nft)",
            Self::Netavark => "netavark (nft)",
            Self::NetavarkFlowtable => "flowtable (nft)",
        })
    }
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Netebpf,
        Self::BareVeth,
        Self::IptablesLegacy,
        Self::IptablesNft,
        Self::Netavark,
        Self::NetavarkFlowtable,
    ];

    fn backend(self) -> Option<Backend> {
        match self {
            Self::Netebpf | Self::BareVeth => None,
            Self::IptablesLegacy => Some(Backend::IptablesLegacy),
            Self::IptablesNft => Some(Backend::IptablesNft),
            Self::Netavark => Some(Backend::Netavark),
            Self::NetavarkFlowtable => Some(Backend::NetavarkFlowtable),
        }
    }

    /// Those that this kernel has, and why it has not the others.
    pub(super) fn here() -> Result<(Vec<Self>, Vec<Absent>), BenchError> {
        let scratch = Namespace::new("netebpf-bench-probe")?;
        let (mut here, mut absent) = (Vec::new(), Vec::new());
        for kind in Self::ALL {
            let lacks = kind.backend().map(|backend| rules::lacks(backend, &scratch.name));
            match lacks.transpose()?.flatten() {
                None => here.push(kind),
                Some(why) => absent.push(Absent { arm: kind, why }),
            }
        }
        Ok((here, absent))
    }

    /// What its namespaces are called.
    fn host(self) -> &'static str {
        match self {
            Self::Netebpf => "netebpf-bench",
            Self::BareVeth => "netebpf-bench-bare",
            Self::IptablesLegacy => "netebpf-bench-legacy",
            Self::IptablesNft => "netebpf-bench-nft",
            Self::Netavark => "netebpf-bench-netavark",
            Self::NetavarkFlowtable => "netebpf-bench-flowtable",
        }
    }
}

/// The instance of the arm that runs netebpf; also the first part of its namespaces' names.
const INSTANCE: &str = "netebpf-bench";

/// A host with endpoints `web` and `app`, a neighbour, and the servers in `web` and at the neighbour. Fields go in this
/// order: nothing is served where no namespace is.
pub(super) struct Arm {
    pub(super) kind: Kind,
    #[expect(dead_code, reason = "held until the arm goes")]
    servers: Vec<Server>,
    #[expect(dead_code, reason = "held until the arm goes")]
    instance: Option<Instance>,
    /// The endpoints that are ours to remove.
    #[expect(dead_code, reason = "held until the arm goes")]
    endpoints: Vec<Namespace>,
    host: Namespace,
    neighbour: Namespace,
}

impl Arm {
    pub(super) fn make(kind: Kind) -> Result<Self, BenchError> {
        if kind == Kind::Netebpf {
            Instance::clear()?;
        }
        let [host, neighbour] = host::pair(kind.host())?;
        let mut servers = vec![serve(&neighbour.name)?];
        let (mut instance, mut endpoints) = (None, Vec::new());
        match kind.backend() {
            _ if kind == Kind::BareVeth => {}
            None => instance = Some(Instance::up()?),
            Some(backend) => {
                endpoints = bridge(&host)?;
                rules::load(
                    backend,
                    &host.name,
                    &[Published { host: PUBLISHED, endpoint: SERVED }],
                )?;
            }
        }
        if kind != Kind::BareVeth {
            servers.push(serve(&endpoint(kind, "web"))?);
        }
        Ok(Self { kind, servers, instance, endpoints, host, neighbour })
    }

    /// Each way leads where it should, translated as it should be.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        for (way, family) in Way::ALL.into_iter().flat_map(|way| Family::BOTH.map(|f| (way, f))) {
            let broken = |what: String| BenchError::Broken {
                arm: self.kind,
                way: format!("{way}, {family}"),
                what,
            };
            let (from, to) = self.client(way, family);
            let seen = load::who(&from, to).map_err(|error| broken(error.to_string()))?;
            let expected = self.seen(way).of(family);
            if seen != expected {
                return Err(broken(format!("the server sees {seen}, and should see {expected}")));
            }
        }
        let hits = self.kind.backend().map(|backend| rules::hits(backend, &self.host.name));
        match hits.transpose()?.flatten() {
            // A masquerade and a published port, in both families.
            Some(hits @ ..4) => Err(BenchError::Broken {
                arm: self.kind,
                way: "masquerade, published port".to_owned(),
                what: format!("its rules translated {hits} of four connections"),
            }),
            _ => Ok(()),
        }
    }

    /// The namespace of the client on this way, and the server that it asks.
    pub(super) fn client(&self, way: Way, family: Family) -> (String, SocketAddr) {
        let at = |place: Place, port: u16| SocketAddr::new(place.of(family), port);
        let app = || endpoint(self.kind, "app");
        match way {
            _ if self.kind == Kind::BareVeth => (self.host.name.clone(), at(OUTSIDE, SERVED)),
            Way::EndpointToEndpoint => (app(), at(WEB, SERVED)),
            Way::Masquerade => (app(), at(OUTSIDE, SERVED)),
            Way::PublishedPort => (self.neighbour.name.clone(), at(HOST, PUBLISHED)),
        }
    }

    /// As whom the server sees the client.
    fn seen(&self, way: Way) -> Place {
        match way {
            _ if self.kind == Kind::BareVeth => HOST,
            Way::EndpointToEndpoint => APP,
            Way::Masquerade => HOST,
            Way::PublishedPort => NEIGHBOUR,
        }
    }

    /// Whether packets that stay on a bridge meet the rules, too, as with Docker; none where there is no bridge with
    /// rules.
    pub(super) fn bridge_netfilter(&self) -> Option<bool> {
        self.kind.backend().map(|_| rules::has_bridge_netfilter(&self.host.name))
    }
}

/// An endpoint's namespace.
fn endpoint(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Netebpf => format!("{INSTANCE}.{name}"),
        other => format!("{}-{name}", other.host()),
    }
}

fn serve(namespace: &str) -> Result<Server, BenchError> {
    let any = SocketAddr::new(IpAddr::from([0u16; 8]), SERVED);
    let mut server = process::inside(namespace, process::netebpf()?);
    server.args(["bench", "load", "server", &any.to_string()]);
    Server::start(&mut server, load::READY)
}

/// A bridge as Docker and podman make one, and two endpoints on it.
pub(super) fn bridge(host: &Namespace) -> Result<Vec<Namespace>, BenchError> {
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
        let endpoint = Namespace::new(&format!("{}-{name}", host.name))?;
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

/// netebpf on its host.
struct Instance;

impl Instance {
    fn up() -> Result<Self, BenchError> {
        let instance = Self;
        let topology = tempfile::Builder::new().suffix(".yaml").tempfile();
        let topology = topology.map_err(BenchError::io("the topology file"))?;
        fs::write(topology.path(), topology_text()).map_err(BenchError::io("the topology file"))?;
        process::output(Self::command()?.args(["up", "--file"]).arg(topology.path()))?;
        for name in ["web", "app"] {
            host::use_reno(&endpoint(Kind::Netebpf, name))?;
        }
        Ok(instance)
    }

    fn command() -> Result<Command, BenchError> {
        let mut command = process::inside(Kind::Netebpf.host(), process::netebpf()?);
        command.args(["--instance", INSTANCE]);
        Ok(command)
    }

    /// Takes away what an earlier run left.
    fn clear() -> Result<(), BenchError> {
        match Path::new("/run/netns").join(Kind::Netebpf.host()).exists() {
            true => process::output(Self::command()?.args(["down", "--all"])).map(drop),
            false => Ok(()),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = Self::clear() {
            eprintln!("netebpf: {error}");
        }
    }
}

fn topology_text() -> String {
    let v4 = |place: Place| place.of(Family::V4);
    let v6 = |place: Place| place.of(Family::V6);
    format!(
        "name: bench
networks:
  front:
    enable_ipv6: true
    ipam: {{config: [{{subnet: 172.18.0.0/16, gateway: 172.18.0.1}}, {{subnet: \"fd18::/64\", gateway: \"fd18::1\"}}]}}
services:
  web:
    networks: {{front: {{ipv4_address: {}, ipv6_address: \"{}\"}}}}
    ports: [\"{PUBLISHED}:{SERVED}\"]
  app:
    networks: {{front: {{ipv4_address: {}, ipv6_address: \"{}\"}}}}
",
        v4(WEB),
        v6(WEB),
        v4(APP),
        v6(APP)
    )
}
