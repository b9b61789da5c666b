//! Reading what the kernel has.

use super::{
    BpfError, Hook, Kernel, KernelError, Purpose,
    bpf::Maps,
    features,
    known::{Known, Settled},
    netlink::Netlink,
    netns, uplinks,
};
use crate::{
    model::Desired,
    plan::{Action, Link, Observed, Scope, Tables, sysctls},
};
use netebpf_common::abi::{Usage, map};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

impl Kernel {
    /// Everything that a plan for `desired` depends on. `saved_sysctls` is what the state has of values
    /// from before our changes. What is known is not read again.
    pub async fn observe(
        &mut self,
        desired: &Desired,
        saved_sysctls: BTreeMap<String, String>,
    ) -> Result<Observed, KernelError> {
        let mut known = std::mem::take(&mut self.known);
        self.notice(&mut known).await?;
        let moved = self.moved(Purpose::Plans);
        known.notice_namespaces(desired, &moved);
        let observed = self.read(desired, saved_sysctls, &mut known).await?;
        self.known = known;
        self.planned =
            Some(Settled { desired: desired.clone(), uplinks: observed.uplinks.clone() });
        Ok(observed)
    }

    /// Everything is read again with the next plan.
    pub fn look_again(&mut self) {
        self.known = Known::default();
        self.mirror.get_mut().forget();
        self.namespaces.look_again();
    }

    /// A step was performed.
    pub(crate) fn follow(&mut self, action: &Action) {
        self.known.follow(action);
    }

    /// The last plan was performed, to its end.
    pub(crate) fn settle(&mut self) {
        let Some(settled) = self.planned.take() else { return };
        self.uplinks.clone_from(&settled.uplinks);
        self.known.settle(settled);
    }

    /// What stands in the maps, as far as it is known; `None` where there are none.
    pub(super) fn tables(&self) -> Result<Option<Tables>, KernelError> {
        let Ok(maps) = self.bpf.maps() else { return Ok(None) };
        let known = self.known.tables.clone();
        Ok(Some(known.map_or_else(|| read_tables(maps), Ok)?))
    }

    /// Whose interfaces changed, by whomever.
    async fn notice(&mut self, known: &mut Known) -> Result<(), KernelError> {
        let mirror = self.mirror.get_mut();
        let links = mirror.links(&self.netlink).await?;
        let there = |index: u32| index == Hook::NO_INTERFACE || links.contains_key(&index);
        self.refused.retain(|(index, ..), _| there(*index));
        match mirror.take_changed() {
            Some(changed) => {
                let touched = changed.iter().filter_map(|link| self.endpoint_of(link));
                known.touched.extend(touched.map(ToOwned::to_owned));
            }
            None => known.settled = None,
        }
        Ok(())
    }

