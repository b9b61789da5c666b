//! From what was asked for to what should be: every name checked, every open choice made.
//!
//! **Invariant**: pure functions from one [`Desired`] to the next; on an error nothing has changed. What
//! is there and is asked for again keeps its identifier, number, subnets, addresses and ports, so that
//! `up` twice is nothing the second time. What others made is never changed, and an error says whose it
//! is. Only random numbers come from outside: identifiers, and open host ports.

mod addresses;
mod connect;
mod endpoint;
mod error;
mod facts;
mod interfaces;
mod network;
mod ports;
mod predefined;
mod publish;
mod remove;

pub use connect::{connect, disconnect};
pub use error::{EndpointProblem, NetworkProblem, PublishedPort, ResolveError, ResolveProblem};
pub use facts::{HostFacts, HostRoute, HostSocket, HostSockets};
pub use predefined::predefined_networks;
pub use publish::{publish, unpublish};
pub use remove::{
    left_behind, prune, remove_command_line, remove_endpoints, remove_network, remove_topology,
};

use super::{
    Desired, Origin,
    requests::{
        AttachmentRequest, DEFAULT_NETWORK, EndpointRequest, NetworkRequest, check_network_name,
    },
};
use crate::{
    config::{settings::Settings, topology::Topology},
    state::Instance,
};

/// What every resolution looks at: the host, the settings, the instance.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The host as it is.
    pub facts: &'a HostFacts,
    /// What it was told.
    pub settings: &'a Settings,
    /// Whose endpoints these are.
    pub instance: &'a Instance,
}

/// A resolution on its way.
struct Resolver<'a> {
    context: Context<'a>,
    /// What was there before: what is asked for again takes what it had from here.
    before: &'a Desired,
    /// What there will be.
    desired: Desired,
    /// Who asks.
    origin: Origin,
}

/// What there should be once a topology file is up: what an earlier `up` of the same name made and the
/// file no longer has is gone.
///
/// # Errors
///
/// The first thing that cannot be, with its place in the file.
pub fn apply_topology(
    before: &Desired,
    topology: &Topology,
    context: Context<'_>,
) -> Result<Desired, ResolveError> {
    let origin = Origin::Topology(topology.name.clone());
    let mut resolver = Resolver { context, before, desired: before.clone(), origin };
    resolver.desired.networks.retain(|_, network| network.origin != resolver.origin);
    resolver.desired.retain_endpoints(|endpoint| endpoint.origin != resolver.origin);
    for network in &topology.networks {
        check_new_name(network)?;
    }
    for network in &topology.external {
        let there = resolver.desired.networks.contains_key(&network.name);
        if !there && network.name != DEFAULT_NETWORK {
            let problem = ResolveProblem::NoExternalNetwork(network.name.clone());
            return Err(ResolveError::new(Some(&network.place), problem));
        }
    }
    resolver.networks(&topology.networks)?;
    let mut joined = topology.endpoints.iter().flat_map(|endpoint| &endpoint.networks);
    if joined.any(|joined| joined.network == DEFAULT_NETWORK) {
        resolver.default_network()?;
    }
    remove::check_use(&resolver.desired)?;
    resolver.endpoints(&topology.endpoints)?;
    remove::check_shared(before, &resolver.desired)?;
    Ok(resolver.desired)
}

/// What there should be with one endpoint more. Without a network it joins [`DEFAULT_NETWORK`], which
/// is made where it is wanted and not there.
///
/// # Errors
///
/// Why the endpoint cannot be.
pub fn add_endpoint(
    before: &Desired,
    request: &EndpointRequest,
    context: Context<'_>,
) -> Result<Desired, ResolveError> {
    let mut request = request.clone();
    if request.networks.is_empty() && request.mode.is_none() {
        request.networks.push(AttachmentRequest::new(DEFAULT_NETWORK));
    }
    let desired = before.clone();
    let mut resolver = Resolver { context, before, desired, origin: Origin::CommandLine };
    if request.networks.iter().any(|network| network.network == DEFAULT_NETWORK) {
        resolver.default_network()?;
    }
    resolver.endpoints(&[request])?;
    Ok(resolver.desired)
}

/// What there should be with one network more.
///
/// # Errors
///
/// Why the network cannot be.
pub fn add_network(
    before: &Desired,
    request: &NetworkRequest,
    context: Context<'_>,
) -> Result<Desired, ResolveError> {
    check_new_name(request)?;
    let desired = before.clone();
    let mut resolver = Resolver { context, before, desired, origin: Origin::CommandLine };
    resolver.networks(std::slice::from_ref(request))?;
    Ok(resolver.desired)
}

fn check_new_name(request: &NetworkRequest) -> Result<(), ResolveError> {
    check_network_name(&request.name)
        .map_err(|error| ResolveError::new(request.place.as_ref(), error.into()))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
