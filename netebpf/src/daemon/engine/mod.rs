//! The one who changes things: state, kernel, host ports and processes of an instance.
//!
//! **Invariant**: there is one [`Engine`] behind one lock, so changes happen one after the other, and
//! each is one call of [`Engine::change`]: hold the ports, make the plan, write the intent, stop what
//! goes, reconcile, start what comes. Nothing was touched when ports or plan are refused; if a later step
//! fails, the earlier state is made again by the same steps.

mod operations;
mod processes;
mod status;
mod stopping;
mod views;

use super::{
    Error, api::FlowFilter, events::Events, paths::Paths, ports::HeldPorts, process::now,
    runner::Codes,
};
use crate::{
    apply::{self, Journal, Report},
    config::settings::Settings,
    dns::{Serving, Upstreams},
    kernel::{
        FlowSnapshot, Kernel, KernelError, Look, NetnsError, Outside, Watch, WentDown, netns,
    },
    model::{Desired, Endpoint, Namespace, Network, Origin, requests::DEFAULT_NETWORK},
    plan::{Action, Plan},
    state::{self, Files, Instance, Intent, State, StateError},
};
use netebpf_common::abi;
use processes::Watches;
use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};
use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};

pub(super) use processes::Exited;
pub(super) use views::Snapshot;

/// See the module.
pub(super) struct Engine {
    instance: Instance,
    settings: Settings,
    kernel: Kernel,
    state: State,
    held: HeldPorts,
    watches: Watches,
    events: Events,
    names: Serving,
    /// What flows stood on when it was last looked at.
    outside: Option<Outside>,
    files: Files,
    started: u64,
    ended: bool,
}

/// Writes down what a sysctl was before it is changed.
struct StateJournal<'a> {
    files: &'a mut Files,
    state: &'a mut State,
}

impl Journal for StateJournal<'_> {
    fn saved_sysctls(&self) -> BTreeMap<String, String> {
        self.state.runtime.sysctls.clone()
    }

    fn save_sysctl(&mut self, name: &str, value: &str) -> io::Result<()> {
        // The oldest value is the host's own.
        if self.state.runtime.sysctls.contains_key(name) {
            return Ok(());
        }
        self.state.runtime.sysctls.insert(name.to_owned(), value.to_owned());
        self.write()
    }

    fn forget_sysctl(&mut self, name: &str) -> io::Result<()> {
        match self.state.runtime.sysctls.remove(name) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }
}

impl StateJournal<'_> {
    fn write(&mut self) -> io::Result<()> {
        self.files.save_runtime(&self.state.runtime).map_err(io::Error::other)
    }
}

