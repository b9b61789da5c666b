//! Names: DNS at 127.0.0.11 in every endpoint on a network that somebody made.
//!
//! [`names`] derives from what is desired who knows which name, [`question`] reads a query, [`answer`]
//! turns a query into its answer, or says that others have to be asked; [`forward`] asks them, within what
//! [`memory`] allows. [`udp`] (many [`datagrams`] at once) and [`tcp`] serve the sockets that [`sockets`]
//! makes inside an endpoint's namespace, [`serving`] holds them all, on [`threads`] of their own, and looks
//! at what is not as it was [`served`]. [`upstreams`] follows the host's resolvers, [`resolv_conf`] reads
//! and writes what programs read, and [`files`] puts it where they look, each in its [`place`].
//!
//! **Invariant**: who asks is known by the socket, never by what a packet says. A name of ours is answered by
//! one pure function of the query, the asker's view and the turn, without waiting for anything: no
//! upstream, no other query, no lock that is held across an `.await`. A view is replaced before the change
//! that made it is answered. Whatever bytes come, the answer is a DNS message or silence; and an endpoint
//! that asks too much is refused by itself alone. Deliberately absent: a cache (upstreams have one), and
//! DNSSEC of our own (its bits are passed on).

mod answer;
mod asker;
mod datagrams;
mod files;
mod forward;
mod memory;
mod names;
mod place;
mod question;
mod resolv_conf;
mod served;
mod serving;
mod sockets;
mod tcp;
mod threads;
mod udp;
mod upstreams;

pub use answer::{Outcome, Transport, answer};
pub use files::etc_directories;
pub use names::{Forward, View, views};
pub(crate) use serving::Serving;
pub(crate) use upstreams::{RESOLV_CONF, Upstreams};

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where names are asked for, as with Docker.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The same with the port of DNS.
const RESOLVER_SOCKET: SocketAddrV4 = SocketAddrV4::new(RESOLVER, 53);

/// How many resolvers are asked at most, as C libraries do (MAXNS of resolv.conf(5)) and Docker does.
const MOST_SERVERS: usize = 3;

/// For how long an answer about a name of ours may be remembered, in seconds, as with Docker.
const TTL: u32 = 600;

#[cfg(test)]
mod tests;
