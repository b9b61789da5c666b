//! Every map. Names, layouts and meanings: `netebpf_common::abi`. Sizes are what an instance has when
//! its settings say nothing; the user side may set others at load.

use crate::adapters::Room;
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::generated::bpf_sk_storage_get,
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, Queue, SockHash},
};
use core::ptr::{self, from_mut, from_ref};
use netebpf_common::{
    abi::{
        Address, Endpoint, FLOW_CAPACITY, FRAGMENT_CAPACITY, FirstFragment, Flow, FlowKey, FlowRef,
        INTERFACE_TABLE_SIZE, Interface, MAPPING_CAPACITY, MAX_SLOTS, Mapping, NetworkRange,
        NextHop, PEER_CAPACITY, Peer, PeerKey, Piece, PieceKey, Published, PublishedKey,
        PublishedPorts, RecentFlow, ResolverPorts, Sender, Settings, SocketKey, SocketPair, Usage,
        index_entries,
    },
    verdict::Counters,
};

#[map]
pub static INTERFACES: Array<Interface> = Array::with_max_entries(INTERFACE_TABLE_SIZE, 0);
#[map]
pub static ENDPOINTS: HashMap<Address, Endpoint> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
#[map]
pub static NETWORKS: LpmTrie<[u32; 4], NetworkRange> =
    LpmTrie::with_max_entries(1024, BPF_F_NO_PREALLOC);
/// Ranges of sources, of all ports that are not for everybody.
#[map]
pub static SOURCES: LpmTrie<[u32; 5], u32> = LpmTrie::with_max_entries(16_384, BPF_F_NO_PREALLOC);
#[map]
pub static PUBLISHED: HashMap<PublishedKey, Published> =
    HashMap::with_max_entries(262_144, BPF_F_NO_PREALLOC);
#[map]
pub static PUBLISHED_PORTS: Array<u64> = Array::with_max_entries(PublishedPorts::WORDS, 0);
/// An entry for each mapping, and not for each address of the host.
#[map]
pub static LOCAL_PORTS: HashMap<PublishedKey, Published> =
    HashMap::with_max_entries(262_144, BPF_F_NO_PREALLOC);
#[map]
pub static HOST_ADDRESSES: HashMap<Address, u32> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
#[map]
pub static RESOLVERS: HashMap<u64, ResolverPorts> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
#[map]
pub static HOMES: HashMap<Address, u64> = HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);
/// Both sockets of as many connections as can take the shortcut at once; half a mebibyte where there are none.
#[map]
pub static SOCKETS: SockHash<SocketPair> = SockHash::with_max_entries(32_768, 0);
/// What is kept with each of them: it goes with the socket.
#[btf_map]
static SENDERS: SkStorage<Sender> = SkStorage::new();
#[map]
pub static PEERS: LruHashMap<PeerKey, Peer> = LruHashMap::with_max_entries(PEER_CAPACITY, 0);
#[map]
pub static FLOW_INDEX: HashMap<FlowKey, FlowRef> =
    HashMap::with_max_entries(index_entries(FLOW_CAPACITY), 0);
#[map]
pub static FLOWS: Array<Flow> = Array::with_max_entries(FLOW_CAPACITY, BPF_F_MMAPABLE);
#[map]
pub static FREE_FLOWS: Queue<u32> = Queue::with_max_entries(FLOW_CAPACITY, 0);
#[map]
pub static EMBRYONIC: Queue<FlowRef> = Queue::with_max_entries(FLOW_CAPACITY, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FlowKey, FirstFragment> =
    LruHashMap::with_max_entries(FRAGMENT_CAPACITY, 0);
/// Later fragments that came before their first, of all packets.
#[map]
pub static PIECES: LruHashMap<PieceKey, Piece> = LruHashMap::with_max_entries(1024, 0);
/// Room for one of them.
#[map]
pub static PIECE: PerCpuArray<Piece> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static MAPPINGS: LruHashMap<SocketKey, Mapping> =
    LruHashMap::with_max_entries(MAPPING_CAPACITY, 0);
/// Where each CPU found flows: an entry of the index is two cache lines and a call away. One value, and not one a place:
/// each value of such a map is a pointer away.
#[map]
pub static RECENT_FLOWS: PerCpuArray<[RecentFlow; RecentFlow::PLACES as usize]> =
    PerCpuArray::with_max_entries(1, 0);
/// What each CPU remembers of routes.
#[map]
pub static NEXT_HOPS: PerCpuArray<[NextHop; NextHop::PLACES as usize]> =
    PerCpuArray::with_max_entries(1, 0);
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static USAGE: Array<Usage> = Array::with_max_entries(MAX_SLOTS, BPF_F_MMAPABLE);
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(MAX_SLOTS, 0);

/// One a CPU is enough: our programs run with soft interrupts off, one at a time, and a redirection
/// takes place when the program that asked for it has ended.
#[map]
pub static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// Keeps this with a socket, in the place of what was kept when it had another connection; `false` where there is no memory.
#[inline(always)]
pub fn keep_sender(socket: *mut bpf_sock, sender: &mut Sender) -> bool {
    let create = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: the map is one of such values, and the verifier sees to it that the socket is one.
    let kept = unsafe {
        let map = from_ref(&SENDERS).cast_mut().cast();
        bpf_sk_storage_get(map, socket.cast(), from_mut(sender).cast(), create)
            .cast::<Sender>()
            .as_mut()
    };
    let Some(kept) = kept else { return false };
    // The kernel takes a first value only for one that it has to make.
    *kept = *sender;
    true
}

/// What is kept with a socket.
#[inline(always)]
pub fn sender<'a>(socket: *mut bpf_sock) -> Option<&'a mut Sender> {
    // SAFETY: as above. Who sends holds the socket's lock, so nobody else has the value.
    unsafe {
        let map = from_ref(&SENDERS).cast_mut().cast();
        bpf_sk_storage_get(map, socket.cast(), ptr::null_mut(), 0).cast::<Sender>().as_mut()
    }
}
