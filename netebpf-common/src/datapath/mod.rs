//! The packet logic: what becomes of a packet, decided without knowing whether a kernel or a test asks.
//!
//! **Invariant**: generic over [`Packet`], [`State`] and [`Host`], by static dispatch only; no `unsafe`,
//! nothing of aya. A packet is either decided here by name, or it goes the kernel's way unchanged: no
//! function writes to a packet before the decision to translate it is made. Any table entry may be gone
//! at any step, and any insert may fail.
//!
//! [`pipeline`] is the whole way of a packet and the place to begin reading.

mod answer;
pub mod connection;
mod conntrack;
mod datagram;
mod family;
mod guard;
mod host;
mod isolation;
pub mod local;
mod nat;
mod neighbours;
mod next_hop;
mod packet;
pub mod pipeline;
pub mod scratch;
mod shortcut;
mod table;
mod translated;

pub use conntrack::{New, OPENING, TcpPhase, identification_of, lifetime};
pub use datagram::{Datagram, Kind};
pub use family::{Family, FamilyId, V4, V6};
pub use host::{Host, Route};
pub use packet::{ChecksumStyle, Packet};
pub use table::{FlowStore, Insertion, Lookup, Memo, Queue, State, Table};

use crate::verdict::Verdict;

/// A step of the packet's way: its result, or the verdict that ends the way.
type Step<T> = Result<T, Verdict>;