impl Engine {
    /// Loads the state and makes the kernel match it: what a daemon before this one left is adopted.
    /// Answers with what the user should know, too.
    pub(super) async fn open(
        instance: &Instance,
        settings: Settings,
        exited: mpsc::UnboundedSender<Exited>,
        upstreams: Arc<Upstreams>,
    ) -> Result<(Self, Vec<String>), Error> {
        let loaded = state::load(instance)?;
        let mut kernel = Kernel::open(instance)?;
        kernel.recall_uplinks(loaded.state.runtime.uplinks.clone());
        let told = abi::Settings {
            snat_first: settings.snat_ports.0,
            snat_last: settings.snat_ports.1,
            flow_quota: settings.flow_quota,
            embryonic_quota: settings.embryonic_quota,
            flow_capacity: settings.flow_capacity,
            ..abi::Settings::default()
        };
        kernel.configure(told, &settings.no_masquerade)?;
        let events = Events::new(loaded.state.desired.clone());
        let mut engine = Self {
            instance: instance.clone(),
            settings,
            kernel,
            state: loaded.state,
            held: HeldPorts::default(),
            watches: Watches::new(exited),
            events,
            names: Serving::new(instance.clone(), upstreams),
            outside: None,
            files: Files::new(instance),
            started: now(),
            ended: false,
        };
        let mut warnings: Vec<_> = loaded.recovered.iter().map(ToString::to_string).collect();
        // From here on nothing stops the start: a daemon that is not there cannot be told to change
        // what is desired, and what cannot be made again now stays as it is.
        if !warnings.is_empty() {
            match engine.collect(false).await {
                Ok(lines) => warnings.extend(lines),
                Err(error) => warnings.push(error.to_string()),
            }
        }
        if engine.is_empty() {
            return Ok((engine, warnings));
        }
        engine.stop_what_went().await;
        let desired = engine.state.desired.clone();
        match engine.held.hold(&desired, &desired) {
            Ok(lost) => warnings.extend(lost.iter().map(ToString::to_string)),
            Err(error) => warnings.push(error.to_string()),
        }
        let outside = engine.outside(&desired).await;
        match engine.reconcile(None).await {
            Ok(lines) => lines.iter().for_each(|line| tracing::info!("{line}")),
            Err(error) => warnings.push(error.to_string()),
        }
        warnings.extend(engine.serve_names().await);
        match engine.end_stranded_flows(outside).await {
            Ok(line) => warnings.extend(line),
            Err(error) => warnings.push(error.to_string()),
        }
        if let Err(error) = engine.write_uplinks() {
            warnings.push(error.to_string());
        }
        match engine.adopt().await {
            Ok(lines) => warnings.extend(lines),
            Err(error) => warnings.push(error.to_string()),
        }
        Ok((engine, warnings))
    }

    /// Whether there is anything to keep a daemon for.
    pub(super) fn is_empty(&self) -> bool {
        is_empty(&self.state.desired)
    }

    /// What happens from now on.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// Where foreground `run`s say how their commands ended.
    pub(super) fn codes(&self) -> Codes {
        self.watches.codes.clone()
    }

    /// Where it is told what happens to files of the host.
    pub(super) fn paths(&self) -> Paths {
        self.watches.paths.clone()
    }

    /// Whether the instance was taken down.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Makes the kernel match the state again: after links, addresses or routes of the host changed. These links were down
    /// meanwhile, if only for a moment.
    pub(super) async fn follow(&mut self, down: &WentDown) -> Result<Vec<String>, Error> {
        if self.ended || self.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(before) = &mut self.outside {
            before.go_down(down);
        }
        let outside = self.outside(&self.state.desired).await;
        let reconciled = self.reconcile(None).await;
        let ended = self.end_stranded_flows(outside).await?;
        self.write_uplinks()?;
        let mut changes = reconciled?;
        changes.extend(ended);
        if !changes.is_empty() {
            let desired = self.state.desired.clone();
            changes.extend(self.start_what_comes(&desired).await?);
            self.save()?;
        }
        Ok(changes)
    }

    /// What flows stand on, for [`Engine::end_stranded_flows`]. Read before the tables are written, and again after it: an
    /// address that goes meanwhile goes from the tables first, or its flows would be ended, and the next packets
    /// open them with it again, for good; and one that comes meanwhile is not missed.
    async fn outside(&self, desired: &Desired) -> Result<Outside, KernelError> {
        let mut outside = Outside::default();
        self.kernel.add_outside(&desired.uplinks, &mut outside).await?;
        Ok(outside)
    }

    /// Ends the flows whose outside address, uplink, or route by it is no longer there: what an endpoint sends next
    /// opens a new one, instead of leaving with a source that no answer finds.
    async fn end_stranded_flows(
        &mut self,
        outside: Result<Outside, KernelError>,
    ) -> Result<Option<String>, Error> {
        let mut now = outside?;
        self.kernel.add_outside(&self.state.desired.uplinks, &mut now).await?;
        let mut ended = 0;
        if self.outside.is_none() {
            // The process before may have died between a change of ports and this.
            ended = self.kernel.end_misled_flows().await?;
        }
        if !self.outside.as_ref().is_some_and(|before| before.is_within(&now)) {
            ended += self.kernel.end_stranded_flows(self.outside.as_ref(), &now).await?;
        }
        // Not before: what fails is tried again with the next change.
        self.outside = Some(match &self.outside {
            Some(before) => now.awaiting(before),
            None => now,
        });
        Ok((ended > 0)
            .then(|| format!("{ended} flows ended: their address, uplink, route or port is gone")))
    }

