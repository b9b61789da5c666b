//! Room to work in, and what a program takes out of it when a verdict asks for more than a return code.

pub use super::answer::{Frame, QUOTED};
use super::{
    answer as answers,
    conntrack::{self, New},
    datagram::Datagram,
    host::Host,
    pipeline::interface,
    table::State,
};
use crate::abi::{InterfaceKind, PieceKey};

/// Room to work in, which a program's stack of 512 bytes has not.
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    pub(super) datagram: Datagram,
    pub(super) new: New,
}

impl Scratch {
    /// Empty.
    pub const fn new() -> Self {
        Self { datagram: Datagram::new(), new: New::NONE }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds a place for a fragment that [`crate::verdict::Verdict::Keep`] was said of, to be asked right after it. `None` when there is none.
#[inline(always)]
pub fn keep<'a, S: State, H: Host>(
    state: &S,
    host: &H,
    scratch: &'a mut Scratch,
) -> Option<&'a PieceKey> {
    let Scratch { datagram, new } = scratch;
    conntrack::keep(state, host, datagram, &mut new.piece).then_some(&new.piece)
}

/// Where the fragments are kept that wait for a first one of which [`crate::verdict::Verdict::Release`] was said, to be asked right after
/// it: their key but for its number, and how many there are.
#[inline(always)]
pub fn release<'a, S: State, H: Host>(
    state: &S,
    host: &H,
    scratch: &'a mut Scratch,
) -> (&'a mut PieceKey, u64) {
    let Scratch { datagram, new } = scratch;
    let kept = conntrack::release(state, host, datagram, &mut new.piece);
    (&mut new.piece, kept)
}

/// Takes a place for the flow that is described there, for [`Host::claim`].
#[inline(always)]
pub fn claim<S: State, H: Host>(state: &S, host: &mut H, scratch: &mut Scratch) {
    conntrack::claim(state, host, &mut scratch.new);
}

/// Opens it, for [`Host::open`].
#[inline(always)]
pub fn open<S: State, H: Host>(state: &S, host: &mut H, scratch: &mut Scratch) {
    let Scratch { datagram, new } = scratch;
    conntrack::open(state, host, datagram, new);
}

/// How many bytes of a packet, from its network header on, are quoted in the answer that [`crate::verdict::Verdict::Answer`] was said of.
/// `None` when there can be none.
#[inline(always)]
pub fn quoted(scratch: &Scratch) -> Option<u32> {
    answers::quoted(&scratch.datagram).map(|length| length as u32)
}

/// Writes that answer around what is quoted, see [`Frame`], and is zero behind it: where it begins, and how long it is, in bytes.
#[inline(always)]
pub fn answer<S: State>(
    state: &S,
    scratch: &Scratch,
    ifindex: u32,
    frame: &mut Frame,
) -> Option<(usize, u32)> {
    let sender = interface(state, ifindex, InterfaceKind::Endpoint)?;
    let gateway = interface(state, sender.gateway_ifindex, InterfaceKind::Gateway)?;
    let (start, length) = answers::write(&scratch.datagram, sender, gateway, frame)?;
    Some((start, length as u32))
}
