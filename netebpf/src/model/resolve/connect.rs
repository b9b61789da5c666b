//! Networks that an endpoint joins and leaves while it is there.

use super::{
    Context, Resolver, addresses,
    endpoint::{AttachmentDraft, Draft, check_attachment},
    error::{EndpointProblem, ResolveError, ResolveProblem},
    interfaces,
};
use crate::model::{
    Desired, Endpoint, Namespace, Origin,
    predefined::{HOST, NONE},
    requests::{AttachmentRequest, DEFAULT_NETWORK, EndpointRequest},
};

/// What there should be once an endpoint is on one network more. Its other interfaces stay as they are; the
/// default route may move. What is published stays: who carries it is decided anew with every plan.
///
/// # Errors
///
/// Why it cannot join.
pub fn connect(
    before: &Desired,
    endpoint: &str,
    request: &AttachmentRequest,
    context: Context<'_>,
) -> Result<Desired, ResolveError> {
    let desired = before.clone();
    let mut resolver = Resolver { context, before, desired, origin: Origin::CommandLine };
    if request.network == DEFAULT_NETWORK {
        resolver.default_network()?;
    }
    if matches!(request.network.as_str(), HOST | NONE) {
        resolver.connect_predefined(endpoint, &request.network)?;
        return Ok(resolver.desired);
    }
    resolver.connect(endpoint, request)?;
    Ok(resolver.desired)
}

/// What there should be once an endpoint has left a network; it may have been its last.
///
/// # Errors
///
/// It is not there, or not on the network.
pub fn disconnect(
    before: &Desired,
    endpoint: &str,
    network: &str,
) -> Result<Desired, ResolveError> {
    let mut desired = before.clone();
    let problem = ResolveProblem::NoEndpoint(endpoint.to_owned());
    let found = desired.endpoint_mut(endpoint).ok_or_else(|| ResolveError::new(None, problem))?;
    let joined = found.attachments.len();
    found.attachments.retain(|attachment| attachment.network != network);
    if network == HOST && found.namespace == Namespace::Host {
        return Err(problem_of(endpoint, EndpointProblem::HostNetwork));
    }
    if network == NONE && found.alone {
        found.alone = false;
    } else if found.attachments.len() == joined {
        let (endpoint, network) = (endpoint.to_owned(), network.to_owned());
        let problem = ResolveProblem::NotConnected { endpoint, network };
        return Err(ResolveError::new(None, problem));
    }
    interfaces::lead_out(&mut found.attachments, &before.networks);
    Ok(desired)
}

fn problem_of(endpoint: &str, problem: EndpointProblem) -> ResolveError {
    let endpoint = endpoint.to_owned();
    ResolveError::new(None, ResolveProblem::Endpoint { endpoint, problem })
}

impl Resolver<'_> {
    fn endpoint_mut(&mut self, name: &str) -> Result<&mut Endpoint, ResolveError> {
        let problem = ResolveProblem::NoEndpoint(name.to_owned());
        self.desired.endpoint_mut(name).ok_or_else(|| ResolveError::new(None, problem))
    }

    /// Joins `host`, which nobody can who is there already, or `none`.
    fn connect_predefined(&mut self, name: &str, network: &str) -> Result<(), ResolveError> {
        let endpoint = self.endpoint_mut(name)?;
        let problem = match network {
            HOST => EndpointProblem::HostNetwork,
            _ if endpoint.namespace.is_shared() => EndpointProblem::SharedNamespace,
            _ if endpoint.alone => {
                let (endpoint, network) = (name.to_owned(), network.to_owned());
                let problem = ResolveProblem::ConnectedAlready { endpoint, network };
                return Err(ResolveError::new(None, problem));
            }
            _ if endpoint.attachments.is_empty() => {
                endpoint.alone = true;
                return Ok(());
            }
            _ => EndpointProblem::NotAlone,
        };
        Err(problem_of(name, problem))
    }

    fn connect(&mut self, name: &str, request: &AttachmentRequest) -> Result<(), ResolveError> {
        let mut endpoint = self.endpoint_mut(name)?.clone();
        if endpoint.namespace.is_shared() {
            return Err(problem_of(name, EndpointProblem::SharedNamespace));
        }
        if endpoint.alone {
            return Err(problem_of(name, EndpointProblem::NotAlone));
        }
        let whole = EndpointRequest::default();
        let mut draft = Draft {
            request: &whole,
            previous: None,
            id: endpoint.id.clone(),
            name: name.to_owned(),
            attachments: Vec::new(),
        };
        let network = self
            .desired
            .networks
            .get(&request.network)
            .cloned()
            .ok_or_else(|| draft.error(EndpointProblem::NoNetwork(request.network.clone())))?;
        if endpoint.attachments.iter().any(|joined| joined.network == request.network) {
            let (endpoint, network) = (name.to_owned(), request.network.clone());
            let problem = ResolveProblem::ConnectedAlready { endpoint, network };
            return Err(ResolveError::new(None, problem));
        }
        check_attachment(request).map_err(|problem| draft.error(problem))?;
        draft.attachments.push(AttachmentDraft { request, network, addresses: [None, None] });
        let mut taken = addresses::taken(&self.desired);
        addresses::chosen(&mut draft, &mut taken)?;
        addresses::choose(&mut draft, &mut taken)?;
        let mut macs = interfaces::macs(&self.desired);
        let mut attachments = interfaces::attachments(&draft, &endpoint.attachments, &mut macs)?;
        interfaces::lead_out(&mut attachments, &self.desired.networks);
        endpoint.attachments = attachments;
        self.desired.endpoints.insert(name.to_owned(), endpoint.into());
        Ok(())
    }
}
