//! The rules that Docker and podman make, as text, and the programs that load them: what people have today.
//!
//! Each text is what the engine itself leaves on a host with our two endpoints, written down from a host where it ran;
//! real programs bring it into the kernel, for rules that we sent ourselves might be other rules.
//!
//! **Invariant**: texts are made by pure functions; what is loaded goes into the namespace that is named and nowhere
//! else, and takes the place of what was loaded there before. A program that is missing, and rules that are refused, are
//! errors; only a kernel that lacks a whole facility makes a backend absent.

mod docker;
mod flowtable;
mod netavark;
#[cfg(test)]
mod tests;

use super::{BenchError, host::Family, process};
use crate::{kernel::netns, model::Transport};
use std::{fs, path::Path};

/// Who forwards on a bridge, and where its rules are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) enum Backend {
    /// Docker's, in the tables that only iptables knows.
    IptablesLegacy,
    /// The same, which iptables translates for nftables.
    IptablesNft,
    /// Podman's, in nftables.
    Netavark,
    /// The same, and known connections go past them.
    NetavarkFlowtable,
}

/// A port of the host that leads to the endpoint `web`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) struct Published {
    /// The host's.
    pub(in crate::bench) host: u16,
    /// The endpoint's.
    pub(in crate::bench) endpoint: u16,
    /// Of which protocol.
    pub(in crate::bench) transport: Transport,
}

/// A program with its arguments, and its input.
type Run = (&'static [&'static str], String);

impl Backend {
    /// The programs that it takes, and Debian's package that has each.
    pub(in crate::bench) fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::IptablesLegacy => &[
                ("iptables-legacy-restore", "iptables"),
                ("ip6tables-legacy-restore", "iptables"),
                ("iptables-legacy-save", "iptables"),
                ("ip6tables-legacy-save", "iptables"),
            ],
            Self::IptablesNft => &[
                ("iptables-nft-restore", "iptables"),
                ("ip6tables-nft-restore", "iptables"),
                ("iptables-nft-save", "iptables"),
                ("ip6tables-nft-save", "iptables"),
            ],
            Self::Netavark | Self::NetavarkFlowtable => &[("nft", "nftables")],
        }
    }

    /// What loads these rules.
    fn loads(self, ports: &[Published]) -> Vec<Run> {
        let tables = |family| docker::save(family, ports);
        match self {
            Self::IptablesLegacy | Self::IptablesNft => self.restores(tables),
            Self::Netavark => vec![(NFT, netavark::ruleset(ports))],
            Self::NetavarkFlowtable => {
                vec![(NFT, netavark::ruleset(ports) + &flowtable::ruleset())]
            }
        }
    }

    /// The least that tells whether the kernel has what the rules are made of.
    fn probes(self) -> Vec<Run> {
        match self {
            Self::IptablesLegacy | Self::IptablesNft => self.restores(|_| docker::PROBE.to_owned()),
            Self::Netavark => vec![(NFT, netavark::PROBE.to_owned())],
            Self::NetavarkFlowtable => vec![(NFT, flowtable::PROBE.to_owned())],
        }
    }

    /// What the kernel has to have, and the setting of its build that stands for it.
    fn facility(self) -> &'static str {
        match self {
            Self::IptablesLegacy => "iptables' own tables (CONFIG_IP_NF_NAT)",
            Self::IptablesNft => "iptables' matches in nftables (CONFIG_NFT_COMPAT)",
            Self::Netavark => "NAT in nftables (CONFIG_NFT_NAT)",
            Self::NetavarkFlowtable => "flowtables (CONFIG_NF_FLOW_TABLE)",
        }
    }

    /// A text for each family. The lock is the machine's and no namespace's: somebody else may hold it just now.
    fn restores(self, text: impl Fn(Family) -> String) -> Vec<Run> {
        let programs: [&[&str]; 2] = match self {
            Self::IptablesLegacy => {
                [&["iptables-legacy-restore", "--wait"], &["ip6tables-legacy-restore", "--wait"]]
            }
            _ => [&["iptables-nft-restore", "--wait"], &["ip6tables-nft-restore", "--wait"]],
        };
        programs.into_iter().zip(Family::BOTH.map(text)).collect()
    }
}

