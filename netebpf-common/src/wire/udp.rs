//! UDP (RFC 768).

/// Bytes of the header.
pub const LENGTH: usize = 8;
/// Offset of the checksum; 0 says that there is none, which IPv6 forbids (RFC 8200 §8.1).
pub const CHECKSUM: usize = 6;
/// The port that DHCP servers send from (RFC 2131).
pub const DHCP_SERVER: u16 = 67;
/// The port that DHCPv6 servers send from (RFC 8415 §7.2).
pub const DHCPV6_SERVER: u16 = 547;
