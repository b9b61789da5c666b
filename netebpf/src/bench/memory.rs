//! How much of the kernel's memory an instance's maps take: as they are, with all of them full, and for one more of what
//! there are many of.
//!
//! **Invariant**: every number of bytes is the kernel's own (`memlock` of a map's descriptor); what a full map would take
//! is found with a copy of it that is in nobody's way, and not by filling the one that is in use.

use super::{
    BenchError,
    arms::Arm,
    report::{MapMemory, Memory},
};
use crate::{kernel::bpf_call, state::Instance};
use aya::{
    maps::{MapData, MapInfo, MapType},
    programs::ProgramInfo,
};
use netebpf_common::abi::map;
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    path::Path,
};

/// Entries are made when they are needed.
const BPF_F_NO_PREALLOC: u32 = 1;
/// So many entries tell what one takes.
const ENTRIES: u32 = 1024;
/// So many published ports, too.
const PORTS: u32 = 100;
/// What a flow has an entry in, or a place.
const OF_FLOWS: [&str; 4] = [map::FLOWS, map::FLOW_INDEX, map::FREE_FLOWS, map::EMBRYONIC];

/// Looks at netebpf's arm, which gets one more endpoint, and some more ports, for that.
pub(super) fn look(arm: &Arm) -> Result<Memory, BenchError> {
    let instance = arm.instance()?;
    let maps = maps(&instance)?;
    let daemon = resident(&instance);
    let (flows, places) = of_flows(&maps);
    let empty = total(&maps);
    arm.netebpf(&["create", "--name", "more", "--network", "front"])?;
    let with_endpoint = bytes(&instance)?;
    let ports = format!("30000-{0}:30000-{0}", 30_000 + PORTS - 1);
    arm.netebpf(&["publish", "more", &ports])?;
    let with_ports = bytes(&instance)?;
    Ok(Memory {
        flow: flows as f64 / f64::from(places),
        endpoint: with_endpoint.saturating_sub(empty) as f64,
        port: with_ports.saturating_sub(with_endpoint) as f64 / f64::from(PORTS),
        daemon,
        maps,
    })
}

/// Bytes of all maps.
pub(super) fn bytes(instance: &Instance) -> Result<u64, BenchError> {
    let each = opened(instance)?;
    each.values().map(|map| memlock(map.fd().as_fd())).sum()
}

fn total(maps: &[MapMemory]) -> u64 {
    maps.iter().map(|map| map.bytes).sum()
}

/// What maps of flows take, and how many flows there is room for.
fn of_flows(maps: &[MapMemory]) -> (u64, u32) {
    let them = maps.iter().filter(|map| OF_FLOWS.contains(&map.name.as_str()));
    let places = maps.iter().find(|map| map.name == map::FLOWS).map_or(1, |map| map.entries);
    (them.map(|map| map.bytes).sum(), places)
}

/// Every map, the largest first.
fn maps(instance: &Instance) -> Result<Vec<MapMemory>, BenchError> {
    let mut all = Vec::new();
    for (name, data) in opened(instance)? {
        let info = data.info().map_err(failed(&name))?;
        let bytes = memlock(data.fd().as_fd())?;
        let full = bytes + growth(&info).map_err(BenchError::io(format!("copy map {name}")))?;
        all.push(MapMemory { name, entries: info.max_entries(), bytes, full });
    }
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    Ok(all)
}

/// All maps of an instance's programs: those that are pinned, and those that belong to one object alone.
fn opened(instance: &Instance) -> Result<BTreeMap<String, MapData>, BenchError> {
    let (mut maps, mut seen) = (BTreeMap::new(), Vec::new());
    let pins = instance.pin_dir();
    for pin in files(&pins.join("maps"))? {
        let data = MapData::from_pin(&pin).map_err(failed(&pin.display().to_string()))?;
        let name = pin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        seen.push(data.info().map_err(failed(&name))?.id());
        maps.insert(name, data);
    }
    let objects = files(&pins)?.into_iter().filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("programs-"))
    });
    for object in objects {
        for pin in files(&object)? {
            let what = pin.display().to_string();
            let info = ProgramInfo::from_pin(&pin).map_err(failed(&what))?;
            let ids = info.map_ids().map_err(failed(&what))?;
            for id in ids.into_iter().flatten().filter(|id| !seen.contains(id)).collect::<Vec<_>>()
            {
                seen.push(id);
                let data = MapData::from_id(id).map_err(failed(&what))?;
                let info = data.info().map_err(failed(&what))?;
                let name = info.name_as_str().filter(|name| !name.is_empty()).unwrap_or("map");
                // Two objects may each have one of its name, while one replaces the other.
                let name =
                    if maps.contains_key(name) { format!("{name} {id}") } else { name.to_owned() };
                maps.insert(name, data);
            }
        }
    }
    Ok(maps)
}

