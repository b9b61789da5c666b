//! The kernel behind the packet logic's three traits.
//!
//! **Invariant**: nearly all the `unsafe` of the kernel side is in this room, each with the reason why
//! its bounds hold. No decision about a packet is made here.

mod connection;
mod host;
mod packet;
mod room;
mod socket;
mod state;

pub use connection::{Message, Opened};
pub use host::{Context, KernelHost, Query, lend};
pub use packet::{TcPacket, XdpPacket, bounded};
pub use room::Room;
pub use socket::SocketCall;
pub use state::Maps;
