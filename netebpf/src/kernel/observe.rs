//! Reading what the kernel has.

use super::{
    BpfError, Kernel, KernelError, bpf::Maps, known::Known, netlink::Netlink, netns, sysctl,
    uplinks,
};
use crate::{
    model::Desired,
    plan::{Action, Link, Observed, Tables, sysctls},
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
        let observed = self.read(desired, saved_sysctls, &mut known).await?;
        self.known = known;
        self.planned_uplinks.clone_from(&observed.uplinks);
        Ok(observed)
    }

    /// Everything is read again with the next plan.
    pub fn look_again(&mut self) {
        self.known = Known::default();
    }

    /// A step was performed.
    pub(crate) fn follow(&mut self, action: &Action) {
        self.known.follow(action);
    }

    /// What stands in the maps, as far as it is known; `None` where there are none.
    pub(super) fn tables(&self) -> Result<Option<Tables>, KernelError> {
        let Ok(maps) = self.bpf.maps() else { return Ok(None) };
        let known = self.known.tables.clone();
        Ok(Some(known.map_or_else(|| read_tables(maps), Ok)?))
    }

    /// What [`Self::observe`] reads, with what is known given, which becomes what was read.
    pub(super) async fn read(
        &self,
        desired: &Desired,
        saved_sysctls: BTreeMap<String, String>,
        known: &mut Known,
    ) -> Result<Observed, KernelError> {
        let facts = self.netlink.facts().await?;
        let ours = |link: &Link| self.is_ours(link);
        let uplinks = uplinks::pick(&facts, &desired.uplinks, &self.uplinks, ours);
        let ours = facts.links.values().filter(|link| self.is_ours(link));
        let may_carry_filters: Vec<u32> =
            ours.clone().map(|link| link.index).chain(uplinks.iter().map(|u| u.index)).collect();
        let tables = match (self.bpf.maps(), known.tables.take()) {
            (Ok(_), Some(tables)) => tables,
            (Ok(maps), None) => read_tables(maps)?,
            (Err(_), _) => Tables::default(),
        };
        known.tables = Some(tables.clone());
        let registered = tables.interfaces.keys().copied();
        let existing = |index: &u32| facts.links.values().any(|link| link.index == *index);
        let may_carry_filters: BTreeSet<u32> =
            may_carry_filters.into_iter().chain(registered.filter(existing)).collect();
        let (hooks, dead_pins) =
            self.bpf.attached(&self.netlink, &may_carry_filters, known.hooks.as_ref()).await?;
        known.hooks = Some(hooks.clone());

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

        let (own_namespaces, namespaces) = self.read_namespaces(desired, known).await?;
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

    /// The namespaces that we made, and the interfaces inside those that are ours or wanted.
    async fn read_namespaces(
        &self,
        desired: &Desired,
        known: &mut Known,
    ) -> Result<(BTreeSet<PathBuf>, BTreeMap<PathBuf, BTreeMap<String, Link>>), KernelError> {
        let mut stamps = Stamps::new();
        let wanted = desired.endpoints.values().map(|endpoint| endpoint.namespace.path());
        let own = known.own_namespaces.take();
        look_at(&mut stamps, wanted.chain(own.iter().flatten().map(PathBuf::as_path)))?;
        let own = match own {
            Some(own) if !stamps.iter().any(|(path, now)| known.is_another(path, *now)) => {
                // One that came since may be somebody else's.
                let came = |path: &PathBuf| !known.namespaces.contains_key(path);
                let mut ours = BTreeSet::new();
                for path in own {
                    if !came(&path) || self.owns(&path)? {
                        ours.insert(path);
                    }
                }
                ours
            }
            _ => self.own_namespaces()?,
        };
        look_at(&mut stamps, own.iter().map(PathBuf::as_path))?;
        let mut namespaces = BTreeMap::new();
        for (path, stamp) in stamps {
            let Some(stamp) = stamp else { continue };
            let links = match known.inside(&path, stamp) {
                Some(links) => links.clone(),
                None => Netlink::in_namespace(&path)?.facts().await?.links,
            };
            namespaces.insert(path, (stamp, links));
        }
        known.own_namespaces = Some(own.clone());
        known.namespaces.clone_from(&namespaces);
        let links = namespaces.into_iter().map(|(path, (_, links))| (path, links)).collect();
        Ok((own, links))
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

/// The namespaces at some paths.
type Stamps = BTreeMap<PathBuf, Option<netns::Stamp>>;

/// Looks at those that were not looked at yet.
fn look_at<'a>(
    stamps: &mut Stamps,
    mut paths: impl Iterator<Item = &'a Path>,
) -> Result<(), KernelError> {
    paths.try_for_each(|path| {
        if !stamps.contains_key(path) {
            stamps.insert(path.to_owned(), netns::stamp(path)?);
        }
        Ok(())
    })
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
