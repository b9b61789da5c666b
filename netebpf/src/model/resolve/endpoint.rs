//! Endpoints: the order in which what they ask for is decided.

use super::{
    Resolver, addresses,
    error::{EndpointProblem, ResolveError, ResolveProblem},
    interfaces::{self, Macs},
    ports::Ports,
};
use crate::{
    drivers::{self, Gives, Publishing},
    model::{
        Endpoint, Id, InterfaceName, Namespace, Network, Origin, PortMapping,
        requests::{
            AttachmentRequest, EndpointRequest, NetworkMode, PublishSpec, check_name,
            is_interface_sysctl,
        },
    },
};
use std::{net::IpAddr, path::Path};

/// An endpoint with the addresses that are decided so far.
pub(super) struct Draft<'a> {
    pub(super) request: &'a EndpointRequest,
    pub(super) previous: Option<&'a Endpoint>,
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) attachments: Vec<AttachmentDraft<'a>>,
}

/// One of its attachments.
pub(super) struct AttachmentDraft<'a> {
    pub(super) request: &'a AttachmentRequest,
    pub(super) network: Network,
    /// IPv4, then IPv6.
    pub(super) addresses: [Option<IpAddr>; 2],
}

impl Draft<'_> {
    pub(super) fn error(&self, problem: EndpointProblem) -> ResolveError {
        let endpoint = self.name.clone();
        let problem = ResolveProblem::Endpoint { endpoint, problem };
        ResolveError::new(self.request.place.as_ref(), problem)
    }

    pub(super) fn error_at(
        &self,
        request: &AttachmentRequest,
        problem: EndpointProblem,
    ) -> ResolveError {
        let place = request.place.as_ref().or(self.request.place.as_ref());
        ResolveError { place: place.cloned().map(Box::new), ..self.error(problem) }
    }

    /// What it publishes, where its driver lets it: on the address that one of its networks has for that where nobody
    /// says.
    pub(super) fn publish(&self) -> Vec<PublishSpec> {
        let mode = self.request.mode.as_ref();
        let publish: &[PublishSpec] = match mode.map(|mode| drivers::of_mode(mode).publishing()) {
            None | Some(Publishing::Works) => &self.request.publish,
            Some(Publishing::Discarded(_) | Publishing::Refused(_)) => &[],
        };
        let bindings = self.attachments.iter().filter_map(|joined| joined.network.binding_v4);
        let binding = bindings.map(IpAddr::from).next().filter(|_| self.has(false));
        let bound = |spec: &PublishSpec| PublishSpec {
            host_address: spec.host_address.or(binding),
            ..spec.clone()
        };
        publish.iter().map(bound).collect()
    }

    /// Whether it has an address of a family.
    pub(super) fn has(&self, v6: bool) -> bool {
        self.attachments.iter().any(|attachment| attachment.addresses[usize::from(v6)].is_some())
    }
}

impl<'a> Resolver<'a> {
    /// Adds endpoints. As with networks, chosen addresses and ports come first, then those that the
    /// endpoints have already, then what is open.
    pub(super) fn endpoints(&mut self, requests: &[EndpointRequest]) -> Result<(), ResolveError> {
        let mut taken = addresses::taken(&self.desired);
        let mut macs = interfaces::macs(&self.desired);
        let mut drafts: Vec<Draft<'_>> = Vec::new();
        for request in requests {
            let draft = self.draft(request, &drafts)?;
            if drafts.iter().any(|other| other.name == draft.name) {
                return Err(self.name_taken(&draft, &self.origin));
            }
            drafts.push(draft);
        }
        for draft in &mut drafts {
            addresses::chosen(draft, &mut taken)?;
        }
        for draft in &mut drafts {
            addresses::keep(draft, &mut taken);
        }
        for draft in &mut drafts {
            addresses::choose(draft, &mut taken)?;
        }
        let mut ports = Ports::new(self);
        let mappings = ports.assign(&drafts)?;
        let namespaces: Result<Vec<_>, _> =
            drafts.iter().map(|draft| self.namespace(draft, &drafts)).collect();
        for ((draft, ports), namespace) in drafts.into_iter().zip(mappings).zip(namespaces?) {
            let endpoint = self.finish(draft, ports, namespace, &mut macs)?;
            self.desired.endpoints.insert(endpoint.name.clone(), endpoint.into());
        }
        Ok(())
    }

