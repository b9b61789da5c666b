//! Tells whoever watches what happened, and remembers the last of it.
//!
//! **Invariant**: who subscribes gets each event once, those from before first; times only grow.

use crate::{
    model::Desired,
    observe::{Event, between},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::broadcast;

/// How many events are remembered for `--since`, and how far behind a reader may be.
const REMEMBERED: usize = 4096;

/// See the module.
#[derive(Clone)]
pub(super) struct Events(Arc<Mutex<Inner>>);

struct Inner {
    recent: VecDeque<Event>,
    sender: broadcast::Sender<Event>,
    /// The intent that everybody was told of.
    told: Desired,
}

impl Events {
    /// Of what is there already nothing is told.
    pub(super) fn new(told: Desired) -> Self {
        let sender = broadcast::Sender::new(REMEMBERED);
        Self(Arc::new(Mutex::new(Inner { recent: VecDeque::new(), sender, told })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tells one.
    pub(super) fn tell(&self, event: Event) {
        self.lock().tell(event);
    }

    /// Tells what is between the intent that was told last and this one, which is so now.
    pub(super) fn tell_changes(&self, desired: &Desired) {
        let mut inner = self.lock();
        for event in between(&inner.told, desired) {
            inner.tell(event);
        }
        inner.told.clone_from(desired);
    }

    /// What is remembered from a time on, in nanoseconds since 1970, and what comes.
    pub(super) fn since(&self, time: u64) -> (VecDeque<Event>, broadcast::Receiver<Event>) {
        let inner = self.lock();
        let recent = inner.recent.iter().filter(|event| event.time_nano >= time);
        (recent.cloned().collect(), inner.sender.subscribe())
    }
}

impl Inner {
    fn tell(&mut self, mut event: Event) {
        if let Some(last) = self.recent.back() {
            event.time_nano = event.time_nano.max(last.time_nano + 1);
            event.time = event.time_nano / 1_000_000_000;
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
        // Nobody may be watching.
        let _ = self.sender.send(event);
    }
}
