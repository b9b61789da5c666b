//! An endpoint's address, and how a frame gets there.

use super::{InterfaceOptions, Mac, assert_layout};

/// What a frame for one address of an endpoint needs: the value of the table of endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Endpoint {
    /// The host-side veth, whose peer is the endpoint's interface.
    pub ifindex: u32,
    /// The network that the address belongs to.
    pub network: u32,
    /// [`super::Interface::slot`] of the host-side veth.
    pub slot: u32,
    /// Raised each time that the slot gets a new owner; a flow made for an earlier one is a miss.
    pub generation: u32,
    /// The longest IP packet, in bytes, that the endpoint's interface takes.
    pub mtu: u32,
    /// The endpoint's own Ethernet address.
    pub mac: Mac,
    /// The Ethernet address of the network's gateway, the sender of what comes from outside.
    pub gateway_mac: Mac,
    /// As of its interface.
    pub options: InterfaceOptions,
}
assert_layout!(Endpoint, size 36, align 4);
