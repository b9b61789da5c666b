//! Ranges of addresses as numbers, and which of them endpoints can have.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether two ranges have an address in common; those of two families never have.
pub fn overlaps(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// An address as a number; the family is lost.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of a number, in the family of `like`.
pub(super) fn address(number: u128, like: &IpNet) -> Option<IpAddr> {
    Some(match like {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).ok()?).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    })
}

/// The first and the last address that a host can have in a subnet. IPv4 keeps the first for the
/// subnet and the last for broadcast, but for a /31 (RFC 3021) and a /32; IPv6 keeps the first for the
/// subnet's routers (RFC 4291 §2.6.1), but for a /127 (RFC 6164) and a /128.
pub(super) fn usable(net: &IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    if net.prefix_len() + 2 > net.max_prefix_len() {
        return (first, last);
    }
    match net {
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(_) => (first + 1, last),
    }
}

/// Why a range can be no network's subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// Addresses that mean something else.
    #[error("{range} is kept for {purpose}")]
    Kept {
        /// The range that it overlaps.
        range: IpNet,
        /// What for.
        purpose: &'static str,
    },
    /// No room for a gateway and an endpoint.
    #[error("a gateway and one endpoint do not fit; a prefix of /{largest} or shorter is meant")]
    Small {
        /// The longest prefix that has room.
        largest: u8,
    },
}

/// Ranges that no endpoint can have an address in (RFC 6890, RFC 4291).
const KEPT: [(&str, &str); 8] = [
    ("0.0.0.0/8", "\"this network\""),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local addresses"),
    ("224.0.0.0/3", "multicast and the future"),
    ("::/8", "loopback and IPv4-mapped addresses"),
    ("fe80::/10", "link-local addresses"),
    ("fec0::/10", "site-local addresses"),
    ("ff00::/8", "multicast"),
];

/// Checks that a range can be a network's subnet.
///
/// # Errors
///
/// Why not.
pub fn check_subnet(net: &IpNet) -> Result<(), Unusable> {
    for (range, purpose) in KEPT {
        if let Ok(range) = range.parse::<IpNet>()
            && overlaps(&range, net)
        {
            return Err(Unusable::Kept { range, purpose });
        }
    }
    let largest = net.max_prefix_len() - 1;
    if net.prefix_len() > largest {
        return Err(Unusable::Small { largest });
    }
    Ok(())
}
