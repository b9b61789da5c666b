//! What there is before a packet comes: the topology of [`crate::testkit::station`], and what a case
//! says to be different.

use crate::{
    abi::{
        Address, Endpoint, Interface, InterfaceKind, InterfaceOptions, NetworkRange, Prefix,
        Protocol, Published, PublishedKey, Settings, Source,
    },
    datapath::FamilyId,
    testkit::station::{ENDPOINTS, HOST, MTU, Place, SITES, Site, Station, UPLINK, UPLINK_SLOT},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

/// What a case says to be different, from where it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given {
    /// A port of the host leads to an endpoint's.
    Published {
        /// TCP or UDP.
        protocol: Protocol,
        /// The host's port.
        port: u16,
        /// The endpoint.
        to: Station,
        /// The endpoint's port.
        to_port: u16,
    },
    /// A port of an endpoint at its own address; for ICMP its answers to echo requests.
    Open(Protocol, Station, u16),
    /// A published port is for one client only.
    OnlyFor(Protocol, u16, Station),
    /// What goes there is never masqueraded.
    NeverMasqueraded(Station),
    /// The endpoints of a network cannot reach one another.
    PeersApart(Site),
    /// How many flows one endpoint may have.
    Quota(u32),
    /// How many of them may be unconfirmed.
    EmbryonicQuota(u32),
    /// How many places for flows there are.
    Capacity(usize),
    /// The addresses that an endpoint's packets leave with.
    LeavesAs(Station, Station),
    /// The range of ports that masquerade chooses from.
    SnatPorts(u16, u16),
    /// The host has a socket at a port, on every address.
    Socket(Protocol, u16),
    /// The host connects from a port to one of `WORLD`'s.
    Connects(u16, u16),
    /// The uplink has no address.
    NoUplinkAddress,
    /// XDP looks at what comes in by the uplink first.
    XdpAtUplink,
    /// Where the host sends what is for the world.
    WayOut(WayOut),
    /// The longest packet that the ways out take.
    WayOutTakes(u32),
    /// The longest packet that an endpoint's interface takes.
    WayInTakes(Station, u32),
    /// An endpoint goes, and another comes with its name, addresses and interface.
    Restarted(Station),
    /// An endpoint goes. What was published for it stays.
    Removed(Station),
    /// An endpoint that was removed comes again.
    Back(Station),
    /// The flow of a packet from here to there ends, and its index entries stay.
    FlowEnds(Protocol, (Station, u16), (Station, u16)),
    /// Time goes by, in seconds.
    Later(u64),
}

/// Where the host sends what is for nobody near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WayOut {
    /// To the router.
    Router,
    /// Nowhere, and the host says so.
    Unreachable,
    /// There is no route.
    Unknown,
    /// By an interface that is no uplink: the bridge of the network `db`.
    Elsewhere,
}

