//! One step of a plan.

use super::{Mechanism, SourceRange};
use crate::kernel::{BridgeSpec, Hook, InterfaceSpec, LinkChange, PairSpec};
use ipnet::IpNet;
use netebpf_common::abi::{
    self, Address, Interface, InterfaceKind, NetworkRange, Prefix, Published, PublishedKey,
};
use serde::{Serialize, Serializer};
use std::{fmt, net::IpAddr, path::PathBuf};

/// A published port that appears, changes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishChange {
    /// The host's address and port.
    pub key: PublishedKey,
    /// Where it leads; `None` takes it away.
    pub new: Option<Published>,
    /// Where it led.
    pub earlier: Option<Published>,
}

/// Published ports that appear, change and go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PortChanges {
    /// For what comes in by uplinks.
    pub outside: Vec<PublishChange>,
    /// For the host itself and its endpoints; an address may be every one of its family.
    pub local: Vec<PublishChange>,
    /// Ports that led nowhere before.
    pub announced: Vec<AnyAddress>,
    /// Ports that lead nowhere any more.
    pub silenced: Vec<AnyAddress>,
}

/// A port of the host, whatever the address: number of the protocol and port in network byte order.
pub type AnyAddress = (u32, [u8; 2]);

impl PortChanges {
    /// Every change.
    pub fn all(&self) -> impl Iterator<Item = &PublishChange> {
        self.outside.iter().chain(&self.local)
    }

    fn undone(self) -> Self {
        Self {
            outside: taken_back(self.outside),
            local: taken_back(self.local),
            announced: self.silenced,
            silenced: self.announced,
        }
    }
}

