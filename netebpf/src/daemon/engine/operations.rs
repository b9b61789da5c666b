//! What can be asked for: each turns a request into what is desired next, then changes to it.

use super::{Engine, Snapshot, StateJournal, sentences};
use crate::{
    apply,
    daemon::{
        Error,
        api::{
            ConnectRequest, CreateRequest, DisconnectRequest, DownRequest, EndpointView,
            HostChoice, NetworkView, PruneRequest, Pruned, PublishRequest, Published, UpReply,
            UpRequest,
        },
        lookup::{Kind, find},
        process::{evict, now},
        sockets,
    },
    model::{
        Desired, Origin, UplinkChoice,
        predefined::{self, PREDEFINED},
        requests::{AttachmentRequest, NetworkMode, NetworkRequest},
        resolve::{self, Context, HostFacts, HostSockets},
    },
    plan::Action,
    state::State,
};

impl Engine {
    pub(in crate::daemon) async fn up(&mut self, request: &UpRequest) -> Result<UpReply, Error> {
        self.look_again();
        self.kernel.forget_refusals();
        let facts = self.facts().await?;
        let mut next =
            resolve::apply_topology(&self.state.desired, &request.topology, self.context(&facts))?;
        choose(&mut next, &request.host);
        let origin = Origin::Topology(request.topology.name.clone());
        if request.dry_run {
            let checked = self.check(&next).await;
            self.hold_again();
            let (lost, plan) = checked?;
            let planned = sentences(&plan.actions, &plan.notes);
            let mut changes = [lost, self.would_stop(&next), planned].concat();
            changes.extend(self.would_start(&next, &origin));
            let planned = Snapshot {
                instance: self.instance.clone(),
                settings: self.settings.clone(),
                state: State { desired: next, ..Default::default() },
            };
            return Ok(UpReply { changes, endpoints: planned.endpoints_of(&origin) });
        }
        self.forget_failed(&next, &origin);
        let changes = self.change_asked(next, request.host.xdp.is_some()).await?;
        Ok(UpReply { changes, endpoints: self.snapshot().endpoints_of(&origin) })
    }

    pub(in crate::daemon) async fn down(
        &mut self,
        request: &DownRequest,
    ) -> Result<Vec<String>, Error> {
        let desired = &self.state.desired;
        let next = match &request.topology {
            _ if request.all => Desired::default(),
            Some(name) => resolve::remove_topology(desired, name)?,
            None => resolve::remove_command_line(desired)?,
        };
        self.change(next).await
    }

    pub(in crate::daemon) async fn create(
        &mut self,
        request: &CreateRequest,
    ) -> Result<EndpointView, Error> {
        let facts = self.facts().await?;
        let before = self.state.desired.clone();
        let mut wanted = request.endpoint.clone();
        if let Some(NetworkMode::Container(query)) = &mut wanted.mode {
            *query = self.endpoint_name(query)?;
        }
        for joined in &mut wanted.networks {
            // One that is not there is told of with the endpoint's name.
            joined.network = self.network_name(&joined.network).unwrap_or(joined.network.clone());
        }
        let mut next = resolve::add_endpoint(&before, &wanted, self.context(&facts))?;
        choose(&mut next, &request.host);
        self.change_asked(next, request.host.xdp.is_some()).await?;
        let new = before.differing(&self.state.desired).next();
        let name = new.expect("add_endpoint adds one").clone();
        if let Some(pid) = request.runner {
            self.record_caller(&name, pid)?;
        }
        Ok(self.view(&self.state.desired.endpoints[&name]))
    }

