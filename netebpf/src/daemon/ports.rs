//! The host's ports that are published, held by sockets.
//!
//! **Invariant**: a published port is bound by this process as long as it is published, so that nobody
//! else on the host can take it, and it is bound before anything is changed, so that one already taken
//! is an error and not half an `up`. No packet is ever read or sent here: the packet path takes them
//! before the sockets do. Not there: listening. A bound TCP socket answers nobody.

use super::sockets;
use crate::model::{Desired, GatewayMode, PortMapping, Transport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    os::fd::OwnedFd,
};

/// A port of the host: what one socket holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct HostPort {
    // First what conflicting ones have in common: they stand beside each other in order.
    port: u16,
    transport: Transport,
    address: IpAddr,
}

impl HostPort {
    /// Whether the kernel refuses two sockets on these.
    fn conflicts_with(self, other: Self) -> bool {
        (self.port, self.transport) == (other.port, other.transport)
            && self.address.is_ipv4() == other.address.is_ipv4()
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified())
    }

    /// All of the same port and protocol.
    fn neighbours(self) -> RangeInclusive<Self> {
        let at = |address| Self { address, ..self };
        at(Ipv4Addr::UNSPECIFIED.into())..=at(Ipv6Addr::from_bits(u128::MAX).into())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.transport)
    }
}

/// Why a port cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Bound by somebody else.
    #[error(
        "endpoint {endpoint:?}: port {port}: port is already allocated by {holder}: publish another host port, or end what holds this one"
    )]
    Taken {
        /// Who wants it.
        endpoint: String,
        /// Address, port and protocol.
        port: String,
        /// Who has it.
        holder: String,
    },
    /// Not an address of the host.
    #[error(
        "endpoint {endpoint:?}: port {port}: this host has no such address: give one of its own, or none for all of them"
    )]
    NoSuchAddress {
        /// Who wants it.
        endpoint: String,
        /// Address, port and protocol.
        port: String,
    },
    /// Anything else.
    #[error("endpoint {endpoint:?}: port {port}: cannot be held: {source}")]
    Io {
        /// Who wants it.
        endpoint: String,
        /// Address, port and protocol.
        port: String,
        /// Why.
        source: io::Error,
    },
}

/// The sockets, and the endpoints that they are held for.
#[derive(Debug, Default)]
pub(super) struct HeldPorts(BTreeMap<HostPort, Held>);

#[derive(Debug)]
struct Held {
    endpoint: String,
    _socket: Option<OwnedFd>,
}

