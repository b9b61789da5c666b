//! One endpoint that asks: what it sees, and how much it may ask for.
//!
//! **Invariant**: what an endpoint may have under way, and what that may take of memory, is counted here and
//! nowhere else; what is above that is answered with a failure at once.

use super::{
    MOST_SERVERS, Upstreams,
    answer::{self, Outcome, Transport},
    forward::forward,
    memory::{Answer, Memory, Share},
    names::View,
    question,
};
use hickory_proto::op::ResponseCode;
use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU32, Ordering},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many questions of one endpoint may be under way to others, as with Docker.
pub(super) const FORWARDS: usize = 1024;
/// How many connections one endpoint may have.
pub(super) const CONNECTIONS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Asker {
    view: RwLock<Arc<View>>,
    upstreams: Arc<Upstreams>,
    /// Of this endpoint.
    forwards: Arc<Semaphore>,
    /// Of all endpoints together.
    all_forwards: Arc<Semaphore>,
    memory: Memory,
    pub(super) connections: Arc<Semaphore>,
    turn: AtomicU32,
}

/// A question that goes to others: the right to ask it.
pub(super) struct Leave {
    query: Vec<u8>,
    _permits: [OwnedSemaphorePermit; 2],
    _share: Share,
}

impl Asker {
    pub(super) fn new(
        view: View,
        upstreams: Arc<Upstreams>,
        forwards: usize,
        all_forwards: Arc<Semaphore>,
        memory: Memory,
    ) -> Self {
        Self {
            view: RwLock::new(Arc::new(view)),
            upstreams,
            forwards: Arc::new(Semaphore::new(forwards)),
            all_forwards,
            memory,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            turn: AtomicU32::new(0),
        }
    }

    /// From now on it sees this.
    pub(super) fn see(&self, view: View) {
        *self.view.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(view);
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Answers a query: `out` is what to send back now, if it is not empty. What goes to others comes back as
    /// the leave to ask them.
    pub(super) fn answer(
        &self,
        query: &[u8],
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Option<Leave> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match answer::answer(query, &self.view(), turn, transport, out) {
            Outcome::Silence => out.clear(),
            Outcome::Answer => {}
            Outcome::Forward => {
                let leave = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_owned().ok();
                if let Some(own) = leave(&self.forwards)
                    && let Some(common) = leave(&self.all_forwards)
                    // One for us, and two for each resolver, which may be asked by a connection, too.
                    && let Some(share) = self.memory.take(query.len() * (1 + 2 * MOST_SERVERS))
                {
                    let _permits = [own, common];
                    return Some(Leave { query: query.to_vec(), _permits, _share: share });
                }
                if let Ok(question) = question::read(query) {
                    answer::failure(&question, transport, ResponseCode::ServFail, out);
                }
            }
        }
        None
    }

    /// Asks others.
    pub(super) async fn ask_others(&self, leave: Leave, transport: Transport) -> Option<Answer> {
        let view = self.view();
        forward(&leave.query, &view.forward, &self.upstreams, transport, &self.memory).await
    }
}
