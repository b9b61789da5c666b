//! The endpoint's side of a veth, inside its namespace.

use super::{
    KernelError,
    announce::{self, announce},
    netlink::{Batch, Conversation, LinkChange, Netlink},
    netns::{self, LOOPBACK},
    sysctl,
};
use crate::plan::{GsoSizes, Link};
use ipnet::IpNet;
use netebpf_common::abi::Mac;
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long an interface may take to be ready for routes, and how often that is tried.
const READY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(200);

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
    pub(crate) fn configure(&self) -> Result<(), KernelError> {
        let spec = self.clone();
        let appeared = netns::run_in(&self.namespace, move || spec.configure_here())??;
        if let Some(Appeared { index, mac, socket }) = appeared {
            announce(socket, index, mac, &self.addresses);
        }
        Ok(())
    }

    /// The same in the namespace of the calling thread. What has just got addresses, or was switched on, is to be
    /// announced.
    fn configure_here(&self) -> Result<Option<Appeared>, KernelError> {
        let sysctls = sysctl::Interfaces::here()?;
        self.sysctls().iter().try_for_each(|(name, value)| sysctls.adjust(name, value))?;
        self.own_sysctls.iter().try_for_each(|(name, value)| sysctl::write(name, value))?;
        let kernel = Conversation::here().map_err(KernelError::Socket)?;
        let missing = || KernelError::NoInterface {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        };
        let link = kernel.link(&self.name)?.ok_or_else(missing)?;
        let mut batch = Batch::default();
        for address in &self.addresses {
            batch.add_address(link.index, *address);
        }
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        // It stays up, in a namespace of the user's own too: by the end others may count on it.
        batch.change_link(LOOPBACK, "lo", &up);
        let wanted = LinkChange {
            mtu: Some(self.mtu),
            gso: Some(self.gso),
            alias: Some(self.alias.clone()),
            ..up
        };
        let (change, _) = wanted.against(&link);
        if change != LinkChange::default() {
            batch.change_link(link.index, &self.name, &change);
        }
        let changed = kernel.send(&batch)?;
        self.route(&kernel, link.index)?;
        let (true, Some(mac)) =
            (!link.up || changed.into_iter().take(self.addresses.len()).any(|new| new), link.mac)
        else {
            return Ok(None);
        };
        // The kernel's own word is already out: this is only to be sure.
        let socket = announce::socket();
        let socket =
            socket.inspect_err(|error| tracing::debug!("nothing to announce with: {error}"));
        Ok(socket.ok().map(|socket| Appeared { index: link.index, mac, socket }))
    }

    /// The default routes. IPv6 has none by an interface that was just switched on before the kernel has taken note of its
    /// carrier, which is the work of a thread of its own (linkwatch).
    fn route(&self, kernel: &Conversation, index: u32) -> Result<(), KernelError> {
        let mut batch = Batch::default();
        for gateway in &self.no_gateways {
            batch.remove_default_route(index, *gateway);
        }
        for gateway in &self.gateways {
            batch.add_default_route(index, *gateway);
        }
        let begun = Instant::now();
        loop {
            match kernel.send(&batch) {
                Err(error) if error.is(Errno::HOSTUNREACH) && begun.elapsed() < READY => {
                    thread::sleep(PAUSE);
                }
                sent => return Ok(sent.map(drop)?),
            }
        }
    }
}

/// An interface of which the neighbours are to hear, and what to tell them with.
struct Appeared {
    index: u32,
    mac: Mac,
    socket: OwnedFd,
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
