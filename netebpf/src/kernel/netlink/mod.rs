//! Links, addresses and routes, by rtnetlink.
//!
//! **Invariant**: a [`Netlink`] speaks to one network namespace, the one that its socket was made in,
//! whatever thread uses it.

mod batch;
mod filters;
mod links;
mod mirror;
mod read;
mod write;

pub(crate) use batch::{Batch, Conversation, MAKE};
pub(crate) use links::NETKIT_LOST;
pub use links::{BridgeSpec, LinkChange, PairSpec};
pub(crate) use mirror::Mirror;
#[cfg(test)]
pub(crate) use read::AddressFact;
pub(crate) use read::{Facts, RouteFact};

use super::netns::{self, NetnsError};
use netebpf_common::abi::Mac;
use rtnetlink::{
    Handle,
    sys::{Socket, TokioSocket, protocols::NETLINK_ROUTE},
};
use std::{
    io,
    os::fd::{FromRawFd, IntoRawFd},
    path::Path,
};

/// A request that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {source}")]
pub struct NetlinkError {
    /// What was tried: `create bridge`.
    pub operation: &'static str,
    /// On what: the name of an interface, an address.
    pub object: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NetlinkError {
    fn new(operation: &'static str, object: impl ToString, error: rtnetlink::Error) -> Self {
        let source = match &error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        };
        Self { operation, object: object.to_string(), source }
    }

    /// Whether the kernel answered with this error number.
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// A conversation with one network namespace.
#[derive(Clone)]
pub(crate) struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// With the namespace of the calling thread. Needs the runtime.
    pub(crate) fn here() -> io::Result<Self> {
        Self::over(Socket::new(NETLINK_ROUTE)?)
    }

    /// With the namespace at `path`. Needs the runtime.
    pub(crate) fn in_namespace(path: &Path) -> Result<Self, NetnsError> {
        let system = |operation| {
            move |source| NetnsError::System { path: path.to_owned(), operation, source }
        };
        let socket = netns::run_in(path, || Socket::new(NETLINK_ROUTE))?
            .map_err(system("open a netlink socket"))?;
        Self::over(socket).map_err(system("use a netlink socket"))
    }

    fn over(mut socket: Socket) -> io::Result<Self> {
        socket.bind_auto()?;
        // Lists are of what was asked for: without this the kernel ignores most of the question.
        socket.set_netlink_get_strict_chk(true)?;
        // SAFETY: the descriptor was just given up by its only owner, and is a netlink socket.
        let socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        tokio::spawn(connection);
        Ok(Self { handle })
    }
}

/// An Ethernet address from an attribute.
fn mac_of(bytes: &[u8]) -> Option<Mac> {
    Some(Mac(bytes.try_into().ok()?))
}
