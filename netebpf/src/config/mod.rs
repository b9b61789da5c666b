//! The door: what stands in files and on the command line becomes `model` types or an error that points.
//!
//! **Invariant**: nothing behind this room sees a text that could be wrong. No I/O, but for reading the
//! one file of settings.

pub mod endpoint_options;
pub mod env_file;
pub mod options;
pub mod ports;
pub mod settings;
pub mod topology;
