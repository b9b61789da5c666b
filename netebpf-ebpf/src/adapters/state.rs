//! Tables: BPF maps.

use super::{Query, Room};
use crate::maps;
use aya_ebpf::{
    bindings::{BPF_EXIST, BPF_NOEXIST},
    helpers::generated::{bpf_map_peek_elem, bpf_map_pop_elem},
    maps::{Array, HashMap, LruHashMap, Queue, lpm_trie::Key},
};
use core::ptr;
use netebpf_common::{
    abi::{
        Address, Endpoint, FirstFragment, Flow, FlowKey, FlowRef, INTERFACE_TABLE_SIZE, Interface,
        Mapping, NetworkRange, NextHop, Peer, PeerKey, Published, PublishedKey, RecentFlow,
        ResolverPorts, Settings, SocketKey, Source, Usage,
    },
    datapath::{self, FlowStore, Insertion, Lookup, Memo, State, Table},
};

/// `-EEXIST`.
const EEXIST: i32 = -17;

/// A hash.
pub struct Hash<K: 'static, V: 'static>(&'static HashMap<K, V>);

impl<K, V> Lookup<K, V> for Hash<K, V> {
    #[inline(always)]
    fn get(&self, key: &K) -> Option<&V> {
        // SAFETY: values of these maps are read, or changed through atomics. An entry that is removed
        // meanwhile stays readable until the program ends (RCU), and one that is used again at once is
        // an entry of the same type.
        unsafe { self.0.get(key) }
    }
}

impl<K, V> Table<K, V> for Hash<K, V> {
    #[inline(always)]
    fn insert_new(&self, key: &K, value: &V) -> Insertion {
        match self.0.insert(key, value, u64::from(BPF_NOEXIST)) {
            Ok(()) => Insertion::Inserted,
            Err(EEXIST) => Insertion::Exists,
            Err(_) => Insertion::Full,
        }
    }

    #[inline(always)]
    fn remove(&self, key: &K) {
        // Gone already is as good.
        let _ = self.0.remove(key);
    }
}

/// A hash that forgets.
pub struct Lru<K: 'static, V: 'static>(&'static LruHashMap<K, V>);

impl<K, V> Lookup<K, V> for Lru<K, V> {
    #[inline(always)]
    fn get(&self, key: &K) -> Option<&V> {
        // SAFETY: as above. An entry may be used again while it is read, for one of the same type.
        unsafe { self.0.get(key) }
    }
}

impl<K, V> Memo<K, V> for Lru<K, V> {
    #[inline(always)]
    fn put(&self, key: &K, value: &V) {
        // Who is not remembered is not found.
        let _ = self.0.insert(key, value, 0);
    }

    #[inline(always)]
    fn forget(&self, key: &K) {
        // Gone already is as good.
        let _ = self.0.remove(key);
    }
}

/// An array.
pub struct Indexed<V: 'static>(&'static Array<V>);

impl<V> Lookup<u32, V> for Indexed<V> {
    #[inline(always)]
    fn get(&self, index: &u32) -> Option<&V> {
        self.0.get(*index)
    }
}

/// A queue.
pub struct Fifo<V: 'static>(&'static Queue<V>);

impl<V> datapath::Queue<V> for Fifo<V> {
    #[inline(always)]
    fn push(&self, value: &V) {
        // With this flag it does not fail for want of room.
        let _ = self.0.push(value, u64::from(BPF_EXIST));
    }

    #[inline(always)]
    fn peek(&self, first: &mut V) -> bool {
        let map = ptr::from_ref(self.0).cast_mut().cast();
        // SAFETY: the map is one of values of this type.
        unsafe { bpf_map_peek_elem(map, ptr::from_mut(first).cast()) == 0 }
    }

    #[inline(always)]
    fn pop(&self, first: &mut V) -> bool {
        let map = ptr::from_ref(self.0).cast_mut().cast();
        // SAFETY: the map is one of values of this type.
        unsafe { bpf_map_pop_elem(map, ptr::from_mut(first).cast()) == 0 }
    }
}

/// The array of flows.
pub struct Flows;

impl Lookup<u32, Flow> for Flows {
    #[inline(always)]
    fn get(&self, slot: &u32) -> Option<&Flow> {
        maps::FLOWS.get(*slot)
    }
}

