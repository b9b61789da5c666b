//! Reading links, addresses and routes.

use super::{Netlink, NetlinkError, mac_of};
use crate::plan::{GsoSizes, Link, Uplink};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{
        InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An address on a link, as the kernel tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AddressFact {
    pub(crate) index: u32,
    pub(crate) net: IpNet,
    /// Still being asked for, or found to be somebody else's.
    pub(crate) unusable: bool,
    /// Found to be somebody else's.
    pub(crate) duplicate: bool,
    /// Not for new connections: deprecated, secondary or temporary.
    pub(crate) second_choice: bool,
}

impl AddressFact {
    fn of(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut peer, mut flags) = (None, None, AddressFlags::empty());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => peer = Some(*address),
                AddressAttribute::Flags(found) => flags = *found,
                _ => {}
            }
        }
        // On a point-to-point link `Address` is the other end; elsewhere only it may be there.
        let net = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
        Some(Self {
            index: message.header.index,
            net,
            unusable: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
            duplicate: flags.contains(AddressFlags::Dadfailed),
            second_choice: flags.intersects(AddressFlags::Deprecated | AddressFlags::Secondary),
        })
    }
}

/// A route of the main tables, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RouteFact {
    pub(crate) destination: IpNet,
    pub(crate) index: Option<u32>,
    pub(crate) gateway: Option<IpAddr>,
}

impl RouteFact {
    fn of(message: &RouteMessage) -> Option<Self> {
        if message.header.kind != RouteType::Unicast {
            return None;
        }
        let unspecified: IpAddr = match message.header.address_family {
            AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let (mut destination, mut index, mut gateway) = (unspecified, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Oif(oif) => index = Some(*oif),
                RouteAttribute::Gateway(address) => gateway = ip(address),
                _ => {}
            }
        }
        let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
        Some(Self { destination, index, gateway })
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

pub(super) fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether
            && !message.header.flags.contains(LinkFlags::Loopback),
        ..Link::default()
    };
    // A kernel that says nothing of one has the usual.
    let (mut v4, mut limit) = (None, GsoSizes::USUAL.v4);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => link.mac = mac_of(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::GsoMaxSize(bytes) => link.gso.v6 = *bytes,
            LinkAttribute::GsoIpv4MaxSize(bytes) => v4 = Some(*bytes),
            LinkAttribute::TsoMaxSize(bytes) => limit = *bytes,
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(InfoKind::to_string(kind)),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link.gso.v4 = v4.unwrap_or(GsoSizes::USUAL.v4);
    link.gso_limits = GsoSizes { v4: if v4.is_some() { limit } else { link.gso.v4 }, v6: limit };
    link
}

/// What one namespace has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) links: BTreeMap<String, Link>,
    pub(crate) addresses: Vec<AddressFact>,
    pub(crate) routes: Vec<RouteFact>,
}

impl Netlink {
    /// Reads everything. Links come last: with an interface that goes down its addresses and routes go, and one that is
    /// seen without them should be seen to be down.
    pub(crate) async fn facts(&self) -> Result<Facts, NetlinkError> {
        let (addresses, routes) = (self.addresses().await?, self.routes().await?);
        Ok(Facts::new(self.links().await?, addresses, routes))
    }

    /// Addresses alone.
    pub(crate) async fn addresses(&self) -> Result<Vec<AddressFact>, NetlinkError> {
        let messages: Result<Vec<_>, _> = self.handle.address().get().execute().try_collect().await;
        let messages = messages.map_err(|error| NetlinkError::new("read", "addresses", error))?;
        Ok(messages.iter().filter_map(AddressFact::of).collect())
    }

