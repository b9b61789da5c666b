//! The one who changes things: state, kernel, host ports and processes of an instance.
//!
//! **Invariant**: there is one [`Engine`] behind one lock, so changes happen one after the other, and
//! each is one call of [`Engine::change`]: hold the ports, write the intent, stop what goes, reconcile,
//! start what comes. If any step fails, the earlier state is made again by the same steps.

mod operations;
mod processes;
mod status;
mod views;

use super::{Error, api::FlowFilter, ports::HeldPorts, process::now};
use crate::{
    apply::{self, Journal, Mode, Report},
    config::settings::Settings,
    kernel::{FlowSnapshot, Kernel, Watch},
    model::{Desired, Network, Origin, requests::DEFAULT_NETWORK},
    state::{self, Instance, State, StateError},
};
use netebpf_common::abi;
use processes::Watches;
use std::{collections::BTreeMap, fs, io, path::Path};
use tokio::sync::mpsc;

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
    started: u64,
    ended: bool,
}

/// Writes down what a sysctl was before it is changed.
struct StateJournal<'a> {
    instance: &'a Instance,
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
    fn write(&self) -> io::Result<()> {
        state::save_runtime(self.instance, self.state).map_err(io::Error::other)
    }
}

impl Engine {
    /// Loads the state and makes the kernel match it: what a daemon before this one left is adopted.
    /// Answers with what the user should know, too.
    pub(super) async fn open(
        instance: &Instance,
        settings: Settings,
        exited: mpsc::UnboundedSender<Exited>,
    ) -> Result<(Self, Vec<String>), Error> {
        let loaded = state::load(instance)?;
        let mut kernel = Kernel::open(instance)?;
        kernel.configure(abi::Settings {
            snat_first: settings.snat_ports.0,
            snat_last: settings.snat_ports.1,
            flow_quota: settings.flow_quota,
            flow_capacity: settings.flow_capacity,
            ..Default::default()
        })?;
        let mut engine = Self {
            instance: instance.clone(),
            settings,
            kernel,
            state: loaded.state,
            held: HeldPorts::default(),
            watches: Watches::new(exited),
            started: now(),
            ended: false,
        };
        let mut warnings: Vec<_> = loaded.recovered.iter().map(ToString::to_string).collect();
        if !warnings.is_empty() {
            warnings.extend(engine.collect(false).await?);
        }
        if engine.is_empty() {
            return Ok((engine, warnings));
        }
        // Whoever took a port while no daemon held it does not stop what still runs.
        let desired = engine.state.desired.clone();
        if let Err(error) = engine.held.hold(&desired) {
            warnings.push(error.to_string());
        }
        for line in engine.reconcile().await? {
            tracing::info!("{line}");
        }
        engine.adopt().await?;
        Ok((engine, warnings))
    }

    /// Whether there is anything to keep a daemon for.
    pub(super) fn is_empty(&self) -> bool {
        is_empty(&self.state.desired)
    }

    /// Whether the instance was taken down.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Makes the kernel match the state again: after links, addresses or routes of the host changed.
    pub(super) async fn follow(&mut self) -> Result<Vec<String>, Error> {
        if self.ended || self.is_empty() {
            return Ok(Vec::new());
        }
        let mut changes = self.reconcile().await?;
        if !changes.is_empty() {
            changes.extend(self.start_what_comes().await?);
            self.save()?;
        }
        Ok(changes)
    }

    /// Makes `next` what is desired, and so. Answers with what changed.
    async fn change(&mut self, next: Desired) -> Result<Vec<String>, Error> {
        let previous = std::mem::replace(&mut self.state.desired, next);
        let error = match self.perform(&previous).await {
            Ok(changes) => return Ok(changes),
            Err(error) => error,
        };
        let failed = std::mem::replace(&mut self.state.desired, previous);
        if let Err(second) = self.perform(&failed).await {
            tracing::error!("after {error}: the earlier state could not be made again: {second}");
        }
        Err(error)
    }

    /// From `previous` to what is desired now.
    async fn perform(&mut self, previous: &Desired) -> Result<Vec<String>, Error> {
        self.held.hold(&self.state.desired)?;
        self.save()?;
        let mut changes = self.stop_what_goes(previous).await;
        changes.extend(self.reconcile().await?);
        changes.extend(self.start_what_comes().await?);
        self.save()?;
        Ok(changes)
    }

    async fn reconcile(&mut self) -> Result<Vec<String>, Error> {
        let desired = self.state.desired.clone();
        let mut journal = StateJournal { instance: &self.instance, state: &mut self.state };
        let report =
            apply::reconcile(&mut self.kernel, &desired, &mut journal, Mode::Apply).await?;
        Ok(sentences(&report))
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
        let mut journal = StateJournal { instance: &self.instance, state: &mut self.state };
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

    /// Ends the flows whose time is over.
    pub(super) fn expire_flows(&mut self) -> Result<(), Error> {
        self.kernel.expire_flows()?;
        Ok(())
    }

    fn save(&self) -> Result<(), StateError> {
        state::save(&self.instance, &self.state)
    }
}

/// What a report says, for the user.
fn sentences(report: &Report) -> Vec<String> {
    let actions = report.actions.iter().map(ToString::to_string);
    actions.chain(report.notes.iter().cloned()).collect()
}

/// The network that `run` makes for itself keeps no daemon.
fn is_empty(desired: &Desired) -> bool {
    let automatic = |network: &Network| {
        network.name == DEFAULT_NETWORK && network.origin == Origin::CommandLine
    };
    desired.endpoints.is_empty() && desired.networks.values().all(automatic)
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
