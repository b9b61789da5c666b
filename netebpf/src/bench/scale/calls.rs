//! The calls to the kernel that an endpoint on a bridge needs at least, by this process: a namespace, a veth into it that is a
//! port of the bridge, loopback, an address and a default route in each family.
//!
//! **Invariant**: nothing is asked that could be known, no process is started, and nobody is waited for but the kernel's
//! answers. What the kernel does about an interface afterwards, such as taking note of its carrier, is nobody's here.

use super::super::{
    BenchError,
    host::{Family, GATEWAY, Namespace},
};
use crate::kernel::{Batch, Conversation, KernelError, LinkChange, MAKE, netns};
use ipnet::IpNet;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoData, InfoKind, InfoVeth},
    },
};
use std::{
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

/// The endpoint's side of its veth.
const INSIDE: &str = "eth0";

/// Whoever makes endpoints on a host's bridge.
pub(super) struct Calls {
    host: Conversation,
    /// The index of the bridge.
    bridge: u32,
}

impl Calls {
    pub(super) fn new(host: &Namespace, bridge: &str) -> Result<Self, BenchError> {
        let path = host.path();
        let missing = KernelError::NoInterface { namespace: path.clone(), name: bridge.to_owned() };
        let open = || -> Result<_, KernelError> {
            let host = netns::run_in(&path, Conversation::here)?.map_err(KernelError::Socket)?;
            let bridge = host.link(bridge)?.ok_or(missing)?.index;
            Ok(Self { host, bridge })
        };
        Ok(open()?)
    }

    /// An endpoint in a namespace that nothing is in; `name` is that of the host's side of its veth.
    pub(super) fn attach(
        &self,
        namespace: &Namespace,
        name: &str,
        addresses: [IpNet; 2],
    ) -> Result<(), BenchError> {
        let path = namespace.path();
        let made = || -> Result<(), KernelError> {
            self.host.send(&self.veth(name, &netns::open(&path)?))?;
            let inside = path.clone();
            netns::run_in(&path, move || configure(inside, addresses))?
        };
        Ok(made()?)
    }

    /// Its veth, both sides.
    pub(super) fn detach(&self, name: &str) -> Result<(), BenchError> {
        let mut batch = Batch::default();
        let veth = LinkUnspec::new_with_name(name).build();
        batch.add(RouteNetlinkMessage::DelLink(veth), 0, "remove interface", name, None);
        Ok(self.host.send(&batch).map(drop).map_err(KernelError::from)?)
    }

    /// A veth from the bridge into a namespace. By its name, since its index is not known before it is made.
    fn veth(&self, name: &str, namespace: &OwnedFd) -> Batch {
        let peer = LinkUnspec::new_with_name(INSIDE).setns_by_fd(namespace.as_raw_fd()).build();
        let veth = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let port = LinkUnspec::new_with_name(name).controller(self.bridge).up().build();
        let mut batch = Batch::default();
        batch.add(RouteNetlinkMessage::NewLink(veth), MAKE, "create veth", name, None);
        batch.add(RouteNetlinkMessage::SetLink(port), 0, "change interface", name, None);
        batch
    }
}

/// In the namespace of the calling thread, which is at a path.
fn configure(namespace: PathBuf, addresses: [IpNet; 2]) -> Result<(), KernelError> {
    let kernel = Conversation::here().map_err(KernelError::Socket)?;
    let missing = || KernelError::NoInterface { namespace, name: INSIDE.to_owned() };
    let index = kernel.link(INSIDE)?.ok_or_else(missing)?.index;
    let mut batch = Batch::default();
    addresses.into_iter().for_each(|address| batch.add_address(index, address));
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    batch.change_link(index, INSIDE, &up);
    batch.add_default_route(index, GATEWAY.of(Family::V4));
    if let IpAddr::V6(via) = GATEWAY.of(Family::V6) {
        // Without `onlink` it is refused while the kernel has not taken note of the carrier.
        let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(via).output_interface(index);
        let route = RouteNetlinkMessage::NewRoute(route.onlink().build());
        batch.add(route, MAKE, "add default route via", via, None);
    }
    Ok(kernel.send(&batch).map(drop)?)
}
