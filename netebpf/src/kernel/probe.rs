//! What of the kernel is wanted, whether it is there, what is lost without it and how to get it: for
//! `doctor`.
//!
//! **Invariant**: asks by trying, never by the kernel's version, because distributions port features
//! back; changes nothing.

use super::{KernelError, LOST, NETKIT_LOST, SHORTCUT_LOST, bpf, netlink::Netlink, sysctl};
use crate::plan::{GsoSizes, LOOPBACK};
use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How bad it is when a feature is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing works without it.
    Required,
    /// Something is slower or missing.
    Optional,
    /// Something on this host is in the way.
    Warning,
}

/// One feature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// How much it is needed.
    pub need: Need,
    /// Whether it is there; for a warning, whether all is well.
    pub present: bool,
    /// What is lost without it.
    pub lost: String,
    /// How to get it.
    pub remedy: String,
}

const NEWER: &str = "a newer kernel; Debian 12's 6.1 has it";

fn feature(name: &str, need: Need, present: bool, lost: &str, remedy: &str) -> Feature {
    Feature {
        name: name.to_owned(),
        need,
        present,
        lost: lost.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// Every feature. Reads the network namespace of the calling thread.
pub fn features() -> Vec<Feature> {
    let mut found = privileges();
    found.extend(programs_and_maps());
    found.extend(helpers());
    found.extend(host());
    found
}

/// The first required feature that is missing, as one sentence.
pub fn obstacle() -> Option<String> {
    let missing = features().into_iter().find(|f| f.need == Need::Required && !f.present)?;
    Some(format!("{} is missing: {}; to get it: {}", missing.name, missing.lost, missing.remedy))
}

fn privileges() -> Vec<Feature> {
    let has = |wanted| capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted));
    let root = "run as root: sudo netebpf";
    vec![
        feature(
            "CAP_BPF",
            Need::Required,
            has(CapabilitySet::BPF) || has(CapabilitySet::SYS_ADMIN),
            "no program can be loaded",
            root,
        ),
        feature(
            "CAP_NET_ADMIN",
            Need::Required,
            has(CapabilitySet::NET_ADMIN),
            "no interface can be made",
            root,
        ),
        feature(
            "CAP_SYS_ADMIN",
            Need::Required,
            has(CapabilitySet::SYS_ADMIN),
            "no namespace can be made or entered",
            root,
        ),
        feature(
            "bpffs",
            Need::Optional,
            bpf::bpffs_mounted(),
            "nothing: it is mounted when it is needed",
            "mount -t bpf bpf /sys/fs/bpf",
        ),
    ]
}

