//! Reading what the kernel has.

use super::{BpfError, Kernel, KernelError, bpf::Maps, netlink::Netlink, netns, sysctl, uplinks};
use crate::{
    model::Desired,
    plan::{Link, Observed, Tables, sysctls},
};
use netebpf_common::abi::{Usage, map};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

impl Kernel {
    /// Everything that a plan for `desired` depends on. `saved_sysctls` is what the state has of values
    /// from before our changes.
    pub async fn observe(
        &self,
        desired: &Desired,
        saved_sysctls: BTreeMap<String, String>,
    ) -> Result<Observed, KernelError> {
        let facts = self.netlink.facts().await?;
        let ours = |link: &Link| self.is_ours(link);
        let uplinks = uplinks::pick(&facts, &desired.uplinks, &self.uplinks, ours);
        let ours = facts.links.values().filter(|link| self.is_ours(link));
        let may_carry_filters: Vec<u32> =
            ours.clone().map(|link| link.index).chain(uplinks.iter().map(|u| u.index)).collect();
        let tables = self.bpf.maps().map_or_else(|_| Ok(Tables::default()), read_tables)?;
        let registered = tables.interfaces.keys().copied();
        let existing = |index: &u32| facts.links.values().any(|link| link.index == *index);
        let may_carry_filters: std::collections::BTreeSet<u32> =
            may_carry_filters.into_iter().chain(registered.filter(existing)).collect();
        let (hooks, dead_pins) =
            self.bpf.attached(&self.netlink, may_carry_filters.into_iter()).await?;

        let bridges = ours.filter(|link| link.kind.as_deref() == Some("bridge"));
        let interfaces =
            bridges.map(|l| l.name.as_str()).chain(uplinks.iter().map(|u| u.name.as_str()));
        let mut sysctl_values = BTreeMap::new();
        for name in sysctls::relevant(interfaces) {
            if let Some(value) = sysctl::read(&name)? {
                sysctl_values.insert(name, value);
            }
        }
        self.read_forwarding(&facts.links, &mut sysctl_values)?;

        let own_namespaces = self.own_namespaces()?;
        let mut namespaces = BTreeMap::new();
        let wanted = desired.endpoints.values().map(|endpoint| endpoint.namespace.path());
        for path in wanted.chain(own_namespaces.iter().map(PathBuf::as_path)) {
            if !namespaces.contains_key(path)
                && let Some(links) = read_namespace(path).await?
            {
                namespaces.insert(path.to_owned(), links);
            }
        }
        Ok(Observed {
            mark: self.instance.mark(),
            loaded: self.bpf.is_loaded(),
            pinned: self.bpf.is_pinned(),
            foreign_pin: self.bpf.foreign().map(ToOwned::to_owned),
            tcx: self.bpf.has_tcx(),
            generations: self.generations(),
            links: facts.links,
            uplinks,
            namespaces,
            own_namespaces,
            tables,
            hooks,
            dead_pins,
            sysctls: sysctl_values,
            saved_sysctls,
            xdp_refused: self.refused.clone(),
            no_masquerade: self.no_masquerade.clone(),
            no_socket_hooks: self.no_socket_hooks(),
        })
    }

    /// The switches that the one for all interfaces would overwrite; not needed where each interface
    /// has one of its own that nothing overwrites.
    fn read_forwarding(
        &self,
        links: &BTreeMap<String, Link>,
        values: &mut BTreeMap<String, String>,
    ) -> Result<(), KernelError> {
        if values.keys().any(|name| name.ends_with("/force_forwarding")) {
            return Ok(());
        }
        for name in links.keys().map(|name| format!("net/ipv6/conf/{name}/forwarding")) {
            if let Some(value) = sysctl::read(&name)? {
                values.insert(name, value);
            }
        }
        Ok(())
    }

    fn generations(&self) -> Vec<u32> {
        let Ok(maps) = self.bpf.maps() else { return Vec::new() };
        // Shared words are 64 bits wide, generations of owners 32.
        let generation = |usage: &Usage| usage.generation.load() as u32;
        (0..maps.usage.len()).filter_map(|slot| maps.usage(slot)).map(generation).collect()
    }
}

/// The interfaces of a namespace; `None` where there is no namespace.
async fn read_namespace(path: &Path) -> Result<Option<BTreeMap<String, Link>>, KernelError> {
    if !netns::exists(path) {
        return Ok(None);
    }
    let facts = Netlink::in_namespace(path)?.facts().await?;
    Ok(Some(facts.links))
}

fn read_tables(maps: &Maps) -> Result<Tables, BpfError> {
    let read = |map| BpfError::map("read", map);
    let endpoints: Result<_, _> =
        maps.endpoints.iter().map(|entry| entry.map(|(key, value)| (key.0, value.0))).collect();
    let published: Result<_, _> =
        maps.published.iter().map(|entry| entry.map(|(key, value)| (key.0, value.0))).collect();
    let local_ports: Result<_, _> =
        maps.local_ports.iter().map(|entry| entry.map(|(key, value)| (key.0, value.0))).collect();
    let host_addresses: Result<_, _> =
        maps.host_addresses.keys().map(|key| key.map(|key| key.0)).collect();
    Ok(Tables {
        local_ports: local_ports.map_err(read(map::LOCAL_PORTS))?,
        host_addresses: host_addresses.map_err(read(map::HOST_ADDRESSES))?,
        interfaces: maps.read_interfaces().map_err(read(map::INTERFACES))?,
        endpoints: endpoints.map_err(read(map::ENDPOINTS))?,
        networks: maps.read_networks().map_err(read(map::NETWORKS))?,
        sources: maps.read_sources().map_err(read(map::SOURCES))?,
        published: published.map_err(read(map::PUBLISHED))?,
    })
}
