//! Networks: numbers, subnets, gateways, bridges.

use super::{
    Resolver,
    error::{NetworkProblem, ResolveError, ResolveProblem},
    facts::HostRoute,
};
use crate::{
    ipam::{check_subnet, choose_gateway, choose_subnet, overlaps},
    model::{
        Driver, GatewayMode, Id, InterfaceName, MacText, Network, Origin, Subnet, predefined,
        requests::{DEFAULT_NETWORK, NetworkRequest, SubnetRequest, check_name},
    },
};
use ipnet::IpNet;

/// A network with the subnets that are decided so far.
struct Draft<'a> {
    request: &'a NetworkRequest,
    previous: Option<&'a Network>,
    /// IPv4, then IPv6.
    subnets: [Option<Subnet>; 2],
}

impl Draft<'_> {
    fn wants(&self, v6: bool) -> bool {
        let enabled = if v6 { self.request.ipv6 } else { self.request.ipv4 };
        enabled && self.subnets[usize::from(v6)].is_none()
    }

    fn error(&self, problem: NetworkProblem) -> ResolveError {
        let network = self.request.name.clone();
        let problem = ResolveProblem::Network { network, problem };
        ResolveError::new(self.request.place.as_ref(), problem)
    }
}

impl<'a> Resolver<'a> {
    /// Adds networks. What the user chose comes first, then what is there already, and what is open
    /// takes from the rest: so no open choice is ever in the way of a made one.
    pub(super) fn networks(&mut self, requests: &[NetworkRequest]) -> Result<(), ResolveError> {
        let mut claims: Vec<(IpNet, String)> = self
            .desired
            .networks
            .values()
            .flat_map(|network| network.subnets.iter().map(|s| (s.net, network.name.clone())))
            .collect();
        let routes = self.routes();
        let mut drafts = Vec::new();
        for request in requests {
            drafts.push(self.chosen(request, &mut claims, &routes)?);
        }
        for draft in &mut drafts {
            keep(draft, &mut claims)?;
        }
        let mut taken: Vec<IpNet> = claims.iter().map(|(net, _)| *net).collect();
        taken.extend(routes.iter().map(|route| route.net));
        for draft in &mut drafts {
            for v6 in [false, true] {
                if draft.wants(v6) {
                    let net = choose_subnet(&self.context.settings.pools, v6, &taken);
                    let family = if v6 { "IPv6" } else { "IPv4" };
                    let net =
                        net.ok_or_else(|| draft.error(NetworkProblem::PoolsExhausted { family }))?;
                    taken.push(net);
                    draft.subnets[usize::from(v6)] = Some(automatic(draft, net)?);
                }
            }
        }
        for draft in drafts {
            self.add(draft)?;
        }
        Ok(())
    }

    /// Makes the network that the command line's endpoints join by default, where it is not there. Its usual subnet gives way to
    /// one of the pools where it is taken (a host with Docker has 172.17.0.0/16 already), but not one
    /// that the user chose.
    pub(super) fn default_network(&mut self) -> Result<(), ResolveError> {
        if self.desired.networks.contains_key(DEFAULT_NETWORK) {
            return Ok(());
        }
        let bip = self.context.settings.bip;
        let net = IpNet::from(bip.net);
        let taken = self.desired.networks.values().flat_map(|network| &network.subnets);
        let free = !taken.map(|subnet| &subnet.net).any(|other| overlaps(other, &net))
            && !self.routes().iter().any(|route| overlaps(&route.net, &net));
        let mut request = NetworkRequest::new(DEFAULT_NETWORK);
        if bip.chosen || free {
            request.subnets.push(SubnetRequest {
                net,
                gateway: Some(bip.gateway.into()),
                range: None,
                reserved: Default::default(),
                place: None,
            });
        }
        let origin = std::mem::replace(&mut self.origin, Origin::CommandLine);
        let made = self.networks(&[request]);
        self.origin = origin;
        made
    }

