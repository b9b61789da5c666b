//! The steps of a plan, one call each; writes to the maps in an order that no packet minds.

use super::{
    BpfError, BridgeSpec, Hook, Kernel, KernelError, LinkChange, PairSpec,
    bpf::{Shared, gone, remove_pin},
    flows::Retired,
    netns, probe,
};
use crate::plan::{AnyAddress, Mechanism, PortChanges, SourceRange};
use ipnet::IpNet;
use netebpf_common::abi::{
    self, Address, INTERFACE_TABLE_SIZE, Interface, NetworkRange, Prefix, ResolverPorts, map,
};
use std::{collections::BTreeMap, os::fd::AsFd, path::Path};

impl Kernel {
    /// Writes an interface's entry, or removes it.
    ///
    /// The owner's generation is raised before the entry appears and again when it goes, so that no
    /// flow of an earlier owner of the slot is ever taken for one of the next.
    pub(crate) fn set_interface(
        &mut self,
        new: Option<Interface>,
        earlier: Option<Interface>,
    ) -> Result<(), KernelError> {
        let maps = self.bpf.maps_mut()?;
        let error = BpfError::map("write", map::INTERFACES);
        let place = |entry: &Interface| entry.ifindex % INTERFACE_TABLE_SIZE;
        match (new, earlier) {
            (Some(entry), _) => {
                let usage = maps.usage(entry.slot);
                let generation = u64::from(entry.generation);
                if let Some(usage) = usage
                    && usage.generation.load() != generation
                {
                    usage.generation.store(generation);
                    maps.clear_counters(entry.slot)
                        .map_err(BpfError::map("clear", map::COUNTERS))?;
                }
                maps.interfaces.set(place(&entry), Shared(entry), 0).map_err(error)?;
            }
            (None, Some(entry)) => {
                let there = maps.interfaces.get(&place(&entry), 0).map_err(&error)?;
                // Another interface may have the place by now.
                if there.0.ifindex == entry.ifindex {
                    maps.interfaces
                        .set(place(&entry), Shared(Interface::FREE), 0)
                        .map_err(error)?;
                }
                if let Some(usage) = maps.usage(entry.slot) {
                    let next = u64::from(entry.generation.wrapping_add(1));
                    usage.generation.store(next);
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Writes an endpoint's entry, or removes it.
    pub(crate) fn set_endpoint(
        &mut self,
        address: Address,
        entry: Option<abi::Endpoint>,
    ) -> Result<(), KernelError> {
        let endpoints = &mut self.bpf.maps_mut()?.endpoints;
        let written = match entry {
            Some(entry) => endpoints.insert(Shared(address), Shared(entry), 0),
            None => gone(endpoints.remove(&Shared(address))),
        };
        Ok(written.map_err(BpfError::map("write", map::ENDPOINTS))?)
    }

    /// Writes the network that a range belongs to, or removes it.
    pub(crate) fn set_network(
        &mut self,
        prefix: Prefix,
        range: Option<NetworkRange>,
    ) -> Result<(), KernelError> {
        let written = self.bpf.maps_mut()?.set_network(prefix, range);
        Ok(written.map_err(BpfError::map("write", map::NETWORKS))?)
    }

    /// Lets a range use the ports of its group, or no longer.
    pub(crate) fn set_source(
        &mut self,
        range: &SourceRange,
        present: bool,
    ) -> Result<(), KernelError> {
        let written = self.bpf.maps_mut()?.set_source(range, present);
        Ok(written.map_err(BpfError::map("write", map::SOURCES))?)
    }

    /// Whether calls to a resolver can be led to a port of its own.
    pub(crate) fn leads_calls(&self) -> bool {
        self.bpf.leads_calls()
    }

    /// Says where the resolvers of namespaces are, by their cookies, and that there are no others: whatever else stands in
    /// the table, of a process before this one or of anybody, is put right.
    pub(crate) fn set_resolvers(
        &mut self,
        wanted: &BTreeMap<u64, ResolverPorts>,
    ) -> Result<(), KernelError> {
        // With the programs went their tables.
        let Ok(maps) = self.bpf.maps_mut() else { return Ok(()) };
        let found = maps.read_resolvers().map_err(BpfError::map("read", map::RESOLVERS))?;
        let mut stale = found.keys().filter(|namespace| !wanted.contains_key(namespace));
        let mut new =
            wanted.iter().filter(|&(namespace, ports)| found.get(namespace) != Some(ports));
        let resolvers = &mut maps.resolvers;
        let written =
            stale.try_for_each(|namespace| gone(resolvers.remove(namespace))).and_then(|()| {
                new.try_for_each(|(key, ports)| resolvers.insert(key, Shared(*ports), 0))
            });
        Ok(written.map_err(BpfError::map("write", map::RESOLVERS))?)
    }

    /// Publishes ports and takes others back. The bitmap says "maybe": a bit is set before the entry that it announces,
    /// and cleared after the last one is gone, so that wherever this ends an entry has its bit.
    pub(crate) fn publish(&mut self, changes: &PortChanges) -> Result<(), KernelError> {
        self.announce(&changes.announced, true)?;
        let maps = self.bpf.maps_mut()?;
        let tables = [
            (&mut maps.published, map::PUBLISHED, &changes.outside),
            (&mut maps.local_ports, map::LOCAL_PORTS, &changes.local),
        ];
        for (table, name, changes) in tables {
            for change in changes {
                let key = Shared(change.key);
                let written = match change.new {
                    Some(value) => table.insert(key, Shared(value), 0),
                    None => gone(table.remove(&key)),
                };
                written.map_err(BpfError::map("write", name))?;
            }
        }
        self.announce(&changes.silenced, false)
    }

    fn announce(&mut self, ports: &[AnyAddress], on: bool) -> Result<(), KernelError> {
        let maps = self.bpf.maps_mut()?;
        let written = ports.iter().try_for_each(|port| maps.set_port_bit(*port, on));
        Ok(written.map_err(BpfError::map("write", map::PUBLISHED_PORTS))?)
    }

    /// Makes addresses known as the host's, and others not.
    pub(crate) fn set_host_addresses(
        &mut self,
        added: &[Address],
        removed: &[Address],
    ) -> Result<(), KernelError> {
        let known = &mut self.bpf.maps_mut()?.host_addresses;
        let error = BpfError::map("write", map::HOST_ADDRESSES);
        for address in added {
            known.insert(Shared(*address), 1, 0).map_err(&error)?;
        }
        for address in removed {
            gone(known.remove(&Shared(*address))).map_err(&error)?;
        }
        Ok(())
    }
}

/// Links, namespaces and programs: each step of a plan is one call.
impl Kernel {
    pub(crate) async fn create_bridge(&self, spec: &BridgeSpec) -> Result<(), KernelError> {
        Ok(self.netlink.create_bridge(spec).await?)
    }

    pub(crate) async fn create_pair(
        &self,
        spec: &PairSpec,
        namespace: &Path,
    ) -> Result<(), KernelError> {
        let namespace = netns::open(namespace)?;
        Ok(self.netlink.create_pair(spec, namespace.as_fd()).await?)
    }

    pub(crate) async fn change_link(
        &self,
        index: u32,
        name: &str,
        change: &LinkChange,
    ) -> Result<(), KernelError> {
        let changed = self.netlink.change_link(index, name, change).await;
        self.mirror.lock().await.doubt(index);
        Ok(changed?)
    }

    pub(crate) async fn delete_link(&self, name: &str) -> Result<(), KernelError> {
        Ok(self.netlink.delete_link(name).await?)
    }

    pub(crate) async fn set_address(
        &self,
        index: u32,
        address: IpNet,
        present: bool,
    ) -> Result<(), KernelError> {
        if present {
            Ok(self.netlink.add_address(index, address).await?)
        } else {
            Ok(self.netlink.remove_address(index, address).await?)
        }
    }

    pub(crate) async fn attach(
        &mut self,
        index: u32,
        name: &str,
        hook: Hook,
        mechanism: Mechanism,
    ) -> Result<(), KernelError> {
        Ok(self.bpf.attach(&self.netlink, (index, name), hook, mechanism).await?)
    }

    pub(crate) async fn detach(
        &self,
        index: u32,
        name: &str,
        hook: Hook,
        mechanism: Mechanism,
    ) -> Result<(), KernelError> {
        Ok(self.bpf.detach(&self.netlink, (index, name), hook, mechanism).await?)
    }

    /// A program that can be done without was refused. Answers why.
    pub(crate) fn remember_refusal(
        &mut self,
        index: u32,
        hook: Hook,
        mechanism: Mechanism,
        error: &BpfError,
    ) -> String {
        let why = error.reason();
        self.refused.insert((index, hook, mechanism), why.clone());
        why
    }

    /// Whether XDP runs at any uplink.
    pub(crate) fn has_xdp(&self) -> bool {
        self.bpf.has_xdp()
    }

    /// Programs that were refused may be tried again: what was in their way may be gone.
    pub(crate) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    pub(crate) fn load(&mut self) -> Result<(), KernelError> {
        self.bpf.load(self.settings).map_err(|error| match (&error, probe::obstacle()) {
            (BpfError::Load(_) | BpfError::Program { .. }, Some(missing)) => {
                KernelError::Feature { missing, source: Box::new(error) }
            }
            _ => error.into(),
        })
    }

    pub(crate) fn unload(&mut self) -> Result<(), KernelError> {
        // The places that rest go with the table.
        self.retired = Retired::default();
        Ok(self.bpf.unload()?)
    }

    pub(crate) fn forget_old_programs(&self) -> Result<(), KernelError> {
        Ok(self.bpf.forget_old_programs()?)
    }

    pub(crate) fn remove_pin(&self, path: &Path) -> Result<(), KernelError> {
        Ok(remove_pin(path)?)
    }
}
