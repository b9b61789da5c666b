//! The instance as others see it.

use super::Engine;
use crate::{
    config::settings::Settings,
    daemon::{
        api::{EndpointView, NetworkView},
        process::now,
    },
    dns,
    model::{
        Endpoint, Network, Origin, predefined,
        resolve::{self, Context, HostFacts, HostRoute},
    },
    state::{Instance, State},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A copy of the state, for those who only look: they never wait for a change to end.
#[derive(Clone)]
pub(in crate::daemon) struct Snapshot {
    pub(in crate::daemon) instance: Instance,
    pub(in crate::daemon) settings: Settings,
    pub(in crate::daemon) state: State,
}

impl Snapshot {
    /// All, or those alone that a user may mean by `like`.
    pub(in crate::daemon) fn endpoints(&self, like: Option<&str>) -> Vec<EndpointView> {
        let all = self.state.desired.endpoints.values();
        let meant = |endpoint: &&Arc<Endpoint>| {
            like.is_none_or(|like| endpoint.name == like || endpoint.id.as_str().starts_with(like))
        };
        all.filter(meant).map(|endpoint| self.endpoint(endpoint)).collect()
    }

    /// Those that somebody made.
    pub(super) fn endpoints_of(&self, origin: &Origin) -> Vec<EndpointView> {
        let mut views = self.endpoints(None);
        views.retain(|view| view.endpoint.origin == *origin);
        views
    }

    /// All, in the order of their names; those that are always there among them. Where `bridge` is not made yet, the
    /// host's routes decide what it would get.
    pub(in crate::daemon) fn networks(&self, routes: Vec<HostRoute>) -> Vec<NetworkView> {
        let facts = HostFacts { now: now(), routes, ..HostFacts::default() };
        let context = Context { facts: &facts, settings: &self.settings, instance: &self.instance };
        let desired = &self.state.desired;
        let always = resolve::predefined_networks(desired, context);
        let all = desired.networks.values().chain(&always);
        let mut views: Vec<_> = all.map(|network| self.network(network)).collect();
        views.sort_by(|a, b| a.network.name.cmp(&b.network.name));
        views
    }

    fn endpoint(&self, endpoint: &Endpoint) -> EndpointView {
        endpoint_view(&self.instance, &self.state, endpoint)
    }

    fn network(&self, network: &Network) -> NetworkView {
        network_view(&self.state, network)
    }
}

impl Engine {
    pub(in crate::daemon) fn snapshot(&self) -> Snapshot {
        Snapshot {
            instance: self.instance.clone(),
            settings: self.settings.clone(),
            state: self.state.clone(),
        }
    }

    pub(super) fn view(&self, endpoint: &Endpoint) -> EndpointView {
        endpoint_view(&self.instance, &self.state, endpoint)
    }

    pub(super) fn network_view(&self, network: &Network) -> NetworkView {
        network_view(&self.state, network)
    }
}

fn endpoint_view(instance: &Instance, state: &State, endpoint: &Endpoint) -> EndpointView {
    let joined = endpoint.attachments.iter().map(|attachment| &attachment.network);
    let networks = joined.filter_map(|name| {
        let network = state.desired.networks.get(name)?;
        Some((name.clone(), network.clone()))
    });
    let predefined = endpoint
        .predefined()
        .map(|name| (name.to_owned(), predefined::bare(instance, name, endpoint.created)));
    EndpointView {
        endpoint: endpoint.clone(),
        process: state.runtime.processes.get(&endpoint.name).cloned(),
        namespace: for_others(endpoint.namespace.path()),
        log: instance.log_file(&endpoint.name),
        networks: networks.chain(predefined).collect(),
        etc: dns::etc_directories(instance, &state.desired, endpoint),
    }
}

/// `/proc/self` is somebody else's for somebody else.
fn for_others(path: &Path) -> PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

fn network_view(state: &State, network: &Network) -> NetworkView {
    let endpoints = state.desired.endpoints.values();
    let on_it = endpoints.filter(|endpoint| endpoint.is_on(&network.name));
    NetworkView {
        network: network.clone(),
        endpoints: on_it.map(|endpoint| Endpoint::clone(endpoint)).collect(),
    }
}
