//! Kinds of networks, and what an endpoint gets that joins one.
//!
//! **Invariant**: pure data, no I/O. Who resolves and plans asks a driver what it gives, and never for its name;
//! a new kind is a file here, a variant of [`Driver`] and a line in [`of`].

mod bridge;
mod container;
mod host;
mod none;

use crate::model::{Driver, requests::NetworkMode};

/// What an endpoint gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// A namespace of its own and, for each network, an interface in it.
    Interfaces,
    /// A namespace of its own and nothing in it but the loopback.
    Namespace,
    /// Somebody else's namespace, as it is.
    Share,
}

/// What becomes of ports that an endpoint wants to publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publishing {
    /// They are.
    Works,
    /// They are not, which is said.
    Discarded(&'static str),
    /// It is an error.
    Refused(&'static str),
}

/// A kind of network.
pub trait NetworkDriver: Sync {
    /// Docker's word for it.
    fn name(&self) -> &'static str;
    /// What an endpoint gets.
    fn gives(&self) -> Gives;
    /// What becomes of published ports.
    fn publishing(&self) -> Publishing;
    /// Why nobody may choose who an endpoint asks for names; none where one may.
    fn refuses_dns(&self) -> Option<&'static str> {
        None
    }
}

/// The driver of a network.
pub fn of(driver: Driver) -> &'static dyn NetworkDriver {
    match driver {
        Driver::Bridge => &bridge::Bridge,
        Driver::Host => &host::Host,
        Driver::Null => &none::None,
    }
}

/// The driver of an endpoint that is on no network of its own.
pub fn of_mode(mode: &NetworkMode) -> &'static dyn NetworkDriver {
    match mode {
        NetworkMode::None => of(Driver::Null),
        NetworkMode::Host => of(Driver::Host),
        NetworkMode::Container(_) => &container::Container,
    }
}
