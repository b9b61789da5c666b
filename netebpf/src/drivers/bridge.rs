//! A Linux bridge, with a veth pair for each endpoint.

use super::{Gives, NetworkDriver, Publishing};

pub(super) struct Bridge;

impl NetworkDriver for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn gives(&self) -> Gives {
        Gives::Interfaces
    }

    fn publishing(&self) -> Publishing {
        Publishing::Works
    }
}
