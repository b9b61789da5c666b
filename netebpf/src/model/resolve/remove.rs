//! Taking away.

use super::error::{ResolveError, ResolveProblem};
use crate::model::{Desired, Endpoint, Namespace, Network, Origin, predefined::is_predefined};

/// What there should be without what `up` of a topology made. A name that nothing was made under
/// changes nothing.
///
/// # Errors
///
/// A network of it is in use by somebody else's endpoint.
pub fn remove_topology(before: &Desired, name: &str) -> Result<Desired, ResolveError> {
    without(before, |origin| matches!(origin, Origin::Topology(other) if other == name))
}

/// What there should be without what `up`, `run`, `create` and `network create` made: only what engines
/// made stays.
///
/// # Errors
///
/// A network is in use by an engine's endpoint.
pub fn remove_command_line(before: &Desired) -> Result<Desired, ResolveError> {
    without(before, |origin| !matches!(origin, Origin::Engine(_)))
}

/// What there should be without some endpoints, whoever made them.
///
/// # Errors
///
/// One of the names is nobody's.
pub fn remove_endpoints<N: AsRef<str>>(
    before: &Desired,
    names: &[N],
) -> Result<Desired, ResolveError> {
    let mut desired = before.clone();
    for name in names.iter().map(AsRef::as_ref) {
        if !before.endpoints.contains_key(name) {
            return Err(ResolveError::new(None, ResolveProblem::NoEndpoint(name.to_owned())));
        }
        desired.endpoints.remove(name);
    }
    Ok(desired)
}

/// Who is in the namespace of an endpoint that goes, and stays.
pub fn left_behind<'a>(before: &'a Desired, after: &'a Desired) -> Option<(&'a str, &'a Endpoint)> {
    after.endpoints.values().find_map(|endpoint| match &endpoint.namespace {
        Namespace::Of(other, _) => {
            let goes = before.endpoints.contains_key(other) && !after.endpoints.contains_key(other);
            goes.then_some((other.as_str(), endpoint.as_ref()))
        }
        _ => None,
    })
}

/// Checks that nobody is left behind.
pub(super) fn check_shared(before: &Desired, after: &Desired) -> Result<(), ResolveError> {
    let Some((endpoint, by)) = left_behind(before, after) else { return Ok(()) };
    let (endpoint, by, owner) = (endpoint.to_owned(), by.name.clone(), by.origin.clone());
    Err(ResolveError::new(None, ResolveProblem::NamespaceInUse { endpoint, by, owner }))
}

/// What there should be without a network, whoever made it.
///
/// # Errors
///
/// It is not there, or it is in use.
pub fn remove_network(before: &Desired, name: &str) -> Result<Desired, ResolveError> {
    if is_predefined(name) {
        return Err(ResolveError::new(None, ResolveProblem::Predefined(name.to_owned())));
    }
    let mut desired = before.clone();
    if desired.networks.remove(name).is_none() {
        return Err(ResolveError::new(None, ResolveProblem::NoNetwork(name.to_owned())));
    }
    check_use(&desired)?;
    Ok(desired)
}

/// What there should be without the networks that `meant` is true of and nobody is on. Those that are always there
/// stay, and so do those of engines, which know of them.
pub fn prune(before: &Desired, meant: impl Fn(&Network) -> bool) -> Desired {
    let mut desired = before.clone();
    let endpoints = &before.endpoints;
    desired.networks.retain(|name, network| {
        is_predefined(name)
            || matches!(network.origin, Origin::Engine(_))
            || endpoints.values().any(|endpoint| endpoint.is_on(name))
            || !meant(network)
    });
    desired
}

fn without(before: &Desired, gone: impl Fn(&Origin) -> bool) -> Result<Desired, ResolveError> {
    let mut desired = before.clone();
    desired.retain_endpoints(|endpoint| !gone(&endpoint.origin));
    desired.networks.retain(|_, network| !gone(&network.origin));
    check_use(&desired)?;
    check_shared(before, &desired)?;
    Ok(desired)
}

/// Checks that every endpoint's networks are there and still have its addresses.
pub(super) fn check_use(desired: &Desired) -> Result<(), ResolveError> {
    for endpoint in desired.endpoints.values() {
        for attachment in &endpoint.attachments {
            let network = desired.networks.get(&attachment.network);
            let fits = network.is_some_and(|network| {
                [false, true].into_iter().all(|v6| {
                    let address = attachment.addresses().find(|a| a.is_ipv6() == v6);
                    let subnet = network.subnet(v6);
                    match (address, subnet) {
                        (Some(address), Some(subnet)) => {
                            subnet.net.contains(&address) && subnet.gateway != address
                        }
                        (None, None) => true,
                        _ => false,
                    }
                })
            });
            if !fits {
                let (network, endpoint, owner) =
                    (attachment.network.clone(), endpoint.name.clone(), endpoint.origin.clone());
                let problem = ResolveProblem::NetworkInUse { network, endpoint, owner };
                return Err(ResolveError::new(None, problem));
            }
        }
    }
    Ok(())
}