fn programs_and_maps() -> Vec<Feature> {
    let program = |kind| is_program_supported(kind).unwrap_or(false);
    let map = |kind| is_map_supported(kind).unwrap_or(false);
    let required =
        |name: &str, present, lost: &str| feature(name, Need::Required, present, lost, NEWER);
    vec![
        required("TC programs", program(ProgramType::SchedClassifier), "nothing is translated"),
        feature(
            "XDP programs",
            Need::Optional,
            program(ProgramType::Xdp),
            "uplinks are served by TC alone",
            NEWER,
        ),
        feature(
            "BTF of the kernel",
            Need::Required,
            Path::new("/sys/kernel/btf/vmlinux").exists(),
            "no program that opens flows is accepted: without it the kernel does not know a global function's context",
            "a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
        feature(
            "direct checksums",
            Need::Optional,
            bpf::summed() != bpf::Summed::default(),
            "each translation asks the kernel to change the checksum: some 100 ns a packet",
            "a kernel whose BTF has sk_buff, and no lockdown",
        ),
        feature(
            "TCX",
            Need::Optional,
            bpf::tcx_supported(),
            "programs are attached by clsact: they are not pinned, and others' may come first",
            "Linux 6.6",
        ),
        socket_hooks(),
        socket_shortcut(),
        required("hash maps", map(MapType::Hash), "no flow can be kept"),
        required("longest-prefix tries", map(MapType::LpmTrie), "networks cannot be told apart"),
        required("queues", map(MapType::Queue), "no place for a flow can be handed out"),
        required(
            "tables of sockets",
            map(MapType::SockHash),
            "no connection can be told from another",
        ),
        required("socket storage", map(MapType::SkStorage), "nothing can be kept with a socket"),
        required("per-CPU arrays", map(MapType::PerCpuArray), "nothing is counted"),
    ]
}

/// Whether networks can have the socket shortcut.
pub fn socket_shortcut() -> Feature {
    feature(
        "socket shortcut",
        Need::Optional,
        bpf::shortcut::is_there(),
        SHORTCUT_LOST,
        "a kernel with CONFIG_NET_SOCK_MSG, CONFIG_CGROUP_BPF and CONFIG_DEBUG_INFO_BTF, and no lockdown",
    )
}

fn socket_hooks() -> Feature {
    let obstacle = match bpf::cgroup::root() {
        Ok(root) => root.err(),
        Err(error) => Some(error.to_string()),
    };
    let lost = match &obstacle {
        Some(reason) => format!("{LOST}: {reason}"),
        None => LOST.to_owned(),
    };
    feature(
        "programs of control groups",
        Need::Optional,
        obstacle.is_none(),
        &lost,
        "a kernel with CONFIG_CGROUP_BPF, and mount -t cgroup2 cgroup2 /sys/fs/cgroup",
    )
}

fn helpers() -> Vec<Feature> {
    let tc = |helper| is_helper_supported(ProgramType::SchedClassifier, helper).unwrap_or(false);
    let helper = |name: &str, id, lost: &str| feature(name, Need::Required, tc(id), lost, NEWER);
    vec![
        helper("bpf_fib_lookup", BpfHelper::BPF_FUNC_fib_lookup, "no way out is found"),
        helper("bpf_redirect_peer", BpfHelper::BPF_FUNC_redirect_peer, "no endpoint is reached"),
        helper("bpf_redirect_neigh", BpfHelper::BPF_FUNC_redirect_neigh, "no next hop is reached"),
        helper(
            "bpf_ktime_get_coarse_ns",
            BpfHelper::BPF_FUNC_ktime_get_coarse_ns,
            "flows have no clock",
        ),
        helper("bpf_skc_lookup_tcp", BpfHelper::BPF_FUNC_skc_lookup_tcp, "the host's ports clash"),
    ]
}

/// Whether TCP may hand down packets of more than 64 KiB.
pub async fn big_tcp() -> Result<Feature, KernelError> {
    let netlink = Netlink::here().map_err(KernelError::Socket)?;
    let links = netlink.links().await?;
    let device = links.iter().find(|link| link.name == LOOPBACK);
    let most = device.map_or(GsoSizes::USUAL, |device| device.gso_limits);
    let usual = GsoSizes::USUAL;
    let lost = match most.v6 > usual.v6 {
        true => "endpoints' TCP hands down IPv4 packets of 64 KiB",
        false => "endpoints' TCP hands down packets of 64 KiB",
    };
    let present = most.v4 > usual.v4 && most.v6 > usual.v6;
    Ok(feature("BIG TCP", Need::Optional, present, lost, "Linux 6.3, for IPv6 5.19"))
}

/// Whether networks can have netkit devices.
pub async fn netkit() -> Result<Feature, KernelError> {
    let netlink = Netlink::here().map_err(KernelError::Socket)?;
    let (present, lost) = match netlink.has_netkit().await {
        Ok(present) => (present, NETKIT_LOST.to_owned()),
        Err(error) => (false, format!("it is not known whether the kernel has them: {error}")),
    };
    let remedy = "Linux 6.7 with CONFIG_NETKIT";
    Ok(feature("netkit devices", Need::Optional, present, &lost, remedy))
}

/// What on this host may be in the way of packets that take the kernel's path.
fn host() -> Vec<Feature> {
    let value = |name: &str| sysctl::read(name).ok().flatten();
    let mut found = vec![feature(
        "force_forwarding",
        Need::Optional,
        value("net/ipv6/conf/all/force_forwarding").is_some(),
        "IPv6 networks switch on net.ipv6.conf.all.forwarding, for every interface",
        "Linux 6.17",
    )];
    for (name, tool) in [
        ("net/bridge/bridge-nf-call-iptables", "iptables"),
        ("net/bridge/bridge-nf-call-ip6tables", "ip6tables"),
    ] {
        found.push(feature(
            &name.replace('/', "."),
            Need::Warning,
            value(name).as_deref() != Some("1"),
            &format!(
                "what the bridge carries passes {tool}: where another engine's FORWARD policy is \
                 DROP, packets that the programs leave to the kernel are dropped"
            ),
            &format!("sysctl {}=0, where no other engine needs it", name.replace('/', ".")),
        ));
    }
    found
}
