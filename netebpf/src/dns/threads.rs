//! The threads that serve names, and do nothing else.
//!
//! **Invariant**: nothing that blocks runs on them, so no change that the daemon makes delays an answer. What
//! is spawned on one stays there: a query wakes one thread, never two.

use std::{io, thread};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The most threads there are.
const MOST: usize = 4;

/// See the module. They end when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Threads {
    running: Vec<(Handle, oneshot::Sender<()>)>,
    next: usize,
}

impl Threads {
    /// The one whose turn it is; the first time they are started.
    pub(super) fn next(&mut self) -> io::Result<Handle> {
        if self.running.is_empty() {
            let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
            self.running = (0..count).map(|_| start()).collect::<io::Result<_>>()?;
        }
        self.next = (self.next + 1) % self.running.len();
        Ok(self.running[self.next].0.clone())
    }
}

fn start() -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (sender, stop) = oneshot::channel();
    thread::Builder::new().name("names".to_owned()).spawn(move || {
        // An error says that nobody holds the other end any more, which is the end as well.
        let _ = runtime.block_on(stop);
    })?;
    Ok((handle, sender))
}
