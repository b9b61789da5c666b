//! Small datagrams, as many as go out.
//!
//! **Invariant**: what the CPUs did is read where sending begins and where it ends, so that nothing of starting a process
//! is in it.

use super::{LoadError, cpu};
use crate::bench::{BenchError, statistics::number};
use rustix::{
    io::Errno,
    net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, IoSlice},
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// As much as makes a frame of Ethernet's shortest, in IPv4.
const PAYLOAD: [u8; 18] = [0; 18];
/// What the kernel counts in, whatever its own clock (`USER_HZ`, time(7)).
const USER_HZ: f64 = 100.0;
/// How many go out with one call.
const AT_ONCE: usize = 64;

/// What came of it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Flooded {
    /// How many were sent.
    pub sent: u64,
    /// How long that took.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// How many seconds all CPUs of the machine did something meanwhile.
    #[serde(deserialize_with = "number")]
    pub busy: f64,
}

/// Sends from there to there for a time.
pub fn flood(from: SocketAddr, to: SocketAddr, time: Duration) -> Result<Flooded, LoadError> {
    cpu::take_the_last().map_err(LoadError::Cpu)?;
    let socket = UdpSocket::bind(from).map_err(|error| LoadError::Listen(from, error))?;
    socket.connect(to).map_err(|error| LoadError::Connect(to, error))?;
    let (started, busy) = (Instant::now(), busy().map_err(LoadError::Cpu)?);
    let mut sent = 0;
    while started.elapsed() < time {
        sent += send(&socket)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let busy = self::busy().map_err(LoadError::Cpu)? - busy;
    Ok(Flooded { sent, seconds, busy })
}

fn send(socket: &UdpSocket) -> Result<u64, LoadError> {
    let payload = [IoSlice::new(&PAYLOAD)];
    let mut nothing: [SendAncillaryBuffer<'_, '_, '_>; AT_ONCE] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut all: Vec<_> = nothing.iter_mut().map(|none| MMsgHdr::new(&payload, none)).collect();
    match sendmmsg(socket, &mut all, SendFlags::empty()) {
        Ok(sent) => Ok(sent as u64),
        // A queue is full, or somebody said that nobody listens: it goes on.
        Err(Errno::NOBUFS | Errno::CONNREFUSED | Errno::INTR) => Ok(0),
        Err(error) => Err(LoadError::Send(error.into())),
    }
}

/// How long the CPUs did something since the machine started, each for itself, in seconds: what is no idling and no waiting
/// (proc_stat(5)).
fn busy() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no line of CPUs");
    Ok(busy_ticks(&text).ok_or_else(wrong)? as f64 / USER_HZ)
}

/// Of user, nice, system, idle, iowait, irq and softirq; what guests did is in user, and what others stole is not ours.
fn busy_ticks(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    Some(ticks.get(..7)?.iter().sum::<u64>() - idle)
}

/// The same from a namespace.
pub(in crate::bench) fn from(
    namespace: &str,
    from: SocketAddr,
    to: SocketAddr,
    time: Duration,
) -> Result<Flooded, BenchError> {
    let words = [from.to_string(), to.to_string(), time.as_millis().to_string()];
    super::told(namespace, "flood", &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_is_not_in_it() {
        let text = "cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(text), Some(31));
        assert_eq!(busy_ticks("cpu 1 2"), None);
        assert!(busy().is_ok_and(|seconds| seconds > 0.0));
    }
}
