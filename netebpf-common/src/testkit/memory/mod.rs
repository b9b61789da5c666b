//! Tables in memory, that behave as the kernel's do.
//!
//! **Invariant**: what [`Lookup::get`] returned stays readable as long as the tables themselves, also
//! after its entry was removed or replaced: the kernel's grace period, made endless. Before each
//! operation [`Chaos`] is asked, who can let an entry vanish, an insertion fail, or another packet come
//! in between.

mod arena;
mod chaos;
mod fifo;
mod flows;
mod host;
mod table;

pub use chaos::{Chaos, Fate, Operation, TableName};
pub use host::MemoryHost;

use crate::{
    abi::{
        Address, Endpoint, FirstFragment, Flow, FlowKey, FlowRef, Interface, Mapping, NetworkRange,
        NextHop, Peer, PeerKey, Published, PublishedKey, RecentFlow, ResolverPorts, Settings,
        SocketKey, Source, Usage, is_live,
    },
    datapath::{FlowStore, Lookup, Memo, Queue, State, Table},
};
use fifo::Fifo;
use flows::Flows;
use std::{cell::Cell, rc::Rc};
use table::Hash;

/// Every table.
#[derive(Debug)]
pub struct MemoryState {
    interfaces: Hash<u32, Interface>,
    endpoints: Hash<Address, Endpoint>,
    networks: Hash<(Address, u32), NetworkRange>,
    sources: Hash<(Source, u32), u32>,
    published: Hash<PublishedKey, Published>,
    published_ports: Hash<u32, u64>,
    local_ports: Hash<PublishedKey, Published>,
    host_addresses: Hash<Address, u32>,
    peers: Hash<PeerKey, Peer>,
    resolvers: Hash<u64, ResolverPorts>,
    homes: Hash<Address, u64>,
    index: Hash<FlowKey, FlowRef>,
    flows: Flows,
    embryonic: Fifo<FlowRef>,
    fragments: Hash<FlowKey, FirstFragment>,
    mappings: Hash<SocketKey, Mapping>,
    /// What each CPU remembers.
    memories: [CpuMemory; 2],
    /// The CPU that runs.
    cpu: Cell<usize>,
    usage: Hash<u32, Usage>,
    settings: Hash<u32, Settings>,
}

/// What one CPU remembers.
#[derive(Debug)]
struct CpuMemory {
    recent_flows: Vec<RecentFlow>,
    next_hops: Vec<NextHop>,
}

impl CpuMemory {
    fn new() -> Self {
        Self {
            recent_flows: (0..RecentFlow::PLACES).map(|_| RecentFlow::default()).collect(),
            next_hops: (0..NextHop::PLACES).map(|_| NextHop::default()).collect(),
        }
    }
}

impl MemoryState {
    /// Goes on as another CPU; which one it was before.
    pub fn run_on(&self, cpu: usize) -> usize {
        self.cpu.replace(cpu)
    }

    /// Empty tables with room for so many flows.
    pub fn new(places: u32, chaos: &Rc<Chaos>) -> Self {
        let state = Self {
            interfaces: Hash::new(TableName::Interfaces, chaos),
            endpoints: Hash::new(TableName::Endpoints, chaos),
            networks: Hash::new(TableName::Networks, chaos),
            sources: Hash::new(TableName::Sources, chaos),
            published: Hash::new(TableName::Published, chaos),
            published_ports: Hash::new(TableName::PublishedPorts, chaos),
            local_ports: Hash::new(TableName::LocalPorts, chaos),
            host_addresses: Hash::new(TableName::HostAddresses, chaos),
            peers: Hash::new(TableName::Peers, chaos),
            resolvers: Hash::new(TableName::Resolvers, chaos),
            homes: Hash::new(TableName::Homes, chaos),
            index: Hash::new(TableName::Index, chaos),
            flows: Flows::new(places, chaos),
            embryonic: Fifo::new(places as usize),
            fragments: Hash::new(TableName::Fragments, chaos),
            mappings: Hash::new(TableName::Mappings, chaos),
            memories: [CpuMemory::new(), CpuMemory::new()],
            cpu: Cell::new(0),
            usage: Hash::new(TableName::Usage, chaos),
            settings: Hash::new(TableName::Settings, chaos),
        };
        state.settings.put(0, Settings::default());
        state
    }

    /// Puts an interface in its place.
    pub fn set_interface(&self, interface: Interface) {
        self.interfaces.put(interface.ifindex, interface);
    }

