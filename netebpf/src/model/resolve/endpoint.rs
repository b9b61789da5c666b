//! Endpoints: addresses, interfaces, Ethernet addresses, the default route.

use super::{
    Resolver,
    error::{EndpointProblem, ResolveError, ResolveProblem},
    ports::Ports,
};
use crate::{
    ipam::{Taken, check_address, choose_address},
    model::{
        Attachment, Endpoint, Id, InterfaceName, MacText, Namespace, Network,
        requests::{AttachmentRequest, EndpointRequest, PublishSpec, check_name},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

/// An endpoint with the addresses that are decided so far.
pub(super) struct Draft<'a> {
    pub(super) request: &'a EndpointRequest,
    pub(super) previous: Option<&'a Endpoint>,
    pub(super) id: Id,
    pub(super) name: String,
    attachments: Vec<AttachmentDraft<'a>>,
}

struct AttachmentDraft<'a> {
    request: &'a AttachmentRequest,
    network: Network,
    /// IPv4, then IPv6.
    addresses: [Option<IpAddr>; 2],
}

impl Draft<'_> {
    pub(super) fn error(&self, problem: EndpointProblem) -> ResolveError {
        let endpoint = self.name.clone();
        let problem = ResolveProblem::Endpoint { endpoint, problem };
        ResolveError::new(self.request.place.as_ref(), problem)
    }

    fn error_at(&self, request: &AttachmentRequest, problem: EndpointProblem) -> ResolveError {
        let place = request.place.as_ref().or(self.request.place.as_ref());
        ResolveError { place: place.cloned().map(Box::new), ..self.error(problem) }
    }

    /// Whether it has an address of a family.
    pub(super) fn has(&self, v6: bool) -> bool {
        self.attachments.iter().any(|attachment| attachment.addresses[usize::from(v6)].is_some())
    }
}

/// Who has which address, by network.
type Addresses = BTreeMap<String, Taken>;
/// Who has which Ethernet address, by network.
type Macs = BTreeMap<String, BTreeMap<MacText, String>>;

impl<'a> Resolver<'a> {
    /// Adds endpoints. As with networks, chosen addresses and ports come first, then those that the
    /// endpoints have already, then what is open.
    pub(super) fn endpoints(&mut self, requests: &[EndpointRequest]) -> Result<(), ResolveError> {
        let mut taken = Addresses::new();
        let mut macs = Macs::new();
        for network in self.desired.networks.values() {
            let gateway = BTreeMap::from([(network.mac, "the gateway".to_owned())]);
            macs.insert(network.name.clone(), gateway);
        }
        for endpoint in self.desired.endpoints.values() {
            for attachment in &endpoint.attachments {
                let addresses = taken.entry(attachment.network.clone()).or_default();
                for address in attachment.addresses() {
                    addresses.insert(address, endpoint.name.clone());
                }
                let owner = format!("endpoint {:?}", endpoint.name);
                macs.entry(attachment.network.clone()).or_default().insert(attachment.mac, owner);
            }
        }
        let mut drafts: Vec<Draft<'_>> = Vec::new();
        for request in requests {
            let draft = self.draft(request, &drafts)?;
            if drafts.iter().any(|other| other.name == draft.name) {
                return Err(self.name_taken(&draft, &self.origin));
            }
            drafts.push(draft);
        }
        for draft in &mut drafts {
            chosen(draft, &mut taken)?;
        }
        for draft in &mut drafts {
            keep(draft, &mut taken);
        }
        for draft in &mut drafts {
            choose(draft, &mut taken)?;
        }
        let mut ports = Ports::new(self);
        let mappings = ports.assign(&drafts)?;
        for (draft, ports) in drafts.into_iter().zip(mappings) {
            let endpoint = self.finish(draft, ports, &mut macs)?;
            self.desired.endpoints.insert(endpoint.name.clone(), endpoint);
        }
        Ok(())
    }

    fn name_taken(&self, draft: &Draft<'_>, owner: &crate::model::Origin) -> ResolveError {
        let (kind, name, owner) = ("endpoint", draft.name.clone(), owner.clone());
        let problem = ResolveProblem::NameTaken { kind, name, owner };
        ResolveError::new(draft.request.place.as_ref(), problem)
    }

