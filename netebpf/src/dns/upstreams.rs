//! The host's resolvers, followed as its resolv.conf changes.
//!
//! **Invariant**: whoever asks gets what the file says now: it is looked at (one `stat`) before each question
//! that goes outside, and for what is written down of it once a second, or when something happens where it is. A
//! file that cannot be read says nothing new.

use super::resolv_conf::ResolvConf;
use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The file that the host's own programs read.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What tells one content of a file from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
}

type Known = (Option<Stamp>, Arc<ResolvConf>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// From the settings; they count instead of the file's.
    configured: Vec<SocketAddr>,
    known: RwLock<Known>,
    /// What the endpoints' files were written from.
    served: RwLock<Option<Arc<ResolvConf>>>,
    /// Whether a resolver waits for a port that another program has.
    waiting: AtomicBool,
}

impl Upstreams {
    /// The settings' resolvers, or the host's.
    pub(crate) fn new(configured: Vec<SocketAddr>) -> Self {
        let (known, served) = (RwLock::default(), RwLock::default());
        let upstreams = Self { configured, known, served, waiting: AtomicBool::new(false) };
        *write(&upstreams.known) = upstreams.read(stamp());
        upstreams
    }

    /// What the host's file says now, with the settings' resolvers where there are some.
    pub(super) fn current(&self) -> Arc<ResolvConf> {
        let now = stamp();
        {
            let known = self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            if known.0 == now || now.is_none() {
                return Arc::clone(&known.1);
            }
        }
        let read = self.read(now);
        let current = Arc::clone(&read.1);
        *write(&self.known) = read;
        current
    }

    /// Whether there is something to do: the file is another than `served`, or a port may be free now.
    pub(crate) fn needs_a_look(&self) -> bool {
        let served = self.served.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        served.as_ref().is_some_and(|served| !Arc::ptr_eq(served, &self.current()))
            || self.waiting.load(Ordering::Relaxed)
    }

    /// What the endpoints' files were written from, and whether a resolver waits for a port.
    pub(super) fn set_served(&self, served: Arc<ResolvConf>, waiting: bool) {
        *self.served.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(served);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    fn read(&self, stamp: Option<Stamp>) -> Known {
        let text = fs::read(RESOLV_CONF).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("{RESOLV_CONF}: {error}");
            }
            Vec::new()
        });
        let mut read = ResolvConf::parse(&String::from_utf8_lossy(&text));
        if !self.configured.is_empty() {
            read.servers = self.configured.clone();
        }
        (stamp, Arc::new(read))
    }
}

fn write(known: &RwLock<Known>) -> std::sync::RwLockWriteGuard<'_, Known> {
    known.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn stamp() -> Option<Stamp> {
    let data = fs::metadata(Path::new(RESOLV_CONF)).ok()?;
    Some(Stamp {
        file: (data.dev(), data.ino()),
        modified: (data.mtime(), data.mtime_nsec()),
        changed: (data.ctime(), data.ctime_nsec()),
        length: data.len(),
    })
}