    fn name_taken(&self, draft: &Draft<'_>, owner: &Origin) -> ResolveError {
        let (name, owner) = (draft.name.clone(), owner.clone());
        let problem = ResolveProblem::NameInUse { name, owner };
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
        let previous = request.name.as_ref().and_then(|name| self.before.endpoint(name));
        let previous = previous.filter(|endpoint| endpoint.origin == self.origin);
        let others = self.before.endpoints.iter().chain(&self.desired.endpoints);
        let others = others.map(|(_, endpoint)| &endpoint.id);
        let others = others.chain(earlier.iter().map(|draft| &draft.id));
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
        requests.sort_by_key(|request| request.turn());
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
        ports: Vec<PortMapping>,
        namespace: Namespace,
        macs: &mut Macs,
    ) -> Result<Endpoint, ResolveError> {
        if !namespace.is_shared() {
            self.check_namespace(&draft, namespace.path())?;
        }
        let mut attachments = interfaces::attachments(&draft, &[], macs)?;
        interfaces::lead_out(&mut attachments, &self.desired.networks);
        Ok(Endpoint {
            id: draft.id,
            name: draft.name,
            namespace,
            attachments,
            alone: draft.request.mode == Some(NetworkMode::None),
            ports,
            service: draft.request.service.clone(),
            dns: draft.request.dns.clone(),
            remove_on_exit: draft.request.remove_on_exit,
            labels: draft.request.labels.clone(),
            created: draft.previous.map_or(self.context.facts.now, |endpoint| endpoint.created),
            origin: self.origin.clone(),
        })
    }

    /// Whose namespace it is. `drafts` are all that are made together: one may be in another's.
    fn namespace(
        &self,
        draft: &Draft<'_>,
        drafts: &[Draft<'_>],
    ) -> Result<Namespace, ResolveError> {
        let mut at = draft;
        // Each step leads to another one, or there is a circle.
        for _ in 0..=drafts.len() {
            let found = match (&at.request.mode, &at.request.netns) {
                (Some(NetworkMode::Host), _) => Namespace::Host,
                (Some(NetworkMode::Container(other)), _) => {
                    if let Some(next) = drafts.iter().find(|draft| draft.name == *other) {
                        at = next;
                        continue;
                    }
                    let endpoint = self.desired.endpoints.get(other);
                    let endpoint = endpoint
                        .ok_or_else(|| at.error(EndpointProblem::NoEndpoint(other.clone())))?;
                    Namespace::Of(other.clone(), endpoint.namespace.path().to_owned())
                }
                (_, Some(path)) => Namespace::Existing(path.clone()),
                (_, None) => Namespace::Own(self.context.instance.namespace(&at.name)),
            };
            return Ok(match &draft.request.mode {
                Some(NetworkMode::Container(other)) => {
                    Namespace::Of(other.clone(), found.path().to_owned())
                }
                _ => found,
            });
        }
        Err(draft.error(EndpointProblem::OwnNamespace))
    }

    /// One namespace is one endpoint's: interfaces and sysctls of two would meet in it.
    fn check_namespace(&self, draft: &Draft<'_>, path: &Path) -> Result<(), ResolveError> {
        let mut others = self.desired.endpoints.values();
        let is_in_it = |namespace: &Namespace| !namespace.is_shared() && namespace.path() == path;
        match others.find(|other| is_in_it(&other.namespace)) {
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
    if let Some(mode) = &request.mode {
        let driver = drivers::of_mode(mode);
        if !request.networks.is_empty() {
            return Err(EndpointProblem::NetworksAndMode);
        }
        if driver.gives() == Gives::Share && request.netns.is_some() {
            return Err(EndpointProblem::NetnsAndMode);
        }
        if let Publishing::Refused(why) = driver.publishing()
            && !request.publish.is_empty()
        {
            return Err(EndpointProblem::Publishing(why));
        }
        if let Some(why) = driver.refuses_dns()
            && !request.dns.is_empty()
        {
            return Err(EndpointProblem::Dns(why));
        }
    }
    request.networks.iter().try_for_each(check_attachment)
}

/// Likewise of one network to join.
pub(super) fn check_attachment(request: &AttachmentRequest) -> Result<(), EndpointProblem> {
    if let Some(path) = request.sysctls.keys().find(|path| !is_interface_sysctl(path)) {
        return Err(EndpointProblem::Sysctl(path.clone()));
    }
    request.aliases.iter().try_for_each(|alias| {
        let network = || request.network.clone();
        check_name(alias).map_err(|error| EndpointProblem::Alias { network: network(), error })
    })
}
