//! Which interfaces lead outside.

use super::{
    Kernel, KernelError,
    netlink::{Facts, Netlink, RouteFact},
};
use crate::{
    model::{UplinkChoice, resolve::HostRoute},
    plan::{Link, Uplink},
};
use ipnet::IpNet;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType,
        netdevice::{index_to_name, name_to_index},
        socket_with,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
};

/// Kinds of devices that carry an Ethernet header and yet lead to nobody outside: bridges, whose other
/// ports are other engines' endpoints, and tunnels.
const INSIDE: [&str; 9] =
    ["bridge", "openvswitch", "tun", "vxlan", "geneve", "gretap", "ip6gretap", "wireguard", "ifb"];

/// Picks the uplinks. One that is down stays what it was `before`, for the kernel takes some of its addresses away: when
/// it comes up, its first packets belong to flows, and the host's stack would reset them.
pub(crate) fn pick(
    facts: &Facts,
    choice: &UplinkChoice,
    before: &[Uplink],
    ours: impl Fn(&Link) -> bool,
) -> Vec<Uplink> {
    let waits = |link: &Link| before.iter().find(|uplink| !link.up && uplink.index == link.index);
    let bridges: BTreeSet<_> = facts
        .links
        .values()
        .filter(|link| link.kind.as_deref().is_some_and(|kind| INSIDE.contains(&kind)))
        .map(|link| link.index)
        .collect();
    let automatic = |link: &Link| {
        link.ethernet
            && (link.up || waits(link).is_some())
            && !bridges.contains(&link.index)
            && !link.master.is_some_and(|master| bridges.contains(&master))
    };
    let chosen = |link: &&Link| match choice {
        UplinkChoice::Automatic => automatic(link),
        UplinkChoice::Named(names) => names.iter().any(|name| name.as_str() == link.name),
    };
    let candidates = facts.links.values().filter(|link| !ours(link));
    let uplink = |link: &Link| match waits(link) {
        Some(before) => {
            let (name, mac, mtu) = (link.name.clone(), link.mac?, link.mtu);
            Some(Uplink { name, mac, mtu, ..before.clone() })
        }
        None => facts.uplink(link),
    };
    candidates.filter(chosen).filter_map(uplink).collect()
}

/// Links that were down since the host was looked at last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WentDown {
    /// Those with these indices.
    These(BTreeSet<u32>),
    /// The kernel could not tell everything.
    Unknown,
}

/// What flows to the outside stand on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outside {
    /// The host's addresses and the interfaces that have them, but for those that are nobody else's business.
    addresses: BTreeSet<(IpAddr, u32)>,
    /// The indices of the uplinks.
    uplinks: BTreeSet<u32>,
    /// Those of the interfaces that are down. One may come up again, and its flows go on then: with it the kernel
    /// took away its routes and its IPv6 addresses. Of what was: also those that came up and still lack some.
    down: BTreeSet<u32>,
    /// The routes by the uplinks. One that leads by several interfaces at once names none.
    routes: BTreeSet<(Option<u32>, IpNet)>,
}

