//! What questions that are under way to others may take of memory.
//!
//! **Invariant**: whatever is kept for one, from the question to the last byte of its answer that is sent, was
//! taken from two purses before: the endpoint's, so that no other endpoint pays for it, and that of all.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one endpoint: sixty of the longest answers.
const OWN: usize = 4 << 20;
/// Bytes of all endpoints together.
const ALL: usize = 64 << 20;

/// The purse of all endpoints.
pub(super) fn of_all() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ALL))
}

/// The purses of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// What was taken; it is given back with this.
#[derive(Debug)]
pub(super) struct Share(
    #[expect(dead_code, reason = "held, and never read")] [OwnedSemaphorePermit; 2],
);

impl Memory {
    pub(super) fn new(all: Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(OWN)), all }
    }

    /// Takes so many bytes; none where there are too few.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let bytes = u32::try_from(bytes).ok()?;
        let from = |purse: &Arc<Semaphore>| Arc::clone(purse).try_acquire_many_owned(bytes).ok();
        Some(Share([from(&self.own)?, from(&self.all)?]))
    }
}

/// An answer that came from others, and what it takes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) _share: Option<Share>,
}
