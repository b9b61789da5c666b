//! What runs where, and what was counted: for `status`.

use super::{BpfError, Hook, Kernel, KernelError, LOST, NETKIT_LOST, SHORTCUT_LOST, known::Known};
use crate::{
    model::{Desired, Device},
    plan::{GsoChoice, LOOPBACK, Mechanism, XdpChoice},
};
use netebpf_common::{
    abi::{Usage, map},
    verdict::{COUNTER_COUNT, counter_label},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A hook of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HookStatus {
    /// The interface.
    pub interface: String,
    /// The program, by its name in the kernel object.
    pub program: String,
    /// `TCX`, `clsact`, `XDP native`, `XDP generic`; absent where the program does not run.
    pub mechanism: Option<String>,
    /// Why, where there was a choice.
    pub reason: Option<String>,
}

/// What was counted on an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceCounters {
    /// The interface.
    pub interface: String,
    /// `endpoint`, `uplink` or `gateway`.
    pub kind: String,
    /// The endpoint or network, from the interface's alias; absent for an uplink.
    pub name: Option<String>,
    /// Packets by verdict and reason, `drop/not_published`; what was never counted is left out.
    pub packets: BTreeMap<String, u64>,
    /// Flows that are counted for it now.
    pub flows: u64,
}

impl Kernel {
    /// Which program runs on which interface, how, and why so. An uplink without XDP is listed too,
    /// with the reason.
    pub async fn hooks(&self, desired: &Desired) -> Result<Vec<HookStatus>, KernelError> {
        let observed = self.read(desired, BTreeMap::new(), &mut Known::default()).await?;
        let name = |index: u32| {
            if index == Hook::NO_INTERFACE {
                return Hook::HOST_PROGRAMS.to_owned();
            }
            let link = observed.links.values().find(|link| link.index == index);
            link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
        };
        let choice = |index: u32| {
            let uplink = observed.uplinks.iter().find(|uplink| uplink.index == index)?;
            Some(XdpChoice::new(desired.xdp, uplink, &observed.refused).reason)
        };
        let mut hooks: Vec<_> = observed
            .hooks
            .iter()
            .map(|((index, hook), attached)| HookStatus {
                interface: name(*index),
                program: hook.program().to_owned(),
                mechanism: Some(attached.mechanism.to_string()),
                reason: match attached.mechanism {
                    Mechanism::XdpNative | Mechanism::XdpGeneric => choice(*index),
                    Mechanism::Clsact if !observed.tcx => Some("the kernel has no TCX".to_owned()),
                    Mechanism::Clsact | Mechanism::Tcx | Mechanism::Netkit | Mechanism::Cgroup => {
                        None
                    }
                },
            })
            .collect();
        if let Some(reason) = observed.no_socket_hooks.filter(|_| observed.loaded) {
            let off = Hook::of_sockets()
                .filter(|hook| !observed.hooks.contains_key(&(Hook::NO_INTERFACE, *hook)));
            hooks.extend(off.map(|hook| HookStatus {
                interface: Hook::HOST_PROGRAMS.to_owned(),
                program: hook.program().to_owned(),
                mechanism: None,
                reason: Some(format!("{reason}: {LOST}")),
            }));
        }
        if let Some(reason) = &observed.no_netkit {
            let wants = |name: &str| {
                let network = desired.networks.get(name);
                network.is_some_and(|network| network.device == Device::Netkit)
            };
            let attachments = desired.endpoints.values().flat_map(|of| &of.attachments);
            let veths: BTreeSet<&str> = attachments
                .filter(|of| wants(&of.network))
                .map(|of| of.host_interface.as_str())
                .collect();
            for hook in hooks.iter_mut().filter(|hook| veths.contains(&*hook.interface)) {
                hook.reason = Some(format!("{NETKIT_LOST}: {reason}"));
            }
        }
        let wanted = desired.networks.values().any(|network| network.shortcut);
        if let Some(reason) = observed.no_shortcut.filter(|_| observed.loaded && wanted) {
            hooks.push(HookStatus {
                interface: Hook::HOST_PROGRAMS.to_owned(),
                program: Hook::ShortcutOpened.program().to_owned(),
                mechanism: None,
                reason: Some(format!("{reason}: {SHORTCUT_LOST}")),
            });
        }
        let xdp = Hook::UplinkXdp;
        let without = observed.uplinks.iter().filter(|uplink| {
            !observed.hooks.contains_key(&(uplink.index, xdp))
                && observed.tables.interfaces.contains_key(&uplink.index)
        });
        hooks.extend(without.map(|uplink| HookStatus {
            interface: uplink.name.clone(),
            program: xdp.program().to_owned(),
            mechanism: None,
            reason: choice(uplink.index),
        }));
        hooks.sort_by(|a, b| (&a.interface, &a.program).cmp(&(&b.interface, &b.program)));
        Ok(hooks)
    }

    /// How long the packets of each network's endpoints are, by the network's name.
    pub async fn gso(&self, desired: &Desired) -> Result<BTreeMap<String, GsoChoice>, KernelError> {
        let device = self.links().await?.into_values().find(|link| link.name == LOOPBACK);
        let uplinks = self.uplinks(&desired.uplinks).await?;
        let choice = |network| GsoChoice::of(network, desired.big_tcp, &uplinks, device.as_ref());
        let networks = desired.networks.iter();
        Ok(networks.map(|(name, network)| (name.clone(), choice(network))).collect())
    }

    /// The counters of every interface that carries a program.
    pub async fn counters(&self) -> Result<Vec<InterfaceCounters>, KernelError> {
        let Ok(maps) = self.bpf.maps() else { return Ok(Vec::new()) };
        let interfaces = maps.read_interfaces().map_err(BpfError::map("read", map::INTERFACES))?;
        let links = self.links().await?;
        let mark = self.instance.mark();
        let mut found = Vec::new();
        for (index, entry) in &interfaces {
            let link = links.get(index);
            // `endpoint:NAME:NETWORK` or `network:NAME:ID`.
            let alias = link.and_then(|link| link.alias.as_deref()?.strip_prefix(&mark));
            let name = alias.and_then(|alias| alias.split(':').nth(1)).map(ToOwned::to_owned);
            let counters =
                maps.counters(entry.slot).map_err(BpfError::map("read", map::COUNTERS))?;
            let packets = (0..COUNTER_COUNT as u32).zip(counters).filter(|(_, count)| *count > 0);
            let label = |number| match counter_label(number) {
                Some((verdict, reason)) => format!("{verdict}/{reason}"),
                None => format!("unknown/{number}"),
            };
            let usage = maps.usage(entry.slot);
            found.push(InterfaceCounters {
                interface: link.map_or_else(|| format!("interface {index}"), |l| l.name.clone()),
                kind: kind_of(entry.kind).to_owned(),
                name,
                packets: packets.map(|(number, count)| (label(number), count)).collect(),
                flows: usage.map_or(0, Usage::live),
            });
        }
        found.sort_by(|a, b| a.interface.cmp(&b.interface));
        Ok(found)
    }
}

fn kind_of(kind: u32) -> &'static str {
    use netebpf_common::abi::InterfaceKind::{Endpoint, Uplink};
    if kind == Endpoint as u32 {
        "endpoint"
    } else if kind == Uplink as u32 {
        "uplink"
    } else {
        "gateway"
    }
}
