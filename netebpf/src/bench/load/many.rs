//! Many UDP flows of one endpoint, each answered.
//!
//! **Invariant**: a flow is known by its number, so that who opens more of them, or the same ones again, needs nothing
//! that was remembered: of 16,384 ports of the client, to one port of the server after the other. Each is asked and answered
//! before the next one begins, by a socket of its own, so that one takes as long however many are opened at a time.

use super::{LoadError, PATIENCE, READY, cpu, ends::until_input_ends};
use crate::bench::BenchError;
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    ops::Range,
    thread,
    time::Instant,
};

/// The client's first port.
pub(in crate::bench) const FIRST_CLIENT: u16 = 10_000;
/// How many it has.
const CLIENTS: u32 = 16_384;
/// The server's first port.
pub(in crate::bench) const FIRST_SERVER: u16 = 9000;
/// How many it has: an endpoint has not ports enough for a million flows to one.
const SERVERS: u16 = 64;
/// How many there can be.
pub(in crate::bench) const LAST: u32 = 1_000_000;
const _: () = assert!(LAST <= CLIENTS * SERVERS as u32);

/// What a client says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Flows per second that were asked and answered.
    pub per_second: f64,
    /// As whom the server saw the last one.
    pub seen: String,
}

/// Of so many flows, how many go to the server's first port, from ports that follow each other: a power of two.
pub(in crate::bench) fn alike(flows: u32) -> u16 {
    let most = flows.clamp(1, CLIENTS);
    1 << (u32::BITS - 1 - most.leading_zeros())
}

/// Answers each datagram with the address and port that it came from, until standard input is closed.
pub fn answer(address: IpAddr) -> Result<(), LoadError> {
    cpu::take_the_last().map_err(LoadError::Cpu)?;
    for port in (FIRST_SERVER..).take(SERVERS.into()) {
        let address = SocketAddr::new(address, port);
        let socket = UdpSocket::bind(address).map_err(|error| LoadError::Listen(address, error))?;
        thread::spawn(move || {
            while let Ok((_, client)) = socket.recv_from(&mut [0; 64]) {
                // One that is gone asked and did not wait.
                let _ = socket.send_to(client.to_string().as_bytes(), client);
            }
        });
    }
    println!("{READY}");
    until_input_ends()
}

/// Asks in each of these flows, and waits for every answer.
pub fn open(address: IpAddr, flows: Range<u32>) -> Result<Opened, LoadError> {
    cpu::take_the_last().map_err(LoadError::Cpu)?;
    let count = f64::from(flows.end - flows.start);
    let (started, mut seen) = (Instant::now(), String::new());
    for flow in flows {
        let client = FIRST_CLIENT + (flow % CLIENTS) as u16;
        let server = FIRST_SERVER + (flow / CLIENTS) as u16;
        let client = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), client);
        seen = exchange(client, SocketAddr::new(address, server))?;
    }
    Ok(Opened { per_second: count / started.elapsed().as_secs_f64(), seen })
}

fn exchange(client: SocketAddr, server: SocketAddr) -> Result<String, LoadError> {
    let socket = UdpSocket::bind(client).map_err(|error| LoadError::Listen(client, error))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(LoadError::Answer)?;
    socket.send_to(b"?", server).map_err(LoadError::Answer)?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).map_err(LoadError::Answer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The same from a namespace.
pub(in crate::bench) fn ask(
    namespace: &str,
    address: IpAddr,
    flows: Range<u32>,
) -> Result<Opened, BenchError> {
    let words = [address.to_string(), flows.start.to_string(), flows.end.to_string()];
    super::told(namespace, "flows", &words)
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn flows_to_one_port_are_a_power_of_two() {
        for (flows, expected) in
            [(0, 1), (1, 1), (2, 2), (1000, 512), (16_384, 16_384), (1_000_000, 16_384)]
        {
            assert_eq!(alike(flows), expected);
        }
    }
}
