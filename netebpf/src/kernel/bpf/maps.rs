//! The maps, as the user side holds them.

use super::{layout, mapping::Mapping, sys};
use crate::plan::{AnyAddress, SourceRange};
use aya::{
    Pod,
    maps::{
        Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray, Queue, lpm_trie,
    },
};
use netebpf_common::{
    abi::{self, FlowKey, FlowRef, Interface, NetworkRange, Prefix, PublishedPorts, map},
    verdict::{COUNTER_COUNT, Counters},
};
use std::{
    collections::{BTreeMap, HashSet},
    os::fd::AsFd as _,
    path::Path,
};

/// A type of the shared layouts, as aya wants it: `Pod` is aya's trait, the type is another crate's, so
/// neither can be told of the other without this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Shared<T>(pub T);

/// The types of `abi` that stand in maps by value.
trait Layout: Copy + 'static {}
impl Layout for abi::Address {}
impl Layout for abi::Endpoint {}
impl Layout for FlowKey {}
impl Layout for FlowRef {}
impl Layout for Interface {}
impl Layout for NetworkRange {}
impl Layout for abi::Published {}
impl Layout for abi::PublishedKey {}
impl Layout for abi::Settings {}
impl Layout for abi::Source {}
impl Layout for abi::ResolverPorts {}
impl Layout for abi::SocketFields {}

// SAFETY: every type with the private trait `Layout` is `repr(C)`, its size is asserted to have no
// hidden padding, and its fields are integers and byte arrays: every bit pattern is a value.
unsafe impl<T: Layout> Pod for Shared<T> {}

pub(super) type RangeKey = lpm_trie::Key<[u8; 16]>;
pub(super) type SourceKey = lpm_trie::Key<Shared<abi::Source>>;

/// Where ports lead.
pub(crate) type PortTable = HashMap<MapData, Shared<abi::PublishedKey>, Shared<abi::Published>>;

/// Handles of all maps.
pub(crate) struct Maps {
    pub(crate) interfaces: Array<MapData, Shared<Interface>>,
    pub(crate) endpoints: HashMap<MapData, Shared<abi::Address>, Shared<abi::Endpoint>>,
    networks: lpm_trie::LpmTrie<MapData, [u8; 16], Shared<NetworkRange>>,
    sources: lpm_trie::LpmTrie<MapData, Shared<abi::Source>, u32>,
    pub(crate) published: PortTable,
    published_ports: Array<MapData, u64>,
    pub(crate) local_ports: PortTable,
    pub(crate) resolvers: HashMap<MapData, u64, Shared<abi::ResolverPorts>>,
    pub(crate) homes: HashMap<MapData, Shared<abi::Address>, u64>,
    pub(crate) host_addresses: HashMap<MapData, Shared<abi::Address>, u32>,
    pub(crate) flow_index: HashMap<MapData, Shared<FlowKey>, Shared<FlowRef>>,
    pub(crate) flows: Mapping<abi::Flow>,
    pub(crate) free_flows: Queue<MapData, u32>,
    settings: Array<MapData, Shared<abi::Settings>>,
    pub(crate) usage: Mapping<abi::Usage>,
    counters: PerCpuArray<MapData, Counters>,
}

/// Why the maps cannot be used.
pub(crate) enum Unusable {
    /// A pin is not the map that it should be.
    Foreign(String),
    /// The kernel refused.
    Kernel(MapError),
}

impl From<MapError> for Unusable {
    fn from(error: MapError) -> Self {
        Self::Kernel(error)
    }
}

