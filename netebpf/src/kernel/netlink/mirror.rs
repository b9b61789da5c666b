//! The links of a namespace, read once and followed: of a thousand of them, a list is a megabyte.
//!
//! **Invariant**: what [`Mirror::links`] answers with is what the kernel had at some time during the call. The kernel
//! puts a message into the queues of those who listen before it answers whoever changed a link, so a queue that is
//! empty says that nothing changed. What a message says of a link is not read, only which one it is about: that one is
//! asked for. Of sizes for GSO alone there is no message: ours are [doubted](Mirror::doubt), and others' are seen with the
//! next message, or by who reads everything. Where messages were lost (`ENOBUFS`) the whole list is read again.

use super::{Netlink, NetlinkError};
use crate::plan::Link;
use rtnetlink::{
    packet_core::NetlinkBuffer,
    sys::{Socket, protocols::NETLINK_ROUTE},
};
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// `RTNLGRP_LINK` of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;
/// How often a list is read that changes meanwhile, before it is taken as it is.
const ATTEMPTS: usize = 3;
/// No message about a link is longer, in bytes: what the kernel makes room for (`NLMSG_GOODSIZE`).
const LONGEST: usize = 1 << 16;

/// See the module.
pub(crate) struct Mirror {
    /// Listens to changes of links.
    socket: Socket,
    /// `None` where they have to be read.
    links: Option<BTreeMap<u32, Link>>,
    /// The indices of those that may have changed without a message.
    silent: BTreeSet<u32>,
    /// What changed since it was taken: links as they were, and as they are. `None` where any may have.
    changed: Option<Vec<Link>>,
}

/// What a queue had.
#[derive(Default)]
struct Heard {
    /// The indices of the links that messages were about.
    indices: BTreeSet<u32>,
    /// Whether there were more messages than it could take.
    lost: bool,
}

impl Mirror {
    /// With the namespace of the calling thread. Listens from now on.
    pub(crate) fn here() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(LINK_GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, links: None, silent: BTreeSet::new(), changed: None })
    }

    /// The links by their indices, without addresses and gateways.
    pub(crate) async fn links(
        &mut self,
        netlink: &Netlink,
    ) -> Result<&BTreeMap<u32, Link>, NetlinkError> {
        // Not known while it is brought up to date: what fails half-way is read anew.
        let known = self.links.take();
        let mut heard = self.hear()?;
        let mut links = match known.filter(|_| !heard.lost) {
            Some(links) => links,
            None => {
                self.changed = None;
                let (links, meanwhile) = self.read(netlink).await?;
                heard = meanwhile;
                links
            }
        };
        heard.indices.append(&mut self.silent);
        for index in heard.indices {
            let (before, now) = (links.remove(&index), netlink.link(index).await?);
            if let Some(changed) = self.changed.as_mut().filter(|_| before != now) {
                changed.extend(before.into_iter().chain(now.clone()));
            }
            links.extend(now.map(|link| (index, link)));
        }
        Ok(self.links.insert(links))
    }

    /// Those that changed since the last call, as they were and as they are; `None` where any may have.
    pub(crate) fn take_changed(&mut self) -> Option<Vec<Link>> {
        self.changed.replace(Vec::new())
    }

    /// One of them is read the next time: the kernel tells of no change of GSO sizes alone.
    pub(crate) fn doubt(&mut self, index: u32) {
        self.silent.insert(index);
    }

    /// The whole list is read the next time.
    pub(crate) fn forget(&mut self) {
        self.links = None;
    }

    /// The list, and what was heard while it was read. A link that goes meanwhile can take the place of another in it
    /// (before Linux 6.9), so it is read again when anything happened.
    async fn read(&self, netlink: &Netlink) -> Result<(BTreeMap<u32, Link>, Heard), NetlinkError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let links = netlink.links().await?;
            let heard = self.hear()?;
            let quiet = heard.indices.is_empty() && !heard.lost;
            if quiet || (attempts >= ATTEMPTS && !heard.lost) {
                return Ok((links.into_iter().map(|link| (link.index, link)).collect(), heard));
            }
        }
    }

    /// Empties the queue.
    fn hear(&self) -> Result<Heard, NetlinkError> {
        let mut heard = Heard::default();
        let mut buffer = Vec::with_capacity(LONGEST);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::WOULDBLOCK) => return Ok(heard),
                    Some(Errno::INTR) => continue,
                    Some(Errno::NOBUFS) => {
                        heard.lost = true;
                        continue;
                    }
                    _ => {
                        let (operation, object) = ("hear of", "interfaces".to_owned());
                        return Err(NetlinkError { operation, object, source: error });
                    }
                },
            }
            // One message each. The second word of what follows its header is the index (`struct ifinfomsg`).
            let message = NetlinkBuffer::new_checked(&buffer).ok();
            let index = message.and_then(|m| m.payload().get(4..8)?.try_into().ok());
            heard.indices.extend(index.map(u32::from_ne_bytes));
        }
    }
}
