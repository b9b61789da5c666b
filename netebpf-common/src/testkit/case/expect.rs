//! What must become of a frame.

use super::{
    layout::place_of,
    machine::{Hook, Seen},
};
use crate::{
    abi::Address,
    datapath::FamilyId,
    testkit::{
        frame::Frame,
        station::{Place, ROUTER, Station, UPLINK},
    },
    verdict::{DeliverReason, DropReason, PassReason, Verdict, counter_label},
};

/// What must become of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// It goes the kernel's way, unchanged.
    Pass(PassReason),
    /// It is translated to this and goes on with the host's stack.
    Translated(Frame),
    /// It goes to a neighbour's interface, unchanged.
    Peer(Station),
    /// It goes to an endpoint as this, one hop later, in a frame of the gateway's.
    Inward(Frame, DeliverReason),
    /// It goes back to the endpoint that sent it, as this.
    Answered(Station, Frame),
    /// It goes to an endpoint's host-side veth, unchanged.
    Asked(Station),
    /// It leaves by the uplink as this, one hop later.
    Outward(Frame),
    /// It is kept until its first fragment has come; and goes the kernel's way as well, or not.
    Keep(bool),
    /// It comes in again, before the fragments that are kept.
    Release,
    /// It ends here.
    Refuse(DropReason),
}

/// It goes the kernel's way, unchanged.
pub fn pass(reason: PassReason) -> Expect {
    Expect::Pass(reason)
}
/// It is translated to this and goes on with the host's stack.
pub fn translated(frame: Frame) -> Expect {
    Expect::Translated(frame)
}
/// It goes to a neighbour's interface, unchanged.
pub fn peer(station: Station) -> Expect {
    Expect::Peer(station)
}
/// It goes to an endpoint as this, one hop later, in a frame of the gateway's.
pub fn rx(frame: Frame) -> Expect {
    Expect::Inward(frame, DeliverReason::Inward)
}
/// It comes from an endpoint and goes to one as this, one hop later, in a frame of the gateway's.
pub fn hairpin(frame: Frame) -> Expect {
    Expect::Inward(frame, DeliverReason::Hairpin)
}
/// It goes back to the endpoint that sent it, as this.
pub fn answered(asker: Station, frame: Frame) -> Expect {
    Expect::Answered(asker, frame)
}
/// It goes to the endpoint that it is about, unchanged.
pub fn asked(station: Station) -> Expect {
    Expect::Asked(station)
}
/// It leaves by the uplink as this, one hop later.
pub fn tx(frame: Frame) -> Expect {
    Expect::Outward(frame)
}
/// It is kept until its first fragment has come.
pub fn keep() -> Expect {
    Expect::Keep(false)
}
/// It is kept until its first fragment has come, and goes the kernel's way as well.
pub fn keep_and_pass() -> Expect {
    Expect::Keep(true)
}
/// It comes in again, before the fragments that are kept.
pub fn release() -> Expect {
    Expect::Release
}
/// It ends here.
pub fn refuse(reason: DropReason) -> Expect {
    Expect::Refuse(reason)
}

impl Expect {
    /// The verdict.
    pub fn verdict(&self, family: FamilyId) -> Verdict {
        match self {
            Self::Pass(reason) => Verdict::Pass(*reason),
            Self::Translated(_) => Verdict::Pass(PassReason::Translated),
            Self::Peer(station) => {
                Verdict::Deliver { ifindex: place_of(station).0, reason: DeliverReason::Peer }
            }
            Self::Inward(frame, reason) => {
                Verdict::Deliver { ifindex: place_of(&frame.to).0, reason: *reason }
            }
            Self::Answered(asker, _) => {
                Verdict::Deliver { ifindex: asker.veth(), reason: DeliverReason::Answered }
            }
            Self::Asked(station) => {
                Verdict::Deliver { ifindex: station.veth(), reason: DeliverReason::Asked }
            }
            Self::Outward(frame) => {
                let next = if frame.to.place == Place::Beyond { ROUTER } else { frame.to };
                Verdict::Forward { ifindex: UPLINK, next_hop: next.address(family) }
            }
            Self::Keep(goes_on) => Verdict::Keep { goes_on: *goes_on },
            Self::Release => Verdict::Release,
            Self::Refuse(reason) => Verdict::Drop(*reason),
        }
    }

    /// The frame afterwards, which is none where it was dropped.
    fn bytes(&self, family: FamilyId, sent: &[u8]) -> Option<Vec<u8>> {
        // What goes on with the kernel keeps its Ethernet header.
        let same_link = |frame: &Frame| {
            let mut bytes = frame.bytes(family);
            bytes[..12].copy_from_slice(&sent[..12]);
            bytes
        };
        match self {
            Self::Refuse(_) | Self::Keep(false) | Self::Release => None,
            Self::Pass(_) | Self::Peer(_) | Self::Asked(_) | Self::Keep(true) => {
                Some(sent.to_vec())
            }
            Self::Answered(_, frame) => Some(frame.bytes(family)),
            Self::Translated(frame) => Some(same_link(frame)),
            Self::Outward(frame) => Some(same_link(&frame.clone().one_hop_later())),
            Self::Inward(frame, _) => {
                let (_, _, site) = place_of(&frame.to);
                let frame = frame.clone().from_mac(site.gateway.mac).to_mac(frame.to.mac);
                Some(frame.one_hop_later().bytes(family))
            }
        }
    }

    /// Compares with what was seen.
    pub(super) fn check(
        &self,
        family: FamilyId,
        hook: &Hook,
        sent: &[u8],
        seen: &Seen,
    ) -> Result<(), String> {
        let verdict = self.verdict(family);
        if let Some(counter) = seen.counter
            && counter != verdict.counter()
        {
            let label = |counter| {
                let (group, name) = counter_label(counter).unwrap_or(("", "?"));
                format!("{group}/{name}")
            };
            let (want, got) = (label(verdict.counter()), label(counter));
            return Err(format!("{hook}: expected {want}, was {got}"));
        }
        let target: Option<(u32, Option<Address>)> = match verdict {
            Verdict::Deliver { ifindex, .. } => Some((ifindex, None)),
            Verdict::Forward { ifindex, next_hop } => Some((ifindex, Some(next_hop))),
            _ => None,
        };
        if seen.target.is_some() && seen.target != target {
            return Err(format!("expected to go to {target:?}, went to {:?}", seen.target));
        }
        match self.bytes(family, sent) {
            Some(bytes) if bytes != seen.bytes => Err(format!(
                "wrong bytes\n  expected {}\n  was      {}",
                hex(&bytes, &seen.bytes),
                hex(&seen.bytes, &bytes)
            )),
            _ => Ok(()),
        }
    }
}

/// Bytes, the ones that differ marked.
fn hex(bytes: &[u8], other: &[u8]) -> String {
    let byte = |(n, byte): (usize, &u8)| {
        if other.get(n) == Some(byte) { format!("{byte:02x}") } else { format!("[{byte:02x}]") }
    };
    bytes.iter().enumerate().map(byte).collect::<Vec<_>>().join(" ")
}
