//! The two families and the laboratory's addresses, so that a test is written once.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// An IP version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `0.0.0.0` or `::`.
    pub fn any(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// Runs a test for IPv4, then for IPv6; which one it was is printed with a failure.
pub fn both(mut test: impl FnMut(Family)) {
    for family in [Family::V4, Family::V6] {
        println!("— {family} —");
        test(family);
    }
}

/// Somebody's IPv4 and IPv6 address.
#[derive(Clone, Copy, Debug)]
pub struct Pair(pub Ipv4Addr, pub Ipv6Addr);

impl Pair {
    /// The address of a family.
    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.0.into(),
            Family::V6 => self.1.into(),
        }
    }

    /// The address of a family with a port.
    pub fn port(self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.of(family), port)
    }
}

const fn pair(v4: [u8; 4], net: u16, second: u16, host: u16) -> Pair {
    let [a, b, c, d] = v4;
    Pair(Ipv4Addr::new(a, b, c, d), Ipv6Addr::new(net, second, 0, 0, 0, 0, 0, host))
}

const fn documentation(v4: [u8; 4], subnet: u16, host: u16) -> Pair {
    let [a, b, c, d] = v4;
    Pair(Ipv4Addr::new(a, b, c, d), Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, host))
}

/// Whoever it is asked by.
pub const LOOPBACK: Pair = Pair(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
/// The host's uplink.
pub const HOST: Pair = documentation([192, 0, 2, 1], 1, 0x1);
/// Another address of the host's, which a test may give it.
pub const HOST_2: Pair = documentation([192, 0, 2, 3], 1, 0x3);
/// The LAN neighbour.
pub const LAN: Pair = documentation([192, 0, 2, 9], 1, 0x9);
/// The router, on the host's side.
pub const ROUTER: Pair = documentation([192, 0, 2, 254], 1, 0xfe);
/// The router, on the server's side.
pub const ROUTER_FAR: Pair = documentation([198, 51, 100, 254], 2, 0xfe);
/// The server.
pub const SERVER: Pair = documentation([198, 51, 100, 9], 2, 0x9);

/// The host's second uplink.
pub const HOST_TOO: Pair = documentation([203, 0, 113, 1], 3, 0x1);
/// The router there.
pub const ROUTER_TOO: Pair = documentation([203, 0, 113, 254], 3, 0xfe);

/// The gateway of network `front`.
pub const FRONT: Pair = pair([10, 10, 0, 1], 0xfd10, 0, 0x1);
/// First endpoint of `front`.
pub const C1: Pair = pair([10, 10, 0, 11], 0xfd10, 0, 0x11);
/// Second endpoint of `front`.
pub const C2: Pair = pair([10, 10, 0, 12], 0xfd10, 0, 0x12);
/// The gateway of network `back`.
pub const BACK: Pair = pair([10, 20, 0, 1], 0xfd20, 0, 0x1);
/// The endpoint of `back`.
pub const D1: Pair = pair([10, 20, 0, 11], 0xfd20, 0, 0x11);
/// The gateway of the internal network `inner`.
pub const INNER: Pair = pair([10, 30, 0, 1], 0xfd30, 0, 0x1);
/// First endpoint of `inner`.
pub const I1: Pair = pair([10, 30, 0, 11], 0xfd30, 0, 0x11);
/// Second endpoint of `inner`.
pub const I2: Pair = pair([10, 30, 0, 12], 0xfd30, 0, 0x12);

/// Whether an address is one that nobody outside may ever see: of an endpoint's network, or loopback.
pub fn is_private(address: IpAddr) -> bool {
    let of_a_network = match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    of_a_network || address.is_loopback()
}
