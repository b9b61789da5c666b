//! Four TCP streams at once, by the program that everybody measures them with: iperf3.
//!
//! **Invariant**: a [`Server`] ends with its handle, or with the thread that started it, and each call ends; what
//! iperf3 says when it fails is shown.

use crate::kernel::{NetnsError, netns};
use serde::Deserialize;
use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How many streams there are.
const STREAMS: &str = "4";
/// How long a connection may take, in milliseconds.
const CONNECT: &str = "5000";
/// What a server says when it can be connected to.
const READY: &str = "Server listening on";
/// How long it may take to say so, and how much longer than asked for a client may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may still be busy with the client before.
const BUSY: Duration = Duration::from_secs(3);
/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(10);

/// The streams could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// The namespace of one of the ends.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It is not installed.
    #[error("iperf3 is missing: `apt-get install iperf3` installs it on Debian and Ubuntu")]
    Missing,
    /// It cannot be run.
    #[error("run iperf3: {0}")]
    Run(#[source] io::Error),
    /// The server does not listen.
    #[error("the iperf3 server on {address} in {namespace} does not listen: {said}")]
    Server {
        /// Where it should.
        address: SocketAddr,
        /// In which namespace.
        namespace: String,
        /// What it says.
        said: String,
    },
    /// The client failed.
    #[error("the iperf3 client in {namespace} cannot measure to {to}: {said}")]
    Client {
        /// Which namespace.
        namespace: String,
        /// Where it was to connect to.
        to: SocketAddr,
        /// What it says.
        said: String,
    },
}

/// A server, for one client after the other.
#[derive(Debug)]
pub struct Server {
    _running: Running,
}

impl Server {
    /// Starts one in a namespace (by its name below `/run/netns`), and waits until it listens. The thread that calls
    /// this has to outlive what is measured.
    pub fn start(namespace: &str, address: IpAddr, port: u16) -> Result<Self, StreamsError> {
        let arguments = ["--server", "--forceflush", "--interval", "0", "--bind"];
        let place = [address.to_string(), "--port".to_owned(), port.to_string()];
        let mut running = Running::start(
            namespace,
            arguments.into_iter().chain(place.iter().map(String::as_str)),
        )?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = running.ended()?.is_some();
            let said = running.said()?;
            if !ended && said.contains(READY) {
                return Ok(Self { _running: running });
            }
            if ended || Instant::now() > deadline {
                let (address, namespace) = (SocketAddr::new(address, port), namespace.to_owned());
                return Err(StreamsError::Server { address, namespace, said });
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Measures from a namespace to a server, and answers with what arrived there, in Gbit/s. iperf3 knows whole seconds
/// only: a part of one counts as one.
pub fn measure(
    client_namespace: &str,
    to: SocketAddr,
    duration: Duration,
) -> Result<f64, StreamsError> {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let seconds = seconds.max(1);
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let (address, port, time) = (to.ip().to_string(), to.port().to_string(), seconds.to_string());
    let first = Instant::now();
    loop {
        let arguments = ["--json", "--parallel", STREAMS, "--connect-timeout", CONNECT];
        let place = ["--client", &address, "--port", &port, "--time", &time];
        let mut running = Running::start(client_namespace, arguments.into_iter().chain(place))?;
        let started = Instant::now();
        while running.ended()?.is_none() && started.elapsed() < patience {
            thread::sleep(PAUSE);
        }
        let failed = |said: String| StreamsError::Client {
            namespace: client_namespace.to_owned(),
            to,
            said,
        };
        if running.ended()?.is_none() {
            return Err(failed(format!("it did not end within {} s", patience.as_secs())));
        }
        match rate(&running.said()?) {
            Ok(rate) => return Ok(rate),
            // It has not put the client before away yet.
            Err(said) if said.contains("busy") && first.elapsed() < BUSY => thread::sleep(PAUSE),
            Err(said) => return Err(failed(said)),
        }
    }
}

/// What a client says in JSON, as far as it is of interest.
#[derive(Deserialize)]
struct Report {
    error: Option<String>,
    #[serde(default)]
    end: End,
}

#[derive(Default, Deserialize)]
struct End {
    sum_received: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    bits_per_second: f64,
}

/// Gbit/s at the receiver, or what is wrong.
fn rate(said: &str) -> Result<f64, String> {
    let report: Report =
        serde_json::from_str(said).map_err(|error| format!("{error} in {:?}", said.trim()))?;
    match (report.error, report.end.sum_received) {
        (Some(error), _) => Err(error),
        (None, Some(sum)) if sum.bits_per_second > 0.0 => Ok(sum.bits_per_second / 1e9),
        (None, _) => Err("nothing arrived".to_owned()),
    }
}

/// An iperf3 in a namespace.
#[derive(Debug)]
struct Running {
    child: Child,
    /// A file holds whatever it says; a pipe that nobody reads would stop it.
    output: File,
}

impl Running {
    fn start<'a>(
        namespace: &str,
        arguments: impl Iterator<Item = &'a str>,
    ) -> Result<Self, StreamsError> {
        let inside = netns::open(&Path::new("/run/netns").join(namespace))?;
        let output = tempfile::tempfile().map_err(StreamsError::Run)?;
        let [out, errors] = [output.try_clone(), output.try_clone()];
        let mut command = Command::new("iperf3");
        command.args(arguments).stdin(Stdio::null());
        command.stdout(out.map_err(StreamsError::Run)?);
        command.stderr(errors.map_err(StreamsError::Run)?);
        // Ctrl-C at the terminal ends the benchmark, which ends this.
        command.process_group(0);
        let enter = move || -> io::Result<()> {
            netns::enter_thread(&inside)?;
            // Not even SIGKILL of the benchmark leaves it.
            Ok(rustix::process::set_parent_process_death_signal(Some(
                rustix::process::Signal::KILL,
            ))?)
        };
        // SAFETY: two system calls and nothing else happen between fork and exec.
        unsafe { command.pre_exec(enter) };
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StreamsError::Missing,
            _ => StreamsError::Run(error),
        })?;
        Ok(Self { child, output })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, StreamsError> {
        self.child.try_wait().map_err(StreamsError::Run)
    }

    fn said(&self) -> Result<String, StreamsError> {
        // The descriptors share one position, where the child writes: it has to stay.
        let mut said = vec![0; self.output.metadata().map_err(StreamsError::Run)?.len() as usize];
        self.output.read_exact_at(&mut said, 0).map_err(StreamsError::Run)?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn what_arrived_counts() {
        let said = r#"{"start": {}, "end": {"sum_sent": {"bits_per_second": 9e9},
            "sum_received": {"bits_per_second": 2.5e9, "bytes": 1}}}"#;
        assert_eq!(rate(said), Ok(2.5));
    }

    #[test]
    fn what_it_says_is_passed_on() {
        let said = r#"{"start": {}, "end": {}, "error": "error - unable to connect to server"}"#;
        assert_eq!(rate(said), Err("error - unable to connect to server".to_owned()));
        assert_eq!(rate("{}"), Err("nothing arrived".to_owned()));
        assert!(rate("iperf3: parameter error").unwrap_err().contains("parameter error"));
    }
}
