//! Services and other processes of endpoints: which to stop, start, adopt, and what their end means.

use super::Engine;
use crate::{
    daemon::{
        Error,
        etc::keep,
        paths::Paths,
        process::{self, Launch, Watched, boot_id, describe, now},
        program,
        runner::Codes,
    },
    dns,
    kernel::netns,
    model::{Desired, Endpoint, Namespace, Origin},
    observe::Event,
    state::{Asked, Exit, Instance, Process, Runner},
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;

/// The end of a process that was watched.
#[derive(Debug)]
pub(in crate::daemon) struct Exited {
    pub(super) endpoint: String,
    pub(super) pid: u32,
    pub(super) exit: Exit,
}

/// The live processes, by their endpoints' names. Each has a task that waits for its end.
pub(super) struct Watches {
    pub(super) live: BTreeMap<String, Arc<Watched>>,
    exited: mpsc::UnboundedSender<Exited>,
    /// What foreground `run`s say.
    pub(super) codes: Codes,
    /// What processes have in their /etc.
    pub(super) paths: Paths,
}

impl Watches {
    pub(super) fn new(exited: mpsc::UnboundedSender<Exited>) -> Self {
        Self { live: BTreeMap::new(), exited, codes: Codes::default(), paths: Paths::new() }
    }

    /// Watches a process that sees the files of `etc` in its /etc; `false` when it has ended already.
    fn watch(&mut self, endpoint: &str, process: &Process, etc: Vec<PathBuf>) -> bool {
        let Some(watched) = Watched::find(process, &self.codes).map(Arc::new) else { return false };
        self.live.insert(endpoint.to_owned(), Arc::clone(&watched));
        let (exited, endpoint, pid) = (self.exited.clone(), endpoint.to_owned(), process.pid);
        let paths = self.paths.clone();
        tokio::spawn(async move {
            let exit = tokio::select! {
                exit = watched.wait() => exit,
                () = keep(pid, watched.as_fd(), &etc, &paths) => return,
            };
            // Nobody listens when the daemon is going down.
            let _ = exited.send(Exited { endpoint, pid, exit });
        });
        true
    }

    /// For one that ended before it could be watched.
    fn tell_end(&self, endpoint: &str, pid: u32, exit: Exit) {
        let _ = self.exited.send(Exited { endpoint: endpoint.to_owned(), pid, exit });
    }
}

impl Engine {
    /// Ends what a daemon that was killed in the middle of a change did not get to: processes of
    /// endpoints that are no longer desired, or have another command by now, and those in our own
    /// namespaces that no record speaks of.
    pub(super) async fn stop_what_went(&mut self) {
        let boot = boot_id();
        let desired = &self.state.desired;
        let stale = |name: &str, process: &Process| {
            let now = desired.endpoint(name).map(Process::purpose_of);
            process.boot != boot || now.as_ref() != Some(&process.purpose)
        };
        let mut stopping = Vec::new();
        self.state.runtime.processes.retain(|name, process| {
            let stale = stale(name, process);
            if stale
                && !process.caller
                && let Some(watched) = Watched::find(process, &self.watches.codes)
            {
                tracing::info!(
                    "endpoint {name:?}: its process {} is an earlier one's",
                    process.pid
                );
                // Nobody can tell its code yet, nor wants it.
                stopping.push(async move { watched.end().await });
            }
            !stale
        });
        join_all(stopping).await;
        let records = &self.state.runtime.processes;
        let unknown: Vec<_> = desired
            .endpoints
            .values()
            .map(Arc::as_ref)
            .filter(|endpoint| endpoint.service.is_some() && !records.contains_key(&endpoint.name))
            .cloned()
            .collect();
        self.evict(&unknown);
    }

    /// Kills what runs in endpoints: in a namespace that we made all of it, and in somebody else's, or
    /// one that only has the name of ours, what descends from the endpoint's service.
    fn evict(&self, endpoints: &[Endpoint]) {
        let owns = |path: &Path| {
            self.kernel.owns(path).unwrap_or_else(|error| {
                tracing::error!("{error}");
                false
            })
        };
        for endpoint in endpoints {
            match &endpoint.namespace {
                Namespace::Own(path) if owns(path) => process::evict(path, None),
                other => process::evict(other.path(), Some(&endpoint.id)),
            };
        }
    }

    /// Takes over what an earlier daemon started, and starts what a reboot ended. Answers with what
    /// does not start.
    pub(super) async fn adopt(&mut self) -> Result<Vec<String>, Error> {
        let desired = &self.state.desired;
        for (name, process) in &mut self.state.runtime.processes {
            let etc = etc_of(&self.instance, desired, name, process);
            if process.exit.is_none() && !self.watches.watch(name, process, etc) {
                process.exit = Some(Exit { code: None, at: now() });
                tracing::info!("endpoint {name:?}: its process {} is gone", process.pid);
            }
        }
        // Ended while nobody watched, by a reboot too; or its runner ended before it was recorded. Where there
        // is no record, because it was lost, whoever is in there still runs.
        let ended =
            |endpoint: &&Arc<Endpoint>| match self.state.runtime.processes.get(&endpoint.name) {
                Some(process) => process.exit.is_some(),
                None => !process::is_occupied(endpoint),
            };
        let endpoints = self.state.desired.endpoints.values();
        let gone: Vec<_> = endpoints
            .filter(|endpoint| endpoint.remove_on_exit)
            .filter(ended)
            .map(|endpoint| endpoint.name.clone())
            .collect();
        self.remove_endpoints(&gone).await?;
        let desired = self.state.desired.clone();
        let lines = self.start_what_comes(&desired).await?;
        self.save()?;
        Ok(lines)
    }

    /// What the end of a process means.
    pub(in crate::daemon) async fn process_exited(&mut self, exited: Exited) -> Result<(), Error> {
        let Exited { endpoint, pid, exit } = exited;
        let asked = match self.state.runtime.processes.get_mut(&endpoint) {
            Some(process) if process.pid == pid && process.exit.is_none() => {
                let (code, asked) = (exit.code, process.asked);
                process.exit = Some(exit);
                self.tell_end(&endpoint, code);
                asked
            }
            // Stopped by us, or the endpoint is another one by now.
            _ => return Ok(()),
        };
        self.watches.live.remove(&endpoint);
        self.save()?;
        if asked == Some(Asked::Restart) {
            return Ok(());
        }
        self.remove_if_wanted(&endpoint).await
    }

    /// A process that somebody else started in an endpoint and waits for: a foreground `run`.
    pub(in crate::daemon) async fn process_reported(
        &mut self,
        endpoint: &str,
        pid: u32,
        code: Option<i32>,
    ) -> Result<(), Error> {
        let name = match self.endpoint_name(endpoint) {
            // We saw the end before the caller did, and the endpoint went with it.
            Err(Error::Lookup(_)) if code.is_some() => return Ok(()),
            name => name?,
        };
        let Some(code) = code else {
            let endpoint = &self.state.desired.endpoints[&name];
            let process = describe(pid, endpoint);
            // A number from another process namespace is somebody else's here.
            if !is_inside(&process, endpoint.namespace.path()) {
                return Ok(());
            }
            let before = self.state.runtime.processes.get(&name);
            let caller = before.filter(|before| before.caller && before.exit.is_none());
            let runner =
                caller.map(|caller| Runner { pid: caller.pid, start_time: caller.start_time });
            return self.record(&name, Process { runner, ..process });
        };
        if let Some(process) = self.state.runtime.processes.get_mut(&name)
            // Nobody was told of the command when the daemon was killed then.
            && (process.pid == pid || process.caller)
        {
            let before = process.exit.replace(Exit { code: Some(code), at: now() });
            self.watches.live.remove(&name);
            if before.is_none() {
                self.tell_end(&name, Some(code));
            }
            self.save()?;
        }
        self.remove_if_wanted(&name).await
    }

    /// Watches the caller that will start an endpoint's command: until it has, its end is the command's.
    pub(super) fn record_caller(&mut self, name: &str, pid: u32) -> Result<(), Error> {
        let process = describe(pid, &self.state.desired.endpoints[name]);
        self.record(name, Process { caller: true, ..process })
    }

    fn tell_end(&self, name: &str, code: Option<i32>) {
        if let Some(endpoint) = self.state.desired.endpoints.get(name) {
            let code = code.map(|code| ("exitCode", code.to_string()));
            self.events.tell(Event::of_endpoint(endpoint, "die", code.as_slice()));
            if self.was_asked(name) {
                self.events.tell(Event::of_endpoint(endpoint, "stop", &[]));
            }
        }
    }

    /// Whether an endpoint's process ends, or ended, because somebody said so.
    fn was_asked(&self, name: &str) -> bool {
        self.state.runtime.processes.get(name).is_some_and(|process| process.asked.is_some())
    }

    /// Watches a process that somebody else started for an endpoint.
    fn record(&mut self, name: &str, process: Process) -> Result<(), Error> {
        if !process.caller
            && let Some(endpoint) = self.state.desired.endpoints.get(name)
        {
            self.events.tell(Event::of_endpoint(endpoint, "start", &[]));
        }
        let etc = etc_of(&self.instance, &self.state.desired, name, &process);
        if !self.watches.watch(name, &process, etc) {
            self.watches.tell_end(name, process.pid, Exit { code: None, at: now() });
        }
        self.state.runtime.processes.insert(name.to_owned(), process);
        Ok(self.save()?)
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

    /// Forgets the services of one origin that failed or were stopped, so that the next change starts them again.
    /// What ended well by itself is done.
    pub(super) fn forget_failed(&mut self, next: &Desired, origin: &Origin) {
        for endpoint in next.endpoints.values().filter(|endpoint| endpoint.origin == *origin) {
            if self.is_to_come_again(&endpoint.name) {
                self.state.runtime.processes.remove(&endpoint.name);
            }
        }
    }

    fn is_to_come_again(&self, name: &str) -> bool {
        let process = self.state.runtime.processes.get(name);
        let exit = process.and_then(|process| process.exit.as_ref());
        exit.is_some_and(|exit| exit.code != Some(0) || self.was_asked(name))
    }

    /// What [`Engine::stop_what_goes`] would do on the way to `next`.
    pub(super) fn would_stop(&self, next: &Desired) -> Vec<String> {
        let going = going(&self.state.desired, next).filter(|endpoint| self.runs(&endpoint.name));
        going.map(|endpoint| format!("endpoint {}: stop its process", endpoint.name)).collect()
    }

    /// What [`Engine::start_what_comes`] would do then, after an `up` of `origin`.
    pub(super) fn would_start(&self, next: &Desired, origin: &Origin) -> Vec<String> {
        let again = |endpoint: &Endpoint| {
            let known = self.state.runtime.processes.contains_key(&endpoint.name);
            let again = endpoint.origin == *origin && self.is_to_come_again(&endpoint.name);
            !known || again || !stays(endpoint, &self.state.desired)
        };
        let coming = next.endpoints.values().filter(|endpoint| again(endpoint));
        coming
            .filter_map(|endpoint| {
                let service = endpoint.service.as_ref()?;
                Some(format!("endpoint {}: start {}", endpoint.name, service.command[0]))
            })
            .collect()
    }

    /// Ends the processes of endpoints that go, or whose command changed, all at the same time.
    pub(super) async fn stop_what_goes(&mut self, previous: &Desired) -> Vec<String> {
        let desired = &self.state.desired;
        let going: Vec<Endpoint> = going(previous, desired).cloned().collect();
        let mut changes = Vec::new();
        let mut stopping = Vec::new();
        for endpoint in &going {
            let record = self.state.runtime.processes.remove(&endpoint.name);
            if let Some(watched) = self.watches.live.remove(&endpoint.name)
                && record.is_some_and(|record| !record.caller)
            {
                changes.push(format!("endpoint {}: process stopped", endpoint.name));
                stopping.push(async move { (endpoint, watched.stop().await) });
            }
        }
        for (endpoint, exit) in join_all(stopping).await {
            let code = exit.code.map(|code| ("exitCode", code.to_string()));
            self.events.tell(Event::of_endpoint(endpoint, "die", code.as_slice()));
        }
        // What else runs in a namespace of ours goes with it, as in a container.
        self.evict(&going);
        for endpoint in &going {
            if !self.state.desired.endpoints.contains_key(&endpoint.name) {
                let _ = std::fs::remove_file(self.instance.log_file(&endpoint.name));
            }
        }
        changes
    }

    /// Refuses a service that is new, or has another command now, and would not start.
    pub(super) fn check_command(&self, endpoint: &Endpoint) -> Result<(), Error> {
        match &endpoint.service {
            Some(service) if !stays(endpoint, &self.state.desired) => program::check(service)
                .map_err(|source| Error::Service { endpoint: endpoint.name.clone(), source }),
            _ => Ok(()),
        }
    }

    /// Starts the services that never ran, and again those whose namespace was made again. One that
    /// does not start is an error where `previous` did not have it, and else only said.
    pub(super) async fn start_what_comes(
        &mut self,
        previous: &Desired,
    ) -> Result<Vec<String>, Error> {
        let mut changes = Vec::new();
        for endpoint in self.state.desired.endpoints.clone().values() {
            match self.start_if_needed(endpoint).await {
                Ok(lines) => changes.extend(lines),
                Err(error) if stays(endpoint, previous) => changes.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(changes)
    }

    pub(super) async fn start_if_needed(
        &mut self,
        endpoint: &Endpoint,
    ) -> Result<Vec<String>, Error> {
        let mut changes = Vec::new();
        let Some(service) = &endpoint.service else { return Ok(changes) };
        let name = &endpoint.name;
        let namespace = endpoint.namespace.path();
        if let Some(process) = self.state.runtime.processes.get(name) {
            if process.exit.is_some() || is_inside(process, namespace) {
                return Ok(changes);
            }
            changes.push(format!("endpoint {name}: its namespace is a new one"));
            if let Some(watched) = self.watches.live.remove(name) {
                watched.stop().await;
            }
        }
        let launch = Launch {
            endpoint: &endpoint.id,
            command: &service.command,
            environment: &service.environment,
            working_dir: service.working_dir.as_deref(),
            namespace,
            etc: &dns::etc_directories(&self.instance, &self.state.desired, endpoint),
        };
        let pid = launch
            .spawn_detached(&self.instance.log_file(name))
            .map_err(|source| Error::Service { endpoint: name.clone(), source })?;
        let process = describe(pid, endpoint);
        changes.push(format!("endpoint {name}: {} started (process {pid})", service.command[0]));
        let etc = etc_of(&self.instance, &self.state.desired, name, &process);
        self.watches.watch(name, &process, etc);
        self.events.tell(Event::of_endpoint(endpoint, "start", &[]));
        self.state.runtime.processes.insert(name.clone(), process);
        // At once: what no record speaks of would be started a second time.
        self.files.save_runtime(&self.state.runtime)?;
        Ok(changes)
    }
}

/// What an endpoint's process sees in its /etc, where that is for us to keep: a foreground `run` keeps it itself.
fn etc_of(instance: &Instance, desired: &Desired, name: &str, process: &Process) -> Vec<PathBuf> {
    let endpoint = desired.endpoints.get(name);
    let ours = endpoint.filter(|endpoint| endpoint.service.is_some() && !process.caller);
    ours.map_or_else(Vec::new, |endpoint| dns::etc_directories(instance, desired, endpoint))
}

/// Whether another intent has the endpoint with the same process in the same namespace.
fn stays(endpoint: &Endpoint, other: &Desired) -> bool {
    other.endpoint(&endpoint.name).is_some_and(|other| {
        // Of most there is nothing to compare.
        std::ptr::eq(other, endpoint)
            || (&other.id, &other.service, &other.namespace)
                == (&endpoint.id, &endpoint.service, &endpoint.namespace)
    })
}

/// The endpoints whose processes end on the way from `previous` to `next`.
pub(super) fn going<'a>(
    previous: &'a Desired,
    next: &'a Desired,
) -> impl Iterator<Item = &'a Endpoint> {
    let differing = previous.differing(next).filter_map(|name| previous.endpoint(name));
    let mut gone: Vec<&Endpoint> = differing.filter(|endpoint| !stays(endpoint, next)).collect();
    // With a namespace of ours go all who are in it.
    let own = gone.iter().filter(|endpoint| matches!(endpoint.namespace, Namespace::Own(_)));
    let own: BTreeSet<_> = own.map(|endpoint| endpoint.namespace.path()).collect();
    if !own.is_empty() {
        let in_one = |endpoint: &&Endpoint| {
            matches!(endpoint.namespace, Namespace::Of(..))
                && own.contains(endpoint.namespace.path())
                && stays(endpoint, next)
        };
        gone.extend(previous.endpoints.values().map(Arc::as_ref).filter(in_one));
    }
    gone.into_iter()
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
