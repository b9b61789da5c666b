//! Services and other processes of endpoints: which to stop, start, adopt, and what their end means.

use super::Engine;
use crate::{
    daemon::{
        Error,
        process::{Launch, Watched, boot_id, describe},
    },
    kernel::netns,
    model::{Desired, Endpoint, Namespace},
    state::{Exit, Process},
};
use futures_util::future::join_all;
use std::{collections::BTreeMap, os::unix::fs::MetadataExt as _, path::Path, sync::Arc};
use tokio::sync::mpsc;

/// The end of a process that was watched.
#[derive(Debug)]
pub(in crate::daemon) struct Exited {
    endpoint: String,
    pid: u32,
    exit: Exit,
}

/// The live processes, by their endpoints' names. Each has a task that waits for its end.
pub(super) struct Watches {
    live: BTreeMap<String, Arc<Watched>>,
    exited: mpsc::UnboundedSender<Exited>,
}

impl Watches {
    pub(super) fn new(exited: mpsc::UnboundedSender<Exited>) -> Self {
        Self { live: BTreeMap::new(), exited }
    }

    /// Watches a process; `false` when it has ended already.
    fn watch(&mut self, endpoint: &str, process: &Process) -> bool {
        let Some(watched) = Watched::find(process).map(Arc::new) else { return false };
        self.live.insert(endpoint.to_owned(), Arc::clone(&watched));
        let (exited, endpoint, pid) = (self.exited.clone(), endpoint.to_owned(), process.pid);
        tokio::spawn(async move {
            let exit = watched.wait().await;
            // Nobody listens when the daemon is going down.
            let _ = exited.send(Exited { endpoint, pid, exit });
        });
        true
    }
}

impl Engine {
    /// Takes over what an earlier daemon started, and starts what a reboot ended.
    pub(super) async fn adopt(&mut self) -> Result<(), Error> {
        let boot = boot_id();
        self.state.runtime.processes.retain(|_, process| process.boot == boot);
        let mut gone = Vec::new();
        for (name, process) in &mut self.state.runtime.processes {
            if process.exit.is_none() && !self.watches.watch(name, process) {
                process.exit = Some(Exit { code: None, at: crate::daemon::process::now() });
                tracing::info!("endpoint {name:?}: its process {} is gone", process.pid);
                gone.push(name.clone());
            }
        }
        for line in self.start_what_comes().await? {
            tracing::info!("{line}");
        }
        self.save()?;
        gone.retain(|name| {
            self.state.desired.endpoints.get(name).is_some_and(|endpoint| endpoint.remove_on_exit)
        });
        self.remove_endpoints(&gone).await.map(drop)
    }

    /// What the end of a process means.
    pub(in crate::daemon) async fn process_exited(&mut self, exited: Exited) -> Result<(), Error> {
        let Exited { endpoint, pid, exit } = exited;
        match self.state.runtime.processes.get_mut(&endpoint) {
            Some(process) if process.pid == pid && process.exit.is_none() => {
                process.exit = Some(exit);
            }
            // Stopped by us, or the endpoint is another one by now.
            _ => return Ok(()),
        }
        self.watches.live.remove(&endpoint);
        self.save()?;
        self.remove_if_wanted(&endpoint).await
    }

    /// A process that somebody else started in an endpoint and waits for: a foreground `run`.
    pub(in crate::daemon) async fn process_reported(
        &mut self,
        endpoint: &str,
        pid: u32,
        code: Option<i32>,
    ) -> Result<(), Error> {
        let name = self.endpoint_name(endpoint)?;
        let Some(code) = code else {
            let process = describe(pid);
            self.watches.watch(&name, &process);
            self.state.runtime.processes.insert(name, process);
            return Ok(self.save()?);
        };
        if let Some(process) = self.state.runtime.processes.get_mut(&name)
            && process.pid == pid
        {
            process.exit = Some(Exit { code: Some(code), at: crate::daemon::process::now() });
            self.watches.live.remove(&name);
            self.save()?;
        }
        self.remove_if_wanted(&name).await
    }

