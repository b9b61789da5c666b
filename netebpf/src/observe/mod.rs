//! What happens, for who watches.
//!
//! **Invariant**: nothing here changes anything.

mod event;
mod filter;

pub use event::{Actor, Event, Subject, between};
pub use filter::{EventFilter, FilterError};