    /// What [`Self::observe`] reads, with what is known given, which becomes what was read.
    pub(super) async fn read(
        &self,
        desired: &Desired,
        saved_sysctls: BTreeMap<String, String>,
        known: &mut Known,
    ) -> Result<Observed, KernelError> {
        let host = self.host().await?;
        let mut uplinks =
            uplinks::pick(&host, &desired.uplinks, &self.uplinks, |l| self.is_ours(l));
        for uplink in &mut uplinks {
            uplink.joins = features::joins(&uplink.name);
        }
        let mut mirror = self.mirror.lock().await;
        let links = mirror.links(&self.netlink).await?;
        let of_endpoints: BTreeMap<u32, &str> =
            links.values().filter_map(|link| Some((link.index, self.endpoint_of(link)?))).collect();
        known.tables = Some(match (self.bpf.maps(), known.tables.take()) {
            (Ok(_), Some(tables)) => tables,
            (Ok(maps), None) => read_tables(maps)?,
            (Err(_), _) => Tables::default(),
        });

        let ours = host.links.values().filter(|link| self.is_ours(link));
        let carriers = ours.clone().map(|link| link.index).chain(uplinks.iter().map(|u| u.index));
        let registered = known.tables.iter().flat_map(|tables| tables.interfaces.keys().copied());
        let registered = registered.filter(|index| links.contains_key(index));
        let carriers = carriers.chain(of_endpoints.keys().copied()).chain(registered).collect();
        let (hooks, dead_pins) =
            self.bpf.attached(&self.netlink, &carriers, known.hooks.as_ref()).await?;
        known.notice_hooks(&hooks, |index| of_endpoints.get(&index).copied());
        known.hooks = Some(hooks);

        let bridges = ours.filter(|link| link.kind.as_deref() == Some("bridge"));
        let interfaces =
            bridges.map(|l| l.name.as_str()).chain(uplinks.iter().map(|u| u.name.as_str()));
        let mut sysctl_values = BTreeMap::new();
        for name in sysctls::relevant(interfaces) {
            if let Some(value) = self.sysctls.read(&name)? {
                sysctl_values.insert(name, value);
            }
        }
        self.read_forwarding(&host.links, &mut sysctl_values)?;

        let as_it_was = self.bpf.is_loaded() && self.bpf.foreign().is_none();
        let scope = if as_it_was { known.scope(desired, &uplinks) } else { Scope::Everything };
        let (own_namespaces, namespaces) = self.read_namespaces(desired, &scope, known).await?;
        let (covered, others): (Vec<_>, Vec<_>) =
            of_endpoints.into_iter().partition(|(_, endpoint)| scope.covers(endpoint));
        let others: BTreeSet<u32> = others.into_iter().map(|(index, _)| index).collect();
        let hooks = known.hooks.iter().flatten().map(|(at, attached)| (*at, *attached));
        let hooks = hooks.filter(|((index, _), _)| !others.contains(index)).collect();
        let (tables, others) = known.narrow(desired, &scope, others);
        let covered = covered.into_iter().filter_map(|(index, _)| links.get(&index).cloned());
        let covered = covered.map(|link| (link.name.clone(), link));
        Ok(Observed {
            scope,
            others,
            mark: self.instance.mark(),
            loaded: self.bpf.is_loaded(),
            pinned: self.bpf.is_pinned(),
            old_programs: self.bpf.has_old_programs(),
            foreign_pin: self.bpf.foreign().map(ToOwned::to_owned),
            tcx: self.bpf.has_tcx(),
            generations: self.generations(),
            links: host.links.into_iter().chain(covered).collect(),
            uplinks,
            namespaces,
            own_namespaces,
            tables,
            hooks,
            refused: self.refused.clone(),
            dead_pins,
            sysctls: sysctl_values,
            saved_sysctls,
            no_masquerade: self.no_masquerade.clone(),
            no_socket_hooks: self.no_socket_hooks(),
            no_shortcut: self.no_shortcut(),
            no_netkit: self.no_netkit(desired).await?,
        })
    }

    /// Of the endpoints that `scope` covers: the namespaces that we made, and the interfaces inside those that are ours or
    /// wanted.
    async fn read_namespaces(
        &self,
        desired: &Desired,
        scope: &Scope,
        known: &mut Known,
    ) -> Result<(BTreeSet<PathBuf>, BTreeMap<PathBuf, BTreeMap<String, Link>>), KernelError> {
        let of = |all: &Desired| -> Vec<PathBuf> {
            let endpoints = scope.endpoints(all).filter(|e| !e.namespace.is_shared());
            endpoints.map(|endpoint| endpoint.namespace.path().to_owned()).collect()
        };
        let before = known.settled.as_ref().map(|settled| of(&settled.desired));
        let before: BTreeSet<PathBuf> = before.into_iter().flatten().collect();
        let mut paths: BTreeSet<PathBuf> = before.iter().cloned().chain(of(desired)).collect();
        let mut own = BTreeSet::new();
        if *scope == Scope::Everything {
            own = self.own_namespaces()?;
            paths.extend(own.iter().cloned());
        } else {
            for path in &paths {
                own.extend(self.owns(path)?.then(|| path.clone()));
            }
        }
        let host = netns::stamp(Path::new("/proc/self/ns/net"))?;
        let mut found = BTreeMap::new();
        for path in paths {
            // What led to an endpoint's namespace may lead to the host's by now, where nothing is to be made.
            let Some(stamp) = netns::stamp(&path)?.filter(|stamp| Some(*stamp) != host) else {
                known.namespaces.remove(&path);
                continue;
            };
            // Of a path that was only asked about nobody follows what happens there.
            let known_links = known.inside(&path, stamp).filter(|_| before.contains(&path));
            let links = match known_links {
                Some(links) => links.clone(),
                None => Netlink::in_namespace(&path)?.facts().await?.links,
            };
            known.namespaces.insert(path.clone(), (stamp, links.clone()));
            found.insert(path, links);
        }
        Ok((own, found))
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
            if let Some(value) = self.sysctls.read(&name)? {
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
