//! What is compared: netebpf, a Linux bridge with the rules that Docker or podman make, and a bare veth, which is the
//! limit of all.
//!
//! **Invariant**: arms differ in the host only. Each has the same wire, the same two endpoints, the same neighbour and
//! the same server and client programs. A bare veth has no endpoints: each of its ways is the wire.

use super::{
    BenchError,
    host::{
        self, APP, Family, HOST, NEIGHBOUR, Namespace, OUTSIDE, PUBLISHED, Place, SERVED, STREAMS,
        WEB,
    },
    load::{self, streams},
    process::{self, Server},
    report::{Absent, Offloads},
    rules::{self, Backend, Published},
    sweep::PREFIX,
};
use crate::model::Transport;
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
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
        let scratch = Namespace::new(&format!("{PREFIX}-probe"))?;
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
}

/// Who forwards, with how many published ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Site {
    pub(super) kind: Kind,
    pub(super) ports: u16,
}

impl Site {
    /// What its host's namespace is called, and the instance of netebpf there.
    fn name(self) -> String {
        let part = match self.kind {
            Kind::Netebpf => "",
            Kind::BareVeth => "-bare",
            Kind::IptablesLegacy => "-legacy",
            Kind::IptablesNft => "-nft",
            Kind::Netavark => "-netavark",
            Kind::NetavarkFlowtable => "-flowtable",
        };
        match self.ports {
            1 => format!("{PREFIX}{part}"),
            ports => format!("{PREFIX}{part}-{ports}"),
        }
    }

    /// An endpoint's namespace.
    pub(super) fn endpoint(self, name: &str) -> String {
        match self.kind {
            Kind::Netebpf => format!("{}.{name}", self.name()),
            _ => format!("{}-{name}", self.name()),
        }
    }

    /// Whether what has so many published ports is measured here. A bare veth has none, and is the limit of all.
    pub(super) fn measures(self, ports: u16) -> bool {
        self.ports == ports || self.kind == Kind::BareVeth
    }

    /// Further ports stand on both sides of the one that is measured: rules that are gone through one after the other
    /// find it half-way.
    fn published(self) -> Vec<Published> {
        let further = (FURTHER..).take(usize::from(self.ports) - 1);
        let tcp = |host, endpoint| Published { host, endpoint, transport: Transport::Tcp };
        let mut all: Vec<_> = further.map(|port| tcp(port, port)).collect();
        let measured = tcp(PUBLISHED, SERVED);
        let udp = Published { transport: Transport::Udp, ..measured };
        let middle = all.len() / 2;
        all.splice(middle..middle, [measured, udp, tcp(STREAMS, STREAMS)]);
        all
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ports {
            1 => write!(f, "{}", self.kind),
            ports => write!(f, "{} with {ports} ports", self.kind),
        }
    }
}

/// The first of the published ports that are not measured. They are measured in IPv4, and netebpf has them there alone: it
/// holds each with a socket, and those of both families are more files than some machines allow.
const FURTHER: u16 = 20_000;

/// A host with endpoints `web` and `app`, a neighbour, and the servers in `web` and at the neighbour. Fields go in this
/// order: nothing is served where no namespace is.
pub(super) struct Arm {
    pub(super) site: Site,
    #[expect(dead_code, reason = "held until the arm goes")]
    servers: Vec<Server>,
    streams: Vec<streams::Server>,
    instance: Option<Instance>,
    /// The endpoints that are ours to remove.
    #[expect(dead_code, reason = "held until the arm goes")]
    endpoints: Vec<Namespace>,
    pub(super) host: Namespace,
    pub(super) neighbour: Namespace,
}

impl Arm {
    pub(super) fn make(site: Site) -> Result<Self, BenchError> {
        let kind = site.kind;
        let [host, neighbour] = host::pair(&site.name())?;
        let mut servers = vec![serve(&neighbour.name)?];
        let (mut instance, mut endpoints) = (None, Vec::new());
        match kind.backend() {
            _ if kind == Kind::BareVeth => {}
            None => instance = Some(Instance::up(site)?),
            Some(backend) => {
                endpoints = bridge(&host)?;
                rules::load(backend, &host.name, &site.published())?;
                as_with_its_engine(backend, &host)?;
            }
        }
        if kind != Kind::BareVeth {
            servers.push(serve(&site.endpoint("web"))?);
        }
        Ok(Self { site, servers, streams: Vec::new(), instance, endpoints, host, neighbour })
    }

    /// Each way leads where it should, translated as it should be.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        for (way, family) in Way::ALL.into_iter().flat_map(|way| Family::BOTH.map(|f| (way, f))) {
            let broken = |what: String| BenchError::Broken {
                arm: self.site.kind,
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
        let hits = self.site.kind.backend().map(|backend| rules::hits(backend, &self.host.name));
        match hits.transpose()?.flatten() {
            // A masquerade and a published port, in both families.
            Some(hits @ ..4) => Err(BenchError::Broken {
                arm: self.site.kind,
                way: "masquerade, published port".to_owned(),
                what: format!("its rules translated {hits} of four connections"),
            }),
            _ => Ok(()),
        }
    }