fn files(directory: &Path) -> Result<Vec<std::path::PathBuf>, BenchError> {
    let failed = || BenchError::io(format!("read {}", directory.display()));
    let entries = fs::read_dir(directory).map_err(failed())?;
    entries.map(|entry| Ok(entry.map_err(failed())?.path())).collect()
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &str) -> impl Fn(E) -> BenchError {
    let what = what.to_owned();
    move |error| BenchError::io(format!("look at {what}"))(io::Error::other(error))
}

/// What the kernel says that a map takes.
fn memlock(map: BorrowedFd<'_>) -> Result<u64, BenchError> {
    let path = format!("/proc/self/fdinfo/{}", map.as_raw_fd());
    let text = fs::read_to_string(&path).map_err(BenchError::io(&*path))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    let bytes = line.and_then(|bytes| bytes.trim().parse().ok());
    bytes.ok_or_else(|| BenchError::Talk("map", text))
}

/// How much a map grows until it is full. Before Linux 6.4 the kernel says of every map what it would take full, and
/// this is nothing.
fn growth(info: &MapInfo) -> io::Result<u64> {
    // What is kept with sockets is theirs, and not the map's.
    let of_sockets = info.map_type().is_ok_and(|kind| kind == MapType::SkStorage);
    if of_sockets || info.map_flags() & BPF_F_NO_PREALLOC == 0 {
        return Ok(0);
    }
    let copy = Copy::new(info)?;
    let size = || memlock(copy.map.as_fd()).map_err(io::Error::other);
    let entries = ENTRIES.min(info.max_entries());
    let empty = size()?;
    (0..entries).try_for_each(|number| copy.insert(number))?;
    Ok(size()?.saturating_sub(empty) * u64::from(info.max_entries()) / u64::from(entries))
}

/// A map of the same shape.
struct Copy {
    map: OwnedFd,
    key: Vec<u8>,
    value: Vec<u8>,
    is_trie: bool,
}

impl Copy {
    fn new(info: &MapInfo) -> io::Result<Self> {
        const BPF_MAP_CREATE: libc::c_long = 0;
        #[repr(C)]
        struct Create {
            kind: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            flags: u32,
        }
        let kind = info.map_type().map_err(io::Error::other)?;
        let mut create = Create {
            kind: kind as u32,
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
            flags: info.map_flags(),
        };
        // SAFETY: there are no addresses in it, and the kernel makes the descriptor for us.
        let map = unsafe { OwnedFd::from_raw_fd(bpf_call(BPF_MAP_CREATE, &mut create)?) };
        Ok(Self {
            map,
            key: vec![0; info.key_size() as usize],
            value: vec![0; info.value_size() as usize],
            is_trie: matches!(kind, MapType::LpmTrie),
        })
    }

    fn insert(&self, number: u32) -> io::Result<()> {
        const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
        #[repr(C)]
        struct Update {
            map: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let mut key = self.key.clone();
        if self.is_trie {
            // The whole key is the prefix, but for the length itself.
            let bits = 8 * (key.len() as u32 - 4);
            key[..4].copy_from_slice(&bits.to_ne_bytes());
        }
        let end = key.len() - 4;
        key[end..].copy_from_slice(&number.to_ne_bytes());
        let mut update = Update {
            map: self.map.as_raw_fd() as u32,
            padding: 0,
            key: key.as_ptr() as u64,
            value: self.value.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: key and value are as long as the map was made for, and outlive the call.
        unsafe { bpf_call(BPF_MAP_UPDATE_ELEM, &mut update) }.map(drop)
    }
}

/// Bytes in memory that are the daemon's own, and no file's.
fn resident(instance: &Instance) -> Option<u64> {
    let pid = fs::read_to_string(instance.pid_file()).ok()?;
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
