//! Ports that are published and taken back while an endpoint is there.

use super::{
    Context, Resolver,
    endpoint::{AttachmentDraft, Draft},
    error::{EndpointProblem, ResolveError, ResolveProblem},
    ports::Ports,
};
use crate::{
    drivers::{self, Publishing},
    model::{
        Desired, Endpoint, Origin, PortMapping,
        requests::{AttachmentRequest, EndpointRequest, HostPort, PublishSpec},
    },
};
use std::net::IpAddr;

/// What there should be once an endpoint publishes some ports more. Answers with these, too.
///
/// # Errors
///
/// Why one of them cannot be.
pub fn publish(
    before: &Desired,
    endpoint: &str,
    specs: &[PublishSpec],
    context: Context<'_>,
) -> Result<(Desired, Vec<PortMapping>), ResolveError> {
    let desired = before.clone();
    let resolver = Resolver { context, before, desired, origin: Origin::CommandLine };
    let found = endpoint_named(before, endpoint)?;
    let request = EndpointRequest { publish: specs.to_owned(), ..EndpointRequest::default() };
    let joined: Vec<_> =
        found.attachments.iter().map(|joined| AttachmentRequest::new(&joined.network)).collect();
    let attachments = joined.iter().zip(&found.attachments).filter_map(|(request, joined)| {
        let network = before.networks.get(&joined.network)?.clone();
        let addresses = [joined.v4.map(IpAddr::from), joined.v6.map(IpAddr::from)];
        Some(AttachmentDraft { request, network, addresses })
    });
    let draft = Draft {
        request: &request,
        previous: None,
        id: found.id.clone(),
        name: endpoint.to_owned(),
        attachments: attachments.collect(),
    };
    if !specs.iter().all(PublishSpec::is_valid) {
        return Err(draft.error(EndpointProblem::PortRange));
    }
    match found.mode().map(|mode| drivers::of_mode(&mode).publishing()) {
        Some(Publishing::Discarded(why) | Publishing::Refused(why)) => {
            return Err(draft.error(EndpointProblem::Publishing(why)));
        }
        Some(Publishing::Works) | None => {}
    }
    let new = Ports::new(&resolver).assign(&[draft])?.concat();
    let mut desired = resolver.desired;
    if let Some(endpoint) = desired.endpoint_mut(endpoint) {
        endpoint.ports.extend(new.iter().cloned());
    }
    Ok((desired, new))
}

/// What there should be once an endpoint no longer publishes some ports: all that each text meant, which says less
/// where it leaves the host's address or port out.
///
/// # Errors
///
/// One of them is not published.
pub fn unpublish(
    before: &Desired,
    endpoint: &str,
    specs: &[PublishSpec],
) -> Result<Desired, ResolveError> {
    let found = endpoint_named(before, endpoint)?;
    let meant = |spec: &PublishSpec, mapping: &PortMapping| {
        let host_port = match spec.host_port {
            HostPort::Any => true,
            HostPort::One(port) => mapping.host_port == port,
            HostPort::Within(first, last) => (first..=last).contains(&mapping.host_port),
        };
        host_port
            && (mapping.endpoint_port, mapping.transport) == (spec.endpoint_port, spec.transport)
            && (spec.host_address.is_none() || spec.host_address == mapping.host_address)
    };
    for spec in specs {
        if !found.ports.iter().any(|mapping| meant(spec, mapping)) {
            let (endpoint, port) = (endpoint.to_owned(), spec.to_string());
            let problem = ResolveProblem::NotPublished { endpoint, port };
            return Err(ResolveError::new(None, problem));
        }
    }
    let mut desired = before.clone();
    if let Some(endpoint) = desired.endpoint_mut(endpoint) {
        endpoint.ports.retain(|mapping| !specs.iter().any(|spec| meant(spec, mapping)));
    }
    Ok(desired)
}

fn endpoint_named<'a>(before: &'a Desired, name: &str) -> Result<&'a Endpoint, ResolveError> {
    let missing = || ResolveError::new(None, ResolveProblem::NoEndpoint(name.to_owned()));
    before.endpoint(name).ok_or_else(missing)
}
