//! Who is there: one topology for every case, laid out as the laboratory of the namespace tests.
//!
//! ```text
//!  WEB_1 WEB_2   DB_1   INNER_1       endpoints; INNER is an internal network
//!      WEB        DB     INNER        networks
//!       └─────────┼────────┘
//!               HOST ── LAN           the host's uplink, and its neighbour
//!                 │
//!               ROUTER ── WORLD, WORLD_2
//! ```

use crate::{
    abi::{Address, Mac},
    datapath::FamilyId,
};

/// A network of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its name.
    pub name: &'static str,
    /// Its number; never 0.
    pub number: u32,
    /// The index of its bridge device.
    pub bridge: u32,
    /// Its place in the tables of counters.
    pub slot: u32,
    /// The bridge, as a station.
    pub gateway: Station,
    /// Significant bits of its IPv4 subnet.
    pub prefix_v4: u8,
    /// Significant bits of its IPv6 subnet.
    pub prefix_v6: u8,
    /// Whether it has no way out.
    pub internal: bool,
}

/// Somebody who sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station {
    /// Its name.
    pub name: &'static str,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: [u8; 4],
    /// Its IPv6 address.
    pub v6: [u8; 16],
    /// Where it is.
    pub place: Place,
}

/// Where a station is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a network, behind a host-side veth of this index, with this slot.
    Endpoint {
        /// The network.
        site: SiteName,
        /// The index of the host-side veth.
        veth: u32,
        /// Its place in the tables of counters.
        slot: u32,
    },
    /// In a network, but nobody that we know.
    Inside(SiteName),
    /// The host itself.
    Host,
    /// On the uplink's own segment.
    Lan,
    /// Behind the router.
    Beyond,
}

/// The name of a network; [`SiteName::site`] is the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiteName {
    /// [`WEB`].
    Web,
    /// [`DB`].
    Db,
    /// [`INNER`].
    Inner,
}

impl SiteName {
    /// The network of this name.
    pub const fn site(self) -> &'static Site {
        match self {
            Self::Web => &WEB,
            Self::Db => &DB,
            Self::Inner => &INNER,
        }
    }
}

/// A station and a port: one end of a binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// The station.
    pub station: Station,
    /// The port, or the identifier of an ICMP echo.
    pub port: u16,
}

impl Station {
    /// Its address.
    pub fn address(&self, family: FamilyId) -> Address {
        match family {
            FamilyId::V4 => Address::v4(self.v4),
            FamilyId::V6 => Address::new(self.v6),
        }
    }

    /// One end of a binding.
    pub const fn port(self, port: u16) -> Socket {
        Socket { station: self, port }
    }

    /// The network that it is in.
    pub const fn site(&self) -> Option<&'static Site> {
        match self.place {
            Place::Endpoint { site, .. } | Place::Inside(site) => Some(site.site()),
            Place::Host | Place::Lan | Place::Beyond => None,
        }
    }

    /// The index of its host-side veth.
    ///
    /// # Panics
    ///
    /// When it is no endpoint.
    pub const fn veth(&self) -> u32 {
        match self.place {
            Place::Endpoint { veth, .. } => veth,
            _ => panic!("no endpoint"),
        }
    }

    /// The same, with other addresses.
    #[must_use]
    pub const fn calling_itself(mut self, other: &Self) -> Self {
        self.v4 = other.v4;
        self.v6 = other.v6;
        self
    }
}

/// The index of the uplink.
pub const UPLINK: u32 = 10;
/// The uplink's place in the tables of counters.
pub const UPLINK_SLOT: u32 = 0;
/// What every interface takes unless a case says otherwise.
pub const MTU: u32 = 1500;

/// The network of [`WEB_1`] and [`WEB_2`].
pub const WEB: Site = network("web", 1, SiteName::Web, false);
/// The network of [`DB_1`].
pub const DB: Site = network("db", 2, SiteName::Db, false);
/// The internal network of [`INNER_1`].
pub const INNER: Site = network("inner", 3, SiteName::Inner, true);
/// All networks.
pub const SITES: [Site; 3] = [WEB, DB, INNER];

/// An endpoint.
pub const WEB_1: Station = endpoint("WEB_1", SiteName::Web, 1, 11);
/// Its neighbour.
pub const WEB_2: Station = endpoint("WEB_2", SiteName::Web, 2, 12);
/// An endpoint on another network.
pub const DB_1: Station = endpoint("DB_1", SiteName::Db, 3, 11);
/// An endpoint on the internal network.
pub const INNER_1: Station = endpoint("INNER_1", SiteName::Inner, 4, 11);
/// All endpoints.
pub const ENDPOINTS: [Station; 4] = [WEB_1, WEB_2, DB_1, INNER_1];
/// An address of the network web that nobody has.
pub const WEB_NOBODY: Station = inside("WEB_NOBODY", SiteName::Web, 99);

/// The host, at its uplink.
pub const HOST: Station = outside("HOST", Place::Host, 1, 1);
/// The host, at another of its addresses.
pub const HOST_2: Station = outside("HOST_2", Place::Host, 1, 2);
/// The host's neighbour on the uplink's segment.
pub const LAN: Station = outside("LAN", Place::Lan, 1, 9);
/// The router on the uplink's segment.
pub const ROUTER: Station = outside("ROUTER", Place::Lan, 1, 254);
/// A server behind the router.
pub const WORLD: Station = outside("WORLD", Place::Beyond, 2, 9);
/// Another.
pub const WORLD_2: Station = outside("WORLD_2", Place::Beyond, 2, 10);
/// A router behind the router, which sends errors about packets to [`WORLD`].
pub const TRANSIT: Station = outside("TRANSIT", Place::Beyond, 3, 1);
/// Nobody's address that everybody hears.
pub const EVERYBODY: Station = Station {
    name: "EVERYBODY",
    mac: Mac([0xff; 6]),
    v4: [255; 4],
    v6: [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    place: Place::Lan,
};
/// The address of somebody who has none yet.
pub const UNSPECIFIED: Station =
    Station { name: "UNSPECIFIED", mac: Mac([0; 6]), v4: [0; 4], v6: [0; 16], place: Place::Lan };

const fn network(name: &'static str, number: u32, site: SiteName, internal: bool) -> Site {
    let bridge = 100 + number;
    let gateway = inside(name, site, 1);
    let slot = 10 + number;
    Site { name, number, bridge, slot, gateway, prefix_v4: 24, prefix_v6: 64, internal }
}

const fn subnet(site: SiteName) -> u8 {
    match site {
        SiteName::Web => 10,
        SiteName::Db => 20,
        SiteName::Inner => 30,
    }
}

const fn inside(name: &'static str, site: SiteName, host: u8) -> Station {
    let net = subnet(site);
    Station {
        name,
        mac: Mac([2, 0x42, 10, net, 0, host]),
        v4: [10, net, 0, host],
        v6: [0xfd, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host],
        place: Place::Inside(site),
    }
}

const fn endpoint(name: &'static str, site: SiteName, slot: u32, host: u8) -> Station {
    let mut station = inside(name, site, host);
    station.place = Place::Endpoint { site, veth: 20 + slot, slot };
    station
}

const fn outside(name: &'static str, place: Place, segment: u8, host: u8) -> Station {
    let v4 = match segment {
        1 => [192, 0, 2, host],
        2 => [198, 51, 100, host],
        _ => [203, 0, 113, host],
    };
    let v6 = [0x20, 1, 0x0d, 0xb8, 0, segment, 0, 0, 0, 0, 0, 0, 0, 0, 0, host];
    Station { name, mac: Mac([2, 0, 0, 0, segment, host]), v4, v6, place }
}
