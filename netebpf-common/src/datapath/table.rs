//! The state that packets meet.

use crate::abi::{
    Address, Endpoint, FirstFragment, Flow, FlowKey, FlowRef, Interface, Mapping, NetworkRange,
    NextHop, Peer, PeerKey, Published, PublishedKey, RecentFlow, ResolverPorts, Settings,
    SocketKey, Usage,
};

/// What became of an insertion.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insertion {
    /// The key is ours.
    Inserted,
    /// Somebody else has it.
    Exists,
    /// The table has no room.
    Full,
}

/// A table that packets only read.
pub trait Lookup<K, V> {
    /// The value of a key.
    fn get(&self, key: &K) -> Option<&V>;
}

/// A table that packets change.
pub trait Table<K, V>: Lookup<K, V> {
    /// Inserts, unless the key is there: of two that try at once exactly one succeeds.
    fn insert_new(&self, key: &K, value: &V) -> Insertion;
    /// Removes.
    fn remove(&self, key: &K);
}

/// A table that forgets.
pub trait Memo<K, V>: Lookup<K, V> {
    /// Inserts or replaces. What was not used for long makes room.
    fn put(&self, key: &K, value: &V);
    /// Removes.
    fn forget(&self, key: &K);
}

/// A queue.
pub trait Queue<V> {
    /// Adds at the end; where there is no room the first one makes it.
    fn push(&self, value: &V);
    /// Looks at the first one, if there is one.
    fn peek(&self, first: &mut V) -> bool;
    /// Takes the first one, if there is one.
    fn pop(&self, first: &mut V) -> bool;
}

/// The array of flows.
pub trait FlowStore: Lookup<u32, Flow> {
    /// A free place, or `None` when there is none. Its generation is even.
    fn claim(&self) -> Option<u32>;
    /// Gives a claimed place back.
    fn release(&self, slot: u32);
    /// Writes a claimed place. Nothing leads to it: no index entry has the generation that it will get.
    fn fill(&self, slot: u32, write: impl FnOnce(&mut Flow));
}

/// All tables.
pub trait State {
    /// The interface at an index, whose place it has (see [`Interface::ifindex`]).
    fn interface(&self, ifindex: u32) -> Option<&Interface>;
    /// Endpoints by address.
    fn endpoints(&self) -> &impl Lookup<Address, Endpoint>;
    /// The range with the longest prefix that holds an address.
    fn range_of(&self, address: &Address) -> Option<&NetworkRange>;
    /// Whether a group of sources has an address.
    fn is_source(&self, group: u32, address: &Address) -> bool;
    /// Published ports.
    fn published(&self) -> &impl Lookup<PublishedKey, Published>;
    /// Words of the bitmap of published ports.
    fn published_ports(&self) -> &impl Lookup<u32, u64>;
    /// Ports that the host itself and its endpoints reach, some of them on every address.
    fn local_ports(&self) -> &impl Lookup<PublishedKey, Published>;
    /// The host's own addresses, but for loopback.
    fn host_addresses(&self) -> &impl Lookup<Address, u32>;
    /// The resolvers' ports, by their namespaces' cookies.
    fn resolvers(&self) -> &impl Lookup<u64, ResolverPorts>;
    /// The cookies of the namespaces of endpoints whose sockets may take the shortcut.
    fn homes(&self) -> &impl Lookup<Address, u64>;
    /// The addresses that programs of the host used for the endpoints that their sockets were led to.
    fn peers(&self) -> &impl Memo<PeerKey, Peer>;
    /// The index of flows.
    fn index(&self) -> &impl Table<FlowKey, FlowRef>;
    /// Where this CPU found a flow, at a place below [`RecentFlow::PLACES`].
    fn recent_flow(&self, place: u32) -> Option<&RecentFlow>;
    /// The flows.
    fn flows(&self) -> &impl FlowStore;
    /// Flows in the order in which they were opened; those that are confirmed or gone since are passed over.
    fn embryonic(&self) -> &impl Queue<FlowRef>;
    /// First fragments.
    fn fragments(&self) -> &impl Memo<FlowKey, FirstFragment>;
    /// What this CPU remembers at a place below [`NextHop::PLACES`].
    fn next_hop(&self, place: u32) -> Option<&NextHop>;
    /// Ports that sockets have to the outside.
    fn mappings(&self) -> &impl Memo<SocketKey, Mapping>;
    /// What the owner of a slot uses.
    fn usage(&self) -> &impl Lookup<u32, Usage>;
    /// Settings.
    fn settings(&self) -> Option<&Settings>;
}
