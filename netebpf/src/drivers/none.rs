//! A namespace with nothing but the loopback.

use super::{Gives, NetworkDriver, Publishing};

pub(super) struct None;

impl NetworkDriver for None {
    fn name(&self) -> &'static str {
        "null"
    }

    fn gives(&self) -> Gives {
        Gives::Namespace
    }

    fn publishing(&self) -> Publishing {
        Publishing::Discarded("Published ports are discarded when using none network mode")
    }
}
