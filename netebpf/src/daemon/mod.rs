//! The long-running part: one process an instance, which owns the state and the kernel's objects.
//!
//! [`server`] takes requests, [`engine`] does them one after the other, [`process`] knows processes and
//! [`ports`] holds the host's ports. Beside requests, four things move it: a process that ends, an
//! interface, address or route of the host that changes, flows that expire, and a signal.
//!
//! **Invariant**: killing it at any moment loses no packet and no state; the next one adopts what is
//! there. SIGTERM ends only this process; the datapath stays. Only an instance with nothing in it is
//! taken down.

pub mod api;
mod background;
mod commands;
mod engine;
mod error;
mod etc;
mod events;
mod logs;
mod lookup;
mod paths;
mod ports;
mod process;
mod program;
mod runner;
mod server;
mod sockets;

pub use background::{Announcer, StartError, Started, log_file, start};
pub use error::Error;
pub(crate) use etc::keep;
pub(crate) use logs::beginning as log_beginning;
pub use lookup::{Kind, LookupError, find};
pub(crate) use paths::Paths;
pub use ports::PortError;
pub use process::LaunchError;
pub(crate) use process::{Launch, is_alive, now};

use crate::{
    config::settings,
    dns::{RESOLV_CONF, Upstreams},
    kernel::{self, WentDown},
    state::{Instance, Lock, LockError, State},
};
use engine::{Engine, Exited, Snapshot};
use events::Events;
use futures_util::StreamExt as _;
use runner::Codes;
use server::Turn;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    task::yield_now,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// How long a daemon waits for one before it that is just ending.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the host's interfaces must have been quiet before they are looked at again.
const QUIET: Duration = Duration::from_millis(200);
/// How often the host's resolv.conf is looked at: what happens in its directories is told at once.
const RESOLVERS: Duration = Duration::from_secs(1);
/// How often flows are looked through for those that expired.
const EXPIRY: Duration = Duration::from_secs(1);

/// What every task of the daemon shares.
struct Daemon {
    engine: Arc<Mutex<Engine>>,
    events: Events,
    codes: Codes,
    snapshot: RwLock<Arc<Snapshot>>,
    ended: watch::Sender<bool>,
}

