//! The maps of a loaded object, filled as a layout says.

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, MapData, PerCpuArray, PerCpuValues, Queue,
        lpm_trie::{Key, LpmTrie},
    },
};
use netebpf_common::{
    abi::{
        Address, Endpoint, FirstFragment, Flow, FlowKey, FlowRef, Interface, Mapping, NetworkRange,
        NextHop, Protocol, Published, PublishedKey, PublishedPorts, RecentFlow, Settings,
        SocketKey, Source, Way, is_live, map,
    },
    testkit::{Layout, Row, Tables},
    verdict::{COUNTER_COUNT, Counters},
};
use std::mem::offset_of;

/// Places in the table of flows: as many as the layout can ask for.
pub(crate) const PLACES: u32 = 64;

const FLOW_BYTES: usize = size_of::<Flow>();

/// A type of the shared layouts, as aya wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Shared<T>(T);

trait Plain: Copy + 'static {}
impl Plain for Address {}
impl Plain for Endpoint {}
impl Plain for FirstFragment {}
impl Plain for FlowKey {}
impl Plain for Mapping {}
impl Plain for SocketKey {}
impl Plain for FlowRef {}
impl Plain for Interface {}
impl Plain for NetworkRange {}
impl Plain for Published {}
impl Plain for PublishedKey {}
impl Plain for Settings {}

// SAFETY: the types with the private trait are `repr(C)` without hidden padding, of integers and bytes.
unsafe impl<T: Plain> Pod for Shared<T> {}

/// All that a CPU remembers of routes.
type NextHops = [u64; size_of::<NextHop>() / 8 * NextHop::PLACES as usize];

/// All that a CPU remembers of flows.
type RecentFlows = [u64; size_of::<RecentFlow>() / 8 * RecentFlow::PLACES as usize];

fn cpus() -> Outcome<usize> {
    aya::util::nr_cpus().map_err(|(what, error)| format!("{what}: {error}"))
}

/// Handles.
pub(crate) struct Maps {
    interfaces: Array<MapData, Shared<Interface>>,
    endpoints: HashMap<MapData, Shared<Address>, Shared<Endpoint>>,
    networks: LpmTrie<MapData, [u8; 16], Shared<NetworkRange>>,
    sources: LpmTrie<MapData, [u8; 20], u32>,
    published: HashMap<MapData, Shared<PublishedKey>, Shared<Published>>,
    published_ports: Array<MapData, u64>,
    local_ports: HashMap<MapData, Shared<PublishedKey>, Shared<Published>>,
    host_addresses: HashMap<MapData, Shared<Address>, u32>,
    index: HashMap<MapData, Shared<FlowKey>, Shared<FlowRef>>,
    flows: Array<MapData, [u8; FLOW_BYTES]>,
    fragments: HashMap<MapData, Shared<FlowKey>, Shared<FirstFragment>>,
    mappings: HashMap<MapData, Shared<SocketKey>, Shared<Mapping>>,
    free_flows: Queue<MapData, u32>,
    settings: Array<MapData, Shared<Settings>>,
    embryonic: Queue<MapData, Shared<FlowRef>>,
    /// Flows opened, closed, confirmed and lapsed, the owner's generation, and when it was last answered.
    usage: Array<MapData, [u64; 6]>,
    counters: PerCpuArray<MapData, Counters>,
    next_hops: PerCpuArray<MapData, NextHops>,
    recent_flows: PerCpuArray<MapData, RecentFlows>,
    arranged: Option<Layout>,
}

/// Where a flow has times in it.
const TIMES: [usize; 3] = [
    offset_of!(Flow, created),
    offset_of!(Flow, ways) + offset_of!(Way, last_seen),
    offset_of!(Flow, ways) + size_of::<Way>() + offset_of!(Way, last_seen),
];

