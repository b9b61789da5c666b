//! Where the uplinks' program runs.

use super::{Mechanism, Uplink};
use crate::model::XdpMode;

/// What was chosen for an uplink, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XdpChoice {
    /// The mode; `None` leaves everything to TC.
    pub mechanism: Option<Mechanism>,
    /// Whether the driver may refuse, and TC then carries everything.
    pub optional: bool,
    /// Why, in words.
    pub reason: String,
}

impl XdpChoice {
    /// Chooses; `refused` is what the driver answered when it was asked before.
    pub fn new(mode: XdpMode, uplink: &Uplink, refused: Option<&str>) -> Self {
        let choice = |mechanism, optional, reason: &str| Self {
            mechanism,
            optional,
            reason: reason.to_owned(),
        };
        match mode {
            XdpMode::Off => choice(None, false, "switched off"),
            XdpMode::Generic => choice(Some(Mechanism::XdpGeneric), false, "asked for"),
            XdpMode::Native => choice(Some(Mechanism::XdpNative), false, "asked for"),
            XdpMode::Auto => match (uplink.kind.as_deref(), refused) {
                (Some("veth"), _) => choice(
                    None,
                    true,
                    "a veth: XDP there takes segmentation offload from the sender",
                ),
                // A driver that takes the tag off before XDP makes a VLAN's frame look like the uplink's.
                _ if let Some(vlan) = &uplink.vlan => choice(
                    None,
                    true,
                    &format!("VLAN {vlan} stands on it: XDP does not see the tag"),
                ),
                // Bulk that comes in costs more than what XDP saves: docs/performance.md.
                _ if uplink.joins => choice(
                    None,
                    true,
                    "its driver joins packets of a stream (rx-gro-hw): XDP would take that",
                ),
                (_, Some(answer)) => choice(None, true, &format!("the driver refused: {answer}")),
                _ => choice(Some(Mechanism::XdpNative), true, "the driver has it"),
            },
        }
    }
}