impl Outside {
    /// Whether all of this is in the other, too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.addresses.is_subset(&other.addresses)
            && self.uplinks.is_subset(&other.uplinks)
            && self.down.is_subset(&other.down)
            && self.routes.is_subset(&other.routes)
    }

    /// These links were down, when nobody may have looked.
    pub(crate) fn go_down(&mut self, links: &WentDown) {
        let went = |uplink: &u32| match links {
            WentDown::These(links) => links.contains(uplink),
            WentDown::Unknown => true,
        };
        self.down.extend(self.uplinks.iter().copied().filter(went));
    }

    /// What is to be compared with next: this, and of the uplinks that are down, or came up, what they had and lack
    /// since, until they have another address of the family, or the route is there again, whoever has it.
    pub(crate) fn awaiting(mut self, before: &Self) -> Self {
        let returns = |by: u32| {
            self.uplinks.contains(&by) && (before.down.contains(&by) || self.down.contains(&by))
        };
        let has_another = |(address, by): &(IpAddr, u32)| {
            let mut addresses = self.addresses.iter();
            addresses.any(|(own, at)| at == by && own.is_ipv6() == address.is_ipv6())
        };
        let addresses =
            before.addresses.iter().filter(|lost| returns(lost.1) && !has_another(lost));
        let is_led = |net: &IpNet| self.routes.iter().any(|(_, led)| led == net);
        let routes = before.routes.iter();
        let routes = routes.filter(|(by, net)| by.is_some_and(returns) && !is_led(net));
        let (addresses, routes): (Vec<_>, Vec<_>) =
            (addresses.copied().collect(), routes.copied().collect());
        self.down.extend(addresses.iter().map(|(_, by)| by));
        self.down.extend(routes.iter().filter_map(|(by, _)| *by));
        self.addresses.extend(addresses);
        self.routes.extend(routes);
        self
    }

    /// Whether a flow can go on with this address of the host, or none where it keeps the endpoint's own, by this uplink,
    /// to somebody outside. A route counts as
    /// lost only if it was there `before`: answers leave by the way of the questions, also where no route says so.
    pub(crate) fn carries(
        &self,
        before: Option<&Self>,
        own: Option<IpAddr>,
        uplink: Option<u32>,
        other: IpAddr,
    ) -> bool {
        let has = |own: IpAddr| self.addresses.iter().any(|(address, _)| *address == own);
        let is_there = own.is_none_or(has);
        let Some(uplink) = uplink else { return is_there };
        if self.down.contains(&uplink) {
            return !self.leads_elsewhere(uplink, other);
        }
        let led = before.is_some_and(|before| before.leads(uplink, other));
        // IPv6 addresses come back some time after the uplink does.
        let came_up = before.is_some_and(|before| before.down.contains(&uplink));
        let of_its_family =
            |(address, by): &(IpAddr, u32)| *by == uplink && address.is_ipv6() == other.is_ipv6();
        let awaited = came_up && !self.addresses.iter().any(of_its_family);
        let route_awaited = came_up && !self.leads_elsewhere(uplink, other);
        (awaited || is_there)
            && self.uplinks.contains(&uplink)
            && (!led || self.leads(uplink, other) || route_awaited)
    }

    /// Whether a route leads there by another uplink than this one.
    fn leads_elsewhere(&self, uplink: u32, to: IpAddr) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|(by, net)| by.is_some_and(|by| by != uplink) && net.contains(&to))
    }

    /// Whether a route leads there by this uplink.
    fn leads(&self, uplink: u32, to: IpAddr) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|(by, net)| by.is_none_or(|by| by == uplink) && net.contains(&to))
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
    /// What the host has, but for the interfaces of endpoints, which may be a thousand. Links come last, as in
    /// [`Netlink::facts`].
    pub(super) async fn host(&self) -> Result<Facts, KernelError> {
        let (addresses, routes) = (self.netlink.addresses().await?, self.netlink.routes().await?);
        let mut mirror = self.mirror.lock().await;
        let links = mirror.links(&self.netlink).await?.values();
        let links = links.filter(|link| self.endpoint_of(link).is_none()).cloned();
        Ok(Facts::new(links, addresses, routes))
    }

    /// All of the host's links, by their indices, without addresses and gateways.
    pub(super) async fn links(&self) -> Result<BTreeMap<u32, Link>, KernelError> {
        Ok(self.mirror.lock().await.links(&self.netlink).await?.clone())
    }

    /// The endpoint whose interface a link is, by its mark.
    pub(super) fn endpoint_of<'a>(&self, link: &'a Link) -> Option<&'a str> {
        let rest = link.alias.as_deref()?.strip_prefix(&self.instance.mark())?;
        rest.strip_prefix("endpoint:")?.split(':').next()
    }

    /// The uplinks as they are now.
    pub async fn uplinks(&self, choice: &UplinkChoice) -> Result<Vec<Uplink>, KernelError> {
        let facts = self.host().await?;
        Ok(pick(&facts, choice, &self.uplinks, |link| self.is_ours(link)))
    }

    /// The uplinks of the last plan that was performed, remembered for when one of them goes down.
    pub fn remembered_uplinks(&self) -> &[Uplink] {
        &self.uplinks
    }

    /// Takes over what the process before remembered: one of them may be down.
    pub fn recall_uplinks(&mut self, uplinks: Vec<Uplink>) {
        self.uplinks = uplinks;
    }

    /// Adds what flows to the outside stand on now. To be read twice, for what is changed while it is read may be missing
    /// from a list.
    pub async fn add_outside(
        &self,
        choice: &UplinkChoice,
        outside: &mut Outside,
    ) -> Result<(), KernelError> {
        let facts = self.host().await?;
        let addresses = facts.addresses.iter().map(|fact| (fact.net.addr(), fact.index));
        outside.addresses.extend(addresses.filter(|(address, _)| !is_local(address)));
        let uplinks = pick(&facts, choice, &self.uplinks, |link| self.is_ours(link));
        outside.uplinks.extend(uplinks.iter().map(|uplink| uplink.index));
        let down = facts.links.values().filter(|link| !link.up);
        outside.down.extend(down.map(|link| link.index));
        let by_uplink = |by: Option<u32>| by.is_none_or(|by| outside.uplinks.contains(&by));
        let routes = facts.routes.iter().filter(|route| by_uplink(route.index));
        outside.routes.extend(routes.map(|route| (route.index, route.destination)));
        Ok(())
    }

    /// The host's interfaces of these indices or names, as far as they are there, by their indices.
    pub fn names<'a>(
        &self,
        indices: impl IntoIterator<Item = u32>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<u32, String>, KernelError> {
        let socket = ioctl_socket()?;
        let by_index = indices.into_iter().map(|index| Ok((index, name_of(&socket, index)?)));
        let by_name = names.into_iter().map(|name| {
            let index = there(name_to_index(&socket, name)).map_err(KernelError::Socket)?;
            let index = index.unwrap_or_default();
            // It may be an alternative name of it.
            Ok((index, name_of(&socket, index)?.filter(|found| found == name)))
        });
        let found: Result<Vec<_>, KernelError> = by_index.chain(by_name).collect();
        Ok(found?.into_iter().filter_map(|(index, name)| Some((index, name?))).collect())
    }

    /// The host's routes: address pools keep clear of them.
    pub async fn host_routes(&self) -> Result<Vec<HostRoute>, KernelError> {
        routes_of(&self.netlink).await
    }

    pub(crate) fn is_ours(&self, link: &Link) -> bool {
        link.alias.as_deref().is_some_and(|alias| alias.starts_with(&self.instance.mark()))
    }
}

