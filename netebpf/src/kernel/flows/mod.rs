//! Live flows: listing them, ending them, giving their places back, looking whether all is well with them.
//!
//! **Invariant**: a place of a flow that ended here goes back to the queue of free places only a second after its
//! generation was made even and both index entries were seen to lead elsewhere. What is in between is marked in the
//! place itself ([`abi::Flow::retired`]), so that a process that takes over gives back what this one could not. Programs
//! end flows, too, and give their places back at once: who holds the marks of a flow's tuples may.

mod check;
mod expiry;
mod snapshot;

pub use check::Suspicion;
use expiry::AT_ONCE;
pub use expiry::Expired;
pub(crate) use expiry::Retired;
pub use snapshot::{FlowSnapshot, FlowTuple};

use super::{
    BpfError, Kernel, KernelError, Outside,
    bpf::{Maps, Shared, gone},
};
use aya::maps::MapError;
use netebpf_common::abi::{
    self, Address, Direction, FlowKey, FlowKind, FlowRef, Prefix, Published, PublishedKey, TcpSeen,
    WayKind, is_live, map,
};
use netebpf_common::datapath::OPENING;
use snapshot::PlainFlow;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    ptr::NonNull,
    time::Duration,
};

/// The clock of flows, in nanoseconds: what the programs read by `bpf_ktime_get_coarse_ns`.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32).as_nanos() as u64
}

/// A flag of `bpf(2)`: insert only what is not there.
const BPF_NOEXIST: u64 = 1;

/// One place of the table, which the programs write to while we read.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: u32,
    flow: NonNull<abi::Flow>,
    /// Keeps the mapping.
    _maps: &'a Maps,
}

impl<'a> Place<'a> {
    fn at(maps: &'a Maps, number: u32) -> Option<Self> {
        Some(Self { number, flow: maps.flows.at(number)?, _maps: maps })
    }

    fn all(maps: &'a Maps) -> impl Iterator<Item = Self> {
        Self::among(maps, 0..maps.flows.len())
    }

    fn among(maps: &'a Maps, numbers: Range<u32>) -> impl Iterator<Item = Self> {
        numbers.filter_map(move |number| Self::at(maps, number))
    }

    fn generation(&self) -> u64 {
        // SAFETY: the mapping lives, and this field may be shared with whoever writes it.
        unsafe { &self.flow.as_ref().generation }.load()
    }

    /// Ends the flow that has `generation`.
    fn kill(&self, generation: u64) {
        // SAFETY: as above.
        unsafe { &self.flow.as_ref().generation }.store(generation.wrapping_add(1));
    }

    /// See [`abi::Flow::confirmed`].
    fn confirmed(&self) -> bool {
        // SAFETY: as above.
        unsafe { &self.flow.as_ref().confirmed }.load() != 0
    }

    fn retired(&self) -> bool {
        // SAFETY: only the user side reads and writes this field, and this process is its only one.
        unsafe { (&raw const (*self.flow.as_ptr()).retired).read_volatile() == 1 }
    }

    fn set_retired(&self, retired: bool) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.flow.as_ptr()).retired).write_volatile(u32::from(retired)) }
    }

    /// The tuples of the flow that lived here last.
    fn keys(&self) -> [FlowKey; 2] {
        let flow = self.flow.as_ptr();
        // SAFETY: the mapping lives; nobody writes to a place that rests.
        unsafe { (&raw const (*flow).keys).read_volatile() }
    }

    /// The flow that lives here. What does not change while it lives is copied between two looks at
    /// the generation: were it another flow's by the end, so would the generation be.
    fn read(&self) -> Option<PlainFlow> {
        let generation = self.generation();
        if !is_live(generation) {
            return None;
        }
        let flow = self.flow.as_ptr();
        // SAFETY: the mapping lives; volatile reads of integers and byte arrays may see a new owner's
        // writes, which the second look finds out.
        let (created, kind, endpoints, [original, reply]) = unsafe {
            (
                (&raw const (*flow).created).read_volatile(),
                (&raw const (*flow).kind).read_volatile(),
                [
                    (
                        (&raw const (*flow).owner).read_volatile(),
                        (&raw const (*flow).owner_generation).read_volatile(),
                    ),
                    (
                        (&raw const (*flow).peer).read_volatile(),
                        (&raw const (*flow).peer_generation).read_volatile(),
                    ),
                ],
                (&raw const (*flow).keys).read_volatile(),
            )
        };
        let way = |direction: Direction| {
            // SAFETY: only the shared words of a way are read here.
            let way = unsafe { &raw const (*flow).ways[direction as usize] };
            // SAFETY: as above.
            unsafe {
                snapshot::PlainWay {
                    packets: (*way).packets.load(),
                    bytes: (*way).bytes.load(),
                    last_seen: (*way).last_seen.load(),
                    tcp_seen: TcpSeen((*way).tcp_seen.load()),
                }
            }
        };
        let ways = [way(Direction::Original), way(Direction::Reply)];
        let out = |direction: Direction| {
            // SAFETY: as above; neither is written after the flow was opened.
            unsafe {
                let way = &raw const (*flow).ways[direction as usize];
                let kind = (&raw const (*way).kind).read_volatile();
                (kind == WayKind::Outward as u16)
                    .then(|| (&raw const (*way).ifindex).read_volatile())
            }
        };
        let uplink = out(Direction::Original).or(out(Direction::Reply));
        let plain =
            PlainFlow { generation, created, kind, endpoints, original, reply, ways, uplink };
        (self.generation() == generation).then_some(plain)
    }
}