impl Daemon {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Lets others see what there is now, and ends the daemon when the instance was taken down.
    fn publish(&self, engine: &Engine) {
        let snapshot = Arc::new(engine.snapshot());
        *self.snapshot.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = snapshot;
        self.ended.send_replace(engine.ended());
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The start failed.
    #[error(transparent)]
    Start(#[from] Error),
    /// /etc/netebpf/config.toml is wrong.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// The system refused.
    #[error("daemon: {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The networks of an instance of which there is nothing yet: those that are always there.
///
/// # Errors
/// When the settings or the host's routes cannot be read.
pub(crate) async fn networks_of_nobody(
    instance: &Instance,
    settings: &Path,
) -> Result<Vec<api::NetworkView>, DaemonError> {
    let settings = settings::load(settings)?;
    let routes = kernel::host_routes().await.map_err(Error::from)?;
    let nobody = Snapshot { instance: instance.clone(), settings, state: State::default() };
    Ok(nobody.networks(routes))
}

/// Runs the daemon of an instance until it is told to end, or nothing is left to do.
///
/// # Errors
/// When it cannot start; `announcer` has said so then.
pub async fn run(
    instance: &Instance,
    settings: &Path,
    mut announcer: Announcer,
) -> Result<(), DaemonError> {
    let lock = match take_lock(instance).await {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            announcer.running();
            return Err(error.into());
        }
        Err(error) => {
            announcer.failed(&error.to_string());
            return Err(error.into());
        }
    };
    process::raise_file_limit();
    let result = serve(instance, settings, &mut announcer).await;
    if let Err(error) = &result {
        announcer.failed(&error.to_string());
    }
    // After SIGTERM services still write to their logs; without an instance nothing is left to keep.
    let _ = fs::remove_file(instance.socket());
    if !instance.state_dir().exists() {
        remove_what_is_left(instance, result.is_err());
    }
    lock.remove();
    // These go with the last file in them.
    let _ = fs::remove_dir(instance.run_dir());
    let _ = instance.run_dir().parent().map(fs::remove_dir);
    result
}

/// Empties the run directory but for the lock. After a failed start what was done since the boot is not
/// undone, so what says so stays.
fn remove_what_is_left(instance: &Instance, failed: bool) {
    for path in fs::read_dir(instance.run_dir()).into_iter().flatten().flatten().map(|e| e.path()) {
        let kept = failed && (path.ends_with("runtime.json") || path.ends_with("namespaces"));
        if path != instance.pid_file() && !kept {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// One that answers has the instance; one that does not is starting, or ending.
async fn take_lock(instance: &Instance) -> Result<Lock, LockError> {
    let begun = Instant::now();
    loop {
        match Lock::take(instance) {
            Err(error @ LockError::Held { .. }) => {
                let answers = UnixStream::connect(instance.socket()).await.is_ok();
                if answers || begun.elapsed() > PATIENCE {
                    return Err(error);
                }
                sleep(Duration::from_millis(50)).await;
            }
            taken => return taken,
        }
    }
}

async fn serve(
    instance: &Instance,
    settings: &Path,
    announcer: &mut Announcer,
) -> Result<(), DaemonError> {
    let io = |operation| move |source| DaemonError::Io { operation, source };
    // Before anything is made, so that a signal never ends a start half-way.
    let mut terminate = signal(SignalKind::terminate()).map_err(io("catch SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("catch SIGINT"))?;
    let settings = settings::load(settings)?;
    let (sender, exited) = mpsc::unbounded_channel();
    let upstreams = Arc::new(Upstreams::new(settings.upstreams.clone()));
    let (engine, warnings) =
        Engine::open(instance, settings, sender, Arc::clone(&upstreams)).await?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let paths = engine.paths();
    let daemon = Arc::new(Daemon {
        snapshot: RwLock::new(Arc::new(engine.snapshot())),
        events: engine.events(),
        codes: engine.codes(),
        engine: Arc::new(Mutex::new(engine)),
        ended: watch::Sender::new(false),
    });
    let listener = listen(instance).map_err(io("listen on the control socket"))?;
    tokio::spawn(follow_processes(Arc::clone(&daemon), exited));
    tokio::spawn(follow_host(Arc::clone(&daemon)));
    tokio::spawn(expire_flows(Arc::clone(&daemon)));
    tokio::spawn(follow_resolvers(Arc::clone(&daemon), upstreams, paths));
    tokio::spawn(shorten_logs(instance.clone()));
    announcer.ready(&warnings);
    let mut ended = daemon.ended.subscribe();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    };
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, server::router(Arc::clone(&daemon)))
        .with_graceful_shutdown(async move {
            stop.await;
            let _ = stopping.send(());
        })
        .into_future();
    let server = tokio::spawn(server);
    let _ = stopped.await;
    // A change that has begun is brought to its end; a connection that only idles is not waited for.
    let mut engine = Arc::clone(&daemon.engine).lock_owned().await;
    let _ = timeout(Duration::from_secs(1), server).await;
    engine.let_go().await;
    // Never unlocked again: from now on the next daemon may be at work, and no task of ours beside it.
    std::mem::forget(engine);
    Ok(())
}

fn listen(instance: &Instance) -> io::Result<UnixListener> {
    let path = instance.socket();
    // We hold the lock: a socket that is there belonged to a daemon that was killed.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The directory is 0750, so that nobody else gets in before the mode is set.
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn follow_processes(daemon: Arc<Daemon>, mut exited: mpsc::UnboundedReceiver<Exited>) {
    while let Some(process) = exited.recv().await {
        let Ok(mut turn) = Turn::take(&daemon).await else { return };
        let done = turn.engine.process_exited(process).await;
        if let Err(error) = turn.end(done).await {
            tracing::error!("{error}");
        }
    }
}

/// Interfaces, addresses and routes come and go in bursts, and some are of our own making: what was
/// quiet for a moment is looked at once.
async fn follow_host(daemon: Arc<Daemon>) {
    let mut missed = WentDown::These(BTreeSet::new());
    loop {
        let events = daemon.engine.lock().await.watch();
        let mut events = match events {
            Ok(events) => events,
            Err(error) => {
                tracing::error!("uplinks are not followed: {error}");
                return;
            }
        };
        // What was missed is found by looking.
        if follow_once(&daemon, missed).await.is_err() {
            return;
        }
        while let Some(change) = events.next().await {
            let mut down = BTreeSet::from_iter(change.down());
            let quiet = async {
                while let Ok(Some(change)) = timeout(QUIET, events.next()).await {
                    down.extend(change.down());
                }
            };
            // A host that is never quiet is looked at nevertheless.
            let _ = timeout(QUIET * 10, quiet).await;
            if follow_once(&daemon, WentDown::These(down)).await.is_err() {
                return;
            }
        }
        // There were more than the kernel could queue.
        missed = WentDown::Unknown;
        sleep(QUIET).await;
    }
}

/// After these links were down. An error when the daemon ends.
async fn follow_once(daemon: &Arc<Daemon>, down: WentDown) -> Result<(), Error> {
    let mut turn = Turn::take(daemon).await?;
    match turn.engine.follow(&down).await {
        Ok(changes) => changes.iter().for_each(|change| tracing::info!("{change}")),
        Err(error) => tracing::error!("{error}"),
    }
    Ok(())
}

/// What was written of the host's resolv.conf is written again when that changes; and a resolver that could
/// not be is tried again.
async fn follow_resolvers(daemon: Arc<Daemon>, upstreams: Arc<Upstreams>, paths: Paths) {
    let mut ticks = interval(RESOLVERS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut follower = paths.follower();
    follower.follow([Path::new(RESOLV_CONF)]);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = follower.changed() => drop(follower.follow([Path::new(RESOLV_CONF)])),
        }
        if upstreams.needs_a_look() {
            let Ok(mut turn) = Turn::take(&daemon).await else { return };
            turn.engine.serve_names().await;
        }
    }
}

async fn shorten_logs(instance: Instance) {
    let mut ticks = interval(logs::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        logs::shorten(&instance);
    }
}

async fn expire_flows(daemon: Arc<Daemon>) {
    let mut ticks = interval(EXPIRY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut more = true;
        while more {
            let Ok(mut turn) = Turn::take(&daemon).await else { return };
            more = turn.engine.expire_flows().unwrap_or_else(|error| {
                tracing::error!("flows: {error}");
                false
            });
            drop(turn);
            // Whoever waits has a turn in between.
            yield_now().await;
        }
    }
}