    fn draft<'r>(
        &self,
        request: &'r EndpointRequest,
        earlier: &[Draft<'_>],
    ) -> Result<Draft<'r>, ResolveError>
    where
        'a: 'r,
    {
        let place = request.place.as_ref();
        let previous = request.name.as_ref().and_then(|name| self.before.endpoints.get(name));
        let previous = previous.filter(|endpoint| endpoint.origin == self.origin);
        let others = self.before.endpoints.values().chain(self.desired.endpoints.values());
        let others =
            others.map(|endpoint| &endpoint.id).chain(earlier.iter().map(|draft| &draft.id));
        let id = previous.map_or_else(
            || Id::fresh(InterfaceName::ENDPOINT_DIGITS, others),
            |endpoint| endpoint.id.clone(),
        );
        let name = request.name.clone().unwrap_or_else(|| id.short().to_owned());
        check_name(&name).map_err(|error| ResolveError::new(place, error.into()))?;
        let mut draft = Draft { request, previous, id, name, attachments: Vec::new() };
        if let Some(other) = self.desired.endpoints.get(&draft.name) {
            return Err(self.name_taken(&draft, &other.origin));
        }
        check_request(request).map_err(|problem| draft.error(problem))?;
        let mut requests: Vec<&AttachmentRequest> = request.networks.iter().collect();
        requests.sort_by(|a, b| (b.priority, &a.network).cmp(&(a.priority, &b.network)));
        for request in requests {
            let twice = |other: &AttachmentDraft<'_>| other.request.network == request.network;
            if draft.attachments.iter().any(twice) {
                let problem = EndpointProblem::NetworkTwice(request.network.clone());
                return Err(draft.error_at(request, problem));
            }
            let network = self.desired.networks.get(&request.network).cloned();
            let network = network.ok_or_else(|| {
                draft.error_at(request, EndpointProblem::NoNetwork(request.network.clone()))
            })?;
            draft.attachments.push(AttachmentDraft { request, network, addresses: [None, None] });
        }
        Ok(draft)
    }

    /// Puts together what is decided.
    fn finish(
        &self,
        draft: Draft<'_>,
        ports: Vec<crate::model::PortMapping>,
        macs: &mut Macs,
    ) -> Result<Endpoint, ResolveError> {
        let namespace = match &draft.request.netns {
            Some(path) => Namespace::Existing(path.clone()),
            None => Namespace::Own(self.context.instance.namespace(&draft.name)),
        };
        self.check_namespace(&draft, namespace.path())?;
        let names = interface_names(&draft)?;
        let mut attachments = Vec::new();
        for (attachment, interface) in draft.attachments.iter().zip(names) {
            let request = attachment.request;
            let [v4, v6] = attachment.addresses;
            let automatic = v4.or(v6).map(MacText::for_address);
            let no_family = EndpointProblem::NoNetwork(request.network.clone());
            let mac = request.mac.or(automatic).ok_or_else(|| draft.error(no_family))?;
            let network = request.network.clone();
            let on_network = macs.entry(network.clone()).or_default();
            if let Some(owner) = on_network.get(&mac).cloned() {
                let problem = EndpointProblem::MacTaken { network, mac, owner };
                return Err(draft.error_at(request, problem));
            }
            on_network.insert(mac, format!("endpoint {:?}", draft.name));
            attachments.push(Attachment {
                network,
                interface,
                host_interface: InterfaceName::veth(&draft.id, &attachment.network.id),
                mac,
                v4: v4.and_then(|address| match address {
                    IpAddr::V4(v4) => Some(v4),
                    IpAddr::V6(_) => None,
                }),
                v6: v6.and_then(|address| match address {
                    IpAddr::V6(v6) => Some(v6),
                    IpAddr::V4(_) => None,
                }),
                aliases: request.aliases.clone(),
                default_route: false,
            });
        }
        for place in default_routes(&draft) {
            attachments[place].default_route = true;
        }
        attachments.sort_by(|a, b| natural(&a.interface).cmp(&natural(&b.interface)));
        Ok(Endpoint {
            id: draft.id,
            name: draft.name,
            namespace,
            attachments,
            ports,
            service: draft.request.service.clone(),
            remove_on_exit: draft.request.remove_on_exit,
            labels: draft.request.labels.clone(),
            created: draft.previous.map_or(self.context.facts.now, |endpoint| endpoint.created),
            origin: self.origin.clone(),
        })
    }

    /// One namespace is one endpoint's: interfaces and sysctls of two would meet in it.
    fn check_namespace(&self, draft: &Draft<'_>, path: &Path) -> Result<(), ResolveError> {
        let other = self.desired.endpoints.values().find(|other| other.namespace.path() == path);
        match other {
            Some(other) => Err(draft.error(EndpointProblem::NamespaceTaken {
                path: path.to_owned(),
                endpoint: other.name.clone(),
            })),
            None => Ok(()),
        }
    }
}

/// What types alone do not say of a request that came over the API.
fn check_request(request: &EndpointRequest) -> Result<(), EndpointProblem> {
    if let Some(path) = request.netns.as_ref().filter(|path| !path.is_absolute()) {
        return Err(EndpointProblem::RelativePath(path.clone()));
    }
    if request.service.as_ref().is_some_and(|service| service.command.is_empty()) {
        return Err(EndpointProblem::EmptyCommand);
    }
    if !request.publish.iter().all(PublishSpec::is_valid) {
        return Err(EndpointProblem::PortRange);
    }
    for attachment in &request.networks {
        for alias in &attachment.aliases {
            check_name(alias).map_err(|error| {
                let network = attachment.network.clone();
                EndpointProblem::Alias { network, error }
            })?;
        }
    }
    Ok(())
}