/// One step: plain data that says what to do and, where that is not plain, what was there before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Unpins everything: a pin is not what it should be.
    DiscardPins {
        /// What is wrong with it.
        reason: String,
    },
    /// Loads and pins the programs of this version.
    LoadPrograms {
        /// Whether nothing of the instance is pinned yet.
        first: bool,
    },
    /// Writes down a value that another change is about to overwrite.
    SaveSysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// What it is now.
        value: String,
    },
    /// Changes a sysctl.
    SetSysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// What it shall be.
        value: String,
        /// What it is; absent for an interface that is about to be made.
        earlier: Option<String>,
        /// Whether the earlier value is written down, to be restored some day.
        save: bool,
    },
    /// Gives a sysctl back the value from before our change, and forgets that.
    RestoreSysctl {
        /// Its path below `/proc/sys`.
        name: String,
        /// What it was.
        value: String,
    },
    /// Makes a bridge, switched off.
    CreateBridge(BridgeSpec),
    /// Changes a link.
    ChangeLink {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
        /// What changes.
        change: LinkChange,
        /// What that was.
        earlier: LinkChange,
    },
    /// Gives a link an address, or takes it.
    SetAddress {
        /// The link's index.
        index: u32,
        /// The link's name.
        name: String,
        /// The address and its subnet's length.
        address: IpNet,
        /// Whether the link shall have it.
        present: bool,
    },
    /// Makes a namespace.
    CreateNamespace {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// Makes a pair of devices, switched off, its peer in the namespace.
    CreatePair {
        /// The pair.
        spec: PairSpec,
        /// Whose peer it becomes.
        namespace: PathBuf,
    },
    /// Makes the endpoint's side of a pair what it should be: addresses, routes, switched on.
    Configure(InterfaceSpec),
    /// Writes an interface's entry, or removes it.
    SetInterface {
        /// Its name.
        name: String,
        /// The entry; `None` takes it away.
        new: Option<Interface>,
        /// The entry from before.
        earlier: Option<Interface>,
    },
    /// Writes an endpoint's entry, or removes it.
    SetEndpoint {
        /// The endpoint's address.
        address: Address,
        /// The entry; `None` takes it away.
        new: Option<abi::Endpoint>,
        /// The entry from before.
        earlier: Option<abi::Endpoint>,
    },
    /// Writes the network that a range belongs to, or removes it.
    SetNetwork {
        /// The range.
        prefix: Prefix,
        /// The network; `None` takes it away.
        new: Option<NetworkRange>,
        /// The network from before.
        earlier: Option<NetworkRange>,
    },
    /// Lets a range use the ports of its group, or no longer.
    SetSource {
        /// The range.
        range: SourceRange,
        /// Whether it may.
        present: bool,
    },
    /// Publishes ports and takes others back.
    Publish(PortChanges),
    /// Makes addresses known as the host's, and others not.
    SetHostAddresses {
        /// What becomes known.
        added: Vec<Address>,
        /// What does not stay so.
        removed: Vec<Address>,
    },
    /// Hangs a program on an interface, in the place of ours that may hang there. One that is optional may be refused; then
    /// it is remembered and the plan goes on.
    Attach {
        /// The interface's index.
        index: u32,
        /// The interface's name.
        name: String,
        /// Which program.
        hook: Hook,
        /// How.
        mechanism: Mechanism,
        /// Whether an earlier version of the program is replaced.
        replaces: bool,
    },
    /// Takes a program off an interface.
    Detach {
        /// The interface's index.
        index: u32,
        /// The interface's name.
        name: String,
        /// Which program.
        hook: Hook,
        /// How it hangs there.
        mechanism: Mechanism,
    },
    /// Removes the pin of a link whose interface is gone.
    RemovePin {
        /// The pin.
        path: PathBuf,
    },
    /// Unpins programs of earlier versions, which nothing runs any more.
    ForgetOldPrograms,
    /// Removes a link, and with one of a pair its peer.
    DeleteLink {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
    },
    /// Removes a namespace.
    RemoveNamespace {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// Unpins programs and maps.
    Unload,
}

impl Action {
    /// What takes this back; `None` for what needs no taking back, or cannot be: what was removed is
    /// made again by a plan for what was desired before.
    pub fn undo(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::LoadPrograms { first: true } => Self::Unload,
            Self::SaveSysctl { name, value } => Self::RestoreSysctl { name, value },
            Self::SetSysctl { name, earlier: Some(value), save: true, .. } => {
                Self::RestoreSysctl { name, value }
            }
            Self::SetSysctl { name, value, earlier: Some(earlier), save: false } => {
                Self::SetSysctl { name, value: earlier, earlier: Some(value), save: false }
            }
            Self::CreateBridge(BridgeSpec { index, name, .. })
            | Self::CreatePair { spec: PairSpec { index, name, .. }, .. } => {
                Self::DeleteLink { index, name }
            }
            Self::ChangeLink { index, name, change, earlier } => {
                Self::ChangeLink { index, name, change: earlier, earlier: change }
            }
            Self::SetAddress { index, name, address, present } => {
                Self::SetAddress { index, name, address, present: !present }
            }
            Self::CreateNamespace { path } => Self::RemoveNamespace { path },
            Self::SetInterface { name, new, earlier } => {
                Self::SetInterface { name, new: earlier, earlier: new }
            }
            Self::SetEndpoint { address, new, earlier } => {
                Self::SetEndpoint { address, new: earlier, earlier: new }
            }
            Self::SetNetwork { prefix, new, earlier } => {
                Self::SetNetwork { prefix, new: earlier, earlier: new }
            }
            Self::SetSource { range, present } => Self::SetSource { range, present: !present },
            Self::Publish(changes) => Self::Publish(changes.undone()),
            Self::SetHostAddresses { added, removed } => {
                Self::SetHostAddresses { added: removed, removed: added }
            }
            Self::Attach { index, name, hook, mechanism, replaces: false } => {
                Self::Detach { index, name, hook, mechanism }
            }
            Self::Detach { index, name, hook, mechanism } => {
                Self::Attach { index, name, hook, mechanism, replaces: false }
            }
            Self::DiscardPins { .. }
            | Self::LoadPrograms { first: false }
            | Self::SetSysctl { earlier: None, .. }
            | Self::RestoreSysctl { .. }
            | Self::Configure(_)
            | Self::Attach { replaces: true, .. }
            | Self::RemovePin { .. }
            | Self::ForgetOldPrograms
            | Self::DeleteLink { .. }
            | Self::RemoveNamespace { .. }
            | Self::Unload => return None,
        })
    }

    /// Whether this only takes away.
    pub fn is_removal(&self) -> bool {
        match self {
            Self::DiscardPins { .. }
            | Self::RestoreSysctl { .. }
            | Self::SetAddress { present: false, .. }
            | Self::SetInterface { new: None, .. }
            | Self::SetEndpoint { new: None, .. }
            | Self::SetNetwork { new: None, .. }
            | Self::SetSource { present: false, .. }
            | Self::Detach { .. }
            | Self::RemovePin { .. }
            | Self::ForgetOldPrograms
            | Self::DeleteLink { .. }
            | Self::RemoveNamespace { .. }
            | Self::Unload => true,
            Self::Publish(changes) => changes.all().all(|change| change.new.is_none()),
            Self::SetHostAddresses { added, .. } => added.is_empty(),
            _ => false,
        }
    }
}