/// The same without a hold on the kernel: for those who only look.
pub async fn host_routes() -> Result<Vec<HostRoute>, KernelError> {
    routes_of(&Netlink::here().map_err(KernelError::Socket)?).await
}

async fn routes_of(netlink: &Netlink) -> Result<Vec<HostRoute>, KernelError> {
    let socket = ioctl_socket()?;
    let routes = netlink.routes().await?;
    let routes = routes.into_iter().filter(|route| !is_special(&route.destination));
    let host_route = |route: RouteFact| {
        let interface = route.index.map(|index| name_of(&socket, index)).transpose()?.flatten();
        Ok(HostRoute { net: route.destination, interface })
    };
    routes.map(host_route).collect()
}

/// Any socket of the host's namespace: its interfaces are asked for by it.
fn ioctl_socket() -> Result<OwnedFd, KernelError> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    socket.map_err(|errno| KernelError::Socket(errno.into()))
}

fn name_of(socket: &OwnedFd, index: u32) -> Result<Option<String>, KernelError> {
    there(index_to_name(socket, index)).map_err(KernelError::Socket)
}

/// Without what is not there.
fn there<T>(found: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Multicast and link-local ranges, which every host has.
fn is_special(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.network().is_multicast() || net.network().is_link_local(),
        IpNet::V6(net) => net.network().is_multicast() || net.network().is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::AddressFact, *};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn outside(routes: &[(Option<u32>, &str)]) -> Outside {
        Outside {
            addresses: BTreeSet::from([(ip("192.0.2.1"), 2)]),
            uplinks: BTreeSet::from([2, 3]),
            down: BTreeSet::new(),
            routes: routes.iter().map(|(by, net)| (*by, net.parse().unwrap())).collect(),
        }
    }

    #[test]
    fn an_uplink_that_is_down_stays_what_it_was() {
        let mac = |last| Some(netebpf_common::abi::Mac([2, 0, 0, 0, 0, last]));
        let link = Link { index: 2, ethernet: true, up: true, mtu: 1500, ..Link::default() };
        let name = |name: &str| name.to_owned();
        let facts = |link: Link, addresses: &[&str]| {
            let fact = |net: &&str| AddressFact {
                index: 2,
                net: net.parse().unwrap(),
                unusable: false,
                duplicate: false,
                second_choice: false,
            };
            let links = BTreeMap::from([(link.name.clone(), link)]);
            Facts { links, addresses: addresses.iter().map(fact).collect(), routes: Vec::new() }
        };
        let pick = |facts: &Facts, before: &[Uplink]| {
            pick(facts, &UplinkChoice::Automatic, before, |_| false)
        };
        let up = facts(
            Link { name: name("up0"), mac: mac(1), ..link.clone() },
            &["192.0.2.1/24", "2001:db8::1/64"],
        );
        let before = pick(&up, &[]);
        let down = Link { name: name("wan0"), mac: mac(2), up: false, ..link.clone() };
        let down = facts(down, &["192.0.2.1/24"]);
        assert_eq!(pick(&down, &[]), [], "it never was one");
        let [waits] = pick(&down, &before).try_into().unwrap();
        assert_eq!((waits.name.as_str(), Some(waits.mac)), ("wan0", mac(2)));
        assert_eq!(waits.addresses, before[0].addresses);
        let again = facts(Link { name: name("up0"), mac: mac(1), ..link }, &["192.0.2.1/24"]);
        let [again] = pick(&again, &before).try_into().unwrap();
        assert_eq!(again.addresses, BTreeSet::from([ip("192.0.2.1")]), "it is up");
        assert_eq!(pick(&Facts::default(), &before), [], "it is gone");
    }

    #[test]
    fn a_flow_ends_with_its_address_its_uplink_or_its_route() {
        let before = outside(&[(Some(2), "0.0.0.0/0"), (Some(2), "192.0.2.0/24")]);
        let carries = |now: &Outside, own: &str, uplink: u32, other: &str| {
            now.carries(Some(&before), Some(ip(own)), Some(uplink), ip(other))
        };
        let (own, far) = ("192.0.2.1", "198.51.100.9");
        assert!(carries(&before, own, 2, far));
        assert!(!carries(&before, "192.0.2.2", 2, far), "another address");
        assert!(!carries(&before, own, 4, far), "another uplink");
        assert!(carries(&before, own, 3, far), "it never had a route");

        let now = outside(&[(Some(3), "0.0.0.0/0"), (Some(2), "192.0.2.0/24")]);
        assert!(!before.is_within(&now));
        assert!(!carries(&now, own, 2, far), "its route is another uplink's");
        assert!(carries(&now, own, 2, "192.0.2.9"), "a neighbour");
        assert!(now.carries(None, Some(ip(own)), Some(2), ip(far)), "nobody knows what was before");
        let both = outside(&[(None, "0.0.0.0/0")]);
        assert!(carries(&both, own, 2, far), "one of several ways");
    }

    #[test]
    fn the_flows_of_an_uplink_that_is_down_wait() {
        let before = outside(&[(Some(2), "::/0")]);
        let now = Outside { down: BTreeSet::from([2]), ..Outside::default() };
        let carries = |now: &Outside, before| {
            now.carries(Some(before), Some(ip("2001:db8::1")), Some(2), ip("2001:db8:2::9"))
        };
        assert!(carries(&now, &before));
        let with = |address, by| {
            let addresses = BTreeSet::from([(ip(address), by)]);
            Outside { addresses, ..outside(&[]) }
        };
        let again = with("2001:db8::1", 2);
        assert!(!now.is_within(&again), "who came up is looked at again");
        assert!(carries(&again, &now), "its routes are still to come");
        assert!(!carries(&with("2001:db8::2", 2), &now), "it came up with another address");
        assert!(carries(&with("2001:db8::2", 3), &now), "that is another uplink's");
        let bare = with("192.0.2.1", 2);
        assert!(carries(&bare, &now), "its addresses are still to come");
        let elsewhere = Outside { routes: outside(&[(Some(3), "::/0")]).routes, ..now.clone() };
        assert!(!carries(&elsewhere, &before), "another uplink leads there");

        let no_routes = outside(&[]);
        assert!(!carries(&bare, &before) && !carries(&no_routes, &before), "nobody was down");
        let mut missed = before.clone();
        missed.go_down(&WentDown::These(BTreeSet::from([2, 7])));
        assert!(!missed.is_within(&bare) && carries(&bare, &missed), "nobody looked");
        let led_elsewhere =
            Outside { routes: outside(&[(Some(3), "::/0")]).routes, ..again.clone() };
        assert!(carries(&again, &missed) && !carries(&led_elsewhere, &missed), "by another");
        let mut others = before.clone();
        others.go_down(&WentDown::These(BTreeSet::from([3, 7])));
        assert!(others.leads(2, ip("2001:db8:2::9")) && others.down == BTreeSet::from([3]));
        let mut all = before.clone();
        all.go_down(&WentDown::Unknown);
        assert_eq!(all.down, BTreeSet::from([2, 3]));
        assert!(
            led_elsewhere.carries(
                Some(&Outside { routes: BTreeSet::new(), ..missed }),
                Some(ip("2001:db8::1")),
                Some(2),
                ip("2001:db8:2::9")
            ),
            "it never had a route"
        );
    }

    #[test]
    fn what_an_uplink_lacks_is_awaited_until_there_is_another() {
        let with = |addresses: &[&str], routes: &[(Option<u32>, &str)]| Outside {
            addresses: addresses.iter().map(|address| (ip(address), 2)).collect(),
            ..outside(routes)
        };
        let (v4, v6, other) = ("192.0.2.1", "2001:db8::1", "2001:db8::2");
        let whole = with(&[v4, v6], &[(Some(2), "::/0")]);
        let mut was_down = whole.clone();
        was_down.go_down(&WentDown::These(BTreeSet::from([2])));
        let carries = |now: &Outside, before: &Outside| {
            now.carries(Some(before), Some(ip(v6)), Some(2), ip("2001:db8:2::9"))
        };

        let bare = with(&[v4], &[]);
        let seen = bare.clone().awaiting(&was_down);
        assert!(!seen.is_within(&bare) && carries(&bare, &seen), "looked at for the second time");
        let seen = bare.clone().awaiting(&seen);
        assert!(!carries(&with(&[v4, other], &[]), &seen), "it has another address");
        assert!(!carries(&with(&[v4, v6], &[(Some(3), "::/0")]), &seen), "it is led elsewhere");
        assert!(carries(&with(&[v4, v6], &[]), &seen), "its route is still to come");
        assert_eq!(whole.clone().awaiting(&seen), whole, "all is there again");
        let moved = with(&[v4, other], &[(Some(3), "::/0")]);
        assert_eq!(moved.clone().awaiting(&seen), moved, "others are there");

        let down = Outside { down: BTreeSet::from([2]), ..bare.clone() };
        assert!(carries(&down, &whole));
        assert!(carries(&bare, &down.awaiting(&whole)), "it was seen when it was down");
        assert_eq!(bare.clone().awaiting(&whole), bare, "it never was down");
    }
}