impl Maps {
    /// The names of all maps.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        map::ALL.into_iter()
    }

    /// Opens the maps pinned in `directory`; `None` where there is none, or not all.
    pub(crate) fn open(directory: &Path) -> Result<Option<Self>, Unusable> {
        if !Self::names().all(|name| directory.join(name).exists()) {
            return Ok(None);
        }
        let data =
            |name: &str| layout::open(&directory.join(name), name)?.map_err(Unusable::Foreign);
        let take = |name: &str| -> Result<Map, Unusable> { Ok(Map::from_map_data(data(name)?)?) };
        Ok(Some(Self {
            interfaces: take(map::INTERFACES)?.try_into()?,
            endpoints: take(map::ENDPOINTS)?.try_into()?,
            networks: take(map::NETWORKS)?.try_into()?,
            sources: take(map::SOURCES)?.try_into()?,
            published: take(map::PUBLISHED)?.try_into()?,
            published_ports: take(map::PUBLISHED_PORTS)?.try_into()?,
            local_ports: take(map::LOCAL_PORTS)?.try_into()?,
            resolvers: take(map::RESOLVERS)?.try_into()?,
            homes: take(map::HOMES)?.try_into()?,
            host_addresses: take(map::HOST_ADDRESSES)?.try_into()?,
            flow_index: take(map::FLOW_INDEX)?.try_into()?,
            flows: Mapping::of(&data(map::FLOWS)?)?,
            free_flows: take(map::FREE_FLOWS)?.try_into()?,
            settings: take(map::SETTINGS)?.try_into()?,
            usage: Mapping::of(&data(map::USAGE)?)?,
            counters: take(map::COUNTERS)?.try_into()?,
        }))
    }

    /// Every interface that stands in the table, by its index.
    pub(crate) fn read_interfaces(&self) -> Result<BTreeMap<u32, Interface>, MapError> {
        let mut found = BTreeMap::new();
        for entry in self.interfaces.iter() {
            let Shared(entry) = entry?;
            if entry.ifindex != 0 {
                found.insert(entry.ifindex, entry);
            }
        }
        Ok(found)
    }

    /// Every range.
    pub(crate) fn read_networks(
        &self,
    ) -> Result<std::collections::HashMap<Prefix, NetworkRange>, MapError> {
        let entry = |entry: Result<(RangeKey, Shared<NetworkRange>), MapError>| {
            let (key, Shared(range)) = entry?;
            Ok((Prefix { length: key.prefix_len(), address: abi::Address::new(key.data()) }, range))
        };
        self.networks.iter().map(entry).collect()
    }

    /// Puts or removes a range.
    pub(crate) fn set_network(
        &mut self,
        prefix: Prefix,
        range: Option<NetworkRange>,
    ) -> Result<(), MapError> {
        let key = RangeKey::new(prefix.length, prefix.address.octets());
        match range {
            Some(range) => self.networks.insert(&key, Shared(range), 0),
            None => gone(self.networks.remove(&key)),
        }
    }

    /// Every range of sources.
    pub(crate) fn read_sources(&self) -> Result<HashSet<SourceRange>, MapError> {
        let range = |key: Result<SourceKey, MapError>| {
            let key = key?;
            let Shared(source) = key.data();
            Ok(SourceRange { source, length: key.prefix_len() })
        };
        self.sources.keys().map(range).collect()
    }

    /// Puts or removes a range of sources.
    pub(crate) fn set_source(
        &mut self,
        range: &SourceRange,
        present: bool,
    ) -> Result<(), MapError> {
        let key = SourceKey::new(range.length, Shared(range.source));
        if present { self.sources.insert(&key, 1, 0) } else { gone(self.sources.remove(&key)) }
    }

    /// Sets a port's bit in the bitmap, or clears it.
    pub(crate) fn set_port_bit(
        &mut self,
        (protocol, port): AnyAddress,
        on: bool,
    ) -> Result<(), MapError> {
        let Some(protocol) = abi::Protocol::from_number(protocol) else { return Ok(()) };
        let (word, mask) = PublishedPorts::place(protocol, u16::from_be_bytes(port));
        let old = self.published_ports.get(&word, 0)?;
        let new = if on { old | mask } else { old & !mask };
        if new == old { Ok(()) } else { self.published_ports.set(word, new, 0) }
    }

    /// What the programs are told.
    pub(crate) fn settings(&self) -> Result<abi::Settings, MapError> {
        Ok(self.settings.get(&0, 0)?.0)
    }

    /// Tells the programs.
    pub(crate) fn set_settings(&mut self, settings: abi::Settings) -> Result<(), MapError> {
        self.settings.set(0, Shared(settings), 0)
    }

    /// Makes every place of the table of flows a free one: for a table that was just made.
    pub(crate) fn free_all_flows(&mut self) -> Result<(), MapError> {
        (0..self.flows.len()).try_for_each(|place| self.free_flows.push(place, 0))
    }

    /// Hands over every entry of the index of flows, marks among them, while programs put in and take out.
    pub(crate) fn each_index_entry(
        &self,
        each: impl FnMut(FlowKey, FlowRef),
    ) -> Result<(), MapError> {
        // SAFETY: both are layouts (see `Layout`), and the map was checked to have their sizes.
        Ok(unsafe { sys::each_entry(self.flow_index.map().fd().as_fd(), each) }?)
    }

    /// Where the resolvers are, by their namespaces' cookies.
    pub(crate) fn read_resolvers(&self) -> Result<BTreeMap<u64, abi::ResolverPorts>, MapError> {
        let mut found = BTreeMap::new();
        let each = |namespace, ports| {
            found.insert(namespace, ports);
        };
        // SAFETY: a number and a layout (see `Layout`), and the map was checked to have their sizes.
        unsafe { sys::each_entry(self.resolvers.map().fd().as_fd(), each) }?;
        Ok(found)
    }

    /// The counters of a slot, summed over the CPUs.
    pub(crate) fn counters(&self, slot: u32) -> Result<Counters, MapError> {
        let mut sum = [0; COUNTER_COUNT];
        for cpu in self.counters.get(&slot, 0)?.iter() {
            for (total, count) in sum.iter_mut().zip(cpu) {
                *total += count;
            }
        }
        Ok(sum)
    }

    /// Sets the counters of a slot to zero, for a new owner.
    pub(crate) fn clear_counters(&mut self, slot: u32) -> Result<(), MapError> {
        let cpus = self.counters.get(&slot, 0)?.len();
        let zero = aya::maps::PerCpuValues::try_from(vec![[0; COUNTER_COUNT]; cpus])
            .map_err(|source| MapError::from(std::io::Error::other(source)))?;
        self.counters.set(slot, zero, 0)
    }
}

/// Removed already is removed.
pub(crate) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}
