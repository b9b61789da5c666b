//! Published ports: who has which, and which one an open choice gets.

use super::{
    Resolver,
    endpoint::Draft,
    error::{EndpointProblem, PublishedPort, ResolveError},
    facts::HostFacts,
};
use crate::model::{
    Id, PortMapping, Transport,
    requests::{HostPort, PublishSpec},
};
use ipnet::IpNet;
use std::{cell::OnceCell, collections::BTreeMap, net::IpAddr};

/// Where an open choice is made when nobody says: the dynamic ports (RFC 6335 §6), as Docker does.
const OPEN: (u16, u16) = (49_153, 65_535);

/// Whether two host addresses, each as [`PortMapping::host_address`], have a socket address in common.
fn meet(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a.is_ipv6() == b.is_ipv6() && (a == b || a.is_unspecified() || b.is_unspecified())
        }
        _ => true,
    }
}

/// The host's ports.
pub(super) struct Ports<'a> {
    facts: &'a HostFacts,
    /// Who published what.
    claims: BTreeMap<(Transport, u16), Vec<(String, PortMapping)>>,
    /// What sockets of the host hold.
    sockets: OnceCell<Sockets>,
    /// The host's ports that an endpoint had, by what it asks for; so that ten thousand open choices
    /// are as many look-ups and no more.
    had: BTreeMap<(Id, Transport, u16, Option<IpAddr>), Vec<u16>>,
    /// What was published before: a socket that holds such a port is our own.
    before: Vec<(Transport, u16, Option<IpAddr>)>,
}

/// The addresses that sockets hold, by port.
type Sockets = BTreeMap<(Transport, u16), Vec<Option<IpAddr>>>;

impl<'a> Ports<'a> {
    pub(super) fn new(resolver: &Resolver<'a>) -> Self {
        let mut ports = Self {
            facts: resolver.context.facts,
            claims: BTreeMap::new(),
            sockets: OnceCell::new(),
            had: BTreeMap::new(),
            before: Vec::new(),
        };
        for endpoint in resolver.desired.endpoints.values() {
            for mapping in &endpoint.ports {
                ports.claim(&endpoint.name, mapping.clone());
            }
        }
        for endpoint in resolver.before.endpoints.values() {
            for mapping in &endpoint.ports {
                let PortMapping { host_address, host_port, endpoint_port, transport, .. } =
                    *mapping;
                let key = (endpoint.id.clone(), transport, endpoint_port, host_address);
                ports.had.entry(key).or_default().push(host_port);
                ports.before.push((transport, host_port, host_address));
            }
        }
        ports.before.sort_unstable();
        ports
    }

