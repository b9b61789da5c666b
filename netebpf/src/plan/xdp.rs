//! Where the uplinks' program runs.

use super::{Mechanism, Refusals, Uplink};
use crate::{kernel::Hook, model::XdpMode};

/// What was chosen for an uplink, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpChoice {
    /// The mode; `None` leaves everything to TC.
    pub mechanism: Option<Mechanism>,
    /// Why, in words, and what it costs there.
    pub reason: String,
}

impl XdpChoice {
    /// Chooses; a driver that has refused is not asked again.
    pub fn new(mode: XdpMode, uplink: &Uplink, refused: &Refusals) -> Self {
        let cost = cost(uplink);
        let (mechanism, cost) = match mode {
            XdpMode::Off => {
                let reason = cost.unwrap_or_else(|| NOT_ASKED_FOR.to_owned());
                return Self { mechanism: None, reason };
            }
            XdpMode::Generic => (Mechanism::XdpGeneric, None),
            XdpMode::Native => (Mechanism::XdpNative, cost),
        };
        let refused = refused.get(&(uplink.index, Hook::UplinkXdp, mechanism));
        let more = match refused {
            Some(why) => Some(format!("no {mechanism}: {why}")),
            None => cost,
        };
        Self {
            mechanism: refused.is_none().then_some(mechanism),
            reason: more.map_or("asked for".to_owned(), |more| format!("asked for; {more}")),
        }
    }
}

/// A flood is dropped sooner by it, and what is not dropped is looked at twice: docs/performance.md.
const NOT_ASKED_FOR: &str = "not asked for: --xdp native drops floods sooner";

/// What XDP in the driver would cost at an uplink, where that is more than a second look.
fn cost(uplink: &Uplink) -> Option<String> {
    if uplink.kind.as_deref() == Some("veth") {
        return Some("a veth: XDP there takes segmentation offload from the sender".to_owned());
    }
    if let Some(vlan) = &uplink.vlan {
        // A driver that takes the tag off before XDP makes a VLAN's frame look like the uplink's.
        return Some(format!("VLAN {vlan} stands on it: XDP does not see the tag"));
    }
    let joins = "its driver joins packets of a stream (rx-gro-hw): XDP would take that";
    uplink.joins.then(|| joins.to_owned())
}
