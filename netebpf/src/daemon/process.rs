//! Processes of endpoints: started in their namespaces, found again, waited for, ended.
//!
//! **Invariant**: a process is known by its id and its start time together, never by the id alone, and
//! signals go through a pidfd that was opened before the start time was read, so they never reach
//! another process that got the same id.

use super::{
    etc::Etc,
    runner::{Codes, Waiter},
};
use crate::{
    model::{Endpoint, Id},
    state::{Exit, Process},
};
use futures_util::future::join_all;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, pidfd_open,
        pidfd_send_signal, setrlimit, waitid,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::{
            fs::{MetadataExt as _, OpenOptionsExt as _},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

/// How long a process has between SIGTERM and SIGKILL, as with Docker.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The environment variable that holds the identifier of a command's endpoint.
pub(super) const MARK: &str = "NETEBPF_ENDPOINT";

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// This boot's identifier; empty where the kernel gives none.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process started, in clock ticks since boot; `None` when there is none, or only its remains.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// The second field is the program's name in parentheses, and may hold anything.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22; the state was field 3.
    fields.nth(18)?.parse().ok()
}

/// Whether a process still runs.
pub(crate) fn is_alive(process: &Process) -> bool {
    process.exit.is_none()
        && process.boot == boot_id()
        && start_time(process.pid) == Some(process.start_time)
}

/// The limit of open files that we were started with, which is a service's too.
static FILE_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process open as many files as the system has for one: each published port holds two. Without
/// CAP_SYS_RESOURCE it is as many as this process was allowed.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    FILE_LIMIT.get_or_init(|| limit);
    let most = fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let most = most.and_then(|text| text.trim().parse().ok());
    let to = |files| setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files });
    if most.is_none() || to(most).is_err() {
        let raised = to(limit.maximum);
        raised.unwrap_or_else(|error| tracing::warn!("the limit of open files stays: {error}"));
    }
}

/// What to start, and where.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// Whose command it is: [`MARK`] says so to the command and its children.
    pub(crate) endpoint: &'a Id,
    /// The program and its arguments.
    pub(crate) command: &'a [String],
    /// Added to our own environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Where it starts; `/` when absent.
    pub(crate) working_dir: Option<&'a Path>,
    /// The network namespace to enter.
    pub(crate) namespace: &'a Path,
    /// Directories whose files it sees in /etc, the later one's first.
    pub(crate) etc: &'a [PathBuf],
}

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No such program.
    #[error("command {0:?}: {there}", there = if .0.contains('/') { "there is no such file" } else { "not found in PATH" })]
    NotFound(String),
    /// No such directory to start in.
    #[error("working directory {path}: there is none: another one, or none for /, would be right", path = .0.display())]
    NoDirectory(PathBuf),
    /// The program is there and cannot be executed.
    #[error("command {0:?}: cannot be executed: {1}")]
    NotExecutable(String, io::Error),
    /// The namespace is not there, or is none.
    #[error("namespace {path}: cannot be entered: {source}", path = .path.display())]
    Namespace {
        /// The namespace.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log file cannot be written.
    #[error("log {path}: {source}", path = .path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The command line was empty.
    #[error("no command given")]
    Empty,
}

impl LaunchError {
    /// Docker's exit code, where there is one.
    pub(crate) fn exit(&self) -> Option<u8> {
        match self {
            Self::NotFound(_) => Some(127),
            Self::NotExecutable(..) => Some(126),
            _ => None,
        }
    }
}