/// Takes the addresses that the user chose.
fn chosen(draft: &mut Draft<'_>, taken: &mut Addresses) -> Result<(), ResolveError> {
    for place in 0..draft.attachments.len() {
        let AttachmentDraft { request, network, .. } = &draft.attachments[place];
        let request = *request;
        let asked = [request.v4.map(IpAddr::from), request.v6.map(IpAddr::from)];
        let on_network = taken.entry(network.name.clone()).or_default();
        for address in asked.iter().flatten().copied() {
            let v6 = address.is_ipv6();
            let name = network.name.clone();
            let Some(subnet) = network.subnet(v6) else {
                let family = if v6 { "IPv6" } else { "IPv4" };
                let problem = EndpointProblem::NoFamily { address, network: name, family };
                return Err(draft.error_at(request, problem));
            };
            check_address(subnet, on_network, address).map_err(|error| {
                let problem = EndpointProblem::Address { network: name, error };
                draft.error_at(request, problem)
            })?;
            on_network.insert(address, draft.name.clone());
        }
        draft.attachments[place].addresses = asked;
    }
    Ok(())
}

/// Lets an endpoint keep the addresses it had where the request leaves them open.
fn keep(draft: &mut Draft<'_>, taken: &mut Addresses) {
    let Some(previous) = draft.previous else { return };
    for attachment in &mut draft.attachments {
        let network = &attachment.network;
        let on_network = taken.entry(network.name.clone()).or_default();
        let had = previous.attachments.iter().find(|had| had.network == network.name);
        for address in had.into_iter().flat_map(Attachment::addresses) {
            let v6 = address.is_ipv6();
            let open = &mut attachment.addresses[usize::from(v6)];
            let Some(subnet) = network.subnet(v6).filter(|_| open.is_none()) else { continue };
            if check_address(subnet, on_network, address).is_ok() {
                on_network.insert(address, draft.name.clone());
                *open = Some(address);
            }
        }
    }
}

/// Chooses the addresses that are still open.
fn choose(draft: &mut Draft<'_>, taken: &mut Addresses) -> Result<(), ResolveError> {
    for place in 0..draft.attachments.len() {
        let AttachmentDraft { request, network, addresses } = &draft.attachments[place];
        let mut addresses = *addresses;
        let on_network = taken.entry(network.name.clone()).or_default();
        for v6 in [false, true] {
            let open = &mut addresses[usize::from(v6)];
            let Some(subnet) = network.subnet(v6).filter(|_| open.is_none()) else { continue };
            let address = choose_address(subnet, on_network).map_err(|error| {
                let network = network.name.clone();
                draft.error_at(request, EndpointProblem::Address { network, error })
            })?;
            on_network.insert(address, draft.name.clone());
            *open = Some(address);
        }
        draft.attachments[place].addresses = addresses;
    }
    Ok(())
}

/// The chosen names, and `eth0`, `eth1` … for the others.
fn interface_names(draft: &Draft<'_>) -> Result<Vec<InterfaceName>, ResolveError> {
    let mut used = BTreeSet::from(["lo".to_owned()]);
    for attachment in &draft.attachments {
        if let Some(name) = &attachment.request.interface
            && !used.insert(name.as_str().to_owned())
        {
            let problem = EndpointProblem::InterfaceTwice(name.clone());
            return Err(draft.error_at(attachment.request, problem));
        }
    }
    let mut free = (0..).map(|number| format!("eth{number}")).filter(|name| !used.contains(name));
    let mut names = Vec::new();
    for attachment in &draft.attachments {
        names.push(match &attachment.request.interface {
            Some(name) => name.clone(),
            None => {
                let name = free.next().unwrap_or_default();
                InterfaceName::new(name.clone()).map_err(|_| {
                    let network = attachment.request.network.clone();
                    draft.error(EndpointProblem::NetworkTwice(network))
                })?
            }
        });
    }
    Ok(names)
}

/// Where the default routes go: for each family the network with a way out that has the highest gateway
/// priority, then the first name (Docker's rule). A second network, for IPv6, only where it has no
/// IPv4: the flag speaks of both families.
fn default_routes(draft: &Draft<'_>) -> BTreeSet<usize> {
    let best = |v6: bool| {
        let candidates = draft.attachments.iter().enumerate();
        candidates
            .filter(|(_, a)| !a.network.internal && a.addresses[usize::from(v6)].is_some())
            .min_by_key(|(_, a)| (std::cmp::Reverse(a.request.gateway_priority), &a.network.name))
            .map(|(place, _)| place)
    };
    let (v4, v6) = (best(false), best(true));
    let alone = v6.filter(|place| {
        let first_has_v6 = v4.is_some_and(|v4| draft.attachments[v4].addresses[1].is_some());
        v4.is_none() || (!first_has_v6 && draft.attachments[*place].addresses[0].is_none())
    });
    v4.into_iter().chain(alone).collect()
}

/// A sort key that puts `eth10` after `eth9`.
fn natural(name: &InterfaceName) -> (&str, u64) {
    let text = name.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, text[stem.len()..].parse().unwrap_or(0))
}
