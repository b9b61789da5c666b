//! What survives: where it stands and how it is written.

mod instance;

pub use instance::{Instance, InstanceNameError};