impl Launch<'_> {
    /// The command, set up to enter the namespace between fork and exec: the caller's own threads
    /// never leave theirs.
    pub(crate) fn prepare(&self) -> Result<Command, LaunchError> {
        let (program, arguments) = self.command.split_first().ok_or(LaunchError::Empty)?;
        let namespace = self.open_namespace()?;
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment).env(MARK, self.endpoint.to_string());
        if let Some(directory) = self.working_dir {
            command.current_dir(directory);
        }
        let etc = Etc::of(self.etc);
        // SAFETY: the closure makes system calls on what it owns, and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind)?;
                etc.mount()
            });
        }
        Ok(command)
    }

    /// What a failed spawn means.
    pub(crate) fn explain(&self, error: io::Error) -> LaunchError {
        let program = self.command.first().cloned().unwrap_or_default();
        match (error.kind(), self.working_dir) {
            (_, Some(directory)) if !directory.is_dir() => {
                LaunchError::NoDirectory(directory.to_owned())
            }
            (io::ErrorKind::NotFound, _) => LaunchError::NotFound(program),
            _ => LaunchError::NotExecutable(program, error),
        }
    }

    /// Starts it in the background: a session of its own, its output at the end of `log`. Answers with
    /// its process id.
    pub(crate) fn spawn_detached(&self, log: &Path) -> Result<u32, LaunchError> {
        let log_error = |source| LaunchError::Log { path: log.to_owned(), source };
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory).map_err(log_error)?;
        }
        let output = fs::File::options()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(log)
            .map_err(log_error)?;
        let errors = output.try_clone().map_err(log_error)?;
        let mut command = self.prepare()?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        if self.working_dir.is_none() {
            command.current_dir("/");
        }
        let limit = FILE_LIMIT.get().copied();
        // SAFETY: two system calls.
        unsafe {
            command.pre_exec(move || {
                if let Some(limit) = &limit {
                    setrlimit(Resource::Nofile, *limit)?;
                }
                Ok(rustix::process::setsid().map(drop)?)
            });
        }
        let child = command.spawn().map_err(|error| self.explain(error))?;
        Ok(child.id())
    }

    fn open_namespace(&self) -> Result<OwnedFd, LaunchError> {
        rustix::fs::open(self.namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
            |errno| LaunchError::Namespace {
                path: self.namespace.to_owned(),
                source: errno.into(),
            },
        )
    }
}

/// The record of a process that runs now. A start time of 0 is one that has ended already.
pub(crate) fn describe(pid: u32, endpoint: &Endpoint) -> Process {
    Process {
        purpose: Process::purpose_of(endpoint),
        pid,
        start_time: start_time(pid).unwrap_or(0),
        boot: boot_id(),
        started: now(),
        caller: false,
        runner: None,
        asked: None,
        exit: None,
    }
}

/// A live process, held by a pidfd.
#[derive(Debug)]
pub(crate) struct Watched {
    pidfd: AsyncFd<OwnedFd>,
    /// Its code, which the kernel tells once, and several may wait for.
    code: Mutex<Option<i32>>,
    /// Who knows its code where we do not.
    waiter: Option<Waiter>,
}

