//! The endpoint's side of a veth, inside its namespace.

use super::{
    KernelError,
    announce::announce,
    netlink::{LinkChange, Netlink},
    sysctl,
};
use crate::plan::{GsoSizes, Link};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The endpoint's interface as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceSpec {
    /// The namespace.
    pub namespace: PathBuf,
    /// The interface's name there.
    pub name: String,
    /// The mark.
    pub alias: String,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// The longest packets that it is given to be cut.
    pub gso: GsoSizes,
    /// Its addresses, with the length of their subnets.
    pub addresses: BTreeSet<IpNet>,
    /// Gateways of the default routes that leave by it.
    pub gateways: BTreeSet<IpAddr>,
    /// Sysctls of it that the user chose, by their paths below `/proc/sys`.
    pub own_sysctls: BTreeMap<String, String>,
    /// Gateways that no default route leaves by: another interface has it.
    pub no_gateways: BTreeSet<IpAddr>,
}

impl InterfaceSpec {
    /// Whether a link is what this asks for. Addresses and routes that somebody added inside are the
    /// endpoint's own business, but for default routes by our gateways.
    pub fn is_met_by(&self, link: &Link) -> bool {
        link.up
            && link.mtu == self.mtu
            && link.gso == self.gso
            && link.alias.as_ref() == Some(&self.alias)
            && self.addresses.is_subset(&link.addresses)
            && self.gateways.is_subset(&link.gateways)
            && !self.gives_up(link)
    }

    /// Whether a link has a default route that has to go. It stands in the way of the same one by another
    /// interface.
    pub fn gives_up(&self, link: &Link) -> bool {
        !self.no_gateways.is_disjoint(&link.gateways)
    }

    /// The sysctls inside. The addresses are ours to give: no router advertisement changes them, and
    /// an interface without an IPv6 address has no IPv6 at all. Neighbours hear of the address as soon
    /// as the interface comes up, so that nobody goes on sending to the one who had it before.
    fn sysctls(&self) -> Vec<(String, &'static str)> {
        let v6 = self.addresses.iter().any(|address| address.addr().is_ipv6());
        let name = |family: &str, key: &str| format!("net/{family}/conf/{}/{key}", self.name);
        vec![
            (name("ipv6", "disable_ipv6"), if v6 { "0" } else { "1" }),
            (name("ipv6", "accept_ra"), "0"),
            (name("ipv6", "addr_gen_mode"), "0"),
            (name("ipv6", "ndisc_notify"), "1"),
            (name("ipv4", "arp_notify"), "1"),
        ]
    }

    /// Makes it so: addresses before the interface comes up, routes after.
    pub(crate) async fn configure(&self) -> Result<(), KernelError> {
        sysctl::write_in(&self.namespace, self.sysctls())?;
        sysctl::write_all_in(&self.namespace, self.own_sysctls.clone())?;
        let netlink = Netlink::in_namespace(&self.namespace)?;
        let facts = netlink.facts().await?;
        let missing = || KernelError::NoInterface {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        };
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        // It stays up, in a namespace of the user's own too: by the end others may count on it.
        if let Some(lo) = facts.links.get("lo").filter(|lo| !lo.up) {
            netlink.change_link(lo.index, "lo", &up).await?;
        }
        let link = facts.links.get(&self.name).ok_or_else(missing)?;
        for address in self.addresses.difference(&link.addresses) {
            netlink.add_address(link.index, *address).await?;
        }
        let wanted = LinkChange {
            mtu: Some(self.mtu),
            gso: Some(self.gso),
            alias: Some(self.alias.clone()),
            ..up
        };
        let (change, _) = wanted.against(link);
        if change != LinkChange::default() {
            netlink.change_link(link.index, &self.name, &change).await?;
        }
        if let Some(mac) = link.mac
            && !(link.up && self.addresses.is_subset(&link.addresses))
        {
            announce(&self.namespace, link.index, mac, &self.addresses);
        }
        for gateway in self.no_gateways.intersection(&link.gateways) {
            netlink.remove_default_route(link.index, *gateway).await?;
        }
        for gateway in self.gateways.difference(&link.gateways) {
            netlink.add_default_route(link.index, *gateway).await?;
        }
        Ok(())
    }
}

/// Changes an interface of another namespace, as far as the kernel can: GSO sizes that it does not have stay as they are.
pub(crate) async fn change_link_in(
    namespace: &Path,
    name: &str,
    change: &LinkChange,
) -> Result<(), KernelError> {
    let netlink = Netlink::in_namespace(namespace)?;
    let missing =
        || KernelError::NoInterface { namespace: namespace.to_owned(), name: name.to_owned() };
    let links = netlink.links().await?;
    let link = links.iter().find(|link| link.name == name).ok_or_else(missing)?;
    let gso = change.gso.map(|sizes| sizes.least(link.gso_limits));
    let change = LinkChange { gso, ..change.clone() };
    Ok(netlink.change_link(link.index, name, &change).await?)
}

impl fmt::Display for InterfaceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(", ");
        let addresses = list(self.addresses.iter().map(ToString::to_string).collect());
        write!(f, "configure {} in {}: {addresses}", self.name, self.namespace.display())?;
        if !self.gateways.is_empty() {
            let gateways = list(self.gateways.iter().map(ToString::to_string).collect());
            write!(f, ", default route by {gateways}")?;
        }
        Ok(())
    }
}