/// Marks a tuple as being cleared; `false` where somebody else is about to.
fn set_mark(
    maps: &mut Maps,
    mark: Shared<FlowKey>,
    place: u32,
    generation: u64,
) -> Result<bool, MapError> {
    let entry = Shared(FlowRef { generation, slot: place, direction: 0 });
    match maps.flow_index.insert(mark, entry, BPF_NOEXIST) {
        Ok(()) => Ok(true),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::AlreadyExists =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Removes an index entry, if it still leads to this flow: the programs put a new flow's in the place
/// of one whose flow is dead. As among them, who clears a tuple marks it first (see `claim_tuple`), so that
/// nobody's new entry is taken away between the look and the removal; where there is a mark, a program does
/// it.
fn remove_entry(
    maps: &mut Maps,
    key: &FlowKey,
    place: u32,
    generation: u64,
) -> Result<(), BpfError> {
    let error = BpfError::map("clean up", map::FLOW_INDEX);
    let mark = Shared(key.mark());
    if !set_mark(maps, mark, place, generation).map_err(&error)? {
        return Ok(());
    }
    let removed = match maps.flow_index.get(&Shared(*key), 0) {
        Ok(Shared(entry)) if entry.slot == place && entry.generation == generation => {
            gone(maps.flow_index.remove(&Shared(*key)))
        }
        Ok(_) => Ok(()),
        Err(missing) => gone(Err(missing)),
    };
    gone(maps.flow_index.remove(&mark)).and(removed).map_err(error)
}

/// Removes the marks that a process left which died between setting and removing one.
fn remove_marks(maps: &mut Maps) -> Result<(), BpfError> {
    let mut marks = Vec::new();
    maps.each_index_entry(|key, _| {
        if key.protocol & FlowKey::MARK != 0 {
            marks.push(Shared(key));
        }
    })
    .map_err(BpfError::map("read", map::FLOW_INDEX))?;
    let error = BpfError::map("clean up", map::FLOW_INDEX);
    marks.iter().try_for_each(|mark| gone(maps.flow_index.remove(mark))).map_err(error)
}

/// Ends a flow: from here on every packet misses it. `false` when a program was first, which ends flows to make room:
/// who holds the mark of the original tuple may.
fn retire(maps: &mut Maps, number: u32, flow: &PlainFlow) -> Result<bool, BpfError> {
    let error = BpfError::map("clean up", map::FLOW_INDEX);
    let mark = Shared(flow.original.mark());
    if !set_mark(maps, mark, number, flow.generation).map_err(&error)? {
        return Ok(false);
    }
    let ours = Place::at(maps, number).filter(|place| place.generation() == flow.generation);
    if let Some(place) = ours {
        place.kill(flow.generation);
        // The mark of the place comes second: a process that dies in between loses one, and does not give it to
        // two flows.
        place.set_retired(true);
        if let Some(usage) = maps.usage(flow.owner()) {
            usage.closed.add(1);
            usage.lapsed.add(u64::from(!place.confirmed()));
        }
    }
    let ours = ours.is_some();
    gone(maps.flow_index.remove(&mark)).map_err(error)?;
    if ours {
        remove_entry(maps, &flow.original, number, flow.generation)?;
        remove_entry(maps, &flow.reply, number, flow.generation)?;
    }
    Ok(ours)
}

impl check::Table for Maps {
    fn places(&self) -> u32 {
        self.flows.len()
    }

    fn flow(&self, place: u32) -> Option<PlainFlow> {
        Place::at(self, place)?.read()
    }

    fn endpoints_are_there(&self, flow: &PlainFlow) -> bool {
        flow.endpoints_are_there(self)
    }

    fn each_entry(&self, each: impl FnMut(FlowKey, FlowRef)) -> Result<(), BpfError> {
        self.each_index_entry(each).map_err(BpfError::map("read", map::FLOW_INDEX))
    }

    fn entry(&self, key: &FlowKey) -> Result<Option<FlowRef>, BpfError> {
        match self.flow_index.get(&Shared(*key), 0) {
            Ok(Shared(entry)) => Ok(Some(entry)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(BpfError::map("read", map::FLOW_INDEX)(error)),
        }
    }

    fn slots(&self) -> u32 {
        self.usage.len()
    }

    fn counted(&self, slot: u32) -> (u64, u64) {
        self.usage(slot).map_or((0, 0), |usage| (usage.opened.load(), usage.closed.load()))
    }
}

/// What one look at the table of flows found.
pub struct Look {
    /// Why all may not be well.
    pub suspicions: HashSet<Suspicion>,
    /// How many times every flow was looked at by [`Kernel::expire_flows`] since this process started.
    pub passes: u64,
}

impl Kernel {
    /// Looks whether all is well with the table of flows: one look, see [`Suspicion`].
    pub fn look_at_flows(&self) -> Result<Look, KernelError> {
        let suspicions = match self.bpf.maps() {
            Ok(maps) => check::look(maps)?,
            Err(_) => HashSet::new(),
        };
        Ok(Look { suspicions, passes: self.retired.passes() })
    }

    /// Every live flow.
    pub async fn flows(&self) -> Result<Vec<FlowSnapshot>, KernelError> {
        let names = self.owner_names().await?;
        let Ok(maps) = self.bpf.maps() else { return Ok(Vec::new()) };
        let now = now();
        let flows = Place::all(maps).filter_map(|place| place.read());
        let live = flows.filter(|flow| flow.endpoints_are_there(maps));
        Ok(live.map(|flow| flow.snapshot(now, &names)).collect())
    }

    /// Ends every flow that `matches`; says how many.
    pub async fn remove_flows(
        &mut self,
        matches: impl Fn(&FlowSnapshot) -> bool + Send,
    ) -> Result<usize, KernelError> {
        let names = self.owner_names().await?;
        let time = now();
        self.retire_all(move |flow| matches(&flow.snapshot(time, &names))).await
    }

    /// Ends the flows that have lost their outside address, their uplink, or its route to the other end; says how
    /// many.
    pub async fn end_stranded_flows(
        &mut self,
        before: Option<&Outside>,
        now: &Outside,
    ) -> Result<usize, KernelError> {
        self.retire_all(|flow| !now.carries(before, flow.outside(), flow.uplink, flow.other()))
            .await
    }

    /// Ends the flows that came to a published port which leads elsewhere now, or nowhere, or is no longer for who came;
    /// says how many.
    pub async fn end_misled_flows(&mut self) -> Result<usize, KernelError> {
        let Some(tables) = self.tables()? else { return Ok(0) };
        let mut groups: HashMap<u32, Vec<Prefix>> = HashMap::new();
        for range in tables.sources {
            groups.entry(range.source.group).or_default().push(range.prefix());
        }
        let (outside, within) = (tables.published, tables.local_ports);
        let is_for = move |group: u32, source: &Address| {
            let ranges = groups.get(&group);
            group == 0 || ranges.is_some_and(|all| all.iter().any(|range| range.contains(source)))
        };
        self.retire_all(|flow| {
            let FlowKey { destination, destination_port, protocol, .. } = flow.original;
            let port = PublishedKey {
                address: destination,
                port: destination_port,
                padding: [0; 2],
                protocol,
            };
            let leads_there = |to: &&Published| {
                (to.address, to.port) == (flow.reply.source, flow.reply.source_port)
                    && is_for(to.sources, &flow.original.source)
            };
            let leads_to = if flow.kind == FlowKind::Hairpin as u32 {
                within.get(&port).or_else(|| within.get(&port.on_every_address()))
            } else {
                outside.get(&port)
            };
            flow.kind != FlowKind::Masquerade as u32 && leads_to.filter(leads_there).is_none()
        })
        .await
    }

    async fn retire_all(
        &mut self,
        matches: impl Fn(&PlainFlow) -> bool + Send,
    ) -> Result<usize, KernelError> {
        if self.bpf.maps().is_err() {
            return Ok(0);
        }
        // Flows that are just being opened are as old as they have to be after this.
        tokio::time::sleep(Duration::from_nanos(OPENING)).await;
        let now = now();
        let places = self.flow_capacity();
        let mut ended = 0;
        for first in (0..places).step_by(AT_ONCE) {
            let share = first..places.min(first + AT_ONCE as u32);
            let maps = self.bpf.maps_mut()?;
            let chosen: Vec<_> = Place::among(maps, share)
                .filter_map(|place| Some((place.number, place.read()?)))
                .filter(|(_, flow)| now.saturating_sub(flow.created) >= OPENING)
                .filter(|(_, flow)| matches(flow))
                .collect();
            for (number, flow) in &chosen {
                if retire(maps, *number, flow)? {
                    self.retired.push(*number, now);
                    ended += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(ended)
    }

    /// Ends the flows whose time is over, of as many as one round looks at, and gives back the places of those that
    /// ended before. To be called about once a second.
    pub fn expire_flows(&mut self) -> Result<Expired, KernelError> {
        let Ok(maps) = self.bpf.maps_mut() else { return Ok(Expired::default()) };
        Ok(expiry::expire(maps, &mut self.retired, now())?)
    }

    /// The names of the endpoints that flows are counted for, by slot: from the aliases of their
    /// interfaces.
    async fn owner_names(&self) -> Result<BTreeMap<u32, String>, KernelError> {
        let Ok(maps) = self.bpf.maps() else { return Ok(BTreeMap::new()) };
        let interfaces = maps.read_interfaces().map_err(BpfError::map("read", map::INTERFACES))?;
        let links = self.links().await?;
        let named = links.values().filter_map(|link| {
            Some((interfaces.get(&link.index)?.slot, self.endpoint_of(link)?.to_owned()))
        });
        Ok(named.collect())
    }
}
