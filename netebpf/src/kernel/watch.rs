//! Being told when the host's links, addresses or routes change.

use super::{Kernel, KernelError};
use futures_util::{Stream, StreamExt};
use rtnetlink::{
    MulticastGroup, new_multicast_connection,
    packet_core::NetlinkPayload,
    packet_route::{RouteNetlinkMessage as Message, link::LinkFlags},
};
use std::pin::Pin;

/// What changed; the reader looks for itself how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A link came, went or changed.
    Link,
    /// The link with this index is down, or was: it may be up again when one looks.
    LinkDown(u32),
    /// An address came or went.
    Address,
    /// A route came or went.
    Route,
}

impl Change {
    /// The link that went down.
    pub fn down(self) -> Option<u32> {
        match self {
            Self::LinkDown(index) => Some(index),
            Self::Link | Self::Address | Self::Route => None,
        }
    }
}

/// Changes, as they come. One may be told of several times; none is forgotten but when the kernel
/// could not queue them all, which ends the stream.
pub type Watch = Pin<Box<dyn Stream<Item = Change> + Send>>;

impl Kernel {
    /// Listens from now on.
    pub fn watch(&self) -> Result<Watch, KernelError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, handle, messages) =
            new_multicast_connection(&groups).map_err(KernelError::Socket)?;
        tokio::spawn(connection);
        let changes = messages.filter_map(move |(message, _)| {
            // The connection ends with its last handle, so this one stays as long as the stream.
            let _held = &handle;
            let change = match message.payload {
                NetlinkPayload::InnerMessage(Message::NewLink(link))
                    if !link.header.flags.contains(LinkFlags::Up) =>
                {
                    Some(Change::LinkDown(link.header.index))
                }
                NetlinkPayload::InnerMessage(Message::NewLink(_) | Message::DelLink(_)) => {
                    Some(Change::Link)
                }
                NetlinkPayload::InnerMessage(Message::NewAddress(_) | Message::DelAddress(_)) => {
                    Some(Change::Address)
                }
                NetlinkPayload::InnerMessage(Message::NewRoute(_) | Message::DelRoute(_)) => {
                    Some(Change::Route)
                }
                _ => None,
            };
            std::future::ready(change)
        });
        Ok(Box::pin(changes))
    }
}
