//! Which interfaces lead outside.

use super::{
    Kernel, KernelError,
    netlink::{Facts, RouteFact},
};
use crate::{
    model::{UplinkChoice, resolve::HostRoute},
    plan::{Link, Uplink},
};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::IpAddr};

/// Kinds of devices that carry an Ethernet header and yet lead to nobody outside: bridges, whose other
/// ports are other engines' endpoints, and tunnels.
const INSIDE: [&str; 9] =
    ["bridge", "openvswitch", "tun", "vxlan", "geneve", "gretap", "ip6gretap", "wireguard", "ifb"];

/// Picks the uplinks.
pub(crate) fn pick(
    facts: &Facts,
    choice: &UplinkChoice,
    ours: impl Fn(&Link) -> bool,
) -> Vec<Uplink> {
    let bridges: BTreeSet<_> = facts
        .links
        .values()
        .filter(|link| link.kind.as_deref().is_some_and(|kind| INSIDE.contains(&kind)))
        .map(|link| link.index)
        .collect();
    let automatic = |link: &Link| {
        link.ethernet
            && link.up
            && !bridges.contains(&link.index)
            && !link.master.is_some_and(|master| bridges.contains(&master))
    };
    let chosen = |link: &&Link| match choice {
        UplinkChoice::Automatic => automatic(link),
        UplinkChoice::Named(names) => names.iter().any(|name| name.as_str() == link.name),
    };
    let candidates = facts.links.values().filter(|link| !ours(link));
    candidates.filter(chosen).filter_map(|link| facts.uplink(link)).collect()
}

/// What flows to the outside stand on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outside {
    /// The host's addresses, but for those that are nobody else's business.
    pub addresses: BTreeSet<IpAddr>,
    /// The indices of the uplinks, and of the interfaces that are down.
    pub uplinks: BTreeSet<u32>,
}

impl Outside {
    /// Whether all of this is in the other, too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.addresses.is_subset(&other.addresses) && self.uplinks.is_subset(&other.uplinks)
    }
}

/// Loopback and link-local: no flow has such an address.
fn is_local(address: &IpAddr) -> bool {
    address.is_loopback()
        || match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

impl Kernel {
    /// The uplinks as they are now.
    pub async fn uplinks(&self, choice: &UplinkChoice) -> Result<Vec<Uplink>, KernelError> {
        let facts = self.netlink.facts().await?;
        Ok(pick(&facts, choice, |link| self.is_ours(link)))
    }

    /// What flows to the outside stand on. Read twice, for what is changed while it is read may be missing
    /// from a list.
    pub async fn outside(&self, choice: &UplinkChoice) -> Result<Outside, KernelError> {
        let mut outside = Outside::default();
        for _ in 0..2 {
            let facts = self.netlink.facts().await?;
            let addresses = facts.addresses.iter().map(|fact| fact.net.addr());
            outside.addresses.extend(addresses.filter(|address| !is_local(address)));
            let uplinks = pick(&facts, choice, |link| self.is_ours(link));
            outside.uplinks.extend(uplinks.iter().map(|uplink| uplink.index));
            // One that is down may come up again, and its flows go on then.
            let down = facts.links.values().filter(|link| !link.up);
            outside.uplinks.extend(down.map(|link| link.index));
        }
        Ok(outside)
    }

    /// The host's routes: address pools keep clear of them.
    pub async fn host_routes(&self) -> Result<Vec<HostRoute>, KernelError> {
        let facts = self.netlink.facts().await?;
        let name = |index: u32| {
            facts.links.values().find(|link| link.index == index).map(|link| link.name.clone())
        };
        let routes = facts.routes.iter().filter(|route| !is_special(&route.destination));
        let host_route = |route: &RouteFact| HostRoute {
            net: route.destination,
            interface: route.index.and_then(name),
        };
        Ok(routes.map(host_route).collect())
    }

    pub(crate) fn is_ours(&self, link: &Link) -> bool {
        link.alias.as_deref().is_some_and(|alias| alias.starts_with(&self.instance.mark()))
    }
}

/// Multicast and link-local ranges, which every host has.
fn is_special(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.network().is_multicast() || net.network().is_link_local(),
        IpNet::V6(net) => net.network().is_multicast() || net.network().is_unicast_link_local(),
    }
}
