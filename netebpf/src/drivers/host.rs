//! The host's own namespace.

use super::{Gives, NetworkDriver, Publishing};

pub(super) struct Host;

impl NetworkDriver for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn gives(&self) -> Gives {
        Gives::Share
    }

    fn publishing(&self) -> Publishing {
        Publishing::Discarded("Published ports are discarded when using host network mode")
    }
}
