//! The two ends of a measurement: a server and a client on one CPU, with blocking sockets, each a process in its
//! namespace.
//!
//! **Invariant**: a client says what it measured in one line of JSON, or fails; it never waits longer than [`PATIENCE`]
//! for an answer.

mod ends;

use super::{BenchError, process};
pub use ends::{LoadError, client, server, who_am_i};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the server prints when it can be connected to.
pub(super) const READY: &str = "ready";

/// What is done.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// One byte there and back, on one connection
    RoundTrips,
    /// A connection, one byte there and back, and its end
    Connections,
}

impl Workload {
    pub(super) const ALL: [Self; 2] = [Self::RoundTrips, Self::Connections];
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundTrips => "round trips",
            Self::Connections => "connections",
        })
    }
}

/// What a client measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Operations per second.
    pub per_second: f64,
    /// The time that half of them take at most, in microseconds.
    pub p50: f64,
    /// That 99 % take at most.
    pub p99: f64,
    /// And 99.9 %.
    pub p999: f64,
}

/// As whom the server sees a client in a namespace.
pub(super) fn who(namespace: &str, server: SocketAddr) -> Result<IpAddr, BenchError> {
    let mut client = process::inside(namespace, process::netebpf()?);
    let said = process::output(client.args(["bench", "load", "who", &server.to_string()]))?;
    said.trim().parse().map_err(|_| BenchError::Talk("client", said))
}

/// Measures from a namespace.
pub(super) fn ask(
    namespace: &str,
    server: SocketAddr,
    workload: Workload,
    time: Duration,
) -> Result<Told, BenchError> {
    let mut client = process::inside(namespace, process::netebpf()?);
    client.args(["bench", "load", "client", &server.to_string()]);
    let name = clap::ValueEnum::to_possible_value(&workload);
    client.arg(name.map(|name| name.get_name().to_owned()).unwrap_or_default());
    client.arg(time.as_millis().to_string());
    let said = process::output(&mut client)?;
    serde_json::from_str(&said).map_err(|_| BenchError::Talk("client", said))
}