    /// The routes that a subnet may not overlap: not the default ones, and not those of our bridges.
    fn routes(&self) -> Vec<HostRoute> {
        let ours = |interface: &str| {
            self.before.networks.values().any(|network| network.bridge.as_str() == interface)
        };
        let routes = self.context.facts.routes.iter();
        let foreign = |route: &&HostRoute| {
            !route.is_default() && !route.interface.as_deref().is_some_and(ours)
        };
        routes.filter(foreign).cloned().collect()
    }

    /// Checks a request and the subnets that it names.
    fn chosen<'r>(
        &self,
        request: &'r NetworkRequest,
        claims: &mut Vec<(IpNet, String)>,
        routes: &[HostRoute],
    ) -> Result<Draft<'r>, ResolveError>
    where
        'a: 'r,
    {
        let name = &request.name;
        let place = request.place.as_ref();
        check_name(name).map_err(|error| ResolveError::new(place, error.into()))?;
        if let Some(other) = self.desired.networks.get(name) {
            let (name, owner) = (name.clone(), other.origin.clone());
            let problem = ResolveProblem::NetworkExists { name, owner };
            return Err(ResolveError::new(place, problem));
        }
        let previous =
            self.before.networks.get(name).filter(|network| network.origin == self.origin);
        let mut draft = Draft { request, previous, subnets: [None, None] };
        if request.driver != Driver::Bridge {
            return Err(draft.error(NetworkProblem::OneInstance(request.driver)));
        }
        if !request.ipv4 && !request.ipv6 {
            return Err(draft.error(NetworkProblem::NoFamily));
        }
        let isolated = [request.gateway_mode_v4, request.gateway_mode_v6];
        if isolated.contains(&GatewayMode::Isolated) && !request.internal {
            return Err(draft.error(NetworkProblem::IsolatedNotInternal));
        }
        if request.shortcut && !request.peers {
            return Err(draft.error(NetworkProblem::ShortcutWithoutPeers));
        }
        let least = if request.ipv6 { 1280 } else { 68 };
        if let Some(mtu) = request.mtu.filter(|mtu| !(least..=65535).contains(mtu)) {
            return Err(draft.error(NetworkProblem::Mtu { mtu, least }));
        }
        for subnet in &request.subnets {
            let place = subnet.place.as_ref().or(place);
            let at = |problem| ResolveError {
                place: place.cloned().map(Box::new),
                ..draft.error(problem)
            };
            let net = subnet.net;
            let v6 = net.addr().is_ipv6();
            if net.trunc() != net {
                return Err(at(NetworkProblem::HostBits(net)));
            }
            if !draft.wants(v6) {
                return Err(at(NetworkProblem::Surplus(net)));
            }
            check_subnet(&net).map_err(|reason| at(NetworkProblem::Unusable { net, reason }))?;
            if let Some((other, network)) = claims.iter().find(|(other, _)| overlaps(other, &net)) {
                let (other, network) = (*other, network.clone());
                return Err(at(NetworkProblem::OverlapsNetwork { net, other, network }));
            }
            // A route that came after the network does not undo it.
            let known = previous.is_some_and(|n| n.subnets.iter().any(|s| s.net == net));
            let route = routes.iter().find(|route| !known && overlaps(&route.net, &net));
            if let Some(route) = route.cloned() {
                return Err(at(NetworkProblem::OverlapsRoute { net, route }));
            }
            let decided = decide(subnet).map_err(at)?;
            claims.push((net, name.clone()));
            draft.subnets[usize::from(v6)] = Some(decided);
        }
        Ok(draft)
    }

    /// Puts a network with all its subnets in its place.
    fn add(&mut self, draft: Draft<'_>) -> Result<(), ResolveError> {
        let request = draft.request;
        let id = self.id_of(&draft);
        let bridge = request.bridge.clone().unwrap_or_else(|| InterfaceName::bridge(&id));
        if let Some(other) = self.desired.networks.values().find(|other| other.bridge == bridge) {
            let network = other.name.clone();
            return Err(draft.error(NetworkProblem::BridgeTaken { bridge, network }));
        }
        let number = draft.previous.map_or_else(|| self.free_number(), |network| network.number);
        let created = draft.previous.map_or(self.context.facts.now, |network| network.created);
        let no_family = draft.error(NetworkProblem::NoFamily);
        let subnets: Vec<Subnet> = draft.subnets.into_iter().flatten().collect();
        let gateway = subnets.first().ok_or(no_family)?.gateway;
        let network = Network {
            id,
            number,
            name: request.name.clone(),
            driver: request.driver,
            bridge,
            mac: MacText::for_address(gateway),
            subnets,
            internal: request.internal,
            peers: request.peers,
            gateway_mode_v4: request.gateway_mode_v4,
            gateway_mode_v6: request.gateway_mode_v6,
            masquerade: request.masquerade,
            snat_v4: request.snat_v4,
            snat_v6: request.snat_v6,
            binding_v4: request.binding_v4,
            interface_prefix: request.interface_prefix.clone(),
            shortcut: request.shortcut,
            device: request.device,
            mtu: request.mtu,
            labels: request.labels.clone(),
            created,
            origin: self.origin.clone(),
        };
        self.desired.networks.insert(network.name.clone(), network);
        Ok(())
    }

    /// What it had, or a new one that is not that of `bridge`.
    fn id_of(&self, draft: &Draft<'_>) -> Id {
        let predefined = predefined::id(self.context.instance, DEFAULT_NETWORK);
        let others = self.before.networks.values().chain(self.desired.networks.values());
        let others = others.map(|network| &network.id).chain([&predefined]);
        match draft.previous {
            Some(network) => network.id.clone(),
            None if draft.request.name == DEFAULT_NETWORK => predefined.clone(),
            None => Id::fresh(InterfaceName::NETWORK_DIGITS, others),
        }
    }

    /// The smallest number that no network has, nor had before: a number is not given to another
    /// network in the same step that takes it from one.
    fn free_number(&self) -> u32 {
        let networks = || self.before.networks.values().chain(self.desired.networks.values());
        (1..).find(|number| networks().all(|network| network.number != *number)).unwrap_or(u32::MAX)
    }
}