/// Takes a whole file in one transaction.
const NFT: &[&str] = &["nft", "-f", "-"];

fn run(host: &str, (words, input): &Run) -> Result<String, BenchError> {
    let [program, arguments @ ..] = *words else { return Ok(String::new()) };
    process::told(process::inside(host, program).args(arguments), input)
}

/// What this kernel lacks for a backend, in the words of the program that asked for it; nothing where it has all. Tried
/// in a scratch namespace, where something stays behind.
pub(in crate::bench) fn lacks(
    backend: Backend,
    scratch: &str,
) -> Result<Option<String>, BenchError> {
    process::require(backend.tools())?;
    for probe in backend.probes() {
        match run(scratch, &probe) {
            Ok(_) => {}
            Err(BenchError::Command { said, .. }) if is_of_the_kernel(&said) => {
                // What stands around it shows where in a text of ours.
                let said = said.lines().next().unwrap_or_default();
                let said = said.split_once("Error: ").map_or(said, |(_, said)| said);
                return Ok(Some(format!("no {}: {said}", backend.facility())));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

/// Whether a program that was refused says that the kernel has no such thing. A lock, a limit or a part of the program
/// itself that is missing is an error.
pub(in crate::bench) fn is_of_the_kernel(said: &str) -> bool {
    let lacks = [
        "No such file or directory",
        "not supported",
        "unable to initialize table",
        "Unknown device type",
    ];
    !said.contains("Couldn't load") && lacks.iter().any(|lacks| said.contains(lacks))
}

/// Loads the rules for these published ports into a host's namespace, in place of what was loaded there before. Its
/// bridge and its interfaces are there already.
pub(in crate::bench) fn load(
    backend: Backend,
    host: &str,
    ports: &[Published],
) -> Result<(), BenchError> {
    process::require(backend.tools())?;
    backend.loads(ports).iter().try_for_each(|load| run(host, load).map(drop))
}

/// How many connections the rules for masquerade and published ports translated, both families together: rules of NAT
/// see the first packet of a connection and no other. Netavark's count nothing, and a counter of ours would make them
/// others than they are: there the addresses that a server sees have to tell.
pub(in crate::bench) fn hits(backend: Backend, host: &str) -> Result<Option<u64>, BenchError> {
    let programs = match backend {
        Backend::IptablesLegacy => ["iptables-legacy-save", "ip6tables-legacy-save"],
        Backend::IptablesNft => ["iptables-nft-save", "ip6tables-nft-save"],
        Backend::Netavark | Backend::NetavarkFlowtable => return Ok(None),
    };
    let mut hits = 0;
    for program in programs {
        let mut save = process::inside(host, program);
        hits += docker::hits(&process::output(save.args(["-c", "-t", "nat"]))?);
    }
    Ok(Some(hits))
}

/// Whether a flowtable of this host has a connection of a family just now; none where the kernel does not list them
/// (CONFIG_NF_CONNTRACK_PROCFS).
pub(in crate::bench) fn offloads(host: &Path, family: Family) -> Option<bool> {
    let family = match family {
        Family::V4 => "ipv4 ",
        Family::V6 => "ipv6 ",
    };
    let list = || fs::read_to_string("/proc/thread-self/net/nf_conntrack");
    let list = netns::run_in(host, list).ok()?.ok()?;
    Some(list.lines().any(|line| line.starts_with(family) && line.contains(" [OFFLOAD] ")))
}

/// Whether packets that stay on a bridge of this host meet its rules, too.
pub(in crate::bench) fn has_bridge_netfilter(host: &str) -> bool {
    let mut sysctl = process::inside(host, "sysctl");
    let value = process::output(sysctl.args(["-n", "net.bridge.bridge-nf-call-iptables"]));
    value.is_ok_and(|value| value.trim() == "1")
}