    /// Decides every port of every endpoint, in the order in which each asks.
    pub(super) fn assign(
        &mut self,
        drafts: &[Draft<'_>],
    ) -> Result<Vec<Vec<PortMapping>>, ResolveError> {
        let asked: Vec<Vec<PublishSpec>> = drafts.iter().map(Draft::publish).collect();
        for (draft, asked) in drafts.iter().zip(&asked) {
            for spec in asked {
                if let Some(address) = spec.host_address.filter(|a| !draft.has(a.is_ipv6())) {
                    let port = spec.endpoint_port;
                    return Err(draft.error(EndpointProblem::PortFamily { port, address }));
                }
            }
        }
        let mut decided: Vec<Vec<Option<PortMapping>>> =
            asked.iter().map(|asked| vec![None; asked.len()]).collect();
        for step in [Self::chosen, Self::kept, Self::open] {
            for ((draft, asked), decided) in drafts.iter().zip(&asked).zip(&mut decided) {
                for (spec, place) in asked.iter().zip(decided.iter_mut()) {
                    if place.is_none() {
                        *place = step(self, draft, spec).map_err(|problem| draft.error(problem))?;
                    }
                }
            }
        }
        Ok(decided.into_iter().map(|ports| ports.into_iter().flatten().collect()).collect())
    }

    fn claim(&mut self, endpoint: &str, mapping: PortMapping) {
        let key = (mapping.transport, mapping.host_port);
        self.claims.entry(key).or_default().push((endpoint.to_owned(), mapping));
    }

    /// A port that the user chose.
    fn chosen(
        &mut self,
        draft: &Draft<'_>,
        spec: &PublishSpec,
    ) -> Result<Option<PortMapping>, EndpointProblem> {
        let HostPort::One(port) = spec.host_port else { return Ok(None) };
        let mapping = mapping(spec, port);
        if let Some((endpoint, other)) = self.claimed(&mapping) {
            let (port, other) = (PublishedPort::from(&mapping), PublishedPort::from(other));
            return Err(EndpointProblem::PortAllocated { port, other, endpoint: endpoint.clone() });
        }
        if self.held(&mapping) {
            return Err(EndpointProblem::PortInUse((&mapping).into()));
        }
        self.claim(&draft.name, mapping.clone());
        Ok(Some(mapping))
    }

    /// What the endpoint had for the same open choice.
    fn kept(
        &mut self,
        draft: &Draft<'_>,
        spec: &PublishSpec,
    ) -> Result<Option<PortMapping>, EndpointProblem> {
        let (first, last) = range(spec);
        let key = (draft.id.clone(), spec.transport, spec.endpoint_port, spec.host_address);
        let had = self.had.get(&key).into_iter().flatten();
        let fitting = had.filter(|port| (first..=last).contains(*port));
        let free = fitting.map(|port| mapping(spec, *port)).find(|had| self.claimed(had).is_none());
        if let Some(mapping) = &free {
            self.claim(&draft.name, mapping.clone());
        }
        Ok(free)
    }

    /// A free port: any of the open ones, or the lowest of the range that the user gave.
    fn open(
        &mut self,
        draft: &Draft<'_>,
        spec: &PublishSpec,
    ) -> Result<Option<PortMapping>, EndpointProblem> {
        let (first, last) = range(spec);
        let start = match spec.host_port {
            HostPort::Any => rand::random_range(first..=last),
            HostPort::One(_) | HostPort::Within(..) => first,
        };
        let free = (start..=last)
            .chain(first..start)
            .map(|port| mapping(spec, port))
            .find(|mapping| self.claimed(mapping).is_none() && !self.held(mapping));
        let free = free.ok_or(EndpointProblem::NoFreePort {
            port: spec.endpoint_port,
            transport: spec.transport,
            range: HostPort::Within(first, last),
        })?;
        self.claim(&draft.name, free.clone());
        Ok(Some(free))
    }

    /// The mapping that is in the way. A wildcard and an address of it are: as with sockets, the order
    /// of starting may not decide who gets a connection.
    fn claimed(&self, mapping: &PortMapping) -> Option<&(String, PortMapping)> {
        self.claims
            .get(&(mapping.transport, mapping.host_port))?
            .iter()
            .find(|(_, other)| meet(other.host_address, mapping.host_address))
    }

    fn read_sockets(&self) -> Sockets {
        let mut sockets = Sockets::new();
        for socket in self.facts.sockets.get() {
            sockets.entry((socket.transport, socket.port)).or_default().push(socket.address);
        }
        sockets
    }

    /// Whether a socket that is not ours holds the port.
    fn held(&self, mapping: &PortMapping) -> bool {
        let PortMapping { transport, host_port, host_address, .. } = *mapping;
        let ours = self.before.binary_search(&(transport, host_port, host_address)).is_ok();
        let sockets = self.sockets.get_or_init(|| self.read_sockets());
        let sockets = sockets.get(&(transport, host_port));
        !ours && sockets.is_some_and(|held| held.iter().any(|held| meet(*held, host_address)))
    }
}

fn range(spec: &PublishSpec) -> (u16, u16) {
    match spec.host_port {
        HostPort::Any => OPEN,
        HostPort::One(port) => (port, port),
        HostPort::Within(first, last) => (first, last),
    }
}

fn mapping(spec: &PublishSpec, host_port: u16) -> PortMapping {
    let PublishSpec { host_address, endpoint_port, transport, .. } = *spec;
    let mut allow_from: Vec<_> = spec.allow_from.iter().map(IpNet::trunc).collect();
    allow_from.sort();
    allow_from.dedup();
    PortMapping { host_address, host_port, endpoint_port, transport, allow_from }
}