    /// Makes `next` what is desired, and so. Answers with what changed.
    async fn change(&mut self, next: Desired) -> Result<Vec<String>, Error> {
        self.change_asked(next, false).await
    }

    /// The same. Who asks for XDP is told where no uplink takes it.
    async fn change_asked(
        &mut self,
        next: Desired,
        asks_for_xdp: bool,
    ) -> Result<Vec<String>, Error> {
        if asks_for_xdp {
            self.kernel.forget_refusals();
        }
        let outside = match next.uplinks == self.state.desired.uplinks {
            true => None,
            false => Some(self.outside(&next).await),
        };
        let (mut lost, plan) = match self.check(&next).await {
            Ok((lost, plan)) => (lost, Plan { asks_for_xdp, ..plan }),
            Err(error) => {
                self.hold_again();
                return Err(error);
            }
        };
        let previous = std::mem::replace(&mut self.state.desired, next);
        let error = match self.perform(&previous, Some(plan)).await {
            Ok(changes) => {
                lost.extend(changes);
                if let Some(outside) = outside {
                    match self.end_stranded_flows(outside).await {
                        Ok(line) => lost.extend(line),
                        Err(error) => tracing::error!("{error}"),
                    }
                }
                return Ok(lost);
            }
            Err(error) => error,
        };
        self.hold(&previous);
        let failed = std::mem::replace(&mut self.state.desired, previous);
        if let Err(second) = self.perform(&failed, None).await {
            tracing::error!("after {error}: the earlier state could not be made again: {second}");
        }
        Err(error)
    }

    /// Holds the ports of `next` and plans it: what can be refused is refused here, before anything is
    /// touched. Answers with what is lost already, and how to go on.
    async fn check(&mut self, next: &Desired) -> Result<(Vec<String>, Plan), Error> {
        let lost = self.held.hold(next, &self.state.desired)?;
        let differing = self.state.desired.differing(next);
        for endpoint in differing.filter_map(|name| next.endpoint(name)) {
            let known = self.state.desired.endpoints.get(&endpoint.name);
            if let Namespace::Existing(path) = &endpoint.namespace
                && known.is_none_or(|known| known.namespace != endpoint.namespace)
            {
                let others = next.endpoints.values().map(Arc::as_ref);
                let others = others.filter(|other| other.name != endpoint.name);
                check_namespace(path, others).map_err(|source| Error::Namespace {
                    endpoint: endpoint.name.clone(),
                    source,
                })?;
            }
            self.check_command(endpoint)?;
        }
        self.follow_names()?;
        let journal = StateJournal { files: &mut self.files, state: &mut self.state };
        let plan = apply::prepare(&mut self.kernel, next, &journal).await?;
        Ok((lost.iter().map(ToString::to_string).collect(), plan))
    }

    /// After a refusal, or a question: holds what is desired now.
    fn hold_again(&mut self) {
        let desired = self.state.desired.clone();
        self.hold(&desired);
    }

