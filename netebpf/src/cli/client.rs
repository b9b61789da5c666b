//! Requests to the daemon of an instance.

use crate::{
    daemon::api::{ENDED, Failure},
    state::Instance,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, path::PathBuf, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    time::timeout,
};

/// How long a daemon may take to end after its last answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
    #[error("{0}")]
    Refused(String),
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

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let socket = self.instance.socket();
        UnixStream::connect(&socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { instance: self.instance.name().to_owned() }
            }
            _ => ClientError::Connect { socket, source },
        })
    }

    async fn request<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let stream = self.connect().await?;
        let daemon = stream.peer_cred().ok().and_then(|peer| peer.pid());
        // Opened now: later its number may be another process's.
        let daemon = daemon
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        tokio::spawn(connection);
        let request = request
            .header("host", "netebpf")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let ended = response.headers().contains_key(ENDED);
        let body =
            response.into_body().collect().await.map_err(|error| self.broken(error))?.to_bytes();
        drop(sender);
        if let (true, Some(daemon)) = (ended, daemon) {
            // SAFETY: an owned descriptor is the same one as long as it lives.
            let daemon = unsafe { AsyncFd::register_with_interest(daemon, Interest::READABLE) };
            if let Ok(daemon) = daemon {
                // A pidfd becomes readable when its process has ended.
                let _ = timeout(PATIENCE, daemon.readable()).await;
            }
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.broken(error));
        }
        let message = serde_json::from_slice(&body).map_or_else(
            |_| format!("daemon: {status}: {}", String::from_utf8_lossy(&body)),
            |failure: Failure| failure.message,
        );
        Err(match status {
            StatusCode::SERVICE_UNAVAILABLE => ClientError::Ending(message),
            _ => ClientError::Refused(message),
        })
    }

    fn broken(&self, what: impl std::fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.instance.socket(), what: what.to_string() }
    }
}