impl Action {
    /// Whether this is part of another step that says more: what belongs to an interface of ours, and the
    /// tables. Who asks what was done is told of these only when there is nothing else; a dry run lists
    /// every step.
    pub fn is_detail(&self) -> bool {
        match self {
            Self::SaveSysctl { .. }
            | Self::SetSysctl { earlier: None, .. }
            | Self::CreatePair { .. }
            | Self::SetInterface { .. }
            | Self::SetEndpoint { .. }
            | Self::SetNetwork { .. }
            | Self::SetSource { .. }
            | Self::SetHostAddresses { .. }
            | Self::RemovePin { .. }
            | Self::ForgetOldPrograms => true,
            // Where nothing is for others, and not for the loopback alone, the rest was said.
            Self::Publish(PortChanges { outside, local, .. }) => {
                outside.is_empty() && !local.iter().any(|change| change.key.address.is_loopback())
            }
            Self::ChangeLink { change, .. } => {
                *change == LinkChange { up: Some(true), ..LinkChange::default() }
            }
            Self::Attach { hook, .. } | Self::Detach { hook, .. } => {
                matches!(hook, Hook::EndpointIngress | Hook::GatewayEgress) || hook.is_of_sockets()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiscardPins { reason } => write!(f, "remove all pins: {reason}"),
            Self::LoadPrograms { .. } => f.write_str("load the programs"),
            Self::SaveSysctl { name, value } => write!(f, "write down {name} = {value}"),
            Self::SetSysctl { name, value, earlier: Some(earlier), .. } => {
                write!(f, "set {name} = {value} (was {earlier})")
            }
            Self::SetSysctl { name, value, earlier: None, .. } => write!(f, "set {name} = {value}"),
            Self::RestoreSysctl { name, value } => write!(f, "restore {name} = {value}"),
            Self::CreateBridge(spec) => {
                write!(f, "create bridge {} ({}, MTU {})", spec.name, spec.mac, spec.mtu)
            }
            Self::ChangeLink { name, change, .. } => write!(f, "interface {name}: {change}"),
            Self::SetAddress { name, address, present: true, .. } => {
                write!(f, "add {address} to {name}")
            }
            Self::SetAddress { name, address, present: false, .. } => {
                write!(f, "remove {address} from {name}")
            }
            Self::CreateNamespace { path } => write!(f, "create namespace {}", path.display()),
            Self::CreatePair { spec, namespace } => {
                let (device, name, peer) = (spec.device, &spec.name, &spec.peer_name);
                write!(f, "create {device} {name}, its peer {peer} in {}", namespace.display())
            }
            Self::Configure(spec) => spec.fmt(f),
            Self::SetInterface { name, new: Some(entry), earlier } => {
                let verb = if earlier.is_some() { "update" } else { "register" };
                let kind = match entry.kind {
                    kind if kind == InterfaceKind::Endpoint as u32 => "endpoint",
                    kind if kind == InterfaceKind::Uplink as u32 => "uplink",
                    _ => "gateway",
                };
                write!(f, "{verb} {name} as {kind} ({})", addresses(entry))
            }
            Self::SetInterface { name, new: None, .. } => write!(f, "unregister {name}"),
            Self::SetEndpoint { address, new: Some(entry), .. } => {
                write!(f, "lead {address} to interface {}", entry.ifindex)
            }
            Self::SetEndpoint { address, new: None, .. } => write!(f, "lead {address} nowhere"),
            Self::SetNetwork { prefix, new: Some(NetworkRange::NEVER_MASQUERADED), .. } => {
                write!(f, "keep the sources of what goes to {}", range_of(prefix))
            }
            Self::SetNetwork { prefix, new: Some(range), .. } => {
                write!(f, "claim {} for network {}", range_of(prefix), range.network)
            }
            Self::SetNetwork { prefix, new: None, .. } => write!(f, "give up {}", range_of(prefix)),
            Self::SetSource { range, present } => {
                let (verb, prefix) =
                    (if *present { "allow" } else { "no longer allow" }, range.prefix());
                write!(
                    f,
                    "{verb} {} at ports of group {:08x}",
                    range_of(&prefix),
                    range.source.group
                )
            }
            Self::Publish(changes) => {
                let loopback = |change: &&PublishChange| change.key.address.is_loopback();
                debug_assert!(
                    !changes.outside.iter().any(|change| loopback(&change)),
                    "what comes from outside finds no loopback address"
                );
                publish(f, &changes.outside)?;
                // Whoever reaches a port from outside is not the only one; this host alone is worth a word.
                let alone = changes.local.iter();
                let alone: Vec<_> = alone
                    .filter(|change| changes.outside.is_empty() || loopback(change))
                    .copied()
                    .collect();
                if !alone.is_empty() {
                    f.write_str(if changes.outside.is_empty() { "" } else { ", " })?;
                    publish(f, &alone)?;
                    f.write_str(", for this host itself")?;
                }
                Ok(())
            }
            Self::SetHostAddresses { added, removed } => {
                let verbs = [("know", added), ("forget", removed)];
                let parts: Vec<_> = verbs
                    .into_iter()
                    .filter(|(_, addresses)| !addresses.is_empty())
                    .map(|(verb, addresses)| {
                        let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                        format!("{verb} {} as the host's", all.join(", "))
                    })
                    .collect();
                f.write_str(&parts.join("; "))
            }
            Self::Attach { name, hook, mechanism, replaces, .. } => {
                let verb = if *replaces { "replace" } else { "attach" };
                write!(f, "{verb} {hook} on {name} ({mechanism})")
            }
            Self::Detach { name, hook, mechanism, .. } => {
                write!(f, "detach {hook} from {name} ({mechanism})")
            }
            Self::RemovePin { path } => write!(f, "remove pin {}", path.display()),
            Self::ForgetOldPrograms => f.write_str("unload the programs of earlier versions"),
            Self::DeleteLink { name, .. } => write!(f, "remove interface {name}"),
            Self::RemoveNamespace { path } => write!(f, "remove namespace {}", path.display()),
            Self::Unload => f.write_str("unload programs and maps"),
        }
    }
}

fn taken_back(changes: Vec<PublishChange>) -> Vec<PublishChange> {
    let back =
        |PublishChange { key, new, earlier }| PublishChange { key, new: earlier, earlier: new };
    changes.into_iter().map(back).collect()
}

fn addresses(entry: &Interface) -> String {
    let both: Vec<_> =
        [entry.v4, entry.v6].iter().filter(|a| !a.is_none()).map(ToString::to_string).collect();
    if both.is_empty() { "no address".to_owned() } else { both.join(", ") }
}

/// A range in its family's own length.
fn range_of(prefix: &Prefix) -> String {
    let address: IpAddr = prefix.address.into();
    let length = if address.is_ipv4() { prefix.length.saturating_sub(96) } else { prefix.length };
    format!("{address}/{length}")
}

/// Few are named one by one; many are counted.
fn publish(f: &mut fmt::Formatter<'_>, changes: &[PublishChange]) -> fmt::Result {
    const NAMED: usize = 4;
    if changes.len() > NAMED {
        let new = changes.iter().filter(|change| change.new.is_some()).count();
        return match (new, changes.len() - new) {
            (new, 0) => write!(f, "publish {new} ports"),
            (0, old) => write!(f, "take back {old} ports"),
            (new, old) => write!(f, "publish {new} ports, take back {old}"),
        };
    }
    for (position, change) in changes.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        let PublishedKey { address, port, protocol, .. } = change.key;
        let name = if protocol == abi::Protocol::Udp as u32 { "udp" } else { "tcp" };
        let host = socket(address, port);
        match change.new {
            Some(to) => write!(f, "publish {host}/{name} to {}", socket(to.address, to.port))?,
            None => write!(f, "take back {host}/{name}")?,
        }
    }
    Ok(())
}

fn socket(address: Address, port: [u8; 2]) -> std::net::SocketAddr {
    (IpAddr::from(address), u16::from_be_bytes(port)).into()
}

/// As the sentence that people read: scripts want to know whether there is anything to do, and what.
impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
