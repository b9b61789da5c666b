//! The resolvers of all endpoints.
//!
//! **Invariant**: when [`Serving::serve`] returns, each endpoint sees what is desired, every resolver of an
//! endpoint or a namespace that is gone is closed, and each is where calls arrive: at a port to which they are
//! led, or at port 53 while nothing leads them. An endpoint whose resolver cannot be has all else, and the reason
//! is told once.

use super::{
    Upstreams,
    asker::{Asker, FORWARDS},
    files::{self, Files},
    memory::{self, Memory},
    names,
    names::View,
    resolv_conf::ResolvConf,
    sockets::{self, At, SocketError, Sockets},
    tcp,
    threads::Threads,
    udp,
};
use crate::{
    kernel::{Kernel, netns},
    model::{Desired, Endpoint, Id},
    state::Instance,
};
use netebpf_common::abi::ResolverPorts;
use rustix::process::{Resource, getrlimit};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};
use tokio::{sync::Semaphore, task::JoinHandle};

/// See the module.
#[derive(Debug)]
pub(crate) struct Serving {
    instance: Instance,
    upstreams: Arc<Upstreams>,
    servers: BTreeMap<String, Server>,
    threads: Threads,
    files: Files,
    told: BTreeSet<String>,
    forwards: usize,
    all_forwards: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// The resolver of one endpoint.
#[derive(Debug)]
struct Server {
    endpoint: Id,
    /// Which namespace it is in, see [`netns::identity`].
    namespace: u64,
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

impl Serving {
    /// Nobody is served yet, and nothing runs.
    pub(crate) fn new(instance: Instance, upstreams: Arc<Upstreams>) -> Self {
        // Each question takes a file or two, and the daemon needs some for itself.
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let all = usize::try_from(files / 8).unwrap_or(usize::MAX).clamp(64, 64 * FORWARDS);
        Self {
            threads: Threads::default(),
            files: Files::new(instance.clone()),
            instance,
            upstreams,
            servers: BTreeMap::new(),
            told: BTreeSet::new(),
            forwards: FORWARDS.min(all / 2),
            all_forwards: Arc::new(Semaphore::new(all)),
            memory: memory::of_all(),
        }
    }

    /// Lets every endpoint know the names that are desired now. Answers with what is wrong since the last time.
    pub(crate) async fn serve(&mut self, desired: &Desired, kernel: &mut Kernel) -> Vec<String> {
        let at = if kernel.leads_calls() { At::FreePort } else { At::Port53 };
        let host = self.upstreams.current();
        let mut views = names::views(desired, host.is_only_for_the_host());
        let wanted = self.wanted(desired, &views, &host);
        self.close_what_goes(desired, &views, at).await;
        self.servers.iter().for_each(|(name, server)| {
            if let Some(view) = views.remove(name) {
                server.asker.see(view);
            }
        });
        let mut problems = Vec::new();
        for (name, view) in views {
            let Some(endpoint) = desired.endpoints.get(&name) else { continue };
            match self.open(endpoint, view, at) {
                Ok(server) => drop(self.servers.insert(name, server)),
                Err(error) => problems.push(format!("endpoint {name}: no names: {error}")),
            }
        }
        let led = self.servers.values().filter_map(|server| server.led).collect();
        if let Err(error) = kernel.set_resolvers(&led) {
            problems.push(format!("names: calls are not led to resolvers: {error}"));
        }
        let waiting = !problems.is_empty();
        let files = self.files.sync(&wanted);
        problems.extend(files.into_iter().map(|(path, why)| format!("{} {why}", path.display())));
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

    /// Files that no endpoint accounts for.
    pub(crate) fn orphans(&self, desired: &Desired) -> Vec<PathBuf> {
        let paths = desired.endpoints.values();
        let wanted =
            paths.filter_map(|endpoint| files::path(&self.instance, desired, endpoint)).collect();
        self.files.orphans(&wanted)
    }

    /// Removes one of them.
    pub(crate) fn remove(&mut self, orphan: &std::path::Path) -> std::io::Result<()> {
        self.files.remove(orphan)
    }

    /// The files that endpoints should have.
    fn wanted(
        &self,
        desired: &Desired,
        views: &BTreeMap<String, View>,
        host: &ResolvConf,
    ) -> BTreeMap<PathBuf, String> {
        let text = |endpoint: &Endpoint| {
            let mark = files::mark(&self.instance, endpoint);
            if views.contains_key(&endpoint.name) {
                Some(host.through_us(&mark, &endpoint.dns))
            } else if names::has_a_bridge(desired, endpoint) {
                host.of_the_host(&mark, &endpoint.dns, false)
            } else if !endpoint.dns.is_empty() {
                host.of_the_host(&mark, &endpoint.dns, true)
            } else {
                None
            }
        };
        let file =
            |endpoint| Some((files::path(&self.instance, desired, endpoint)?, text(endpoint)?));
        desired.endpoints.values().filter_map(file).collect()
    }

    async fn close_what_goes(&mut self, desired: &Desired, views: &BTreeMap<String, View>, at: At) {
        let stays = |name: &String, server: &Server| {
            let endpoint = desired.endpoints.get(name).filter(|_| views.contains_key(name));
            endpoint.is_some_and(|endpoint| {
                let namespace = netns::identity(endpoint.namespace.path());
                endpoint.id == server.endpoint
                    && server.led.is_some() == (at == At::FreePort)
                    && namespace.is_ok_and(|namespace| namespace == server.namespace)
            })
        };
        let (stay, go) = std::mem::take(&mut self.servers)
            .into_iter()
            .partition(|(name, server)| stays(name, server));
        self.servers = stay;
        let go: BTreeMap<String, Server> = go;
        for server in go.into_values() {
            server.close().await;
        }
    }

    fn open(&mut self, endpoint: &Endpoint, view: View, at: At) -> Result<Server, SocketError> {
        let path = endpoint.namespace.path();
        let namespace = netns::identity(path)?;
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
