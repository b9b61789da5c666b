//! Neighbour discovery (RFC 4861).

/// ICMPv6 types.
pub mod kind {
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
}

/// Offset of the target address of a solicitation, advertisement or redirect.
pub const TARGET: usize = 8;
/// Offset of the options of a neighbour solicitation or advertisement.
pub const OPTIONS: usize = 24;
/// Option: the sender's own Ethernet address.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Option: the target's Ethernet address.
pub const TARGET_LINK_LAYER: u8 = 2;
