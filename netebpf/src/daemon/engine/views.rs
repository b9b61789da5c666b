//! The instance as others see it.

use super::Engine;
use crate::{
    daemon::api::{EndpointView, NetworkView},
    model::{Endpoint, Network, Origin},
    state::{Instance, State},
};

/// A copy of the state, for those who only look: they never wait for a change to end.
#[derive(Clone)]
pub(in crate::daemon) struct Snapshot {
    pub(in crate::daemon) instance: Instance,
    pub(in crate::daemon) state: State,
}

impl Snapshot {
    pub(in crate::daemon) fn endpoints(&self) -> Vec<EndpointView> {
        self.state.desired.endpoints.values().map(|endpoint| self.endpoint(endpoint)).collect()
    }

    /// Those that somebody made.
    pub(super) fn endpoints_of(&self, origin: &Origin) -> Vec<EndpointView> {
        let mut views = self.endpoints();
        views.retain(|view| view.endpoint.origin == *origin);
        views
    }

    pub(in crate::daemon) fn networks(&self) -> Vec<NetworkView> {
        self.state.desired.networks.values().map(|network| self.network(network)).collect()
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
        Snapshot { instance: self.instance.clone(), state: self.state.clone() }
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
    EndpointView {
        endpoint: endpoint.clone(),
        process: state.runtime.processes.get(&endpoint.name).cloned(),
        log: instance.log_file(&endpoint.name),
        networks: networks.collect(),
    }
}

fn network_view(state: &State, network: &Network) -> NetworkView {
    let on_it = |endpoint: &&Endpoint| {
        endpoint.attachments.iter().any(|attachment| attachment.network == network.name)
    };
    NetworkView {
        network: network.clone(),
        endpoints: state.desired.endpoints.values().filter(on_it).cloned().collect(),
    }
}
