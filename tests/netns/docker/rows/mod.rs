//! The rows, by what they are about.

pub(super) mod commands;
pub(super) mod joining;
mod keys;
pub(super) mod naming;
pub(super) mod publishing;
pub(super) mod reaching;