/// A port of the host leads to an endpoint's.
pub fn publish(protocol: Protocol, port: u16, to: Station, to_port: u16) -> Given {
    Given::Published { protocol, port, to, to_port }
}
/// A port of an endpoint at its own address; for ICMP its answers to echo requests.
pub fn open(protocol: Protocol, at: Station, port: u16) -> Given {
    Given::Open(protocol, at, port)
}
/// A published port is for one client only.
pub fn only_for(protocol: Protocol, port: u16, client: Station) -> Given {
    Given::OnlyFor(protocol, port, client)
}
/// What goes there is never masqueraded.
pub fn never_masqueraded(to: Station) -> Given {
    Given::NeverMasqueraded(to)
}
/// The endpoints of a network cannot reach one another.
pub fn peers_apart(site: Site) -> Given {
    Given::PeersApart(site)
}
/// How many flows one endpoint may have.
pub fn quota(flows: u32) -> Given {
    Given::Quota(flows)
}
/// How many of them may be unconfirmed.
pub fn embryonic_quota(flows: u32) -> Given {
    Given::EmbryonicQuota(flows)
}
/// The addresses that an endpoint's packets leave with.
pub fn leaves_as(station: Station, host: Station) -> Given {
    Given::LeavesAs(station, host)
}
/// How many places for flows there are.
pub fn capacity(flows: usize) -> Given {
    Given::Capacity(flows)
}
/// The range of ports that masquerade chooses from when the sender's own is taken.
pub fn snat_ports(first: u16, last: u16) -> Given {
    Given::SnatPorts(first, last)
}
/// The host has a socket at a port.
pub fn socket(protocol: Protocol, port: u16) -> Given {
    Given::Socket(protocol, port)
}
/// The host connects from a port to one of `WORLD`'s, and waits for an answer.
pub fn connects(port: u16, to: u16) -> Given {
    Given::Connects(port, to)
}
/// The uplink has no address.
pub fn no_uplink_address() -> Given {
    Given::NoUplinkAddress
}
/// XDP looks at what comes in by the uplink first.
pub fn xdp_at_uplink() -> Given {
    Given::XdpAtUplink
}
/// The host has no default route.
pub fn no_default_route() -> Given {
    Given::WayOut(WayOut::Unknown)
}
/// The host has a route that says that the world cannot be reached.
pub fn world_unreachable() -> Given {
    Given::WayOut(WayOut::Unreachable)
}
/// The host's default route leads out of an interface that is no uplink.
pub fn way_out_elsewhere() -> Given {
    Given::WayOut(WayOut::Elsewhere)
}
/// The longest packet that the ways out take.
pub fn way_out_takes(bytes: u32) -> Given {
    Given::WayOutTakes(bytes)
}
/// The longest packet that an endpoint's interface takes.
pub fn way_in_takes(to: Station, bytes: u32) -> Given {
    Given::WayInTakes(to, bytes)
}
/// An endpoint goes, and another comes with its name, addresses and interface.
pub fn restart(station: Station) -> Given {
    Given::Restarted(station)
}
/// An endpoint goes. What was published for it stays.
pub fn remove(station: Station) -> Given {
    Given::Removed(station)
}
/// An endpoint that was removed comes again.
pub fn bring_back(station: Station) -> Given {
    Given::Back(station)
}
/// The flow of a packet from here to there ends, and its index entries stay.
pub fn flow_vanishes(protocol: Protocol, from: (Station, u16), to: (Station, u16)) -> Given {
    Given::FlowEnds(protocol, from, to)
}
/// Time goes by, in seconds.
pub fn later(seconds: u64) -> Given {
    Given::Later(seconds)
}

/// Everything that a machine has to arrange before the next packet.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    /// By their index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// By their address.
    pub endpoints: BTreeMap<Address, Endpoint>,
    /// Ranges of addresses.
    pub networks: Vec<(Prefix, NetworkRange)>,
    /// Published ports.
    pub published: HashMap<PublishedKey, Published>,
    /// Who may use those that are not for everybody.
    pub sources: Vec<(Source, u32)>,
    /// The generation of each slot's owner.
    pub owners: BTreeMap<u32, u32>,
    /// Settings.
    pub settings: Settings,
    /// Free places for flows.
    pub places: usize,
    /// Protocol and port of the host's own sockets.
    pub sockets: BTreeSet<(u32, u16)>,
    /// The host's own ports, and those of `WORLD`, that it connects from and to.
    pub connecting: BTreeSet<(u16, u16)>,
    /// Where the host sends what is for nobody near.
    pub way_out: WayOut,
    /// What the ways out take.
    pub mtu: u32,
}

/// Places for flows unless a case says otherwise.
const PLACES: usize = 64;

