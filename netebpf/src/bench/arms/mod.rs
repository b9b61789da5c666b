//! What is compared: netebpf, a Linux bridge with the rules that Docker or podman make, and a bare veth, which is the
//! limit of all.
//!
//! **Invariant**: arms differ in the host only. Each has the same wire, the same two endpoints, the same neighbour and
//! the same server and client programs. A bare veth has no endpoints: each of its ways is the wire.

mod bridge;
mod check;
mod instance;
mod kind;
mod site;

pub(super) use bridge::bridge;
pub use kind::Kind;
pub(super) use kind::Way;
pub(super) use site::Site;

use super::{
    BenchError,
    cards::Card,
    host::{
        self, APP, Family, HOST, NEIGHBOUR, Namespace, OUTSIDE, PUBLISHED, Place, SERVED, STREAMS,
        WEB,
    },
    left::Left,
    load::{self, streams},
    process::{self, Server},
    report::Offloads,
    rules, wire,
};
use crate::{daemon::api::Status, plan::GsoChoice};
use instance::Instance;
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

/// A host with endpoints `web` and `app`, a neighbour, and the servers in `web` and at the neighbour. Fields go in this
/// order: nothing is served where no namespace is.
pub(super) struct Arm {
    pub(super) site: Site,
    #[expect(dead_code, reason = "held until the arm goes")]
    servers: Vec<Server>,
    streams: Vec<streams::Server>,
    instance: Option<Instance>,
    /// What the wire is, where it is not our own: given back before the namespaces go.
    #[expect(dead_code, reason = "held until the instance is gone")]
    cards: Vec<Card>,
    /// The endpoints that are ours to remove.
    #[expect(dead_code, reason = "held until the arm goes")]
    endpoints: Vec<Namespace>,
    pub(super) host: Namespace,
    pub(super) neighbour: Namespace,
}

impl Arm {
    pub(super) fn make(site: Site, settings: &Path, left: &Left) -> Result<Self, BenchError> {
        let kind = site.kind;
        let pair = host::pair(&site.name(), left)?;
        if matches!(kind, Kind::Netebpf | Kind::NetebpfNetkit | Kind::BareVeth) {
            wire::takes_big_tcp(&pair)?;
        }
        Self::on(pair, Vec::new(), site, settings, left)
    }

    /// The same on a wire that is there.
    pub(super) fn on(
        [host, neighbour]: [Namespace; 2],
        cards: Vec<Card>,
        site: Site,
        settings: &Path,
        left: &Left,
    ) -> Result<Self, BenchError> {
        let kind = site.kind;
        let mut servers = vec![serve(&neighbour.name)?];
        let (mut instance, mut endpoints) = (None, Vec::new());
        match kind.backend() {
            _ if kind == Kind::BareVeth => {}
            None => instance = Some(Instance::up(site, settings, left)?),
            Some(backend) => {
                endpoints = bridge::bridge(&host)?;
                rules::load(backend, &host.name, &site.published())?;
                bridge::as_with_its_engine(backend, &host)?;
            }
        }
        if kind != Kind::BareVeth {
            servers.push(serve(&site.endpoint("web"))?);
        }
        let streams = Vec::new();
        Ok(Self { site, servers, streams, instance, cards, endpoints, host, neighbour })
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
            Way::HostsOwn => (self.host.name.clone(), at(OUTSIDE, SERVED)),
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

    /// netebpf's, where that is who forwards.
    pub(super) fn instance(&self) -> Result<crate::state::Instance, BenchError> {
        let name = self.site.name();
        name.parse().map_err(|_| BenchError::Talk("host", name))
    }

    /// How long the packets of its endpoints' streams are.
    pub(super) fn gso(&self) -> Result<GsoChoice, BenchError> {
        let choice = self.status()?.gso.into_values().next();
        choice.ok_or_else(|| BenchError::Talk("status", "no network".to_owned()))
    }

    /// What netebpf says of itself, where that is who forwards.
    pub(super) fn status(&self) -> Result<Status, BenchError> {
        let said = self.netebpf(&["status", "--format", "json"])?;
        serde_json::from_str(&said).map_err(|_| BenchError::Talk("status", said))
    }

    /// What forwards on this host, where that is netebpf.
    fn ours(&self) -> Result<&Instance, BenchError> {
        let none = || BenchError::Talk("host", format!("no netebpf on {}", self.site));
        self.instance.as_ref().ok_or_else(none)
    }

    /// A command of netebpf on this host, where that is who forwards.
    pub(super) fn netebpf(&self, words: &[&str]) -> Result<String, BenchError> {
        process::output(self.ours()?.command()?.args(words))
    }

    /// One more topology, where netebpf forwards.
    pub(super) fn bring_up(&self, topology: &str) -> Result<(), BenchError> {
        self.ours()?.bring_up(topology, &[])
    }

    /// `up` once more, with these options, where that is who forwards.
    pub(super) fn up(&self, options: &[&str]) -> Result<(), BenchError> {
        self.instance.as_ref().map_or(Ok(()), |instance| instance.make(options))
    }

    /// How many packets were counted so far of an endpoint or an uplink for a reason, `drop/not_published`.
    pub(super) fn counted(&self, of: &str, reason: &str) -> Result<u64, BenchError> {
        Ok(check::counter(&self.status()?, of, reason))
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
            Way::Masquerade | Way::HostsOwn => HOST,
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

/// A server of ours in a namespace.
pub(super) fn serve(namespace: &str) -> Result<Server, BenchError> {
    let any = SocketAddr::new(IpAddr::from([0u16; 8]), SERVED);
    let mut server = process::inside(namespace, process::netebpf()?);
    server.args(["bench", "load", "server", &any.to_string()]);
    Server::start(&mut server, load::READY)
}