    async fn remove_if_wanted(&mut self, name: &str) -> Result<(), Error> {
        let endpoint = self.state.desired.endpoints.get(name);
        if endpoint.is_some_and(|endpoint| endpoint.remove_on_exit) {
            self.remove_endpoints(&[name.to_owned()]).await?;
        }
        Ok(())
    }

    /// Whether an endpoint's process runs.
    pub(super) fn runs(&self, name: &str) -> bool {
        self.state.runtime.processes.get(name).is_some_and(|process| process.exit.is_none())
    }

    /// Forgets how services ended, so that the next change starts them again.
    pub(super) fn forget_ended(&mut self, names: impl Iterator<Item = String>) {
        for name in names {
            if self.state.runtime.processes.get(&name).is_some_and(|process| process.exit.is_some())
            {
                self.state.runtime.processes.remove(&name);
            }
        }
    }

    /// Ends the processes of endpoints that go, or whose command changed, all at the same time.
    pub(super) async fn stop_what_goes(&mut self, previous: &Desired) -> Vec<String> {
        let desired = &self.state.desired;
        let stays = |endpoint: &&Endpoint| {
            desired.endpoints.get(&endpoint.name).is_some_and(|next| {
                (&next.id, &next.service, &next.namespace)
                    == (&endpoint.id, &endpoint.service, &endpoint.namespace)
            })
        };
        let going: Vec<Endpoint> =
            previous.endpoints.values().filter(|endpoint| !stays(endpoint)).cloned().collect();
        let mut changes = Vec::new();
        let mut stopping = Vec::new();
        for endpoint in &going {
            if let Some(watched) = self.watches.live.remove(&endpoint.name) {
                changes.push(format!("endpoint {}: process stopped", endpoint.name));
                stopping.push(async move { watched.stop().await });
            }
            self.state.runtime.processes.remove(&endpoint.name);
        }
        join_all(stopping).await;
        for endpoint in &going {
            // What else runs in a namespace of ours goes with it, as in a container.
            if let Namespace::Own(path) = &endpoint.namespace {
                crate::daemon::process::evict(path);
            }
            if !self.state.desired.endpoints.contains_key(&endpoint.name) {
                let _ = std::fs::remove_file(self.instance.log_file(&endpoint.name));
            }
        }
        changes
    }

    /// Starts the services that never ran, and again those whose namespace was made again.
    pub(super) async fn start_what_comes(&mut self) -> Result<Vec<String>, Error> {
        let mut changes = Vec::new();
        for endpoint in self.state.desired.endpoints.values() {
            let Some(service) = &endpoint.service else { continue };
            let name = &endpoint.name;
            let namespace = endpoint.namespace.path();
            if let Some(process) = self.state.runtime.processes.get(name) {
                if process.exit.is_some() || is_inside(process, namespace) {
                    continue;
                }
                changes.push(format!("endpoint {name}: its namespace is a new one"));
                if let Some(watched) = self.watches.live.remove(name) {
                    watched.stop().await;
                }
            }
            let launch = Launch {
                command: &service.command,
                environment: &service.environment,
                working_dir: service.working_dir.as_deref(),
                namespace,
            };
            let process = launch
                .spawn_detached(&self.instance.log_file(name))
                .map_err(|source| Error::Service { endpoint: name.clone(), source })?;
            let (command, pid) = (&service.command[0], process.pid);
            changes.push(format!("endpoint {name}: {command} started (process {pid})"));
            self.watches.watch(name, &process);
            self.state.runtime.processes.insert(name.clone(), process);
        }
        Ok(changes)
    }
}

/// Whether a process is in the namespace that is mounted at `path` now.
fn is_inside(process: &Process, path: &Path) -> bool {
    let theirs = std::fs::metadata(format!("/proc/{}/ns/net", process.pid));
    match (theirs, netns::identity(path)) {
        (Ok(theirs), Ok(ours)) => theirs.ino() == ours,
        // It is just ending: its watcher will say so.
        _ => true,
    }
}