impl Default for Layout {
    fn default() -> Self {
        let mut layout = Self {
            interfaces: BTreeMap::from([(UPLINK, uplink())]),
            endpoints: BTreeMap::new(),
            networks: Vec::new(),
            published: HashMap::new(),
            sources: Vec::new(),
            owners: BTreeMap::from([(UPLINK_SLOT, 0)]),
            settings: Settings { flow_capacity: PLACES as u32, ..Settings::default() },
            places: PLACES,
            sockets: BTreeSet::new(),
            connecting: BTreeSet::new(),
            way_out: WayOut::Router,
            mtu: MTU,
        };
        for site in SITES {
            let bridge = gateway(&site);
            layout.owners.insert(bridge.slot, 0);
            layout.interfaces.insert(bridge.ifindex, bridge);
            let (v4, v6) = (IpAddr::from(site.gateway.v4), IpAddr::from(site.gateway.v6));
            for prefix in [Prefix::new(v4, site.prefix_v4), Prefix::new(v6, site.prefix_v6)] {
                layout.networks.push((prefix, NetworkRange { network: site.number }));
            }
        }
        for station in ENDPOINTS {
            layout.place(station, 1);
        }
        layout
    }
}

impl Layout {
    /// The host's own addresses. What is published is published on all of them, for who is within.
    pub fn host_addresses(&self) -> impl Iterator<Item = Address> {
        let own = [FamilyId::V4, FamilyId::V6].into_iter().flat_map(|family| {
            let gateways = SITES.into_iter().map(move |site| site.gateway.address(family));
            gateways.chain([HOST.address(family)])
        });
        own.collect::<Vec<_>>().into_iter()
    }

    /// What is different from now on. The clock and the flows are not of the layout.
    pub fn change(&mut self, given: &Given) {
        match *given {
            Given::Published { protocol, port, to, to_port } => {
                for family in [FamilyId::V4, FamilyId::V6] {
                    let key = published_key(protocol, HOST.address(family), port);
                    self.published.insert(key, published(to.address(family), to_port));
                }
            }
            Given::Open(protocol, at, port) => {
                for address in [FamilyId::V4, FamilyId::V6].map(|family| at.address(family)) {
                    let key = published_key(protocol, address, port);
                    self.published.insert(key, published(address, port));
                }
            }
            Given::OnlyFor(protocol, port, client) => {
                let group = self.sources.len() as u32 + 1;
                for family in [FamilyId::V4, FamilyId::V6] {
                    let address = client.address(family).octets();
                    self.sources.push((Source { group, address }, Source::GROUP_BITS + 128));
                    let key = published_key(protocol, HOST.address(family), port);
                    if let Some(published) = self.published.get_mut(&key) {
                        published.sources = group;
                    }
                }
            }
            Given::NeverMasqueraded(to) => {
                for family in [FamilyId::V4, FamilyId::V6] {
                    let prefix = Prefix { length: 128, address: to.address(family) };
                    self.networks.push((prefix, NetworkRange::NEVER_MASQUERADED));
                }
            }
            Given::PeersApart(site) => {
                for interface in self.interfaces.values_mut() {
                    if interface.network == site.number {
                        interface.options = interface.options.with(InterfaceOptions::NO_PEERS);
                    }
                }
            }
            Given::Quota(flows) => self.settings.flow_quota = flows,
            Given::EmbryonicQuota(flows) => self.settings.embryonic_quota = flows,
            Given::Capacity(flows) => {
                self.places = flows;
                self.settings.flow_capacity = flows as u32;
            }
            Given::SnatPorts(first, last) => {
                (self.settings.snat_first, self.settings.snat_last) = (first, last);
            }
            Given::LeavesAs(station, address) => {
                if let Some(interface) = self.interfaces.get_mut(&station.veth()) {
                    interface.snat_v4 = address.address(FamilyId::V4);
                    interface.snat_v6 = address.address(FamilyId::V6);
                }
            }
            Given::Socket(protocol, port) => drop(self.sockets.insert((protocol as u32, port))),
            Given::Connects(port, to) => drop(self.connecting.insert((port, to))),
            Given::NoUplinkAddress => {
                if let Some(uplink) = self.interfaces.get_mut(&UPLINK) {
                    (uplink.v4, uplink.v6) = (Address::NONE, Address::NONE);
                }
            }
            Given::XdpAtUplink => {
                if let Some(uplink) = self.interfaces.get_mut(&UPLINK) {
                    uplink.options = InterfaceOptions::XDP;
                }
            }
            Given::WayOut(way_out) => self.way_out = way_out,
            Given::WayOutTakes(bytes) => self.mtu = bytes,
            Given::WayInTakes(station, bytes) => {
                for endpoint in self.endpoints.values_mut() {
                    if endpoint.ifindex == station.veth() {
                        endpoint.mtu = bytes;
                    }
                }
            }
            Given::Restarted(station) => self.place(station, self.next_generation(&station)),
            Given::Removed(station) => {
                self.owners.insert(place_of(&station).1, self.next_generation(&station));
                self.interfaces.remove(&station.veth());
                self.endpoints.retain(|_, endpoint| endpoint.ifindex != station.veth());
            }
            Given::Back(station) => self.place(station, self.next_generation(&station)),
            Given::FlowEnds(..) | Given::Later(_) => {}
        }
    }

