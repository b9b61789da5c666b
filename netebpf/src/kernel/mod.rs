//! The kernel, as the user side sees it: the only room with I/O on it.
//!
//! **Invariant**: everything is done in the network namespace of the thread that opened the [`Kernel`],
//! which all threads of the process share, save the short-lived ones of [`netns`]. Nothing here decides:
//! `plan` does.

mod announce;
mod bpf;
mod error;
mod features;
mod flows;
mod homes;
mod hook;
mod inside;
pub(crate) mod interface;
pub(crate) mod known;
mod moved;
mod netlink;
pub mod netns;
mod observe;
mod ownership;
mod perform;
pub mod probe;
mod status;
pub mod sysctl;
mod uplinks;
mod watch;

pub(crate) use bpf::cgroup::LOST;
pub(crate) use bpf::shortcut::LOST as SHORTCUT_LOST;
pub use bpf::{BpfError, OBJECT, Summed, summed, uninterrupted};
pub(crate) use bpf::{bpf_call, namespace_cookie};
pub use error::KernelError;
pub use flows::{Expired, FlowSnapshot, FlowTuple, Look, Suspicion};
pub use hook::Hook;
pub use inside::InterfaceSpec;
pub(crate) use inside::change_link_in;
pub(crate) use moved::{Moved, Purpose};
pub(crate) use netlink::{Batch, Conversation, MAKE, NETKIT_LOST};
pub use netlink::{BridgeSpec, LinkChange, NetlinkError, PairSpec};
pub use netns::NetnsError;
pub use status::{HookStatus, InterfaceCounters};
pub use sysctl::SysctlError;
pub use uplinks::{Outside, WentDown, host_routes};
pub use watch::{Change, Watch};

use crate::{
    model::{Desired, Device},
    plan::{Mechanism, Refusals, Uplink},
    state::Instance,
};
use bpf::{AttachError, Bpf};
use ipnet::IpNet;
use known::{Known, Settled};
use moved::Namespaces;
use netebpf_common::abi::Settings;
use netlink::{Mirror, Netlink};
use std::sync::OnceLock;
use tokio::sync::Mutex;

/// One instance's hold on the kernel.
pub struct Kernel {
    instance: Instance,
    netlink: Netlink,
    mirror: Mutex<Mirror>,
    sysctls: sysctl::Interfaces,
    namespaces: Namespaces,
    bpf: Bpf,
    settings: Settings,
    /// Where packets keep their source.
    no_masquerade: Vec<IpNet>,
    /// The uplinks that are remembered.
    uplinks: Vec<Uplink>,
    /// What the last plan was made for, until it is performed.
    planned: Option<Settled>,
    refused: Refusals,
    /// Ended flows whose places rest.
    retired: flows::Retired,
    known: Known,
    homes: homes::Homes,
    /// Whether the kernel makes netkit devices, once it was asked: a kernel without finds no module for them, each time.
    has_netkit: OnceLock<bool>,
}

impl Kernel {
    /// Opens netlink and takes over what is pinned; changes nothing. Needs the runtime, and a thread in
    /// the host's network namespace.
    pub fn open(instance: &Instance) -> Result<Self, KernelError> {
        Ok(Self {
            instance: instance.clone(),
            netlink: Netlink::here().map_err(KernelError::Socket)?,
            mirror: Mutex::new(Mirror::here().map_err(KernelError::Socket)?),
            sysctls: sysctl::Interfaces::here()?,
            namespaces: Namespaces::default(),
            bpf: Bpf::open(instance)?,
            settings: Settings::default(),
            no_masquerade: Vec::new(),
            uplinks: Vec::new(),
            planned: None,
            refused: Refusals::new(),
            retired: flows::Retired::default(),
            known: Known::default(),
            homes: homes::Homes::new(),
            has_netkit: OnceLock::new(),
        })
    }

    /// What the programs are told: now, when they are loaded, and when they will be. The number of
    /// flows is decided when the tables are made; where packets keep their source is written with the next plan.
    pub fn configure(
        &mut self,
        settings: Settings,
        no_masquerade: &[IpNet],
    ) -> Result<(), KernelError> {
        self.settings = settings;
        self.no_masquerade = no_masquerade.to_owned();
        if self.bpf.is_loaded() { Ok(self.bpf.configure(settings)?) } else { Ok(()) }
    }

    /// Attaches TC programs by clsact even where the kernel has TCX: what kernels before 6.6 do.
    pub fn avoid_tcx(&mut self) {
        self.bpf.avoid_tcx();
    }

    /// Why programs of this host cannot be led to published ports, where they cannot.
    pub(crate) fn no_socket_hooks(&self) -> Option<String> {
        let refused = || Hook::of_sockets().find_map(|hook| self.refused_on_host(hook));
        self.bpf.no_socket_hooks().or_else(refused)
    }

    /// Why there is no socket shortcut, where there is none.
    pub(crate) fn no_shortcut(&self) -> Option<String> {
        self.bpf.no_shortcut().or_else(|| self.refused_on_host(Hook::ShortcutOpened))
    }

    /// Why there are no netkit devices, where some network wants them and there are none.
    async fn no_netkit(&self, desired: &Desired) -> Result<Option<String>, KernelError> {
        if !desired.networks.values().any(|network| network.device == Device::Netkit) {
            return Ok(None);
        }
        let has = match self.has_netkit.get() {
            Some(has) => *has,
            None => {
                let has = self.netlink.has_netkit().await?;
                *self.has_netkit.get_or_init(|| has)
            }
        };
        Ok((!has).then(|| "the kernel has none (CONFIG_NETKIT, Linux 6.7)".to_owned()))
    }

    fn refused_on_host(&self, hook: Hook) -> Option<String> {
        self.refused.get(&(Hook::NO_INTERFACE, hook, Mechanism::Cgroup)).cloned()
    }

    /// How many flows there can be: the table keeps the size that it was made with.
    pub fn flow_capacity(&self) -> u32 {
        self.bpf.maps().map_or(self.settings.flow_capacity, |maps| maps.flows.len())
    }

    /// Which namespaces may be others than they were when it was asked for the same the last time.
    pub(crate) fn moved(&mut self, purpose: Purpose) -> Moved {
        self.namespaces.moved(purpose)
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}