    pub(in crate::daemon) async fn remove(
        &mut self,
        names: &[String],
        force: bool,
    ) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for query in names {
            let name = self.endpoint_name(query)?;
            if self.runs(&name) && !force {
                return Err(Error::Running(name));
            }
            found.push(name);
        }
        let next = resolve::remove_endpoints(&self.state.desired, &found)?;
        if let Some((endpoint, by)) = resolve::left_behind(&self.state.desired, &next)
            && !force
        {
            return Err(Error::Shared { endpoint: endpoint.to_owned(), by: by.name.clone() });
        }
        self.change(next).await
    }

    pub(super) async fn remove_endpoints(
        &mut self,
        names: &[String],
    ) -> Result<Vec<String>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let next = resolve::remove_endpoints(&self.state.desired, names)?;
        self.change(next).await
    }

    pub(in crate::daemon) async fn create_network(
        &mut self,
        request: &NetworkRequest,
    ) -> Result<NetworkView, Error> {
        let facts = self.facts().await?;
        let next = resolve::add_network(&self.state.desired, request, self.context(&facts))?;
        self.change(next).await?;
        Ok(self.network_view(&self.state.desired.networks[&request.name]))
    }

    pub(in crate::daemon) async fn remove_networks(
        &mut self,
        names: &[String],
    ) -> Result<Vec<String>, Error> {
        let mut next = self.state.desired.clone();
        for query in names {
            let name = self.network_name(query)?;
            next = resolve::remove_network(&next, &name)?;
        }
        self.change(next).await
    }

    /// Removes the networks that no endpoint is on; what engines made is theirs to remove.
    pub(in crate::daemon) async fn prune(
        &mut self,
        request: &PruneRequest,
    ) -> Result<Pruned, Error> {
        let before = &self.state.desired;
        let next =
            resolve::prune(before, |network| request.takes(&network.labels, network.created));
        let gone = before.networks.keys().filter(|name| !next.networks.contains_key(*name));
        let networks = gone.cloned().collect();
        self.change(next).await?;
        Ok(Pruned { networks })
    }

    pub(in crate::daemon) async fn connect(
        &mut self,
        request: &ConnectRequest,
    ) -> Result<Vec<String>, Error> {
        let facts = self.facts().await?;
        let endpoint = self.endpoint_name(&request.endpoint)?;
        let network = self.network_name(&request.attachment.network)?;
        let attachment = AttachmentRequest { network, ..request.attachment.clone() };
        let context = self.context(&facts);
        let next = resolve::connect(&self.state.desired, &endpoint, &attachment, context)?;
        self.change(next).await
    }

    pub(in crate::daemon) async fn disconnect(
        &mut self,
        request: &DisconnectRequest,
    ) -> Result<Vec<String>, Error> {
        let endpoint = self.endpoint_name(&request.endpoint)?;
        let network = self.network_name(&request.network)?;
        let next = resolve::disconnect(&self.state.desired, &endpoint, &network)?;
        self.change(next).await
    }

    pub(in crate::daemon) async fn publish(
        &mut self,
        request: &PublishRequest,
    ) -> Result<Published, Error> {
        let facts = self.facts().await?;
        let endpoint = self.endpoint_name(&request.endpoint)?;
        let context = self.context(&facts);
        let (next, ports) =
            resolve::publish(&self.state.desired, &endpoint, &request.ports, context)?;
        self.change(next).await?;
        Ok(Published { ports })
    }

    pub(in crate::daemon) async fn unpublish(
        &mut self,
        request: &PublishRequest,
    ) -> Result<Vec<String>, Error> {
        let endpoint = self.endpoint_name(&request.endpoint)?;
        let next = resolve::unpublish(&self.state.desired, &endpoint, &request.ports)?;
        self.change(next).await
    }

    /// Removes what carries our mark and no state accounts for.
    pub(in crate::daemon) async fn collect(&mut self, dry_run: bool) -> Result<Vec<String>, Error> {
        let desired = self.state.desired.clone();
        let mut journal = StateJournal { files: &mut self.files, state: &mut self.state };
        let orphans = apply::orphans(&mut self.kernel, &desired, &journal).await?;
        let files = self.names.orphans(&desired);
        let removed = files.iter().map(|path| format!("remove {}", path.display()));
        if dry_run {
            let orphans = orphans.iter().map(ToString::to_string);
            return Ok(orphans.chain(removed).collect());
        }
        for file in &files {
            if let Err(error) = self.names.remove(file) {
                tracing::error!("{}: {error}", file.display());
            }
        }
        for orphan in &orphans {
            // Nobody knows any more what runs in it.
            if let Action::RemoveNamespace { path } = orphan {
                let _ = evict(path, None);
            }
        }
        let (actions, mut errors) =
            apply::collect(&mut self.kernel, &desired, &mut journal).await?;
        if !errors.is_empty() {
            return Err(Error::Teardown(Box::new(errors.swap_remove(0)), errors.len()));
        }
        Ok(actions.iter().map(ToString::to_string).chain(removed).collect())
    }

    async fn facts(&self) -> Result<HostFacts, Error> {
        let routes = self.kernel.host_routes().await?;
        Ok(HostFacts { now: now(), routes, sockets: HostSockets::read_by(sockets::all) })
    }

    fn context<'a>(&'a self, facts: &'a HostFacts) -> Context<'a> {
        Context { facts, settings: &self.settings, instance: &self.instance }
    }

    /// The name of the network that the user means; those that are always there are among them.
    fn network_name(&self, query: &str) -> Result<String, Error> {
        let networks = &self.state.desired.networks;
        let made = networks.values().map(|network| (network.name.as_str(), network.id.clone()));
        let missing = PREDEFINED.into_iter().filter(|name| !networks.contains_key(*name));
        let always = missing.map(|name| (name, predefined::id(&self.instance, name)));
        let all: Vec<_> = made.chain(always).collect();
        Ok(find(Kind::Network, query, all.iter().map(|(name, id)| (*name, id)))?.to_owned())
    }

    /// The name of the endpoint that the user means.
    pub(super) fn endpoint_name(&self, query: &str) -> Result<String, Error> {
        let all = self.state.desired.endpoints.iter();
        let all = all.map(|(name, endpoint)| (name.as_str(), &endpoint.id));
        Ok(find(Kind::Endpoint, query, all)?.to_owned())
    }
}

/// What the user said about the host; what was not said stays.
fn choose(next: &mut Desired, host: &HostChoice) {
    if let Some(names) = &host.uplinks {
        next.uplinks = UplinkChoice::Named(names.clone());
    }
    if let Some(xdp) = host.xdp {
        next.xdp = xdp;
    }
    if let Some(big_tcp) = host.big_tcp {
        next.big_tcp = big_tcp;
    }
}