impl Watched {
    /// Finds a process again; `None` when it has ended.
    pub(super) fn find(process: &Process, codes: &Codes) -> Option<Self> {
        if process.exit.is_some() || process.boot != boot_id() {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let runner = process.runner.as_ref();
        let waiter = runner.and_then(|runner| Waiter::find(runner, process.pid, codes));
        // After the pidfd, so that both speak of one process. Our own child, or that of a `run`, may be a
        // zombie whose code is still to be fetched.
        let same = start_time(process.pid).is_none_or(|ticks| ticks == process.start_time);
        let has_parent = || waiter.is_some() || is_our_child(&pidfd);
        if !same || (start_time(process.pid).is_none() && !has_parent()) {
            return None;
        }
        // SAFETY: an owned descriptor is the same one as long as it lives.
        let pidfd = unsafe { AsyncFd::register(pidfd) }.ok()?;
        Some(Self { pidfd, code: Mutex::default(), waiter })
    }

    /// Waits for the end. The code is known only to the parent: who is another's child has none when that one is
    /// gone.
    pub(crate) async fn wait(&self) -> Exit {
        let code = match (self.ended().await, &self.waiter) {
            (None, Some(waiter)) => waiter.code().await,
            (code, _) => code,
        };
        Exit { code, at: now() }
    }

    async fn ended(&self) -> Option<i32> {
        loop {
            // An error says that the runtime is going down: nobody reads the answer then.
            let Ok(mut ready) = self.pidfd.readable().await else { return None };
            let mut known = self.code.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if known.is_some() {
                return *known;
            }
            match waitid(
                WaitId::PidFd(self.pidfd.as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            ) {
                Ok(None) => ready.clear_ready(),
                Ok(Some(status)) => {
                    let signal = status.terminating_signal().map(|signal| 128 + signal);
                    *known = status.exit_status().or(signal);
                    return *known;
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(_) => return None,
            }
        }
    }

    /// Ends it, and waits for what is to be known of that.
    pub(crate) async fn stop(&self) -> Exit {
        self.end().await;
        self.wait().await
    }

    /// SIGTERM, and SIGKILL to what is still there after the grace.
    pub(super) async fn end(&self) {
        self.signal(Signal::TERM);
        if timeout(GRACE, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            self.ended().await;
        }
    }

    /// Its pidfd.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // ESRCH: it ended by itself.
        let _ = pidfd_send_signal(self.pidfd.get_ref(), signal);
    }
}

/// What tells one namespace from another.
fn identity(namespace: &Path) -> Option<(u64, u64)> {
    fs::metadata(namespace).ok().map(|data| (data.dev(), data.ino()))
}

/// Whether any process is in an endpoint's network namespace; in one of others, any that the endpoint's command
/// started.
pub(crate) fn is_occupied(endpoint: &Endpoint) -> bool {
    let Some(wanted) = identity(endpoint.namespace.path()) else { return false };
    let shared = endpoint.namespace.is_shared();
    let mut processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.any(|process| {
        identity(&process.path().join("ns/net")) == Some(wanted)
            && (!shared || is_marked(&process.path(), &endpoint.id))
    })
}

/// Kills every process whose network namespace is the one mounted at `path`; with an endpoint only what
/// descends from its command. Answers with them: they may take a moment.
pub(crate) fn evict(path: &Path, endpoint: Option<&Id>) -> Vec<OwnedFd> {
    let mut killed = Vec::new();
    let Some(wanted) = identity(path) else { return killed };
    let Ok(processes) = fs::read_dir("/proc") else { return killed };
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        let is_inside = || identity(&process.path().join("ns/net")) == Some(wanted);
        // Looked at again with the pidfd: then both speak of one process.
        if is_inside()
            && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && is_inside()
            && pid != rustix::process::getpid()
            && endpoint.is_none_or(|endpoint| is_marked(&process.path(), endpoint))
        {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            killed.push(pidfd);
        }
    }
    killed
}

/// Waits until killed processes are gone, and with them the ports that they hold; one in the middle of a system call
/// that does not end is given up.
pub(crate) async fn are_gone(killed: Vec<OwnedFd>) {
    // Not `async |pidfd|`: that has the incremental compiler of rustc 1.95 end in an internal error now and then.
    let gone = killed.into_iter().map(|pidfd| async move {
        // SAFETY: an owned descriptor is the same one as long as it lives.
        if let Ok(pidfd) = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) } {
            // An error says that the runtime is going down.
            let _ = pidfd.readable().await;
        }
    });
    let _ = timeout(GRACE, join_all(gone)).await;
}

/// Whether a process, by its directory in `/proc`, was started with the mark of an endpoint.
fn is_marked(process: &Path, endpoint: &Id) -> bool {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let mark = format!("{MARK}={endpoint}");
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn is_our_child(pidfd: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(pidfd.as_fd()), options).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    fn launch(command: &[String]) -> Launch<'_> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        static ID: LazyLock<Id> = LazyLock::new(Id::random);
        Launch {
            endpoint: &ID,
            command,
            environment: &NONE,
            working_dir: None,
            namespace: Path::new("/proc/self/ns/net"),
            etc: &[],
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_name_cannot_shift_the_fields() {
        let stat = "7 (a) R 1) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(stat), Some(4711));
        assert_eq!(parse_stat("7 (a) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711"), None);
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn what_cannot_run_is_named() {
        let missing = words("/nowhere/netebpf-test");
        let command = launch(&missing);
        assert!(matches!(
            command.explain(io::ErrorKind::NotFound.into()),
            LaunchError::NotFound(name) if name == missing[0]
        ));
        assert!(matches!(launch(&[]).prepare(), Err(LaunchError::Empty)));
        let nowhere = Launch { namespace: Path::new("/nowhere"), ..launch(&missing) };
        assert!(matches!(nowhere.prepare(), Err(LaunchError::Namespace { .. })));
    }
}
