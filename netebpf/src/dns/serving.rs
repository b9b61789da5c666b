//! The resolvers of all endpoints.
//!
//! **Invariant**: when [`Serving::serve`] returns, each endpoint sees what is desired, every resolver of an
//! endpoint or a namespace that is gone is closed, and each is where calls arrive: at a port to which they are
//! led, or at port 53 while nothing leads them. An endpoint whose resolver cannot be has all else, and the reason
//! is told once. Who did not change is not looked at, but for where its resolver is: the time that a change takes
//! is its own.

use super::{
    Upstreams,
    asker::{Asker, FORWARDS},
    files::{self, Files},
    memory::{self, Memory},
    names::{self, Names, View},
    resolv_conf::ResolvConf,
    served::{Changes, Served},
    sockets::{self, At, SocketError, Sockets},
    tcp,
    threads::Threads,
    udp,
};
use crate::{
    kernel::{Kernel, Moved, NetnsError, Purpose},
    model::{Desired, Endpoint, Id},
    state::Instance,
};
use netebpf_common::abi::ResolverPorts;
use rustix::process::{Resource, getrlimit};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Serving {
    instance: Instance,
    upstreams: Arc<Upstreams>,
    servers: BTreeMap<String, Server>,
    threads: Threads,
    files: Arc<Mutex<Files>>,
    /// Writes them: what it could not do.
    writing: Option<JoinHandle<Vec<(PathBuf, String)>>>,
    names: Names,
    served: Served,
    /// Endpoints that differ from what was served, or should have a resolver and have none.
    waiting: BTreeSet<String>,
    /// The files that there should be, and whose they are.
    wanted: files::Texts,
    paths: BTreeMap<String, PathBuf>,
    told: BTreeSet<String>,
    forwards: usize,
    all_forwards: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// What tells the namespace at a path from one that is made there later.
fn place_of(namespace: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(namespace).ok().map(|there| (there.dev(), there.ino()))
}

/// The resolver of one endpoint.
#[derive(Debug)]
struct Server {
    endpoint: Id,
    /// Which namespace it is in, see [`place_of`].
    namespace: (u64, u64),
    /// Its cookie and the resolver's ports there, where calls are led to them.
    led: Option<(u64, ResolverPorts)>,
    asker: Arc<Asker>,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    /// Ends it; its sockets are closed then.
    async fn close(self) {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

fn lock(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Serving {
    /// Nobody is served yet, and nothing runs.
    pub(crate) fn new(instance: Instance, upstreams: Arc<Upstreams>) -> Self {
        // Each question takes a file or two, and the daemon needs some for itself.
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let all = usize::try_from(files / 8).unwrap_or(usize::MAX).clamp(64, 64 * FORWARDS);
        Self {
            threads: Threads::default(),
            files: Arc::new(Mutex::new(Files::new(instance.clone()))),
            writing: None,
            instance,
            upstreams,
            servers: BTreeMap::new(),
            names: Names::default(),
            served: Served::default(),
            waiting: BTreeSet::new(),
            wanted: files::Texts::new(),
            paths: BTreeMap::new(),
            told: BTreeSet::new(),
            forwards: FORWARDS.min(all / 2),
            all_forwards: Arc::new(Semaphore::new(all)),
            memory: memory::of_all(),
        }
    }

    /// Begins to let every endpoint know the names that are desired now: files are written meanwhile, which takes as long
    /// as the disk does.
    pub(crate) async fn begin(&mut self, desired: &Desired) {
        self.follow(desired).await;
    }

    /// The same; answers with the host's resolvers.
    async fn follow(&mut self, desired: &Desired) -> Arc<ResolvConf> {
        let host = self.upstreams.current();
        let Changes { endpoints: mut look, all } = self.served.changes(desired, &host);
        self.names.follow(desired, &look);
        look.extend(desired.endpoints.keys().filter(|_| all).cloned());
        if look.is_empty() && self.writing.is_some() {
            return host;
        }
        // What it could not write is tried again.
        self.written().await;
        for name in &look {
            let endpoint = desired.endpoint(name);
            let for_all = host.is_only_for_the_host();
            let view = endpoint.and_then(|endpoint| self.names.view(desired, endpoint, for_all));
            self.want_file(name, endpoint, view.is_some(), desired, &host);
        }
        self.waiting.append(&mut look);
        let (files, wanted) = (Arc::clone(&self.files), self.wanted.clone());
        self.writing = Some(spawn_blocking(move || lock(&files).sync(&wanted)));
        host
    }

    /// What of the files could not be done that were begun.
    async fn written(&mut self) -> Vec<String> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        match writing.await {
            Ok(problems) => {
                let line = |(path, why): (PathBuf, String)| format!("{} {why}", path.display());
                problems.into_iter().map(line).collect()
            }
            Err(error) => vec![format!("names: files are not written: {error}")],
        }
    }

    /// Lets every endpoint know the names that are desired now. Answers with what is wrong since the last time.
    pub(crate) async fn serve(&mut self, desired: &Desired, kernel: &mut Kernel) -> Vec<String> {
        let at = if kernel.leads_calls() { At::FreePort } else { At::Port53 };
        let host = self.follow(desired).await;
        let mut look = take(&mut self.waiting);
        let moved = kernel.moved(Purpose::Resolvers);
        self.close_what_moved(desired, at, &moved, &mut look).await;
        let mut problems = Vec::new();
        for name in look {
            let endpoint = desired.endpoint(&name);
            let for_all = host.is_only_for_the_host();
            let view = endpoint.and_then(|endpoint| self.names.view(desired, endpoint, for_all));
            let Some((endpoint, view)) = endpoint.zip(view) else {
                if let Some(server) = self.servers.remove(&name) {
                    server.close().await;
                }
                continue;
            };
            if let Some(server) = self.servers.get(&name) {
                server.asker.see(view);
                continue;
            }
            match self.open(endpoint, view, at) {
                Ok(server) => drop(self.servers.insert(name, server)),
                Err(error) => {
                    problems.push(format!("endpoint {name}: no names: {error}"));
                    self.waiting.insert(name);
                }
            }
        }
        let led = self.servers.values().filter_map(|server| server.led).collect();
        if let Err(error) = kernel.set_resolvers(&led) {
            problems.push(format!("names: calls are not led to resolvers: {error}"));
        }
        let waiting = !problems.is_empty();
        problems.extend(self.written().await);
        self.upstreams.set_served(host, waiting);
        let problems: BTreeSet<String> = problems.into_iter().collect();
        let new = problems.difference(&self.told).cloned().collect();
        self.told = problems;
        new
    }

    /// Serves nobody any more; what is written stays for the next daemon.
    pub(crate) async fn close(&mut self, kernel: &mut Kernel) {
        if let Err(error) = kernel.set_resolvers(&BTreeMap::new()) {
            tracing::warn!("{error}");
        }
        for (_, server) in std::mem::take(&mut self.servers) {
            server.close().await;
        }
    }

    /// What others may have changed is looked at with the next change.
    pub(crate) fn look_again(&mut self) {
        lock(&self.files).look_again();
    }

    /// Files that no endpoint accounts for.
    pub(crate) fn orphans(&self, desired: &Desired) -> Vec<PathBuf> {
        let paths = desired.endpoints.values();
        let wanted =
            paths.filter_map(|endpoint| files::path(&self.instance, desired, endpoint)).collect();
        lock(&self.files).orphans(&wanted)
    }

    /// Removes one of them.
    pub(crate) fn remove(&mut self, orphan: &Path) -> std::io::Result<()> {
        lock(&self.files).remove(orphan)
    }

    /// Notes the file that an endpoint should have.
    fn want_file(
        &mut self,
        name: &str,
        endpoint: Option<&Endpoint>,
        through_us: bool,
        desired: &Desired,
        host: &ResolvConf,
    ) {
        if let Some(path) = self.paths.remove(name) {
            self.wanted.remove(&path);
        }
        let Some(endpoint) = endpoint else { return };
        let mark = files::mark(&self.instance, endpoint);
        let text = if through_us {
            Some(host.through_us(&mark, &endpoint.dns))
        } else if names::has_a_bridge(desired, endpoint) {
            host.of_the_host(&mark, &endpoint.dns, false)
        } else if !endpoint.dns.is_empty() {
            host.of_the_host(&mark, &endpoint.dns, true)
        } else {
            None
        };
        if let Some((text, path)) = text.zip(files::path(&self.instance, desired, endpoint)) {
            self.paths.insert(name.to_owned(), path.clone());
            self.wanted.insert(path, text);
        }
    }

    /// Closes those that are not where they should be; their endpoints need another one.
    async fn close_what_moved(
        &mut self,
        desired: &Desired,
        at: At,
        moved: &Moved,
        look: &mut BTreeSet<String>,
    ) {
        let is_there = |path: &Path, place| !moved.may_be(path) || place_of(path) == Some(place);
        let stays = |name: &String, server: &Server| {
            let endpoint = desired.endpoints.get(name);
            endpoint.is_some_and(|endpoint| {
                endpoint.id == server.endpoint
                    && server.led.is_some() == (at == At::FreePort)
                    && is_there(endpoint.namespace.path(), server.namespace)
            })
        };
        let go = self.servers.iter().filter(|(name, server)| !stays(name, server));
        let go: Vec<String> = go.map(|(name, _)| name.clone()).collect();
        for name in go {
            if let Some(server) = self.servers.remove(&name) {
                server.close().await;
            }
            look.insert(name);
        }
    }

    fn open(&mut self, endpoint: &Endpoint, view: View, at: At) -> Result<Server, SocketError> {
        let path = endpoint.namespace.path();
        // Before the sockets: where it is made again meanwhile, they are not taken for those of the new one.
        let namespace = place_of(path).ok_or_else(|| NetnsError::Missing(path.to_owned()))?;
        let thread = self.threads.next().map_err(SocketError::Thread)?;
        let Sockets { udp, tcp, namespace: cookie, ports } = sockets::open(path, at, &thread)?;
        let led = (at == At::FreePort).then_some((cookie, ports));
        let asker = Asker::new(
            view,
            Arc::clone(&self.upstreams),
            self.forwards,
            Arc::clone(&self.all_forwards),
            Memory::new(Arc::clone(&self.memory)),
        );
        let asker = Arc::new(asker);
        let tasks = [
            thread.spawn(udp::serve(udp, Arc::clone(&asker))),
            thread.spawn(tcp::serve(tcp, Arc::clone(&asker))),
        ];
        Ok(Server { endpoint: endpoint.id.clone(), namespace, led, asker, tasks })
    }
}
