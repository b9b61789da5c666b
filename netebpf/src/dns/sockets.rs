//! The sockets at 127.0.0.11 inside a namespace.
//!
//! **Invariant**: they are made in the namespace and belong to it; the thread that made them is gone before
//! they are used. One alone is none: names are there by UDP and TCP, or not at all.

use super::RESOLVER_SOCKET;
use crate::kernel::{NetnsError, namespace_cookie, netns};
use netebpf_common::abi::ResolverPorts;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, listen, socket_with,
        sockopt::{
            set_ip_freebind, set_socket_recv_buffer_size_force, set_socket_reuseaddr,
            set_socket_reuseport,
        },
    },
};
use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    ops::RangeInclusive,
    os::fd::OwnedFd,
    path::Path,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
};

/// How much waits to be read, in bytes with the kernel's own share: some thousand queries.
const RECEIVE_BUFFER: usize = 2 << 20;
/// Where a port is looked for: above those that Linux gives to sockets that ask for none (ip_local_port_range), which
/// are also those that programs choose by themselves. One there at 127.0.0.11 would be taken at 0.0.0.0, too.
const FREE_PORTS: RangeInclusive<u16> = 61_000..=u16::MAX;
/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// Why a namespace has no resolver.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// It cannot be entered.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// A program inside has the port.
    #[error(
        "a program in its namespace has {RESOLVER_SOCKET} ({0}): names are served when it ends"
    )]
    Taken(&'static str),
    /// There is nobody to serve it.
    #[error("start a thread: {0}")]
    Thread(io::Error),
    /// The system refused.
    #[error("{RESOLVER_SOCKET} ({0}): {1}")]
    Io(&'static str, io::Error),
}

/// Where a resolver listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    /// At the highest port that is free, to which calls are led: port 53 is the endpoint's own.
    FreePort,
    /// At port 53 itself.
    Port53,
}

/// Both sockets of a resolver.
pub(super) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    /// The cookie of their namespace, and their ports there.
    pub(super) namespace: u64,
    pub(super) ports: ResolverPorts,
}

/// Makes both, for tasks of a thread.
pub(super) fn open(namespace: &Path, at: At, thread: &Handle) -> Result<Sockets, SocketError> {
    let made = netns::run_in(namespace, move || {
        let udp = socket(SocketType::DGRAM, at).map_err(|errno| error("udp", errno))?;
        let tcp = socket(SocketType::STREAM, at).map_err(|errno| error("tcp", errno))?;
        listen(&tcp, BACKLOG).map_err(|errno| error("tcp", errno))?;
        let cookie = namespace_cookie().map_err(|error| SocketError::Io("cookie", error))?;
        Ok::<_, SocketError>((udp, tcp, cookie))
    });
    let (udp, tcp, namespace) = made??;
    let _inside = thread.enter();
    let udp = UdpSocket::from_std(udp.into()).map_err(|error| SocketError::Io("udp", error))?;
    let tcp = TcpListener::from_std(tcp.into()).map_err(|error| SocketError::Io("tcp", error))?;
    let port = |address: io::Result<SocketAddr>, transport| {
        let address = address.map_err(|error| SocketError::Io(transport, error))?;
        Ok::<_, SocketError>(address.port().to_be_bytes())
    };
    let ports =
        ResolverPorts { udp: port(udp.local_addr(), "udp")?, tcp: port(tcp.local_addr(), "tcp")? };
    Ok(Sockets { udp, tcp, namespace, ports })
}

/// At port 53 it leaves room for a program of the endpoint that serves names at all its addresses, where that program
/// shares ports, too; ours is the more particular address.
fn socket(kind: SocketType, at: At) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    if at == At::Port53 {
        set_socket_reuseaddr(&socket, true)?;
        set_socket_reuseport(&socket, true)?;
    }
    if kind == SocketType::DGRAM {
        // Where more than the system's limit is not to be had, a burst loses some queries sooner.
        let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
    }
    // Also while the loopback interface is down.
    set_ip_freebind(&socket, true)?;
    let bound = |port| bind(&socket, &SocketAddrV4::new(*RESOLVER_SOCKET.ip(), port));
    match at {
        At::Port53 => bound(RESOLVER_SOCKET.port())?,
        At::FreePort => {
            let mut tried = FREE_PORTS.rev().map(bound);
            tried
                .find(|result| *result != Err(Errno::ADDRINUSE))
                .unwrap_or(Err(Errno::ADDRINUSE))?;
        }
    }
    Ok(socket)
}

fn error(transport: &'static str, errno: Errno) -> SocketError {
    match errno {
        Errno::ADDRINUSE => SocketError::Taken(transport),
        errno => SocketError::Io(transport, errno.into()),
    }
}
