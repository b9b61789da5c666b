//! What each pinned map must be: aya takes any map that is pinned under the name.

use super::maps::{RangeKey, SourceKey};
use aya::maps::{MapData, MapError, MapInfo, MapType};
use netebpf_common::{
    abi::{
        Address, Endpoint, FirstFragment, Flow, FlowKey, FlowRef, INTERFACE_TABLE_SIZE, Interface,
        MAX_SLOTS, Mapping, NetworkRange, Peer, PeerKey, Piece, PieceKey, Published, PublishedKey,
        PublishedPorts, ResolverPorts, Settings, SocketKey, SocketPair, Usage, map,
    },
    verdict::Counters,
};
use std::{fmt, mem::size_of, path::Path};

const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;

/// Type, sizes and flags of a map.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Layout {
    kind: MapType,
    key: u32,
    value: u32,
    flags: u32,
    /// `None` where the instance chooses.
    entries: Option<u32>,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value, flags, entries } = self;
        write!(f, "{kind:?} with {key}-byte keys, {value}-byte values, flags {flags:#x}")?;
        entries.map_or(Ok(()), |entries| write!(f, " and {entries} entries"))
    }
}

fn layout_of<K, V>(kind: MapType, flags: u32, entries: Option<u32>) -> Layout {
    Layout { kind, key: size_of::<K>() as u32, value: size_of::<V>() as u32, flags, entries }
}

/// The layout of a map of ours.
pub(super) fn wanted(name: &str) -> Option<Layout> {
    use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray, Queue, SockHash};
    Some(match name {
        map::INTERFACES => layout_of::<u32, Interface>(Array, 0, Some(INTERFACE_TABLE_SIZE)),
        map::ENDPOINTS => layout_of::<Address, Endpoint>(Hash, NO_PREALLOC, None),
        map::NETWORKS => layout_of::<RangeKey, NetworkRange>(LpmTrie, NO_PREALLOC, None),
        map::SOURCES => layout_of::<SourceKey, u32>(LpmTrie, NO_PREALLOC, None),
        map::PUBLISHED => layout_of::<PublishedKey, Published>(Hash, NO_PREALLOC, None),
        map::PUBLISHED_PORTS => layout_of::<u32, u64>(Array, 0, Some(PublishedPorts::WORDS)),
        map::LOCAL_PORTS => layout_of::<PublishedKey, Published>(Hash, NO_PREALLOC, None),
        map::HOST_ADDRESSES => layout_of::<Address, u32>(Hash, NO_PREALLOC, None),
        map::RESOLVERS => layout_of::<u64, ResolverPorts>(Hash, NO_PREALLOC, None),
        map::HOMES => layout_of::<Address, u64>(Hash, NO_PREALLOC, None),
        map::SOCKETS => layout_of::<SocketPair, u32>(SockHash, 0, None),
        map::PEERS => layout_of::<PeerKey, Peer>(LruHash, 0, None),
        map::FLOW_INDEX => layout_of::<FlowKey, FlowRef>(Hash, 0, None),
        map::FLOWS => layout_of::<u32, Flow>(Array, MMAPABLE, None),
        map::FREE_FLOWS => layout_of::<(), u32>(Queue, 0, None),
        map::EMBRYONIC => layout_of::<(), FlowRef>(Queue, 0, None),
        map::FRAGMENTS => layout_of::<FlowKey, FirstFragment>(LruHash, 0, None),
        map::PIECES => layout_of::<PieceKey, Piece>(LruHash, 0, None),
        map::MAPPINGS => layout_of::<SocketKey, Mapping>(LruHash, 0, None),
        map::SETTINGS => layout_of::<u32, Settings>(Array, MMAPABLE, Some(1)),
        map::USAGE => layout_of::<u32, Usage>(Array, MMAPABLE, Some(MAX_SLOTS)),
        map::COUNTERS => layout_of::<u32, Counters>(PerCpuArray, 0, Some(MAX_SLOTS)),
        _ => return None,
    })
}

/// Opens a pinned map: the map, or what is wrong with it.
pub(super) fn open(path: &Path, name: &str) -> Result<Result<MapData, String>, MapError> {
    let data = MapData::from_pin(path)?;
    let found = describe(&data.info()?)?;
    let Some(wanted) = wanted(name) else {
        return Ok(Err(format!("{} is no map of ours", path.display())));
    };
    let agrees = Layout { entries: wanted.entries.and(found.entries), ..found } == wanted;
    Ok(if agrees {
        Ok(data)
    } else {
        Err(format!("{} has another layout: {found}, not {wanted}", path.display()))
    })
}

fn describe(info: &MapInfo) -> Result<Layout, MapError> {
    Ok(Layout {
        kind: info.map_type()?,
        key: info.key_size(),
        value: info.value_size(),
        flags: info.map_flags(),
        entries: Some(info.max_entries()),
    })
}
