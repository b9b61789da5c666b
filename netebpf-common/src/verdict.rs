//! What becomes of a packet, and why.
//!
//! **Invariant**: a verdict is a value until [`crate::datapath`] is done; it becomes a return code, and
//! is counted, in one place of the kernel side (`finish.rs`). Passing to the kernel is a verdict of its
//! own, never a drop. Numbers are append-only: they are indices of the counters that outlive an upgrade.

use crate::abi::Address;

/// What becomes of a packet. Laid out so that the address stands at a multiple of eight: it is built on a
/// program's stack, where the verifier refuses accesses that are not aligned.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub enum Verdict {
    /// It goes on as if we were not there: to the bridge, or to the host's stack.
    Pass(PassReason),
    /// It ends here.
    Drop(DropReason),
    /// It ends here, and who sent it is told so.
    Answer(DropReason),
    /// Into an endpoint: straight to the peer of this host-side veth.
    Deliver {
        /// The host-side veth.
        ifindex: u32,
        /// Why.
        reason: DeliverReason,
    },
    /// A later fragment that came before the first: kept, to come in again behind it.
    Keep {
        /// Whether it goes on as if we were not there as well: it may be the host's.
        goes_on: bool,
    },
    /// The first fragment of a packet of which later ones are kept: it comes in again, and they behind it.
    Release,
    /// Out of an uplink, to a next hop that the kernel's neighbour table resolves.
    Forward {
        /// The next hop, of the packet's own family.
        next_hop: Address,
        /// The uplink.
        ifindex: u32,
    },
}

/// Declares an append-only reason: a number, a name for users and scripts, a sentence.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $label:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[repr(u64)]
        pub enum $name { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that users and scripts see.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// One sentence on what it means.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// Why a packet goes the kernel's way.
    PassReason {
        /// Neither ours nor addressed to anything of ours.
        NotOurs = 0, "not_ours";
        /// ARP, neighbour discovery, broadcast or multicast inside a network.
        Neighbours = 1, "neighbours";
        /// To the host itself, or to where it has no route: it answers.
        ToHost = 2, "to_host";
        /// Between endpoints of one network by a way that the shortcut does not know.
        Bridge = 3, "bridge";
        /// A protocol or header that we do not translate; the uplink's egress refuses it.
        NotUnderstood = 4, "not_understood";
        /// At its last hop: the kernel answers with time exceeded.
        LastHop = 5, "last_hop";
        /// Longer than the way allows: the kernel fragments it or answers with packet too big.
        TooLong = 6, "too_long";
        /// A route says that there is no way, or one that is not by an uplink.
        NoUplink = 7, "no_uplink";
        /// Translated, then handed to the host's stack, which was on its way with it.
        Translated = 8, "translated";
        /// By the host's stack, and part of a flow of ours.
        KnownFlow = 9, "known_flow";
    }
}

reasons! {
    /// Why a packet goes straight to an endpoint.
    DeliverReason {
        /// Between endpoints of one network.
        Peer = 10, "peer";
        /// From outside, translated.
        Inward = 11, "inward";
        /// From an endpoint to a published port, or the answer.
        Hairpin = 32, "hairpin";
        /// The Ethernet address of its gateway or of a neighbour, to the endpoint that asked everybody for it.
        Answered = 39, "answered";
        /// The host's question for an endpoint's Ethernet address, to that endpoint alone.
        Asked = 40, "asked";
    }
}