    /// Unicast routes alone. Each interface has a multicast route, too, and each endpoint an interface.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteFact>, NetlinkError> {
        let mut routes = Vec::new();
        // One after the other: the kernel answers a second dump on a socket whose first is not read to its end with
        // EBUSY.
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut wanted = RouteMessage::default();
            wanted.header.address_family = family;
            wanted.header.kind = RouteType::Unicast;
            let listed = self.handle.route().get(wanted).execute().try_collect::<Vec<_>>().await;
            let listed = listed.map_err(|error| NetlinkError::new("read", "routes", error))?;
            routes.extend(listed.iter().filter_map(RouteFact::of));
        }
        Ok(routes)
    }

    /// One link, without addresses and gateways, if it is there.
    pub(super) async fn link(&self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let request = self.handle.link().get().match_index(index);
        let request = request.set_filter_mask(AddressFamily::Unspec, without_counters());
        let found = match request.execute().try_next().await {
            Ok(found) => found,
            Err(error) => {
                let error = NetlinkError::new("read", format!("interface {index}"), error);
                return if error.is(Errno::NODEV) { Ok(None) } else { Err(error) };
            }
        };
        Ok(found.as_ref().map(link_of))
    }

    /// Links alone, without addresses and gateways. Their counters, most of what the kernel would tell, are left out.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let request = self.handle.link().get();
        let request = request.set_filter_mask(AddressFamily::Unspec, without_counters());
        let messages: Result<Vec<_>, _> = request.execute().try_collect().await;
        let messages = messages.map_err(|error| NetlinkError::new("read", "interfaces", error))?;
        Ok(messages.iter().map(link_of).collect())
    }
}

fn without_counters() -> Vec<LinkExtentMask> {
    vec![LinkExtentMask::SkipStats]
}

impl Facts {
    /// Links with their addresses and gateways.
    pub(crate) fn new(
        links: impl IntoIterator<Item = Link>,
        addresses: Vec<AddressFact>,
        routes: Vec<RouteFact>,
    ) -> Self {
        let mut by_index: BTreeMap<u32, Link> =
            links.into_iter().map(|link| (link.index, link)).collect();
        for fact in &addresses {
            if let Some(link) = by_index.get_mut(&fact.index)
                && !is_link_local_v6(fact.net.addr())
            {
                link.addresses.insert(fact.net);
                link.duplicates.extend(fact.duplicate.then_some(fact.net));
            }
        }
        for route in routes.iter().filter(|route| route.destination.prefix_len() == 0) {
            if let (Some(index), Some(gateway)) = (route.index, route.gateway)
                && let Some(link) = by_index.get_mut(&index)
            {
                link.gateways.insert(gateway);
            }
        }
        let links = by_index.into_values().map(|link| (link.name.clone(), link)).collect();
        Self { links, addresses, routes }
    }

    /// A link as an uplink, with the addresses that it masquerades with and answers on; `None` for one
    /// without any.
    pub(crate) fn uplink(&self, link: &Link) -> Option<Uplink> {
        let usable: Vec<_> = self
            .addresses
            .iter()
            .filter(|fact| fact.index == link.index && !fact.unusable)
            .filter(|fact| !fact.net.addr().is_loopback() && !is_link_local_v6(fact.net.addr()))
            .collect();
        // The oldest, so that one more address changes nothing: the kernel lists IPv4's oldest first, and
        // IPv6's newest first. A unique local one reaches less of the world.
        let primary = |v6: bool| {
            let listed = usable.iter().filter(|fact| fact.net.addr().is_ipv6() == v6);
            let oldest_first: Vec<_> = if v6 { listed.rev().collect() } else { listed.collect() };
            let best = oldest_first
                .into_iter()
                .min_by_key(|fact| (fact.second_choice, is_unique_local(fact.net.addr())));
            best.map(|fact| fact.net.addr())
        };
        let addresses: BTreeSet<_> = usable.iter().map(|fact| fact.net.addr()).collect();
        if addresses.is_empty() {
            return None;
        }
        Some(Uplink {
            name: link.name.clone(),
            index: link.index,
            mac: link.mac?,
            mtu: link.mtu,
            gso: link.gso,
            kind: link.kind.clone(),
            v4: primary(false).and_then(|address| match address {
                IpAddr::V4(v4) => Some(v4),
                IpAddr::V6(_) => None,
            }),
            v6: primary(true).and_then(|address| match address {
                IpAddr::V6(v6) => Some(v6),
                IpAddr::V4(_) => None,
            }),
            addresses,
            default_route: self
                .routes
                .iter()
                .any(|r| r.destination.prefix_len() == 0 && r.index == Some(link.index)),
            joins: false,
            vlan: self
                .links
                .values()
                .find(|other| {
                    other.kind.as_deref() == Some("vlan") && other.peer == Some(link.index)
                })
                .map(|vlan| vlan.name.clone()),
        })
    }
}

fn is_unique_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unique_local())
}

fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
