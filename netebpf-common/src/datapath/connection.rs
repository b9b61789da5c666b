//! Data of a TCP connection between two endpoints of one network, from socket to socket: past TCP, where the network has
//! that shortcut.
//!
//! A connection begins with an ordinary handshake, so whoever may not talk to whom is kept apart as always. Then each of
//! its directions is decided at its first data, and asked again at all others.
//!
//! **Invariant**: the order of bytes. A reader gets what came by the shortcut before what came by TCP. So a direction
//! begins on the shortcut only while nothing of it was ever given to TCP, and who has gone back to TCP stays there: what
//! the shortcut delivered before is in front of it. And what nobody has read yet is bounded: a direction that runs
//! ahead of its reader by more than [`LIMIT`] goes on by TCP, which makes it wait. Bulk ends up there by itself.
//!
//! Deliberately absent: ends. FIN and reset are TCP's, always.

use super::table::{Lookup as _, State};
use crate::abi::{Endpoint, InterfaceOptions, Owner, Sender, SocketPair};

/// What the kernel keeps beside the data of each call, in bytes: one of a single byte is a whole one of its structures,
/// which no account of anybody's has (`sk_msg`).
pub const MESSAGE: u32 = 1 << 10;
/// As many bytes may lie unread before the other end is looked at.
pub const LOOK: u32 = 64 << 10;
/// As many may lie unread, and the data of one call beyond.
pub const LIMIT: u32 = 256 << 10;

/// The socket that sends.
pub trait Sending {
    /// Whether it may still send.
    fn is_open(&self) -> bool;
    /// Whether nothing was ever given to TCP.
    fn is_fresh(&self) -> bool;
    /// Hands the data to another socket; `false` where that is not there.
    fn hand_to(&self, to: &SocketPair) -> bool;
    /// Whether that one has read everything from before. Asked after [`Self::hand_to`].
    fn is_read(&self) -> bool;
}

/// A connection of a socket of that network namespace is there: whether its data may take the shortcut.
#[inline(always)]
pub fn open<S: State>(state: &S, namespace: u64, pair: &SocketPair) -> Option<Sender> {
    let (near, far) = ends(state, pair)?;
    // Others may have the same addresses in namespaces that are not ours.
    if namespace == 0 || state.homes().get(&pair.near) != Some(&namespace) {
        return None;
    }
    Some(Sender {
        to: SocketPair { near_owner: Owner::of(near), far_owner: Owner::of(far), ..*pair }.turned(),
        way: Sender::UNDECIDED,
        unread: 0,
    })
}

/// So many bytes are to be sent. What is not handed over goes by TCP.
#[inline(always)]
pub fn send<S: State, K: Sending>(state: &S, sender: &mut Sender, socket: &K, bytes: u32) {
    if sender.way == Sender::BY_TCP {
        return;
    }
    // TCP has the right error for it.
    if !socket.is_open() {
        return;
    }
    let may_begin = sender.way == Sender::SHORT || socket.is_fresh();
    if !may_begin || !lives(state, sender) || !socket.hand_to(&sender.to) {
        sender.way = Sender::BY_TCP;
        return;
    }
    sender.way = Sender::SHORT;
    let bytes = bytes.saturating_add(MESSAGE);
    sender.unread = sender.unread.saturating_add(bytes);
    if sender.unread > LOOK {
        if socket.is_read() {
            sender.unread = bytes;
        } else if sender.unread > LIMIT {
            sender.way = Sender::BY_TCP;
        }
    }
}

/// Whether both ends are still what they were when the connection began.
#[inline(always)]
fn lives<S: State>(state: &S, sender: &Sender) -> bool {
    let Some((far, near)) = ends(state, &sender.to) else { return false };
    (Owner::of(near), Owner::of(far)) == (sender.to.far_owner, sender.to.near_owner)
}

/// Both ends, where the shortcut is between them.
#[inline(always)]
fn ends<'a, S: State>(state: &'a S, pair: &SocketPair) -> Option<(&'a Endpoint, &'a Endpoint)> {
    let near = state.endpoints().get(&pair.near)?;
    if !near.options.contains(InterfaceOptions::SHORTCUT) {
        return None;
    }
    let far = state.endpoints().get(&pair.far)?;
    // An endpoint has other ways to talk to itself.
    let apart = near.network != far.network || near.ifindex == far.ifindex;
    (!apart && !near.options.contains(InterfaceOptions::NO_PEERS)).then_some((near, far))
}