reasons! {
    /// Why a packet is refused.
    DropReason {
        /// The Ethernet source is not the endpoint's own.
        SpoofedMac = 13, "spoofed_mac";
        /// The source address is not the sender's own.
        SpoofedAddress = 14, "spoofed_address";
        /// An ARP or neighbour discovery message speaks for an address that is not the endpoint's own.
        SpoofedNeighbour = 15, "spoofed_neighbour";
        /// A router advertisement or redirect from an endpoint.
        RogueRouter = 16, "rogue_router";
        /// A DHCP server's message from an endpoint.
        RogueDhcp = 17, "rogue_dhcp";
        /// A VLAN tag from an endpoint: its port is untagged.
        VlanTag = 18, "vlan_tag";
        /// To another network.
        OtherNetwork = 19, "other_network";
        /// Out of an internal network.
        InternalNetwork = 20, "internal_network";
        /// Between endpoints of a network whose peers are kept apart.
        PeersApart = 21, "peers_apart";
        /// To an endpoint from outside, neither published nor a reply.
        NotPublished = 22, "not_published";
        /// A private source at an uplink's egress, in a packet that cannot be translated.
        PrivateSource = 23, "private_source";
        /// The owner has as many flows as it may have.
        FlowQuota = 24, "flow_quota";
        /// The table of flows is full.
        FlowTableFull = 25, "flow_table_full";
        /// Every port tried for the outside is taken.
        NoFreePort = 26, "no_free_port";
        /// A header contradicts itself or the frame's length.
        Malformed = 27, "malformed";
        /// The endpoint behind a published port is not there.
        EndpointGone = 28, "endpoint_gone";
        /// The uplink has no address of the packet's family to masquerade with.
        NoMasqueradeAddress = 29, "no_masquerade_address";
        /// Neither part of a flow nor able to begin one: a reset, an echo reply, an ICMP error.
        NoFlow = 30, "no_flow";
        /// From an endpoint, by a route that leads out of an interface which is no uplink.
        NotAnUplink = 31, "not_an_uplink";
        /// From an endpoint, a fragment whose first one was refused, or which is too long to be kept until that comes.
        NoFirstFragment = 33, "no_first_fragment";
        /// The owner has as many unconfirmed flows as it may have, and none of them could make room.
        EmbryonicQuota = 35, "embryonic_quota";
        /// From an endpoint to a published port of its own host, at its last hop or longer than the way takes: the
        /// host would answer as the addressee, not as a router.
        Unanswerable = 34, "unanswerable";
        /// To a published port, from a source that it is not for.
        SourceNotAllowed = 38, "source_not_allowed";
    }
}

/// The counter of everything that is forwarded out of an uplink.
const FORWARD: u32 = 12;

/// The counters of fragments that are kept, and of those for which they were. Both come in again, and are counted again.
const KEPT: [(u32, &str); 2] = [(36, "later_fragment"), (37, "first_fragment")];

/// How many counters an interface has.
pub const COUNTER_COUNT: usize = 64;

/// The counters of one interface on one CPU: packets, indexed by [`Verdict::counter`].
pub type Counters = [u64; COUNTER_COUNT];

impl Verdict {
    /// What becomes of a fragment that was to be kept and could not be.
    pub const fn not_kept(goes_on: bool) -> Self {
        if goes_on {
            Self::Pass(PassReason::NotOurs)
        } else {
            Self::Drop(DropReason::NoFirstFragment)
        }
    }

    /// The index of this verdict's counter, below [`COUNTER_COUNT`].
    #[inline(always)]
    pub const fn counter(&self) -> u32 {
        match self {
            Self::Pass(reason) => *reason as u32,
            Self::Deliver { reason, .. } => *reason as u32,
            Self::Forward { .. } => FORWARD,
            Self::Keep { .. } => KEPT[0].0,
            Self::Release => KEPT[1].0,
            Self::Drop(reason) | Self::Answer(reason) => *reason as u32,
        }
    }
}

/// The name of a counter, as `pass/not_ours`; `None` for a number without a meaning yet.
pub fn counter_label(counter: u32) -> Option<(&'static str, &'static str)> {
    if counter == FORWARD {
        return Some(("forward", "masquerade_or_reply"));
    }
    if let Some((_, label)) = KEPT.iter().find(|(number, _)| *number == counter) {
        return Some(("keep", label));
    }
    let pass = PassReason::ALL.iter().find(|r| **r as u32 == counter).map(|r| ("pass", r.label()));
    let deliver = || {
        DeliverReason::ALL.iter().find(|r| **r as u32 == counter).map(|r| ("deliver", r.label()))
    };
    let drop =
        || DropReason::ALL.iter().find(|r| **r as u32 == counter).map(|r| ("drop", r.label()));
    pass.or_else(deliver).or_else(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_one_name() {
        let mut seen = [false; COUNTER_COUNT];
        let numbers = PassReason::ALL
            .iter()
            .map(|r| *r as u32)
            .chain(DeliverReason::ALL.iter().map(|r| *r as u32))
            .chain(DropReason::ALL.iter().map(|r| *r as u32))
            .chain([FORWARD])
            .chain(KEPT.map(|(number, _)| number));
        for number in numbers {
            assert!(!core::mem::replace(&mut seen[number as usize], true), "{number} twice");
            assert!(counter_label(number).is_some());
        }
        assert_eq!(counter_label(63), None);
    }
}