impl HeldPorts {
    /// Gives back what `desired` does not publish and binds what it does. Given back first: a mapping
    /// may move from every address to one, which are in each other's way. Answers with the ports that
    /// `previous` published, too, and that somebody took while no daemon held them: the packet path
    /// serves them nevertheless.
    ///
    /// # Errors
    /// At the first new port that cannot be had. The caller holds what it wanted before again.
    pub(super) fn hold(
        &mut self,
        desired: &Desired,
        previous: &Desired,
    ) -> Result<Vec<PortError>, PortError> {
        let wanted: BTreeMap<HostPort, &str> = self::wanted(desired).collect();
        let old: BTreeSet<HostPort> = self::wanted(previous).map(|(port, _)| port).collect();
        self.0.retain(|port, _| wanted.contains_key(port));
        let mut lost = Vec::new();
        for (port, endpoint) in wanted {
            if let Some(held) = self.0.get_mut(&port) {
                endpoint.clone_into(&mut held.endpoint);
                continue;
            }
            match self.hold_one(port, endpoint) {
                Ok(held) => drop(self.0.insert(port, held)),
                Err(error) if old.contains(&port) => lost.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }

    fn hold_one(&self, port: HostPort, endpoint: &str) -> Result<Held, PortError> {
        let mut neighbours = self.0.range(port.neighbours());
        if let Some((_, held)) = neighbours.find(|(other, _)| other.conflicts_with(port)) {
            return Err(PortError::Taken {
                endpoint: endpoint.to_owned(),
                port: port.to_string(),
                holder: format!("endpoint {:?}", held.endpoint),
            });
        }
        Ok(Held { endpoint: endpoint.to_owned(), _socket: hold(port, endpoint)? })
    }
}

/// Every port to hold, and the endpoint that wants it. In a routed network none of the host's is used.
fn wanted(desired: &Desired) -> impl Iterator<Item = (HostPort, &str)> {
    let with_ports = desired.endpoints.values().filter(|endpoint| !endpoint.ports.is_empty());
    with_ports.flat_map(|endpoint| {
        let routed = [false, true].map(|v6| {
            let reached = desired.reached_at(endpoint, v6);
            reached.is_some_and(|(_, network)| network.gateway_mode(v6) == GatewayMode::Routed)
        });
        let ports = endpoint.ports.iter().flat_map(host_ports);
        let ports = ports.filter(move |port| !routed[usize::from(port.address.is_ipv6())]);
        ports.map(|port| (port, endpoint.name.as_str()))
    })
}

/// No address means every one of both families.
fn host_ports(mapping: &PortMapping) -> Vec<HostPort> {
    let port =
        |address| HostPort { address, port: mapping.host_port, transport: mapping.transport };
    match mapping.host_address {
        Some(address) => vec![port(address)],
        None => vec![port(Ipv4Addr::UNSPECIFIED.into()), port(Ipv6Addr::UNSPECIFIED.into())],
    }
}

/// `None` where the host has no IPv6 and every address was meant.
fn hold(port: HostPort, endpoint: &str) -> Result<Option<OwnedFd>, PortError> {
    let (endpoint, text) = (endpoint.to_owned(), port.to_string());
    match bound(port) {
        Ok(socket) => Ok(Some(socket)),
        Err(_) if port.address == Ipv6Addr::UNSPECIFIED && !host_has_ipv6() => Ok(None),
        Err(source) => Err(match source.kind() {
            ErrorKind::AddrInUse => {
                let holder = sockets::holder(port.transport, port.address, port.port);
                PortError::Taken { endpoint, port: text, holder }
            }
            ErrorKind::AddrNotAvailable => PortError::NoSuchAddress { endpoint, port: text },
            _ => PortError::Io { endpoint, port: text, source },
        }),
    }
}

/// No `SO_REUSEADDR`: with it on both sides a second claim would succeed.
fn bound(port: HostPort) -> io::Result<OwnedFd> {
    let family = match port.address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, protocol) = match port.transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    if port.address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if port.address.is_loopback() {
        // A host whose loopback is down has no 127.0.0.1 yet.
        match port.address {
            IpAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
            IpAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
        }
    }
    if port.transport == Transport::Udp {
        // What reaches a socket that nobody reads shall not pile up.
        sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    }
    bind(&socket, &SocketAddr::new(port.address, port.port))?;
    Ok(socket)
}

fn host_has_ipv6() -> bool {
    let text = fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    text.is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn loopback(port: u16) -> HostPort {
        HostPort { address: Ipv4Addr::LOCALHOST.into(), port, transport: Transport::Tcp }
    }

    #[test]
    fn a_port_is_held_until_it_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = loopback(listener.local_addr().unwrap().port());
        let error = hold(port, "web").unwrap_err().to_string();
        assert!(
            error.contains(&format!("{port}: port is already allocated by process")),
            "{error}"
        );
        drop(listener);
        let held = soon(|| hold(port, "web"));
        let taken = TcpListener::bind(("127.0.0.1", port.port)).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        drop(held);
        soon(|| TcpListener::bind(("127.0.0.1", port.port)));
    }

    /// A program that another test starts has our sockets, too, until it is that program.
    fn soon<T, E: std::fmt::Debug>(attempt: impl Fn() -> Result<T, E>) -> T {
        let again = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            attempt().ok()
        };
        attempt().ok().or_else(|| (0..250).find_map(|_| again())).expect("the port is free again")
    }

    #[test]
    fn an_address_of_another_host_is_named() {
        let port = HostPort { address: "192.0.2.1".parse().unwrap(), ..loopback(1) };
        let error = hold(port, "web").unwrap_err().to_string();
        assert_eq!(
            error,
            "endpoint \"web\": port 192.0.2.1:1/tcp: this host has no such address: give one of its own, or none for all of them"
        );
    }
}
