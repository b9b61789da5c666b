//! The daemon in the background: started by a command, with a word back on how it went.
//!
//! **Invariant**: the command that starts it learns by one pipe whether it is ready, or why not; a
//! daemon that dies without a word closes the pipe. `sd_notify` tells a service manager the same.

use crate::state::Instance;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{DirBuilderExt as _, OpenOptionsExt as _},
            net::{SocketAddr, UnixDatagram},
            process::CommandExt as _,
        },
    },
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
};

/// Says how the start went. The word of a daemon that is ready.
const READY: &str = "ready";
/// The word of one that found another.
const RUNNING: &str = "running";

/// Why there is no daemon in the background.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It said why.
    #[error("{0}")]
    Refused(String),
    /// It ended without a word.
    #[error("daemon: ended before it was ready: {log} may say why", log = .0.display())]
    Died(PathBuf),
    /// It could not be started.
    #[error("daemon: cannot be started: {0}")]
    Io(#[from] io::Error),
}

/// How a start ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Started {
    /// It is ready, and found this worth telling.
    Ready(Vec<String>),
    /// Another runs, or is just ending.
    Other,
}

/// The log of a daemon in the background.
pub fn log_file(instance: &Instance) -> PathBuf {
    instance.run_dir().join("daemon.log")
}

/// Starts this program again as the daemon of an instance, and waits for its word.
///
/// # Errors
/// Its own error, when it has one.
pub fn start(instance: &Instance, settings: &Path) -> Result<Started, StartError> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/netebpf")?;
    match fs::DirBuilder::new().mode(0o750).create(instance.run_dir()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let path = log_file(instance);
    let log = fs::File::options().append(true).create(true).mode(0o640).open(&path)?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--instance", instance.name(), "--settings"])
        // It runs elsewhere.
        .arg(path::absolute(settings)?)
        .args(["daemon", "--ready-fd"])
        .arg(writer.as_raw_fd().to_string())
        .current_dir("/")
        .env_remove("NOTIFY_SOCKET")
        // A command in an endpoint may have started us, and we are no part of that endpoint.
        .env_remove(super::process::MARK)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let inherited = writer.as_raw_fd();
    // SAFETY: two system calls; the descriptor is open until `writer` is dropped after the spawn.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            let writer = std::os::fd::BorrowedFd::borrow_raw(inherited);
            Ok(fcntl_setfd(writer, FdFlags::empty())?)
        });
    }
    command.spawn()?;
    drop(writer);
    let mut word = String::new();
    fs::File::from(reader).read_to_string(&mut word)?;
    match word.trim_end().split_once('\n').unwrap_or((word.trim_end(), "")) {
        (READY, warnings) => Ok(Started::Ready(warnings.lines().map(str::to_owned).collect())),
        (RUNNING, _) => Ok(Started::Other),
        ("", _) => Err(StartError::Died(path)),
        _ => Err(StartError::Refused(word.trim_end().to_owned())),
    }
}

/// Where the daemon's word goes.
#[derive(Debug)]
pub struct Announcer(Option<fs::File>);

impl Announcer {
    /// The pipe's number as the command line gave it.
    pub fn new(ready_fd: Option<RawFd>) -> Self {
        Self(ready_fd.map(|fd| {
            // SAFETY: `start` left this descriptor open for us, and nothing else in the process knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            // Not for the services: the command would wait for them too.
            let _ = fcntl_setfd(&fd, FdFlags::CLOEXEC);
            fs::File::from(fd)
        }))
    }

    /// Ready to take requests; `warnings` are for whoever waits.
    pub fn ready(&mut self, warnings: &[String]) {
        self.say(&[&[READY.to_owned()], warnings].concat().join("\n"));
        if let Err(error) = notify("READY=1") {
            tracing::warn!("the service manager cannot be told: {error}");
        }
    }

    /// Another daemon has the instance.
    pub fn running(&mut self) {
        self.say(RUNNING);
    }

    /// Not ready, and why.
    pub fn failed(&mut self, why: &str) {
        self.say(why);
    }

    fn say(&mut self, word: &str) {
        if let Some(mut pipe) = self.0.take() {
            // Whoever started us may be gone.
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}

/// `sd_notify(3)`: one datagram to the socket named in the environment, `@` for an abstract one.
fn notify(message: &str) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.to_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(&name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}
