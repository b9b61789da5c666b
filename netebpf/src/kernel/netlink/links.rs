//! Making, changing and removing links.

use super::{Netlink, NetlinkError};
use crate::{model::Device, plan::GsoSizes};
use netebpf_common::abi::Mac;
use rtnetlink::{
    LinkBridge, LinkMessageBuilder, LinkUnspec,
    packet_route::link::{
        AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoKind,
        InfoNetkit, InfoVeth, LinkAttribute, LinkMessage, NetkitMode, NetkitPolicy,
    },
};
use rustix::io::Errno;
use std::{
    fmt,
    os::fd::{AsRawFd, BorrowedFd},
};

/// What is lost without netkit devices.
pub(crate) const NETKIT_LOST: &str =
    "endpoints of networks with netkit devices have veths, as all others";

/// A bridge to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BridgeSpec {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its Ethernet address: given, so that it stays when ports come and go.
    pub mac: Mac,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// The mark.
    pub alias: String,
}

/// A pair of devices to make, its peer in an endpoint's namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairSpec {
    /// Of which kind.
    pub device: Device,
    /// The name of the host's side.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// The index of the bridge that it is a port of.
    pub bridge: u32,
    /// The longest IP packet, in bytes, on both sides.
    pub mtu: u32,
    /// The longest packets that both sides are given to be cut.
    pub gso: GsoSizes,
    /// The mark, on both sides.
    pub alias: String,
    /// The name of the endpoint's side.
    pub peer_name: String,
    /// The Ethernet address of the endpoint's side.
    pub peer_mac: Mac,
}

/// What to change on a link; `None` leaves it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkChange {
    /// Switched on or off.
    pub up: Option<bool>,
    /// The longest IP packet, in bytes.
    pub mtu: Option<u32>,
    /// The longest packets that it is given to be cut.
    pub gso: Option<GsoSizes>,
    /// The Ethernet address.
    pub mac: Option<Mac>,
    /// What is written on it.
    pub alias: Option<String>,
    /// The index of the bridge that it becomes a port of.
    pub master: Option<u32>,
}

/// In this order: the kernel takes a usual size of the first for both.
fn gso_sizes(sizes: GsoSizes) -> [LinkAttribute; 2] {
    [LinkAttribute::GsoMaxSize(sizes.v6), LinkAttribute::GsoIpv4MaxSize(sizes.v4)]
}

/// Whether the kernel makes a link-local IPv6 address for an interface, and from what.
fn address_generation(mode: In6AddrGenMode) -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)])])
}

/// The request to change a link.
pub(super) fn change_message(index: u32, change: &LinkChange) -> LinkMessage {
    let mut message = LinkUnspec::new_with_index(index);
    if let Some(mac) = change.mac {
        message = message.address(mac.0.to_vec());
    }
    if let Some(mtu) = change.mtu {
        message = message.mtu(mtu);
    }
    for attribute in change.gso.into_iter().flat_map(gso_sizes) {
        message = message.append_extra_attribute(attribute);
    }
    if let Some(alias) = &change.alias {
        message = message.alias(alias.as_str());
    }
    if let Some(master) = change.master {
        message = message.controller(master);
    }
    message = match change.up {
        Some(true) => message.up(),
        Some(false) => message.down(),
        None => message,
    };
    message.build()
}

impl Netlink {
    /// Makes a bridge, switched off. No spanning tree, so that a port forwards at once; no snooping, so
    /// that multicast and neighbour discovery reach everybody without a querier.
    pub(crate) async fn create_bridge(&self, spec: &BridgeSpec) -> Result<(), NetlinkError> {
        let message = LinkMessageBuilder::<LinkBridge>::new(&spec.name)
            .index(spec.index)
            .address(spec.mac.0.to_vec())
            .mtu(spec.mtu)
            .set_info_data(InfoData::Bridge(vec![
                InfoBridge::StpState(BridgeStpState::Disabled),
                InfoBridge::MulticastSnooping(false),
            ]))
            .build();
        let error = |e| NetlinkError::new("create bridge", &spec.name, e);
        self.handle.link().add(message).execute().await.map_err(error)?;
        // The alias and the way of making addresses cannot be given when a link is made.
        let message = LinkUnspec::new_with_index(spec.index)
            .alias(spec.alias.as_str())
            .append_extra_attribute(address_generation(In6AddrGenMode::Eui64))
            .build();
        self.handle.link().set(message).execute().await.map_err(error)
    }

