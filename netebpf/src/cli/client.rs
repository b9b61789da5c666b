//! Requests to the daemon of an instance.

use crate::{
    daemon::api::{ENDED, Failure, path::EVENTS},
    observe::Event,
    state::Instance,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, os::fd::OwnedFd, path::PathBuf, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    time::timeout,
};

/// How long a daemon may take to end after its last answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one that was killed may take to be dead.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a request had no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No daemon listens there.
    #[error(
        "instance {instance:?}: no daemon runs: \"netebpf --instance {instance} daemon\" or \"up\" starts it"
    )]
    NoDaemon {
        /// The instance.
        instance: String,
    },
    /// The socket is there and cannot be used.
    #[error("daemon: {socket}: {source}", socket = socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon's own words.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// Docker's exit code of a command that does not run.
        exit: Option<u8>,
    },
    /// The daemon takes the instance down just now.
    #[error("{0}")]
    Ending(String),
    /// The connection broke, or what came is not what was asked for.
    #[error("daemon: {socket}: {what}: see its log, or start it again", socket = socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        what: String,
    },
}

/// A daemon that answers.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    instance: Instance,
}

impl Client {
    /// A client of an instance's daemon, which may not run.
    pub(crate) fn new(instance: &Instance) -> Self {
        Self { instance: instance.clone() }
    }

    /// Connects, to see whether a daemon runs.
    ///
    /// # Errors
    /// [`ClientError::NoDaemon`] when none does.
    pub(crate) async fn probe(&self) -> Result<(), ClientError> {
        self.connect().await.map(drop)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.request(Request::get(path), Bytes::new()).await
    }

    /// Asks for something to be done, and waits until it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        let request = Request::post(path).header("content-type", "application/json");
        self.request(request, body.into()).await
    }

    /// What happened from a time on, and what happens while the daemon lives, if that is wanted.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) async fn events(&self, since: u64, follow: bool) -> Result<Events, ClientError> {
        let stream = self.connect().await?;
        let request = Request::get(format!("{EVENTS}?since={since}&follow={follow}"));
        let answer = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = request.header("host", "netebpf").body(Full::new(Bytes::new()))?;
            Ok::<_, Box<dyn std::error::Error>>(sender.send_request(request).await?)
        };
        // One that is just ending hangs up.
        let response = answer.await.map_err(|_| self.no_daemon())?;
        if !response.status().is_success() {
            return Err(self.broken(response.status()));
        }
        Ok(Events { client: self.clone(), body: response.into_body(), read: Vec::new() })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let socket = self.instance.socket();
        UnixStream::connect(&socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => self.no_daemon(),
            _ => ClientError::Connect { socket, source },
        })
    }

    /// A daemon that was killed leaves its socket, and connections to it, for a moment: whatever goes
    /// wrong with one that is dead means that none runs.
    async fn request<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let stream = self.connect().await?;
        let daemon = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
        // Opened now: later its number may be another process's.
        let Some(daemon) = daemon.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return Err(self.no_daemon());
        };
        // SAFETY: an owned descriptor is the same one as long as it lives.
        let daemon = unsafe { AsyncFd::register_with_interest(daemon, Interest::READABLE) }
            .map_err(|error| self.broken(error))?;
        let (status, ended, body) = match self.exchange(stream, request, body).await {
            Ok(answer) => answer,
            Err(_) if has_ended(&daemon, MOMENT).await => return Err(self.no_daemon()),
            Err(error) => return Err(self.broken(error)),
        };
        if ended {
            has_ended(&daemon, PATIENCE).await;
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.broken(error));
        }
        let Failure { message, exit } = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let message = format!("daemon: {status}: {}", String::from_utf8_lossy(&body));
            Failure { message, exit: None }
        });
        Err(match status {
            StatusCode::SERVICE_UNAVAILABLE => ClientError::Ending(message),
            _ => ClientError::Refused { message, exit },
        })
    }

    /// One request and its answer: its status, whether the daemon ends now, its body.
    async fn exchange(
        &self,
        stream: UnixStream,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, bool, Bytes), Box<dyn std::error::Error>> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = request.header("host", "netebpf").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let ended = response.headers().contains_key(ENDED);
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, ended, body))
    }

    fn no_daemon(&self) -> ClientError {
        ClientError::NoDaemon { instance: self.instance.name().to_owned() }
    }

    fn broken(&self, what: impl std::fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.instance.socket(), what: what.to_string() }
    }
}

/// Events as they come.
pub(crate) struct Events {
    client: Client,
    body: Incoming,
    read: Vec<u8>,
}

impl Events {
    /// The next one; `None` when the daemon says no more.
    ///
    /// # Errors
    /// What came is no event.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| self.client.broken(error));
            }
            // A daemon that was killed hangs up.
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            self.read.extend(frame.into_data().unwrap_or_default());
        }
    }
}

/// Waits for the end of a process: it makes its pidfd readable.
async fn has_ended(pidfd: &AsyncFd<OwnedFd>, patience: Duration) -> bool {
    timeout(patience, pidfd.readable()).await.is_ok()
}
