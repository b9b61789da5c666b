//! On which machine it was measured: what a number depends on.

use super::{
    arms::Kind,
    process,
    report::{Machine, Offloads},
};
use crate::kernel::{interface, netns};
use std::{path::Path, process::Command};

impl Machine {
    /// Without what is of the arms.
    pub(super) fn here() -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu =
            model.and_then(|rest| rest.split_once(": ")).map_or("", |(_, name)| name).to_owned();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let netebpf = env!("CARGO_PKG_VERSION").to_owned();
        let commit = env!("NETEBPF_COMMIT").to_owned();
        Self { kernel, cpu, cpus, netebpf, commit, bridge_netfilter: None, offloads: Vec::new() }
    }
}

// <linux/ethtool.h>: questions that are answered by 0 or 1.
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GGRO: u32 = 0x2b;

/// Its `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

impl Offloads {
    /// Of an interface in a namespace, as far as it can be read.
    pub(super) fn of(arm: Kind, namespace: &str, interface: &'static str) -> Self {
        let path = Path::new("/run/netns").join(namespace);
        let questions = [ETHTOOL_GTSO, ETHTOOL_GGSO, ETHTOOL_GGRO, ETHTOOL_GTXCSUM];
        let answers = netns::run_in(&path, move || questions.map(|what| is_on(interface, what)));
        let [tso, gso, gro, tx_checksum] = answers.unwrap_or_default();
        let mut ip = Command::new("ip");
        ip.args(["-n", namespace, "-details", "-json", "link", "show", "dev", interface]);
        let links = process::output(&mut ip).unwrap_or_default();
        let links: serde_json::Value = serde_json::from_str(&links).unwrap_or_default();
        let size = |name| links.pointer("/0")?.get(name)?.as_u64();
        Self {
            arm,
            interface: interface.to_owned(),
            tso,
            gso,
            gro,
            tx_checksum,
            gso_max_size: size("gso_max_size"),
            gso_ipv4_max_size: size("gso_ipv4_max_size"),
        }
    }
}

/// In this thread's namespace.
fn is_on(name: &str, what: u32) -> Option<bool> {
    let mut value = EthtoolValue { cmd: what, data: 0 };
    let argument = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
    // SAFETY: these questions read and write one `ethtool_value`, and it lives until the call is over.
    let asked = unsafe { interface::ask(name, libc::SIOCETHTOOL as libc::Ioctl, argument) };
    asked.is_ok().then_some(value.data != 0)
}
