//! Which interfaces lead outside.

use super::{Kernel, KernelError, netlink::Facts};
use crate::{
    model::UplinkChoice,
    plan::{Link, Uplink},
};
use ipnet::IpNet;
use std::collections::BTreeSet;

/// What resolving a request needs to know of the host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostFacts {
    /// Every range that the host routes somewhere, this instance's own networks left out: pools avoid
    /// them.
    pub routes: Vec<IpNet>,
    /// The uplinks.
    pub uplinks: Vec<Uplink>,
}

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

impl Kernel {
    /// The uplinks as they are now.
    pub async fn uplinks(&self, choice: &UplinkChoice) -> Result<Vec<Uplink>, KernelError> {
        let facts = self.netlink.facts().await?;
        Ok(pick(&facts, choice, |link| self.is_ours(link)))
    }

    /// What resolving a request needs to know of the host.
    pub async fn host_facts(&self, choice: &UplinkChoice) -> Result<HostFacts, KernelError> {
        let facts = self.netlink.facts().await?;
        let uplinks = pick(&facts, choice, |link| self.is_ours(link));
        let ours: BTreeSet<_> =
            facts.links.values().filter(|link| self.is_ours(link)).map(|link| link.index).collect();
        let routes: BTreeSet<_> = facts
            .routes
            .iter()
            .filter(|route| !route.index.is_some_and(|index| ours.contains(&index)))
            .map(|route| route.destination)
            .filter(|net| net.prefix_len() > 0 && !is_special(net))
            .collect();
        Ok(HostFacts { routes: routes.into_iter().collect(), uplinks })
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