    /// The namespace of the client on this way, and the server that it asks.
    pub(super) fn client(&self, way: Way, family: Family) -> (String, SocketAddr) {
        let at = |place: Place, port: u16| SocketAddr::new(place.of(family), port);
        let app = || self.site.endpoint("app");
        match way {
            _ if self.site.kind == Kind::BareVeth => (self.host.name.clone(), at(OUTSIDE, SERVED)),
            Way::EndpointToEndpoint => (app(), at(WEB, SERVED)),
            Way::Masquerade => (app(), at(OUTSIDE, SERVED)),
            Way::PublishedPort => (self.neighbour.name.clone(), at(HOST, PUBLISHED)),
        }
    }

    /// Forgets connections that were closed before. netebpf remembers for four minutes (RFC 5382), Linux for ten seconds,
    /// which are over by the next round: so none of them knows the next connections, and nobody's table fills.
    pub(super) fn forget_connections(&self) -> Result<(), BenchError> {
        match &self.instance {
            Some(instance) => instance.forget_flows(),
            None => Ok(()),
        }
    }

    /// Starts what four streams flow to.
    pub(super) fn serve_streams(&mut self) -> Result<(), BenchError> {
        let any = IpAddr::from([0u16; 8]);
        self.streams.push(streams::Server::start(&self.neighbour.name, any, STREAMS)?);
        if self.site.kind != Kind::BareVeth {
            self.streams.push(streams::Server::start(&self.site.endpoint("web"), any, STREAMS)?);
        }
        Ok(())
    }

    /// The namespace that streams come from on this way, and where they flow to.
    pub(super) fn streams(&self, way: Way, family: Family) -> (String, SocketAddr) {
        let (from, mut to) = self.client(way, family);
        to.set_port(STREAMS);
        (from, to)
    }

    /// As whom the server sees the client.
    fn seen(&self, way: Way) -> Place {
        match way {
            _ if self.site.kind == Kind::BareVeth => HOST,
            Way::EndpointToEndpoint => APP,
            Way::Masquerade => HOST,
            Way::PublishedPort => NEIGHBOUR,
        }
    }

    /// Whether packets that stay on a bridge meet Docker's rules, too, as where it loaded `br_netfilter`; none where there
    /// are no rules of Docker's.
    pub(super) fn bridge_netfilter(&self) -> Option<bool> {
        let has = || rules::has_bridge_netfilter(&self.host.name);
        matches!(self.site.kind, Kind::IptablesLegacy | Kind::IptablesNft).then(has)
    }

    /// Of the host's uplink, and of the interface of an endpoint. A bare veth is as the kernel makes it: nobody set
    /// anything of its uplink.
    pub(super) fn offloads(&self) -> Vec<Offloads> {
        let kind = self.site.kind;
        let uplink = Offloads::of(kind, &self.host.name, "uplink0");
        let web = (kind != Kind::BareVeth)
            .then(|| Offloads::of(kind, &self.site.endpoint("web"), "eth0"));
        std::iter::once(uplink).chain(web).collect()
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

/// What an engine has on its host beside rules, and what would cost only here.
fn as_with_its_engine(backend: Backend, host: &Namespace) -> Result<(), BenchError> {
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

/// netebpf on its host.
struct Instance(Site);

impl Instance {
    fn up(site: Site) -> Result<Self, BenchError> {
        let instance = Self(site);
        let topology = tempfile::Builder::new().suffix(".yaml").tempfile();
        let topology = topology.map_err(BenchError::io("the topology file"))?;
        fs::write(topology.path(), topology_text(&site.published()))
            .map_err(BenchError::io("the topology file"))?;
        process::output(instance.command()?.args(["up", "--file"]).arg(topology.path()))?;
        for name in ["web", "app"] {
            host::use_reno(&site.endpoint(name))?;
        }
        Ok(instance)
    }

    fn command(&self) -> Result<Command, BenchError> {
        let name = self.0.name();
        let mut command = process::inside(&name, process::netebpf()?);
        command.args(["--instance", &name]);
        Ok(command)
    }

    fn forget_flows(&self) -> Result<(), BenchError> {
        process::output(self.command()?.args(["conntrack", "rm", "--all"])).map(drop)
    }

    fn down(&self) -> Result<(), BenchError> {
        process::output(self.command()?.args(["down", "--all"])).map(drop)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("netebpf: {error}");
        }
    }
}

fn topology_text(ports: &[Published]) -> String {
    let published = |Published { host, endpoint, transport }: &Published| match *host {
        PUBLISHED | STREAMS => format!("\"{host}:{endpoint}/{transport}\""),
        further => format!("\"0.0.0.0:{further}:{endpoint}\""),
    };
    let ports = ports.iter().map(published).collect::<Vec<_>>().join(", ");
    let addresses = |place: Place| {
        let [v4, v6] = Family::BOTH.map(|family| place.of(family));
        format!("networks: {{front: {{ipv4_address: {v4}, ipv6_address: \"{v6}\"}}}}")
    };
    format!(
        "name: bench
networks:
  front:
    enable_ipv6: true
    ipam: {{config: [{{subnet: 172.18.0.0/16, gateway: 172.18.0.1}}, {{subnet: \"fd18::/64\", gateway: \"fd18::1\"}}]}}
services:
  web:
    {}
    ports: [{ports}]
  app:
    {}
",
        addresses(WEB),
        addresses(APP)
    )
}
