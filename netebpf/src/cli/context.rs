//! The instance that a command is about, and its daemon, started when there is none.

use super::{
    CliError,
    client::{Client, ClientError},
};
use crate::{
    daemon::{
        self, Kind, Started,
        api::{EndpointView, NetworkView, path},
        find,
    },
    state::Instance,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{path::PathBuf, time::Duration};
use tokio::time::sleep;

/// How often a daemon that is just ending is asked again.
const ATTEMPTS: u32 = 50;

/// See the module.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) instance: Instance,
    pub(super) client: Client,
    /// Where the settings are, of a daemon that has to be started.
    settings: PathBuf,
}

impl Context {
    pub(super) fn new(instance: Instance, settings: PathBuf) -> Self {
        Self { client: Client::new(&instance), instance, settings }
    }

    /// Has something done, by a daemon that is started when none runs.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, CliError> {
        self.insist(async || self.client.post(path, request).await).await
    }

    /// Looks at something. Of an instance that does not exist there is nothing to see; one whose daemon
    /// was killed gets another, which takes over what is there.
    pub(super) async fn look<T: DeserializeOwned + Default>(
        &self,
        path: &str,
    ) -> Result<T, CliError> {
        match self.client.get(path).await {
            Err(ClientError::NoDaemon { .. } | ClientError::Ending(_)) if !self.exists() => {
                Ok(T::default())
            }
            Err(ClientError::NoDaemon { .. }) => {
                eprintln!("netebpf: no daemon runs: one is started, and takes over what is there");
                self.insist(async || self.client.get(path).await).await
            }
            answer => Ok(answer?),
        }
    }

    /// Asks until a daemon answers, and starts one when none runs.
    async fn insist<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, ClientError>,
    ) -> Result<T, CliError> {
        for _ in 0..ATTEMPTS {
            match ask().await {
                Err(ClientError::NoDaemon { .. }) => {
                    match daemon::start(&self.instance, &self.settings)? {
                        Started::Ready(warnings) => {
                            warnings.iter().for_each(|line| eprintln!("netebpf: warning: {line}"));
                            continue;
                        }
                        Started::Other => {}
                    }
                }
                Err(ClientError::Ending(_)) => {}
                answer => return Ok(answer?),
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(CliError::Restless(self.instance.clone()))
    }

    /// Whether there is anything of the instance, whether or not a daemon runs.
    pub(super) fn exists(&self) -> bool {
        self.instance.state_dir().exists() || self.instance.pin_root().exists()
    }

    pub(super) async fn endpoints(&self) -> Result<Vec<EndpointView>, CliError> {
        self.look(path::ENDPOINTS).await
    }

    pub(super) async fn networks(&self) -> Result<Vec<NetworkView>, CliError> {
        let networks: Vec<_> = self.look(path::NETWORKS).await?;
        if networks.is_empty() {
            // Nobody was asked: a daemon knows three of them at least.
            return daemon::networks_of_nobody(&self.instance, &self.settings)
                .await
                .map_err(|error| CliError::Daemon(Box::new(error)));
        }
        Ok(networks)
    }

    /// The endpoint that the user means.
    pub(super) async fn endpoint(&self, query: &str) -> Result<EndpointView, CliError> {
        // What no name has needs no look for it.
        let may_be = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let mut all: Vec<EndpointView> = match query.chars().all(may_be) {
            true => self.look(&format!("{}?like={query}", path::ENDPOINTS)).await?,
            false => self.endpoints().await?,
        };
        let names = all.iter().map(|view| (view.endpoint.name.as_str(), &view.endpoint.id));
        let name = find(Kind::Endpoint, query, names)?.to_owned();
        all.retain(|view| view.endpoint.name == name);
        Ok(all.remove(0))
    }

    /// The network that the user means.
    pub(super) async fn network(&self, query: &str) -> Result<NetworkView, CliError> {
        let mut all = self.networks().await?;
        let names = all.iter().map(|view| (view.network.name.as_str(), &view.network.id));
        let name = find(Kind::Network, query, names)?.to_owned();
        all.retain(|view| view.network.name == name);
        Ok(all.remove(0))
    }
}