    /// Makes a pair of devices, both sides switched off, the peer in `namespace`.
    ///
    /// A netkit pair has Ethernet headers, as the bridge wants, and what the endpoint sends is dropped as long as no
    /// program is there to decide.
    pub(crate) async fn create_pair(
        &self,
        spec: &PairSpec,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        // What everybody has, older kernels refuse to be told.
        let sizes = Some(spec.gso).filter(|sizes| *sizes != GsoSizes::USUAL);
        let sizes = || sizes.into_iter().flat_map(gso_sizes);
        let mut peer = LinkUnspec::new_with_name(&spec.peer_name)
            .address(spec.peer_mac.0.to_vec())
            .mtu(spec.mtu)
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        peer.attributes.extend(sizes());
        let (kind, data) = match spec.device {
            Device::Veth => (InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(peer))),
            Device::Netkit => {
                let data = vec![
                    InfoNetkit::Mode(NetkitMode::L2),
                    InfoNetkit::PeerPolicy(NetkitPolicy::Drop),
                    InfoNetkit::Peer(peer),
                ];
                (InfoKind::Netkit, InfoData::Netkit(data))
            }
        };
        let mut message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind)
            .name(spec.name.as_str())
            .index(spec.index)
            .mtu(spec.mtu)
            .controller(spec.bridge)
            .set_info_data(data)
            .build();
        message.attributes.extend(sizes());
        let operation = match spec.device {
            Device::Veth => "create veth",
            Device::Netkit => "create netkit",
        };
        let error = |e| NetlinkError::new(operation, &spec.name, e);
        self.handle.link().add(message).execute().await.map_err(error)?;
        // A bridge port speaks for nobody: it gets no link-local address of its own.
        let message = LinkUnspec::new_with_index(spec.index)
            .alias(spec.alias.as_str())
            .append_extra_attribute(address_generation(In6AddrGenMode::None))
            .build();
        self.handle.link().set(message).execute().await.map_err(error)
    }

    /// Whether the kernel makes netkit devices. It is asked for one of a mode that there is none of: who knows the kind
    /// says that the mode is wrong, and who does not says that (`rtnl_newlink`). Nothing is made.
    pub(crate) async fn has_netkit(&self) -> Result<bool, NetlinkError> {
        const NO_MODE: u32 = u32::MAX;
        let mode = InfoNetkit::Mode(NetkitMode::Other(NO_MODE));
        let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Netkit)
            .set_info_data(InfoData::Netkit(vec![mode]))
            .build();
        let Err(error) = self.handle.link().add(message).execute().await else { return Ok(true) };
        let error = NetlinkError::new("ask for", "a netkit device", error);
        match error {
            // Until Linux 6.12 the driver looks at the mode, from 6.13 on netlink's policy does (0ebe224ffce8).
            error if error.is(Errno::INVAL) || error.is(Errno::RANGE) => Ok(true),
            error if error.is(Errno::OPNOTSUPP) => Ok(false),
            error => Err(error),
        }
    }

    /// Changes a link.
    pub(crate) async fn change_link(
        &self,
        index: u32,
        name: &str,
        change: &LinkChange,
    ) -> Result<(), NetlinkError> {
        let request = self.handle.link().set(change_message(index, change));
        request.execute().await.map_err(|e| NetlinkError::new("change interface", name, e))
    }

    /// Removes a link; done already is done. By name: an index that could not be had, because somebody
    /// was faster, is somebody's.
    pub(crate) async fn delete_link(&self, name: &str) -> Result<(), NetlinkError> {
        let message = LinkUnspec::new_with_name(name).build();
        let error = match self.handle.link().del_with_message(message).execute().await {
            Ok(()) => return Ok(()),
            Err(error) => NetlinkError::new("remove interface", name, error),
        };
        if error.is(Errno::NODEV) { Ok(()) } else { Err(error) }
    }
}

impl LinkChange {
    /// What of this differs from the link, and what that is now.
    pub(crate) fn against(self, link: &crate::plan::Link) -> (Self, Self) {
        fn differ<T: PartialEq>(wanted: Option<T>, now: Option<T>) -> (Option<T>, Option<T>) {
            if wanted.is_none() || wanted == now { (None, None) } else { (wanted, now) }
        }
        let (up, was_up) = differ(self.up, Some(link.up));
        let (mtu, was_mtu) = differ(self.mtu, Some(link.mtu));
        let (gso, was_gso) = differ(self.gso, Some(link.gso));
        let (mac, was_mac) = differ(self.mac, link.mac);
        let (alias, was_alias) = differ(self.alias, link.alias.clone());
        let (master, was_master) = differ(self.master, link.master);
        (
            Self { up, mtu, gso, mac, alias, master },
            Self {
                up: was_up,
                mtu: was_mtu,
                gso: was_gso,
                mac: was_mac,
                alias: was_alias,
                master: was_master,
            },
        )
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.up.map(|up| if up { "up" } else { "down" }.to_owned());
        let parts = [
            self.mac.map(|mac| format!("address {mac}")),
            self.mtu.map(|mtu| format!("MTU {mtu}")),
            self.gso.map(|gso| format!("GSO up to {gso}")),
            self.alias.as_ref().map(|alias| format!("alias {alias}")),
            self.master.map(|master| format!("port of interface {master}")),
            up,
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
