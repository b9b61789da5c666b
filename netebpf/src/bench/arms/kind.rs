//! Who forwards, and on which ways.

use super::super::{
    BenchError,
    host::Namespace,
    load::Workload,
    report::{Absent, Lacked},
    rules::{self, Backend},
};
use crate::kernel::probe::{self, Feature};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The ways of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Within one network.
    EndpointToEndpoint,
    /// From an endpoint to somebody outside, with the host's address.
    Masquerade,
    /// From outside, by a port of the host.
    PublishedPort,
    /// From the host itself to somebody outside: what is nobody's business but its own.
    HostsOwn,
}

impl Way {
    /// Each.
    pub const ALL: [Self; 4] =
        [Self::EndpointToEndpoint, Self::Masquerade, Self::PublishedPort, Self::HostsOwn];

    /// Whether that is measured on this way: of the host's own traffic, round trips show what the hooks on its uplink cost.
    pub(in crate::bench) fn has(self, workload: Workload) -> bool {
        self != Self::HostsOwn || workload == Workload::RoundTrips
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EndpointToEndpoint => "endpoint to endpoint",
            Self::Masquerade => "masquerade",
            Self::PublishedPort => "published port",
            Self::HostsOwn => "the host's own",
        })
    }
}

/// Who forwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This program.
    Netebpf,
    /// The same, with the socket shortcut that a network may ask for.
    NetebpfShortcut,
    /// The same, with netkit devices, which a network may ask for.
    NetebpfNetkit,
    /// Nobody: a veth, and nothing between its ends.
    BareVeth,
    /// A Linux bridge and Docker's rules, in the tables that only iptables knows.
    IptablesLegacy,
    /// The same rules, in the tables of nftables.
    IptablesNft,
    /// A Linux bridge and the rules of netavark (podman), in nftables.
    Netavark,
    /// The same, and a flowtable that takes known connections past them.
    NetavarkFlowtable,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Netebpf => "netebpf",
            Self::NetebpfShortcut => "netebpf, shortcut",
            Self::NetebpfNetkit => "netebpf, netkit",
            Self::BareVeth => "bare veth",
            Self::IptablesLegacy => "iptables (legacy)",
            Self::IptablesNft => "iptables (nft)",
            Self::Netavark => "netavark (nft)",
            Self::NetavarkFlowtable => "flowtable (nft)",
        })
    }
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Netebpf,
        Self::NetebpfShortcut,
        Self::NetebpfNetkit,
        Self::BareVeth,
        Self::IptablesLegacy,
        Self::IptablesNft,
        Self::Netavark,
        Self::NetavarkFlowtable,
    ];

    /// Whether netebpf is compared with it: with all but itself, and but the socket shortcut, which is compared with the
    /// limit.
    pub(in crate::bench) fn is_beside(self) -> bool {
        !matches!(self, Self::Netebpf | Self::NetebpfShortcut)
    }

    /// Whether it knows flows, in a way of its own.
    pub(in crate::bench) fn tracks_flows(self) -> bool {
        !matches!(self, Self::NetebpfShortcut | Self::NetebpfNetkit | Self::BareVeth)
    }

    pub(super) fn backend(self) -> Option<Backend> {
        match self {
            Self::Netebpf | Self::NetebpfShortcut | Self::NetebpfNetkit | Self::BareVeth => None,
            Self::IptablesLegacy => Some(Backend::IptablesLegacy),
            Self::IptablesNft => Some(Backend::IptablesNft),
            Self::Netavark => Some(Backend::Netavark),
            Self::NetavarkFlowtable => Some(Backend::NetavarkFlowtable),
        }
    }

    /// Those that this kernel has, and why it has not the others.
    pub(in crate::bench) fn here(
        scratch: &Namespace,
    ) -> Result<(Vec<Self>, Vec<Absent>), BenchError> {
        let without = |feature: Feature| {
            (!feature.present).then(|| format!("{}: {}", feature.lost, feature.remedy))
        };
        let (mut here, mut absent) = (Vec::new(), Vec::new());
        for kind in Self::ALL {
            let lacks = match kind.backend() {
                Some(backend) => rules::lacks(backend, &scratch.name)?,
                None if kind == Self::NetebpfShortcut => without(probe::socket_shortcut()),
                None if kind == Self::NetebpfNetkit => lacks_netkit(scratch)?,
                None => None,
            };
            match lacks {
                None => here.push(kind),
                Some(why) => absent.push(Absent { what: Lacked::Arm(kind), why }),
            }
        }
        Ok((here, absent))
    }
}

/// What the kernel says that makes no netkit devices; nothing where it does. Tried in a scratch namespace.
fn lacks_netkit(scratch: &Namespace) -> Result<Option<String>, BenchError> {
    match scratch.ip(["link add netkit0 type netkit"]) {
        Ok(()) => Ok(None),
        Err(BenchError::Command { said, .. }) if rules::is_of_the_kernel(&said) => {
            let said = said.lines().next().unwrap_or_default();
            Ok(Some(format!("no netkit devices (CONFIG_NETKIT, Linux 6.7): {said}")))
        }
        Err(other) => Err(other),
    }
}