    /// Takes an interface away.
    pub fn remove_interface(&self, ifindex: u32) {
        self.interfaces.take(&ifindex);
    }

    /// What stands for an interface, without asking [`Chaos`].
    pub fn interface_now(&self, ifindex: u32) -> Option<Interface> {
        self.interfaces.peek(&ifindex).copied()
    }

    /// Puts an endpoint's address.
    pub fn set_endpoint(&self, address: Address, endpoint: Endpoint) {
        self.endpoints.put(address, endpoint);
    }

    /// What stands for an address, without asking [`Chaos`].
    pub fn endpoint_now(&self, address: &Address) -> Option<Endpoint> {
        self.endpoints.peek(address).copied()
    }

    /// Takes an endpoint's address away.
    pub fn remove_endpoint(&self, address: &Address) {
        self.endpoints.take(address);
    }

    /// Says in which namespace an endpoint's address is.
    pub fn set_home(&self, address: Address, namespace: u64) {
        self.homes.put(address, namespace);
    }

    /// Puts a range of addresses, its length counted from the 128 bits of a key.
    pub fn set_network(&self, first: Address, length: u32, range: NetworkRange) {
        self.networks.put((first, length), range);
    }

    /// Lets a range use the ports of its group, its length counted from the first bit of the key.
    pub fn allow(&self, source: Source, length: u32) {
        self.sources.put((source, length), 1);
    }

    /// Says where the resolver of a namespace is.
    pub fn add_resolver(&self, namespace: u64, ports: ResolverPorts) {
        self.resolvers.put(namespace, ports);
    }

    /// Publishes a port.
    pub fn publish(&self, key: PublishedKey, published: Published, bit: (u32, u64)) {
        self.published.put(key, published);
        self.announce(bit);
    }

    /// Publishes a port for the host and its endpoints.
    pub fn publish_locally(&self, key: PublishedKey, published: Published, bit: (u32, u64)) {
        self.local_ports.put(key, published);
        self.announce(bit);
    }

    fn announce(&self, (word, mask): (u32, u64)) {
        let old = self.published_ports.peek(&word).copied().unwrap_or(0);
        self.published_ports.put(word, old | mask);
    }

    /// Gives the host an address.
    pub fn add_host_address(&self, address: Address) {
        self.host_addresses.put(address, 1);
    }

    /// What is remembered of sockets' other ends, without asking [`Chaos`].
    pub fn peers_now(&self) -> Vec<(PeerKey, Peer)> {
        self.peers.entries()
    }

    /// Changes the settings.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.put(0, settings);
    }

    /// The settings, without asking [`Chaos`].
    pub fn settings_now(&self) -> Settings {
        self.settings.peek(&0).copied().unwrap_or_default()
    }

    /// Makes a slot known, with its owner's generation.
    pub fn set_owner(&self, slot: u32, generation: u32) {
        match self.usage.peek(&slot) {
            Some(usage) => usage.generation.store(generation.into()),
            None => {
                let usage = Usage::default();
                usage.generation.store(generation.into());
                self.usage.put(slot, usage);
            }
        }
    }

    /// What the owner of a slot uses, without asking [`Chaos`].
    pub fn usage_now(&self, slot: u32) -> Option<&Usage> {
        self.usage.peek(&slot)
    }

    /// Leaves only so many free places for flows.
    pub fn set_free_places(&self, places: usize) {
        self.flows.set_free_places(places);
    }

    /// Ends a flow by its generation alone and leaves its index entries, as expiry does first.
    pub fn end_flow(&self, key: &FlowKey) {
        if let Some(entry) = self.index.peek(key)
            && let Some(flow) = self.flows.peek(entry.slot)
        {
            flow.generation.store(entry.generation.wrapping_add(1));
            if let Some(usage) = self.usage.peek(&flow.owner) {
                usage.closed.add(1);
                usage.lapsed.add(u64::from(flow.confirmed.load() == 0));
            }
        }
    }

    /// The index as it is.
    pub fn index_now(&self) -> Vec<(FlowKey, FlowRef)> {
        self.index.entries()
    }

    /// The flow at a place, without asking [`Chaos`].
    pub fn flow_now(&self, slot: u32) -> Option<&Flow> {
        self.flows.peek(slot)
    }

    /// The live flows whose endpoints are there.
    pub fn live_flows(&self) -> Vec<&Flow> {
        self.flows.all().filter(|flow| self.is_usable(flow)).collect()
    }

    fn is_usable(&self, flow: &Flow) -> bool {
        let endpoints = [(flow.owner, flow.owner_generation), (flow.peer, flow.peer_generation)];
        is_live(flow.generation.load())
            && endpoints.iter().all(|(slot, generation)| {
                let usage = self.usage.peek(slot);
                usage.is_some_and(|usage| usage.generation.load() == u64::from(*generation))
            })
    }

    /// How many places are free.
    pub fn free_places(&self) -> usize {
        self.flows.free_places()
    }

    /// Whether the tables contradict themselves: an index entry of a live flow's generation that is not
    /// one of that flow's two tuples; a place that is not as free as it looks; a live flow that is not known by both, unless `vanished` says
    /// that entries were taken away.
    ///
    /// # Errors
    ///
    /// What contradicts what.
    pub fn consistent(&self, vanished: bool) -> Result<(), String> {
        let mut found = 0;
        for (key, entry) in self.index.entries() {
            let Some(flow) = self.flows.peek(entry.slot) else {
                return Err(format!("{key:?} leads to place {}, which there is not", entry.slot));
            };
            if flow.generation.load() != entry.generation || !self.is_usable(flow) {
                continue;
            }
            found += 1;
            let own = flow.keys[entry.direction as usize];
            if own != key {
                return Err(format!("{key:?} leads to a flow with {own:?}"));
            }
        }
        if let Some(slot) = self.flows.wrongly_free() {
            return Err(format!("place {slot} is free, and somebody else's as well"));
        }
        let live = self.live_flows().len();
        if !vanished && found != 2 * live {
            return Err(format!("{live} live flows are known by {found} tuples"));
        }
        Ok(())
    }
}