type Outcome<T> = Result<T, String>;

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Maps {
    /// Takes the maps out of an object.
    pub(crate) fn of(object: &mut Ebpf) -> Outcome<Self> {
        let mut take = |name: &str| object.take_map(name).ok_or(format!("no map {name}"));
        Ok(Self {
            interfaces: take(map::INTERFACES)?.try_into().map_err(said)?,
            endpoints: take(map::ENDPOINTS)?.try_into().map_err(said)?,
            networks: take(map::NETWORKS)?.try_into().map_err(said)?,
            sources: take(map::SOURCES)?.try_into().map_err(said)?,
            published: take(map::PUBLISHED)?.try_into().map_err(said)?,
            published_ports: take(map::PUBLISHED_PORTS)?.try_into().map_err(said)?,
            local_ports: take(map::LOCAL_PORTS)?.try_into().map_err(said)?,
            host_addresses: take(map::HOST_ADDRESSES)?.try_into().map_err(said)?,
            index: take(map::FLOW_INDEX)?.try_into().map_err(said)?,
            flows: take(map::FLOWS)?.try_into().map_err(said)?,
            mappings: take(map::MAPPINGS)?.try_into().map_err(said)?,
            fragments: take(map::FRAGMENTS)?.try_into().map_err(said)?,
            free_flows: take(map::FREE_FLOWS)?.try_into().map_err(said)?,
            embryonic: take(map::EMBRYONIC)?.try_into().map_err(said)?,
            settings: take(map::SETTINGS)?.try_into().map_err(said)?,
            usage: take(map::USAGE)?.try_into().map_err(said)?,
            counters: take(map::COUNTERS)?.try_into().map_err(said)?,
            next_hops: take("NEXT_HOPS")?.try_into().map_err(said)?,
            recent_flows: take("RECENT_FLOWS")?.try_into().map_err(said)?,
            arranged: None,
        })
    }

    /// Forgets every flow and everything arranged.
    pub(crate) fn clear(&mut self) -> Outcome<()> {
        let keys: Vec<_> = self.index.keys().collect::<Result<_, _>>().map_err(said)?;
        for key in keys {
            self.index.remove(&key).map_err(said)?;
        }
        let keys: Vec<_> = self.fragments.keys().collect::<Result<_, _>>().map_err(said)?;
        for key in keys {
            self.fragments.remove(&key).map_err(said)?;
        }
        let keys: Vec<_> = self.mappings.keys().collect::<Result<_, _>>().map_err(said)?;
        for key in keys {
            self.mappings.remove(&key).map_err(said)?;
        }
        self.forget_routes()?;
        self.forget_flows()?;
        while self.embryonic.pop(0).is_ok() {}
        for slot in 0..PLACES {
            self.flows.set(slot, [0; FLOW_BYTES], 0).map_err(said)?;
        }
        let Some(old) = self.arranged.take() else { return Ok(()) };
        for ifindex in old.interfaces.keys() {
            self.interfaces.set(*ifindex, Shared(Interface::FREE), 0).map_err(said)?;
        }
        for address in old.endpoints.keys() {
            self.endpoints.remove(&Shared(*address)).map_err(said)?;
        }
        for key in old.published.keys() {
            self.published.remove(&Shared(*key)).map_err(said)?;
            self.local_ports.remove(&Shared(key.on_every_address())).map_err(said)?;
            let (word, _) = port_bit(key)?;
            self.published_ports.set(word, 0, 0).map_err(said)?;
        }
        for (prefix, _) in &old.networks {
            let key = Key::new(prefix.length, prefix.address.octets());
            // Some ranges are there twice, of several networks.
            let _ = self.networks.remove(&key);
        }
        for (source, length) in &old.sources {
            self.sources.remove(&source_key(source, *length)).map_err(said)?;
        }
        for slot in old.owners.keys() {
            self.usage.set(*slot, [0; 6], 0).map_err(said)?;
        }
        Ok(())
    }

    /// The next packet to anywhere asks the kernel for its route.
    fn forget_routes(&mut self) -> Outcome<()> {
        let nothing = vec![[0; size_of::<NextHops>() / 8]; cpus()?];
        let nothing = PerCpuValues::try_from(nothing).map_err(said)?;
        self.next_hops.set(0, nothing, 0).map_err(said)
    }

    /// The next packet of any flow finds it in the index.
    pub(crate) fn forget_flows(&mut self) -> Outcome<()> {
        let nothing = vec![[0; size_of::<RecentFlows>() / 8]; cpus()?];
        let nothing = PerCpuValues::try_from(nothing).map_err(said)?;
        self.recent_flows.set(0, nothing, 0).map_err(said)
    }

    /// Makes them as the layout says; flows stay.
    pub(crate) fn arrange(&mut self, layout: &Layout) -> Outcome<()> {
        let before = self.arranged.replace(layout.clone());
        for ifindex in before.iter().flat_map(|before| before.interfaces.keys()) {
            if !layout.interfaces.contains_key(ifindex) {
                self.interfaces.set(*ifindex, Shared(Interface::FREE), 0).map_err(said)?;
            }
        }
        for address in before.iter().flat_map(|before| before.endpoints.keys()) {
            if !layout.endpoints.contains_key(address) {
                self.endpoints.remove(&Shared(*address)).map_err(said)?;
            }
        }
        for (ifindex, interface) in &layout.interfaces {
            self.interfaces.set(*ifindex, Shared(*interface), 0).map_err(said)?;
        }
        for (address, endpoint) in &layout.endpoints {
            self.endpoints.insert(Shared(*address), Shared(*endpoint), 0).map_err(said)?;
        }
        for (prefix, range) in &layout.networks {
            let key = Key::new(prefix.length, prefix.address.octets());
            self.networks.insert(&key, Shared(*range), 0).map_err(said)?;
        }
        for (source, length) in &layout.sources {
            self.sources.insert(&source_key(source, *length), 1, 0).map_err(said)?;
        }
        for (key, published) in &layout.published {
            self.published.insert(Shared(*key), Shared(*published), 0).map_err(said)?;
            let local = key.on_every_address();
            self.local_ports.insert(Shared(local), Shared(*published), 0).map_err(said)?;
            let (word, mask) = port_bit(key)?;
            let old = self.published_ports.get(&word, 0).map_err(said)?;
            self.published_ports.set(word, old | mask, 0).map_err(said)?;
        }
        for address in layout.host_addresses() {
            self.host_addresses.insert(Shared(address), 1, 0).map_err(said)?;
        }
        for (slot, generation) in &layout.owners {
            let mut usage = self.usage.get(slot, 0).map_err(said)?;
            usage[4] = u64::from(*generation);
            self.usage.set(*slot, usage, 0).map_err(said)?;
        }
        self.settings.set(0, Shared(layout.settings), 0).map_err(said)?;
        if before.is_none_or(|before| before.places != layout.places) {
            self.set_free_places(layout.places as u32)?;
        }
        Ok(())
    }

    fn set_free_places(&mut self, places: u32) -> Outcome<()> {
        while self.free_flows.pop(0).is_ok() {}
        (0..places).try_for_each(|place| self.free_flows.push(place, 0)).map_err(said)
    }

    /// Lets time go by: whatever was seen at some time was seen that much earlier.
    pub(crate) fn age(&mut self, seconds: u64) -> Outcome<()> {
        let earlier = |then: u64| then.wrapping_sub(seconds * 1_000_000_000);
        for slot in 0..PLACES {
            let mut bytes = self.flows.get(&slot, 0).map_err(said)?;
            for at in TIMES {
                let word = &mut bytes[at..at + 8];
                let then = u64::from_ne_bytes(word.try_into().expect("eight bytes"));
                word.copy_from_slice(&earlier(then).to_ne_bytes());
            }
            self.flows.set(slot, bytes, 0).map_err(said)?;
        }
        let first: Vec<_> = self.fragments.iter().collect::<Result<_, _>>().map_err(said)?;
        for (key, Shared(first)) in first {
            let first = FirstFragment { seen: earlier(first.seen), ..first };
            self.fragments.insert(key, Shared(first), 0).map_err(said)?;
        }
        let mappings: Vec<_> = self.mappings.iter().collect::<Result<_, _>>().map_err(said)?;
        for (key, Shared(mapping)) in mappings {
            let mapping = Mapping { seen: earlier(mapping.seen), ..mapping };
            self.mappings.insert(key, Shared(mapping), 0).map_err(said)?;
        }
        let hops: PerCpuValues<NextHops> = self.next_hops.get(&0, 0).map_err(said)?;
        let mut hops = hops.to_vec();
        for hop in hops.iter_mut().flat_map(|hops| hops.chunks_mut(size_of::<NextHop>() / 8)) {
            let asked = &mut hop[offset_of!(NextHop, asked) / 8];
            *asked = earlier(*asked);
        }
        self.next_hops.set(0, PerCpuValues::try_from(hops).map_err(said)?, 0).map_err(said)
    }

    /// Ends the flow with this tuple; its index entries stay.
    pub(crate) fn end_flow(&mut self, key: &FlowKey) -> Outcome<()> {
        let Shared(entry) = self.index.get(&Shared(*key), 0).map_err(said)?;
        let mut bytes = self.flows.get(&entry.slot, 0).map_err(said)?;
        let Flow { owner, confirmed, .. } = flow(&bytes);
        bytes[..8].copy_from_slice(&(entry.generation + 1).to_ne_bytes());
        self.flows.set(entry.slot, bytes, 0).map_err(said)?;
        let mut usage = self.usage.get(&owner, 0).map_err(said)?;
        usage[1] += 1;
        usage[3] += u64::from(confirmed.load() == 0);
        self.usage.set(owner, usage, 0).map_err(said)
    }

    /// The counters of an interface that is ours, over all CPUs.
    pub(crate) fn counters(&self, ifindex: u32) -> Outcome<Option<Counters>> {
        let layout = self.arranged.as_ref().ok_or("nothing is arranged")?;
        let Some(interface) = layout.interfaces.get(&ifindex) else { return Ok(None) };
        let all: PerCpuValues<Counters> = self.counters.get(&interface.slot, 0).map_err(said)?;
        let mut sum = [0; COUNTER_COUNT];
        for cpu in all.iter() {
            sum.iter_mut().zip(cpu).for_each(|(sum, counter)| *sum += counter);
        }
        Ok(Some(sum))
    }

    /// What the tables hold.
    pub(crate) fn tables(&self) -> Outcome<Tables> {
        let layout = self.arranged.as_ref().ok_or("nothing is arranged")?;
        let mut tables = Tables { index: self.index.keys().count(), ..Tables::default() };
        for slot in 0..PLACES {
            let flow = flow(&self.flows.get(&slot, 0).map_err(said)?);
            let endpoints =
                [(flow.owner, flow.owner_generation), (flow.peer, flow.peer_generation)];
            let is_there =
                |(slot, generation): &(u32, u32)| layout.owners.get(slot) == Some(generation);
            let current = endpoints.iter().all(is_there);
            if is_live(flow.generation.load()) && current {
                tables.flows.push(Row::of(&flow));
            }
        }
        for slot in layout.owners.keys() {
            let [counts @ .., _, _] = self.usage.get(slot, 0).map_err(said)?;
            if counts[0] != 0 {
                tables.usage.push((*slot, counts));
            }
        }
        Ok(tables.sorted())
    }
}

fn source_key(source: &Source, length: u32) -> Key<[u8; 20]> {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&source.group.to_ne_bytes());
    bytes[4..].copy_from_slice(&source.address);
    Key::new(length, bytes)
}

fn port_bit(key: &PublishedKey) -> Outcome<(u32, u64)> {
    Protocol::from_number(key.protocol)
        .map(|protocol| PublishedPorts::place(protocol, u16::from_be_bytes(key.port)))
        .ok_or(format!("{key:?} has no port"))
}

fn flow(bytes: &[u8; FLOW_BYTES]) -> Flow {
    // SAFETY: as many bytes as the type has, and every bit pattern is a value: integers, bytes, and
    // atomics of integers. The copy is ours alone.
    unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) }
}
