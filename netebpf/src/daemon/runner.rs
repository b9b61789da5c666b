//! The foreground `run`s: a command's code is known to its parent alone, so who started it tells.
//!
//! **Invariant**: a code is here before the request that brings it waits for its turn, so whoever has the turn and
//! waits for the command's end hears it. Who is gone, or says nothing for a moment, is not waited for.

use super::process::start_time;
use crate::state::Runner;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
    time::sleep,
};

/// How long a `run` that lives may take: one that was stopped says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The codes that somebody waits for, by the commands' process ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes(Arc<Mutex<BTreeMap<u32, watch::Sender<Option<i32>>>>>);

impl Codes {
    /// How a command ended.
    pub(super) fn tell(&self, pid: u32, code: i32) {
        if let Some(sender) = self.lock().get(&pid) {
            sender.send_replace(Some(code));
        }
    }

    fn expect(&self, pid: u32) -> watch::Receiver<Option<i32>> {
        let mut codes = self.lock();
        codes.retain(|_, sender| !sender.is_closed());
        // A fresh one: an earlier process had the same number.
        let (sender, code) = watch::channel(None);
        codes.insert(pid, sender);
        code
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, watch::Sender<Option<i32>>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A `run` that lives, and what it will say of its command.
#[derive(Debug)]
pub(super) struct Waiter {
    runner: AsyncFd<OwnedFd>,
    code: watch::Receiver<Option<i32>>,
}

impl Waiter {
    /// The one that waits for a command; `None` when it is gone.
    pub(super) fn find(runner: &Runner, command: u32, codes: &Codes) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(runner.pid).ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // After the pidfd, so that both speak of one process.
        if start_time(runner.pid) != Some(runner.start_time) {
            return None;
        }
        // SAFETY: an owned descriptor is the same one as long as it lives.
        let runner = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.ok()?;
        Some(Self { runner, code: codes.expect(command) })
    }

    /// The code of a command that has ended.
    pub(super) async fn code(&self) -> Option<i32> {
        let mut code = self.code.clone();
        let told = async { code.wait_for(Option::is_some).await.ok().and_then(|code| *code) };
        tokio::select! {
            // What it said before it ended counts.
            biased;
            code = told => code,
            _ = self.runner.readable() => None,
            () = sleep(PATIENCE) => None,
        }
    }
}