/// Whether an address begins with so many bits, whole bytes of them.
fn holds(first: &[u8; 16], length: u32, address: &Address) -> bool {
    let whole = (length / 8) as usize;
    first[..whole] == address.octets()[..whole]
}

impl State for MemoryState {
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        self.interfaces.get(&ifindex)
    }

    fn endpoints(&self) -> &impl Lookup<Address, Endpoint> {
        &self.endpoints
    }

    fn range_of(&self, address: &Address) -> Option<&NetworkRange> {
        let holds = |(first, length): &(Address, u32)| holds(&first.octets(), *length, address);
        let longest = self.networks.keys().into_iter().filter(holds).max_by_key(|key| key.1)?;
        self.networks.get(&longest)
    }

    fn is_source(&self, group: u32, address: &Address) -> bool {
        let holds = |(source, length): &(Source, u32)| {
            source.group == group && holds(&source.address, *length - Source::GROUP_BITS, address)
        };
        let key = self.sources.keys().into_iter().find(holds);
        key.is_some_and(|key| self.sources.get(&key).is_some())
    }

    fn published(&self) -> &impl Lookup<PublishedKey, Published> {
        &self.published
    }

    fn published_ports(&self) -> &impl Lookup<u32, u64> {
        &self.published_ports
    }

    fn local_ports(&self) -> &impl Lookup<PublishedKey, Published> {
        &self.local_ports
    }

    fn host_addresses(&self) -> &impl Lookup<Address, u32> {
        &self.host_addresses
    }

    fn resolvers(&self) -> &impl Lookup<u64, ResolverPorts> {
        &self.resolvers
    }

    fn homes(&self) -> &impl Lookup<Address, u64> {
        &self.homes
    }

    fn peers(&self) -> &impl Memo<PeerKey, Peer> {
        &self.peers
    }

    fn index(&self) -> &impl Table<FlowKey, FlowRef> {
        &self.index
    }

    fn flows(&self) -> &impl FlowStore {
        &self.flows
    }

    fn embryonic(&self) -> &impl Queue<FlowRef> {
        &self.embryonic
    }

    fn fragments(&self) -> &impl Memo<FlowKey, FirstFragment> {
        &self.fragments
    }

    fn recent_flow(&self, place: u32) -> Option<&RecentFlow> {
        self.memories[self.cpu.get()].recent_flows.get(place as usize)
    }

    fn next_hop(&self, place: u32) -> Option<&NextHop> {
        self.memories[self.cpu.get()].next_hops.get(place as usize)
    }

    fn mappings(&self) -> &impl Memo<SocketKey, Mapping> {
        &self.mappings
    }

    fn usage(&self) -> &impl Lookup<u32, Usage> {
        &self.usage
    }

    fn settings(&self) -> Option<&Settings> {
        self.settings.get(&0)
    }
}
