//! Several requests in one message to the kernel, from a thread that waits for the answers: for those that are in a
//! namespace for a moment.
//!
//! **Invariant**: the kernel takes the requests in their order, and every one of them, also after one that it refused;
//! the first refusal is the answer. So what is in one batch may not build on an index that an earlier request of it
//! gives away.

use super::{
    LinkChange, NetlinkError,
    links::change_message,
    read::link_of,
    write::{address_to_add, default_route},
};
use crate::plan::Link;
use ipnet::IpNet;
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use rustix::io::Errno;
use std::{io, net::IpAddr};

/// No answer is longer, in bytes: what the kernel makes room for (`NLMSG_GOODSIZE`).
const LONGEST: usize = 1 << 16;
/// What is asked for is made, and must not be there.
pub(crate) const MAKE: u16 = NLM_F_EXCL | NLM_F_CREATE;

/// Whoever speaks to the kernel in the namespace of the thread that opened it.
pub(crate) struct Conversation(Socket);

/// See the module.
#[derive(Default)]
pub(crate) struct Batch {
    text: Vec<u8>,
    requests: Vec<Request>,
}

/// What is said of a request that is refused.
struct Request {
    operation: &'static str,
    object: String,
    /// The answer that says that it was so already.
    harmless: Option<Errno>,
}

impl Request {
    fn failed(&self, source: io::Error) -> NetlinkError {
        NetlinkError { operation: self.operation, object: self.object.clone(), source }
    }
}

impl Batch {
    pub(crate) fn change_link(&mut self, index: u32, name: &str, change: &LinkChange) {
        let message = RouteNetlinkMessage::SetLink(change_message(index, change));
        self.add(message, MAKE, "change interface", name, None);
    }

    /// As `Netlink::add_address`.
    pub(crate) fn add_address(&mut self, index: u32, address: IpNet) {
        let message = RouteNetlinkMessage::NewAddress(address_to_add(index, address));
        self.add(message, MAKE, "add address", address, Some(Errno::EXIST));
    }

    /// There already is done.
    pub(crate) fn add_default_route(&mut self, index: u32, via: IpAddr) {
        let message = RouteNetlinkMessage::NewRoute(default_route(index, via));
        self.add(message, MAKE, "add default route via", via, Some(Errno::EXIST));
    }

    /// Done already is done.
    pub(crate) fn remove_default_route(&mut self, index: u32, via: IpAddr) {
        let message = RouteNetlinkMessage::DelRoute(default_route(index, via));
        self.add(message, 0, "remove default route via", via, Some(Errno::SRCH));
    }

    /// Any request, by its flags; `harmless` is the answer that says that it was so already.
    pub(crate) fn add(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        operation: &'static str,
        object: impl ToString,
        harmless: Option<Errno>,
    ) {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.header.sequence_number = self.requests.len() as u32;
        message.finalize();
        // Messages begin at multiples of four bytes, as do all their parts.
        let begin = self.text.len();
        self.text.resize(begin + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.text[begin..]);
        self.requests.push(Request { operation, object: object.to_string(), harmless });
    }
}

impl Conversation {
    /// With the namespace of the calling thread.
    pub(crate) fn here() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // Refused requests are not sent back whole.
        socket.set_cap_ack(true)?;
        Ok(Self(socket))
    }

    /// Sends them, and waits until all are answered. Whether each changed anything.
    pub(crate) fn send(&self, batch: &Batch) -> Result<Vec<bool>, NetlinkError> {
        let Batch { text, requests } = batch;
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        self.write(text).map_err(|error| first.failed(error))?;
        let mut answers: Vec<Option<io::Error>> = Vec::new();
        while answers.len() < requests.len() {
            let message = self.read().map_err(|error| first.failed(error))?;
            // One after the other, in their order.
            if let NetlinkPayload::Error(answer) = message.payload {
                answers.push(answer.code.is_some().then(|| answer.to_io()));
            }
        }
        let changed = |(request, answer): (&Request, Option<io::Error>)| match answer {
            None => Ok(true),
            Some(error) if Errno::from_io_error(&error) == request.harmless => Ok(false),
            Some(error) => Err(request.failed(error)),
        };
        requests.iter().zip(answers).map(changed).collect()
    }

    /// A link by its name, without addresses and gateways, if it is there.
    pub(crate) fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let failed = |source| NetlinkError { operation: "read", object: name.to_owned(), source };
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetLink(question));
        message.header.flags = NLM_F_REQUEST;
        message.finalize();
        let mut text = vec![0; message.buffer_len()];
        message.serialize(&mut text);
        self.write(&text).map_err(failed)?;
        match self.read().map_err(failed)?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                Ok(Some(link_of(&link)))
            }
            NetlinkPayload::Error(answer) => match answer.to_io() {
                error if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(None),
                error => Err(failed(error)),
            },
            _ => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let kernel = SocketAddr::new(0, 0);
        match self.0.send_to(text, &kernel, 0)? {
            sent if sent == text.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn read(&self) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
        let mut text = Vec::with_capacity(LONGEST);
        loop {
            text.clear();
            match self.0.recv(&mut text, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return NetlinkMessage::deserialize(&text).map_err(io::Error::other),
            }
        }
    }
}
