//! Which subnet, which address: choosing what the user left open.
//!
//! **Invariant**: pure functions of what is taken. Nothing is remembered here: an address is taken
//! because an endpoint of [`crate::model::Desired`] has it, so none can leak.

mod address;
mod pool;
mod range;

pub use address::{AddressError, Taken, check_address, choose_address, choose_gateway};
pub use pool::{Pool, choose_subnet};
pub use range::{Unusable, check_subnet, overlaps};

#[cfg(test)]
mod tests;
