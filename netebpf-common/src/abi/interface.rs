//! The interfaces that carry our programs.

use super::{Address, Mac, SharedWord, assert_layout};

/// What an interface is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum InterfaceKind {
    /// Not ours: the place in the table is free.
    None = 0,
    /// The host's side of an endpoint's pair of devices.
    Endpoint = 1,
    /// An interface to the outside.
    Uplink = 2,
    /// The bridge device of a network.
    Gateway = 3,
}

/// Switches of an interface, a bit set.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct InterfaceOptions(pub u32);

impl InterfaceOptions {
    /// The network has no way out and none in (`internal: true`).
    pub const INTERNAL: Self = Self(1);
    /// Endpoints of the network cannot reach one another (`icc=false`), but by published ports of the host.
    pub const NO_PEERS: Self = Self(1 << 1);
    /// Connections between endpoints of the network take the socket shortcut.
    pub const SHORTCUT: Self = Self(1 << 2);
    /// Endpoint: the interface is a netkit device, and the program runs where the endpoint sends, before its packets come in.
    pub const NETKIT: Self = Self(1 << 3);
    /// Uplink: XDP looks at what comes in first, where its driver takes it.
    pub const XDP: Self = Self(1 << 4);

    /// Whether all of `other` is set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One interface. Some fields mean different things, by kind:
///
/// | | endpoint | uplink | gateway |
/// |---|---|---|---|
/// | `v4`, `v6` | the endpoint's own addresses | the addresses to masquerade with | the gateway's |
/// | `prefix_v4`, `prefix_v6` | of its network | 0 | of its network |
/// | `mac` | the endpoint's own | the interface's | the bridge's |
/// | `gateway_mac` | the bridge's | 0 | 0 |
///
/// What every packet asks for stands in the first 64 bytes, IPv6 aside, and those are one line of the processor's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Interface {
    /// The interface that stands here; a packet of another one whose index falls on the same place is
    /// not ours.
    pub ifindex: u32,
    /// An [`InterfaceKind`].
    pub kind: u32,
    /// The place of this interface in the tables of counters and usage: dense, chosen by the user side.
    pub slot: u32,
    /// The network (endpoint, gateway) or 0.
    pub network: u32,
    /// See [`super::Endpoint::generation`].
    pub generation: u32,
    /// The longest IP packet, in bytes, that the interface takes.
    pub mtu: u32,
    /// Endpoint: the bridge device of its network, where the host's stack sees its packets come in.
    /// Otherwise 0.
    pub gateway_ifindex: u32,
    /// Switches.
    pub options: InterfaceOptions,
    /// IPv4 address, or [`Address::NONE`].
    pub v4: Address,
    /// Ethernet address.
    pub mac: Mac,
    /// Ethernet address of the gateway.
    pub gateway_mac: Mac,
    /// Significant bits of the IPv4 subnet, 0…32.
    pub prefix_v4: u8,
    /// Significant bits of the IPv6 subnet, 0…128.
    pub prefix_v6: u8,
    /// Zero.
    pub padding: [u8; 2],
    /// IPv6 address, or [`Address::NONE`].
    pub v6: Address,
    /// Endpoint: the IPv4 address that its packets leave with, whichever the uplink; or [`Address::NONE`], and they leave
    /// with the uplink's.
    pub snat_v4: Address,
    /// Likewise the IPv6 address.
    pub snat_v6: Address,
    /// Zero.
    pub reserved: [u64; 2],
}
assert_layout!(Interface, size 128, align 8);

impl Interface {
    /// A free place.
    pub const FREE: Self = Self {
        ifindex: 0,
        kind: InterfaceKind::None as u32,
        slot: 0,
        network: 0,
        generation: 0,
        mtu: 0,
        gateway_ifindex: 0,
        options: InterfaceOptions(0),
        prefix_v4: 0,
        prefix_v6: 0,
        padding: [0; 2],
        v4: Address::NONE,
        v6: Address::NONE,
        snat_v4: Address::NONE,
        snat_v6: Address::NONE,
        mac: Mac([0; 6]),
        gateway_mac: Mac([0; 6]),
        reserved: [0; 2],
    };

    /// Whether this is an interface of the given kind.
    #[inline(always)]
    pub const fn is(&self, kind: InterfaceKind) -> bool {
        self.kind == kind as u32
    }
}

/// How much of the flow table the owner of a slot uses, and who the owner is.
///
/// The four counts only grow, by atomic additions of both sides. Their differences drift in two cases, which refuse
/// nobody: a flow that two CPUs confirm at the same moment, or one while it ends, is counted twice; and one that a
/// process ends which dies before it has said so is counted for ever.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Usage {
    /// Flows ever opened for this slot.
    pub opened: SharedWord,
    /// Flows of this slot that expired or were removed.
    pub closed: SharedWord,
    /// Flows of this slot that were confirmed, see [`super::Flow::confirmed`].
    pub confirmed: SharedWord,
    /// Flows of this slot that ended without.
    pub lapsed: SharedWord,
    /// The owner's generation: a flow that carries another one belongs to an endpoint that is gone.
    pub generation: SharedWord,
    /// When the owner was last told that there is no room for its packet, nanoseconds of the flow clock.
    pub answered: SharedWord,
}
assert_layout!(Usage, size 48, align 8);

impl Usage {
    /// Flows that live.
    #[inline(always)]
    pub fn live(&self) -> u64 {
        self.opened.load().saturating_sub(self.closed.load())
    }

    /// Those of them that are not confirmed.
    #[inline(always)]
    pub fn embryonic(&self) -> u64 {
        let over = self.confirmed.load().wrapping_add(self.lapsed.load());
        self.opened.load().saturating_sub(over)
    }
}