impl FlowStore for Flows {
    #[inline(always)]
    fn claim(&self) -> Option<u32> {
        maps::FREE_FLOWS.pop().ok().flatten()
    }

    #[inline(always)]
    fn release(&self, slot: u32) {
        // The queue has room for every place there is.
        let _ = maps::FREE_FLOWS.push(slot, 0);
    }

    #[inline(always)]
    fn fill(&self, slot: u32, write: impl FnOnce(&mut Flow)) {
        if let Some(flow) = maps::FLOWS.get_ptr_mut(slot) {
            // SAFETY: the place was claimed by this CPU alone and is dead: readers that come by a stale
            // index entry compare generations before they use anything of it, and again when they have.
            write(unsafe { &mut *flow });
        }
    }
}

/// All maps.
pub struct Maps;

impl State for Maps {
    #[inline(always)]
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        let interface = maps::INTERFACES.get(ifindex % INTERFACE_TABLE_SIZE)?;
        (interface.ifindex == ifindex).then_some(interface)
    }

    #[inline(always)]
    fn endpoints(&self) -> &impl Lookup<Address, Endpoint> {
        &const { Hash(&maps::ENDPOINTS) }
    }

    #[inline(always)]
    fn range_of(&self, address: &Address) -> Option<&NetworkRange> {
        let Query { range, .. } = Room::query()?;
        *range = Key::new(128, address.words());
        maps::NETWORKS.get(&*range)
    }

    #[inline(always)]
    fn is_source(&self, group: u32, address: &Address) -> bool {
        let Some(Query { source, .. }) = Room::query() else { return false };
        let [a, b, c, d] = address.words();
        *source = Key::new(Source::GROUP_BITS + 128, [group, a, b, c, d]);
        maps::SOURCES.get(&*source).is_some()
    }

    #[inline(always)]
    fn published(&self) -> &impl Lookup<PublishedKey, Published> {
        &const { Hash(&maps::PUBLISHED) }
    }

    #[inline(always)]
    fn published_ports(&self) -> &impl Lookup<u32, u64> {
        &const { Indexed(&maps::PUBLISHED_PORTS) }
    }

    #[inline(always)]
    fn local_ports(&self) -> &impl Lookup<PublishedKey, Published> {
        &const { Hash(&maps::LOCAL_PORTS) }
    }

    #[inline(always)]
    fn host_addresses(&self) -> &impl Lookup<Address, u32> {
        &const { Hash(&maps::HOST_ADDRESSES) }
    }

    #[inline(always)]
    fn resolvers(&self) -> &impl Lookup<u64, ResolverPorts> {
        &const { Hash(&maps::RESOLVERS) }
    }

    #[inline(always)]
    fn homes(&self) -> &impl Lookup<Address, u64> {
        &const { Hash(&maps::HOMES) }
    }

    #[inline(always)]
    fn peers(&self) -> &impl Memo<PeerKey, Peer> {
        &const { Lru(&maps::PEERS) }
    }

    #[inline(always)]
    fn index(&self) -> &impl Table<FlowKey, FlowRef> {
        &const { Hash(&maps::FLOW_INDEX) }
    }

    #[inline(always)]
    fn flows(&self) -> &impl FlowStore {
        &Flows
    }

    #[inline(always)]
    fn embryonic(&self) -> &impl datapath::Queue<FlowRef> {
        &const { Fifo(&maps::EMBRYONIC) }
    }

    #[inline(always)]
    fn fragments(&self) -> &impl Memo<FlowKey, FirstFragment> {
        &const { Lru(&maps::FRAGMENTS) }
    }

    #[inline(always)]
    fn recent_flow(&self, place: u32) -> Option<&RecentFlow> {
        maps::RECENT_FLOWS.get(0)?.get(place as usize)
    }

    #[inline(always)]
    fn next_hop(&self, place: u32) -> Option<&NextHop> {
        maps::NEXT_HOPS.get(0)?.get(place as usize)
    }

    #[inline(always)]
    fn mappings(&self) -> &impl Memo<SocketKey, Mapping> {
        &const { Lru(&maps::MAPPINGS) }
    }

    #[inline(always)]
    fn usage(&self) -> &impl Lookup<u32, Usage> {
        &const { Indexed(&maps::USAGE) }
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        maps::SETTINGS.get(0)
    }
}