    fn next_generation(&self, station: &Station) -> u32 {
        self.owners.get(&place_of(station).1).copied().unwrap_or(0) + 1
    }

    fn place(&mut self, station: Station, generation: u32) {
        let (veth, slot, site) = place_of(&station);
        let endpoint = Endpoint {
            ifindex: veth,
            network: site.number,
            slot,
            generation,
            mtu: MTU,
            mac: station.mac,
            gateway_mac: site.gateway.mac,
            options: options(site),
        };
        let interface = Interface {
            ifindex: veth,
            kind: InterfaceKind::Endpoint as u32,
            slot,
            network: site.number,
            generation,
            mtu: MTU,
            gateway_ifindex: site.bridge,
            options: options(site),
            prefix_v4: site.prefix_v4,
            prefix_v6: site.prefix_v6,
            v4: station.address(FamilyId::V4),
            v6: station.address(FamilyId::V6),
            mac: station.mac,
            gateway_mac: site.gateway.mac,
            ..Interface::FREE
        };
        self.endpoints.insert(interface.v4, endpoint);
        self.endpoints.insert(interface.v6, endpoint);
        self.interfaces.insert(veth, interface);
        self.owners.insert(slot, generation);
    }
}

fn published_key(protocol: Protocol, address: Address, port: u16) -> PublishedKey {
    let protocol = protocol as u32;
    PublishedKey { address, port: port.to_be_bytes(), padding: [0; 2], protocol }
}

fn published(address: Address, port: u16) -> Published {
    Published { address, port: port.to_be_bytes(), padding: [0; 2], sources: 0 }
}

/// The host-side veth, the slot and the network of an endpoint.
///
/// # Panics
///
/// When the station is no endpoint.
pub fn place_of(station: &Station) -> (u32, u32, &'static Site) {
    match station.place {
        Place::Endpoint { site, veth, slot } => (veth, slot, site.site()),
        _ => panic!("{} is no endpoint", station.name),
    }
}

fn options(site: &Site) -> InterfaceOptions {
    if site.internal { InterfaceOptions::INTERNAL } else { InterfaceOptions::default() }
}

fn uplink() -> Interface {
    Interface {
        ifindex: UPLINK,
        kind: InterfaceKind::Uplink as u32,
        slot: UPLINK_SLOT,
        mtu: MTU,
        v4: HOST.address(FamilyId::V4),
        v6: HOST.address(FamilyId::V6),
        mac: HOST.mac,
        ..Interface::FREE
    }
}

fn gateway(site: &Site) -> Interface {
    Interface {
        ifindex: site.bridge,
        kind: InterfaceKind::Gateway as u32,
        slot: site.slot,
        network: site.number,
        mtu: MTU,
        options: options(site),
        prefix_v4: site.prefix_v4,
        prefix_v6: site.prefix_v6,
        v4: site.gateway.address(FamilyId::V4),
        v6: site.gateway.address(FamilyId::V6),
        mac: site.gateway.mac,
        ..Interface::FREE
    }
}
