//! The two ends of a measurement: a server and a client on one CPU, with blocking sockets, each a process in its
//! namespace.
//!
//! **Invariant**: a client says what it measured in one line of JSON, or fails; it never waits longer than [`PATIENCE`]
//! for an answer.

pub mod cost;
mod cpu;
mod ends;
mod flood;
pub mod frames;
pub(super) mod many;
pub mod streams;

use super::{
    BenchError,
    histogram::Histogram,
    process,
    report::{Absent, Lacked},
    statistics::number,
};
pub use ends::{LoadError, alone, client, server, who_am_i};
pub(super) use flood::from as flood_from;
pub use flood::{Flooded, flood};
pub use many::{answer, open};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
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
    /// Datagrams of 60 bytes (80 in IPv6), as many as come through
    Packets,
    /// Bits of four streams at once, by iperf3
    Streams,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundTrips => "round trips",
            Self::Connections => "connections",
            Self::Packets => "small packets",
            Self::Streams => "bits, 4 streams",
        })
    }
}

/// What a client of ours does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Exchange {
    /// See [`Workload::RoundTrips`].
    RoundTrips,
    /// See [`Workload::Connections`].
    Connections,
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// How much per second.
    #[serde(deserialize_with = "number")]
    pub per_second: f64,
    /// How long one takes, where that was looked at.
    #[serde(flatten)]
    pub latency: Option<Latency>,
    /// Of what was sent, the part that did not arrive, where that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<f64>,
}

impl Sample {
    /// Without a look at each.
    pub(super) fn rate(per_second: f64) -> Self {
        Self { per_second, latency: None, lost: None }
    }
}

/// What a client says: one measurement, and how long each of its operations took.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asked {
    #[serde(flatten)]
    pub(super) sample: Sample,
    pub(super) times: Histogram,
}

/// How long operations take, in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them at most.
    #[serde(deserialize_with = "number")]
    pub p50: f64,
    /// 99 % at most.
    #[serde(deserialize_with = "number")]
    pub p99: f64,
    /// 99.9 % at most.
    #[serde(deserialize_with = "number")]
    pub p999: f64,
}

/// Of these workloads, those that can be measured here; what the kernel lacks for the others is written down.
pub(super) fn here(
    wanted: &[Workload],
    scratch: &str,
    absent: &mut Vec<Absent>,
) -> Result<Vec<Workload>, BenchError> {
    let mut here = wanted.to_vec();
    if here.contains(&Workload::Streams) {
        process::require(&[("iperf3", "iperf3")])?;
    }
    let is_packets = |workload: &Workload| *workload == Workload::Packets;
    if here.iter().any(is_packets) && !frames::are_there(&frames::Interface::new(scratch, "lo"))? {
        here.retain(|workload| !is_packets(workload));
        let why = frames::FramesError::NoLiveFrames.to_string();
        absent.push(Absent { what: Lacked::Workload(Workload::Packets), why });
    }
    Ok(here)
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
    exchange: Exchange,
    time: Duration,
) -> Result<Asked, BenchError> {
    let name = clap::ValueEnum::to_possible_value(&exchange);
    let name = name.map(|name| name.get_name().to_owned()).unwrap_or_default();
    let words = [server.to_string(), name, time.as_millis().to_string()];
    told(namespace, "client", &words)
}

/// What an end in a namespace tells of itself.
fn told<T: DeserializeOwned>(
    namespace: &str,
    end: &str,
    words: &[String],
) -> Result<T, BenchError> {
    let mut client = process::inside(namespace, process::netebpf()?);
    let said = process::output(client.args(["bench", "load", end]).args(words))?;
    serde_json::from_str(&said).map_err(|_| BenchError::Talk("client", said))
}
