//! Another endpoint's namespace: `container:NAME`. No network is of this kind.

use super::{Gives, NetworkDriver, Publishing};

pub(super) struct Container;

impl NetworkDriver for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn gives(&self) -> Gives {
        Gives::Share
    }

    fn publishing(&self) -> Publishing {
        Publishing::Refused(
            "conflicting options: port publishing and the container type network mode",
        )
    }

    /// The namespace's owner asks, and whoever joins asks as the owner does.
    fn refuses_dns(&self) -> Option<&'static str> {
        Some("conflicting options: dns and the network mode")
    }
}