/// Lets a network keep the subnets it had where the request leaves them open.
fn keep(draft: &mut Draft<'_>, claims: &mut Vec<(IpNet, String)>) -> Result<(), ResolveError> {
    for v6 in [false, true] {
        let Some(subnet) = draft.previous.and_then(|network| network.subnet(v6)) else { continue };
        let net = subnet.net;
        if draft.wants(v6) && !claims.iter().any(|(other, _)| overlaps(other, &net)) {
            draft.subnets[usize::from(v6)] = Some(automatic(draft, net)?);
            claims.push((net, draft.request.name.clone()));
        }
    }
    Ok(())
}

/// A subnet of which nothing is chosen.
fn automatic(draft: &Draft<'_>, net: IpNet) -> Result<Subnet, ResolveError> {
    let reserved = Default::default();
    let gateway = choose_gateway(&net, None, &reserved)
        .map_err(|error| draft.error(NetworkProblem::Gateway(error)))?;
    Ok(Subnet { net, gateway, range: None, reserved })
}

/// A subnet as the user chose it.
fn decide(request: &SubnetRequest) -> Result<Subnet, NetworkProblem> {
    let SubnetRequest { net, gateway, range, reserved, .. } = request;
    if let Some(range) = range.filter(|range| !net.contains(range)) {
        return Err(NetworkProblem::Range { range, net: *net });
    }
    for (name, address) in reserved {
        // The same check as a gateway's, with nothing reserved.
        choose_gateway(net, Some(*address), &Default::default())
            .map_err(|error| NetworkProblem::Reserved { name: name.clone(), error })?;
    }
    let gateway = choose_gateway(net, *gateway, reserved).map_err(NetworkProblem::Gateway)?;
    Ok(Subnet { net: *net, gateway, range: *range, reserved: reserved.clone() })
}