    fn hold(&mut self, desired: &Desired) {
        match self.held.hold(desired, desired) {
            Ok(lost) => lost.iter().for_each(|error| tracing::warn!("{error}")),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Lets every endpoint know the names of what is desired. Answers with what is wrong since the last time.
    pub(super) async fn serve_names(&mut self) -> Vec<String> {
        let mut lines = self.names.serve(&self.state.desired, &mut self.kernel).await;
        if let Err(error) = self.kernel.set_homes(&self.state.desired) {
            lines.push(format!("socket shortcut: {error}"));
        }
        // Not every command prints what it hears.
        lines.iter().for_each(|line| tracing::warn!("{line}"));
        lines
    }

    /// Gives ports and names back, as the last thing of a daemon that ends.
    pub(super) async fn let_go(&mut self) {
        self.names.close(&mut self.kernel).await;
        self.held = HeldPorts::default();
    }

    /// From `previous` to what is desired now, by the plan that was made when it was checked.
    async fn perform(
        &mut self,
        previous: &Desired,
        plan: Option<Plan>,
    ) -> Result<Vec<String>, Error> {
        self.files.save_runtime(&self.state.runtime)?;
        // The disk takes its time, and meanwhile things are made.
        let intent = self.files.intend(&self.state.desired)?;
        let kept = spawn_blocking(|| intent.map_or(Ok(()), Intent::keep));
        let done = self.make(previous, plan).await;
        let stopped = |error: JoinError| {
            let (operation, path) = ("sync", self.instance.state_dir());
            Err(StateError::Io { operation, path, source: error.into() })
        };
        match kept.await.unwrap_or_else(stopped) {
            Ok(()) => done,
            Err(error) => {
                self.files.forget_intent();
                // Where both failed, one is told.
                tracing::error!("{error}");
                done.and(Err(error.into()))
            }
        }
    }

    /// What was written down is made so.
    async fn make(&mut self, previous: &Desired, plan: Option<Plan>) -> Result<Vec<String>, Error> {
        if self.outside.is_none() {
            // Before the first flow, so that whatever one stands on is missed when it goes.
            let mut outside = self.outside(&self.state.desired).await?;
            self.kernel.add_outside(&self.state.desired.uplinks, &mut outside).await?;
            self.outside = Some(outside);
        }
        let mut changes = self.stop_what_goes(previous).await;
        changes.extend(self.reconcile(plan).await?);
        self.events.tell_changes(&self.state.desired);
        changes.extend(self.start_what_comes(previous).await?);
        self.write_uplinks()?;
        self.save()?;
        Ok(changes)
    }

    /// Makes the host match what is desired, by a plan that was just made for it or a new one.
    async fn reconcile(&mut self, plan: Option<Plan>) -> Result<Vec<String>, Error> {
        self.follow_names()?;
        let desired = self.state.desired.clone();
        self.names.begin(&desired).await;
        let mut journal = StateJournal { files: &mut self.files, state: &mut self.state };
        let report = match plan {
            Some(plan) => apply::execute(&mut self.kernel, plan, &mut journal).await?,
            None => apply::reconcile(&mut self.kernel, &desired, &mut journal).await?,
        };
        self.follow_names()?;
        let mut changes = summary(report);
        changes.extend(self.serve_names().await);
        Ok(changes)
    }

    /// Writes the uplinks down, for a daemon that starts while one is down. Not between [`Engine::reconcile`] and
    /// [`Engine::end_stranded_flows`]: a disk takes its time, and the two should see the same host.
    fn write_uplinks(&mut self) -> Result<(), StateError> {
        let uplinks = self.kernel.remembered_uplinks();
        if self.state.runtime.uplinks == uplinks {
            return Ok(());
        }
        self.state.runtime.uplinks = uplinks.to_vec();
        self.files.save_runtime(&self.state.runtime)
    }

    /// What is written down of interfaces goes by their names: those that it is of are known by their indices from
    /// here on.
    fn follow_names(&mut self) -> Result<(), Error> {
        let runtime = &self.state.runtime;
        let indices = runtime.interfaces.keys().copied();
        let names = self.kernel.names(indices, runtime.interface_names())?;
        if self.state.runtime.follow_names(&names) {
            self.files.save_runtime(&self.state.runtime)?;
        }
        Ok(())
    }

    /// A question only: a daemon of an instance with nothing in it ends again, and touches nothing.
    pub(super) fn end_unused(&mut self) {
        self.ended = self.is_empty() && self.state == State::default();
    }

    /// Takes everything down when nothing is left to keep it for: programs, pins, sysctls, files.
    pub(super) async fn end_if_empty(&mut self) -> Result<Vec<String>, Error> {
        if !self.is_empty() || self.ended {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if !self.state.desired.networks.is_empty() {
            changes = self.change(Desired::default()).await?;
        }
        let mut journal = StateJournal { files: &mut self.files, state: &mut self.state };
        let mut errors = apply::teardown(&mut self.kernel, &mut journal).await;
        if !errors.is_empty() {
            // The state stays: it says what is still to be restored.
            return Err(Error::Teardown(Box::new(errors.swap_remove(0)), errors.len()));
        }
        remove_tree(&self.instance.state_dir())?;
        self.ended = true;
        Ok(changes)
    }

    /// What happens to the host's links, addresses and routes.
    pub(super) fn watch(&self) -> Result<Watch, Error> {
        Ok(self.kernel.watch()?)
    }

    pub(super) async fn flows(&self) -> Result<Vec<FlowSnapshot>, Error> {
        Ok(self.kernel.flows().await?)
    }

    pub(super) async fn remove_flows(&mut self, filter: &FlowFilter) -> Result<usize, Error> {
        Ok(self.kernel.remove_flows(|flow| filter.takes(flow)).await?)
    }

    /// One look whether all is well with the flows.
    pub(super) fn look_at_flows(&self) -> Result<Look, Error> {
        Ok(self.kernel.look_at_flows()?)
    }

    /// Ends flows whose time is over; whether to go on at once.
    pub(super) fn expire_flows(&mut self) -> Result<bool, Error> {
        Ok(self.kernel.expire_flows()?.more)
    }

    /// Takes nothing for known: not what the kernel has, nor what is on disk.
    fn look_again(&mut self) {
        self.kernel.look_again();
        self.names.look_again();
        self.files.look_again();
    }

    fn save(&mut self) -> Result<(), StateError> {
        self.files.save_runtime(&self.state.runtime)?;
        self.files.save_desired(&self.state.desired)
    }
}

/// What a report says, for one who wants to know what changed.
fn summary(report: Report) -> Vec<String> {
    let Report { mut actions, notes } = report;
    if !actions.iter().all(Action::is_detail) {
        actions.retain(|action| !action.is_detail());
    }
    sentences(&actions, &notes)
}

/// What there is to say, step by step.
fn sentences(actions: &[Action], notes: &[String]) -> Vec<String> {
    actions.iter().map(ToString::to_string).chain(notes.iter().cloned()).collect()
}

/// The network that `run` makes for itself keeps no daemon.
fn is_empty(desired: &Desired) -> bool {
    let automatic = |network: &Network| {
        network.name == DEFAULT_NETWORK && network.origin == Origin::CommandLine
    };
    desired.endpoints.is_empty() && desired.networks.values().all(automatic)
}

/// Whether an endpoint may have the user's namespace at `path`: one that is there, not where we are ourselves, and
/// nobody else's, by whatever path.
fn check_namespace<'a>(
    path: &Path,
    mut others: impl Iterator<Item = &'a Endpoint>,
) -> Result<(), NetnsError> {
    if !netns::exists(path) {
        return Err(NetnsError::Missing(path.to_owned()));
    }
    if netns::is_same(path, Path::new("/proc/self/ns/net")) {
        return Err(NetnsError::OfHost(path.to_owned()));
    }
    let has_it = |other: &&Endpoint| {
        !other.namespace.is_shared() && netns::is_same(other.namespace.path(), path)
    };
    match others.find(has_it) {
        None => Ok(()),
        Some(other) => {
            Err(NetnsError::Taken { path: path.to_owned(), endpoint: other.name.clone() })
        }
    }
}

fn remove_tree(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Io { operation: "remove", path: path.to_owned(), source })
        }
        _ => {
            // The directory of all instances goes with the last of them.
            let _ = path.parent().map(fs::remove_dir);
            Ok(())
        }
    }
}
