//! Commands that are ended while their endpoints stay, and started again.
//!
//! **Invariant**: nobody waits with the engine for a command to end: it is told to, waited for, and only then is its end
//! what a process's end is. Addresses, ports and namespace stay, and so does who shares the namespace.

use super::{Engine, Exited};
use crate::{
    daemon::{
        Error,
        events::Events,
        process::{self, Watched},
    },
    model::Endpoint,
    observe::Event,
    state::Asked,
};
use rustix::process::Signal;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// A command that was told to end.
pub(in crate::daemon) struct Stopping {
    endpoint: Arc<Endpoint>,
    pid: u32,
    watched: Arc<Watched>,
    events: Events,
}

impl Stopping {
    /// Waits for its end, and makes it when the time is over, if there is a limit.
    pub(in crate::daemon) async fn wait(&self, limit: Option<Duration>) -> Exited {
        let ended = match limit {
            Some(limit) => timeout(limit, self.watched.wait()).await.ok(),
            None => Some(self.watched.wait().await),
        };
        let exit = match ended {
            Some(exit) => exit,
            None => {
                self.signal(Signal::KILL);
                self.watched.wait().await
            }
        };
        Exited { endpoint: self.endpoint.name.clone(), pid: self.pid, exit }
    }

    fn signal(&self, signal: Signal) {
        let number = ("signal", signal.as_raw().to_string());
        self.events.tell(Event::of_endpoint(&self.endpoint, "kill", &[number]));
        self.watched.signal(signal);
    }
}

impl Engine {
    /// Tells an endpoint's command to end; `None` where none runs.
    pub(in crate::daemon) fn begin_stop(
        &mut self,
        query: &str,
        asked: Asked,
    ) -> Result<Option<Stopping>, Error> {
        let name = self.endpoint_name(query)?;
        let endpoint = Arc::clone(&self.state.desired.endpoints[&name]);
        if asked == Asked::Restart && endpoint.service.is_none() {
            return Err(Error::NoCommand(name));
        }
        let process = self.state.runtime.processes.get_mut(&name);
        let Some(process) = process.filter(|process| process.exit.is_none()) else {
            return Ok(None);
        };
        if process.caller {
            return Err(Error::Starting(name));
        }
        // It has just ended, and that is about to be told.
        let Some(watched) = self.watches.live.get(&name) else { return Ok(None) };
        process.asked = Some(asked);
        let (pid, watched) = (process.pid, Arc::clone(watched));
        self.save()?;
        let stopping = Stopping { endpoint, pid, watched, events: self.events() };
        stopping.signal(Signal::TERM);
        Ok(Some(stopping))
    }

    /// What the end of a command that was told to end means; what it started ends with it.
    pub(in crate::daemon) async fn end_stop(
        &mut self,
        stopping: &Stopping,
        exited: Exited,
    ) -> Result<(), Error> {
        self.process_exited(exited).await?;
        let endpoint = &stopping.endpoint;
        let record = self.state.runtime.processes.get(&endpoint.name);
        // Another one may run by now, and is not to be taken for its child.
        if record.is_some_and(|process| process.pid == stopping.pid) {
            let killed = process::evict(endpoint.namespace.path(), Some(&endpoint.id));
            process::are_gone(killed).await;
        }
        Ok(())
    }

    /// Starts an endpoint's command again; one that runs goes on.
    pub(in crate::daemon) async fn start(&mut self, query: &str) -> Result<Vec<String>, Error> {
        let name = self.endpoint_name(query)?;
        if self.runs(&name) {
            return Ok(Vec::new());
        }
        let endpoint = Arc::clone(&self.state.desired.endpoints[&name]);
        if endpoint.service.is_none() {
            return Err(Error::NoCommand(name));
        }
        let ended = self.state.runtime.processes.remove(&name);
        let started = self.start_if_needed(&endpoint).await;
        if let (Err(_), Some(ended)) = (&started, ended) {
            // Else the next change would start it.
            self.state.runtime.processes.entry(name).or_insert(ended);
        }
        started
    }

    /// The second half of a restart.
    pub(in crate::daemon) async fn restart(&mut self, query: &str) -> Result<Vec<String>, Error> {
        let changes = self.start(query).await?;
        let endpoint = &self.state.desired.endpoints[&self.endpoint_name(query)?];
        self.events.tell(Event::of_endpoint(endpoint, "restart", &[]));
        Ok(changes)
    }
}
