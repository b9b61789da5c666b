//! What runs a case: the seam between a description and the two places where it is tried.

use super::layout::Layout;
use crate::testkit::WEB;
use crate::{
    abi::{
        Address, Direction, Flow, FlowKey, InterfaceKind, Protocol, PublishedPorts, SharedWord,
        TcpSeen,
    },
    datapath::{
        FamilyId, TcpPhase, pipeline,
        scratch::{self, Scratch},
    },
    testkit::{
        memory::{Chaos, MemoryHost, MemoryState},
        station::{Site, Station, UPLINK},
    },
    verdict::Verdict,
};
use std::rc::Rc;

/// Where a frame is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// Ingress of an endpoint's host-side veth.
    Veth(Station),
    /// Ingress of the uplink.
    FromOutside,
    /// Egress of the uplink, with the interface that the packet came in by; 0 for the host's own.
    ToOutside {
        /// Where it came in.
        ingress: u32,
    },
    /// Egress of a network's bridge device, with the interface that the packet came in by; 0 for the
    /// host's own.
    IntoNetwork {
        /// The network.
        site: Site,
        /// Where it came in.
        ingress: u32,
    },
}

/// At the host-side veth of an endpoint.
pub fn veth(station: Station) -> Hook {
    Hook::Veth(station)
}
/// At the uplink's egress, come in by the bridge of the network `web`.
pub fn to_outside() -> Hook {
    to_outside_from(WEB.bridge)
}
/// At the uplink's egress, come in by an interface (0: the host's own).
pub fn to_outside_from(ingress: u32) -> Hook {
    Hook::ToOutside { ingress }
}
/// At the egress of a network's bridge device, come in by an interface (0: the host's own).
pub fn into_network(site: Site, ingress: u32) -> Hook {
    Hook::IntoNetwork { site, ingress }
}

impl Hook {
    /// The interface.
    pub fn ifindex(&self) -> u32 {
        match self {
            Self::Veth(station) => station.veth(),
            Self::FromOutside | Self::ToOutside { .. } => UPLINK,
            Self::IntoNetwork { site, .. } => site.bridge,
        }
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Veth(station) => write!(out, "from {}", station.name),
            Self::FromOutside => write!(out, "from outside"),
            Self::ToOutside { ingress } => write!(out, "to outside from {ingress}"),
            Self::IntoNetwork { site, ingress } => write!(out, "into {} from {ingress}", site.name),
        }
    }
}

/// What was seen of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The counter that went up ([`Verdict::counter`]); none for an interface that is not ours.
    pub counter: Option<u32>,
    /// Where it was sent to, where the machine knows: interface, and next hop out of an uplink.
    pub target: Option<(u32, Option<Address>)>,
    /// The frame afterwards. Of one that was dropped it says nothing.
    pub bytes: Vec<u8>,
}

/// What the flow tables hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tables {
    /// The live flows, in the order of their original tuples.
    pub flows: Vec<Row>,
    /// Slot, and flows opened, closed, confirmed and lapsed, of every owner that has any.
    pub usage: Vec<(u32, [u64; 4])>,
    /// Index entries.
    pub index: usize,
}

/// A live flow, as far as two machines must agree about it: no places, generations or times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// [`crate::abi::FlowKind`].
    pub kind: u32,
    /// The slot of its owner.
    pub owner: u32,
    /// The owner's generation.
    pub owner_generation: u32,
    /// Both tuples.
    pub keys: [FlowKey; 2],
    /// Of both ways: packets, bytes, TCP flags seen, MTU, interface, kind.
    pub ways: [[u64; 6]; 2],
}

impl Row {
    /// What is seen of a flow.
    pub fn of(flow: &Flow) -> Self {
        let way = |direction| {
            let way = flow.way(direction);
            [
                way.packets.load(),
                way.bytes.load(),
                way.tcp_seen.load(),
                way.mtu.into(),
                way.ifindex.into(),
                way.kind.into(),
            ]
        };
        Self {
            kind: flow.kind,
            owner: flow.owner,
            owner_generation: flow.owner_generation,
            keys: flow.keys,
            ways: [way(Direction::Original), way(Direction::Reply)],
        }
    }
}

impl Row {
    /// How far a TCP connection has come.
    pub fn phase(&self) -> TcpPhase {
        let [[_, _, original, ..], [_, _, reply, ..]] = self.ways;
        TcpPhase::of(TcpSeen(original), TcpSeen(reply))
    }
}

impl Tables {
    /// Puts the flows in an order that does not depend on places.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.flows.sort_by_key(|row| {
            let [original, _] = row.keys;
            (original.source, original.destination, original.source_port, original.protocol)
        });
        self
    }
}

/// Something that can be arranged and sent frames.
pub trait Machine {
    /// Makes everything as the layout has it. Flows stay.
    ///
    /// # Errors
    ///
    /// Why the machine cannot be arranged so.
    fn arrange(&mut self, layout: &Layout) -> Result<(), String>;
    /// Lets time go by.
    ///
    /// # Errors
    ///
    /// Why time does not go by here.
    fn later(&mut self, seconds: u64) -> Result<(), String>;
    /// Ends the flow with this tuple; its index entries stay.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn end_flow(&mut self, key: &FlowKey) -> Result<(), String>;
    /// Runs a frame through the program at a hook.
    ///
    /// # Errors
    ///
    /// Why this frame cannot be run here.
    fn send(&mut self, hook: Hook, frame: &[u8], segment_size: u32) -> Result<Seen, String>;
    /// What the tables hold now.
    fn tables(&self) -> Tables;
}

/// The packet logic over tables in memory.
#[derive(Debug)]
pub struct Memory {
    /// The tables.
    pub state: Rc<MemoryState>,
    /// The host.
    pub host: MemoryHost,
    /// What may happen in between.
    pub chaos: Rc<Chaos>,
    arranged: Option<Layout>,
    scratch: Scratch,
    cpu: usize,
}

impl Default for Memory {
    fn default() -> Self {
        let chaos = Rc::new(Chaos::default());
        let state = Rc::new(MemoryState::new(Layout::default().places as u32, &chaos));
        let (host, scratch) = (MemoryHost::default(), Scratch::new());
        let mut memory = Self { state, host, chaos, arranged: None, scratch, cpu: 0 };
        memory.arrange(&Layout::default()).expect("memory can be anything");
        memory
    }
}

/// A frame that will be cut into segments.
struct Segmented<'a> {
    bytes: &'a mut [u8],
    size: u32,
}

impl crate::datapath::Packet for Segmented<'_> {
    fn window<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.bytes.get_mut(offset..)?.first_chunk_mut()
    }

    fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn segment_size(&self) -> u32 {
        self.size
    }
}

impl Memory {
    /// Another CPU, at the same tables.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            state: Rc::clone(&self.state),
            host: self.host.clone(),
            chaos: Rc::clone(&self.chaos),
            arranged: self.arranged.clone(),
            scratch: Scratch::new(),
            cpu: 1 - self.cpu,
        }
    }

    /// The verdict on a frame, which is changed in place.
    pub fn verdict(&mut self, hook: Hook, frame: &mut [u8], segment_size: u32) -> Verdict {
        let mut packet = Segmented { bytes: frame, size: segment_size };
        let before = self.state.run_on(self.cpu);
        let (packet, state, host) = (&mut packet, &*self.state, &mut self.host);
        // One for all packets, as in the kernel: what an earlier one left must not matter.
        let (scratch, ifindex) = (&mut self.scratch, hook.ifindex());
        let verdict = match hook {
            Hook::Veth(_) => pipeline::from_endpoint(packet, state, host, scratch, ifindex),
            Hook::FromOutside => pipeline::from_outside(packet, state, host, scratch, ifindex),
            Hook::ToOutside { ingress } => {
                pipeline::to_outside(packet, state, host, scratch, ifindex, ingress)
            }
            Hook::IntoNetwork { ingress, .. } => {
                pipeline::to_network(packet, state, host, scratch, ifindex, ingress)
            }
        };
        // What is kept is noted; nothing comes in again by itself.
        let verdict = match verdict {
            Verdict::Keep { goes_on } if scratch::keep(state, host, scratch).is_none() => {
                Verdict::not_kept(goes_on)
            }
            Verdict::Release => {
                let _ = scratch::release(state, host, scratch);
                verdict
            }
            _ => verdict,
        };
        state.run_on(before);
        verdict
    }

    /// The answer to a frame, right after [`Verdict::Answer`] was said of it.
    pub fn answer(&self, hook: Hook, frame: &[u8]) -> Option<Vec<u8>> {
        let quoted = scratch::quoted(&self.scratch)? as usize;
        let mut answer = [0; size_of::<scratch::Frame>()];
        answer[scratch::QUOTED..][..quoted].copy_from_slice(&frame[14..][..quoted]);
        let (start, length) =
            scratch::answer(&*self.state, &self.scratch, hook.ifindex(), &mut answer)?;
        Some(answer[start..][..length as usize].to_vec())
    }
}

impl Machine for Memory {
    fn arrange(&mut self, layout: &Layout) -> Result<(), String> {
        let state = &self.state;
        let before = self.arranged.replace(layout.clone());
        for (ifindex, _) in before.iter().flat_map(|before| &before.interfaces) {
            state.remove_interface(*ifindex);
        }
        for (address, _) in before.iter().flat_map(|before| &before.endpoints) {
            state.remove_endpoint(address);
        }
        layout.interfaces.values().for_each(|interface| state.set_interface(*interface));
        for (address, endpoint) in &layout.endpoints {
            state.set_endpoint(*address, *endpoint);
        }
        for (prefix, range) in &layout.networks {
            state.set_network(prefix.address, prefix.length, *range);
        }
        for (source, length) in &layout.sources {
            state.allow(*source, *length);
        }
        for (key, published) in &layout.published {
            let protocol = Protocol::from_number(key.protocol).expect("a protocol with ports");
            let bit = PublishedPorts::place(protocol, u16::from_be_bytes(key.port));
            state.publish(*key, *published, bit);
            state.publish_locally(key.on_every_address(), *published, bit);
        }
        layout.host_addresses().for_each(|address| state.add_host_address(address));
        layout.owners.iter().for_each(|(slot, generation)| state.set_owner(*slot, *generation));
        state.set_settings(layout.settings);
        if before.is_some_and(|before| before.places != layout.places) {
            state.set_free_places(layout.places);
        }
        self.host.way_out = layout.way_out;
        self.host.mtu = layout.mtu;
        self.host.sockets = layout.sockets.iter().copied().collect();
        self.host.connecting = layout.connecting.iter().copied().collect();
        Ok(())
    }

    fn later(&mut self, seconds: u64) -> Result<(), String> {
        self.host.now += seconds * 1_000_000_000;
        Ok(())
    }

    fn end_flow(&mut self, key: &FlowKey) -> Result<(), String> {
        self.state.end_flow(key);
        Ok(())
    }

    fn send(&mut self, hook: Hook, frame: &[u8], segment_size: u32) -> Result<Seen, String> {
        let mut bytes = frame.to_vec();
        let verdict = self.verdict(hook, &mut bytes, segment_size);
        let known = self.state.interface_now(hook.ifindex());
        let ours = known.is_some_and(|interface| !interface.is(InterfaceKind::None));
        let target = match verdict {
            Verdict::Deliver { ifindex, .. } => Some((ifindex, None)),
            Verdict::Forward { ifindex, next_hop } => Some((ifindex, Some(next_hop))),
            _ => None,
        };
        self.state.consistent(false)?;
        Ok(Seen { counter: ours.then(|| verdict.counter()), target, bytes })
    }

    fn tables(&self) -> Tables {
        let owners = self.arranged.iter().flat_map(|layout| layout.owners.keys());
        let usage = owners.filter_map(|slot| {
            let usage = self.state.usage_now(*slot)?;
            let counts = [&usage.opened, &usage.closed, &usage.confirmed, &usage.lapsed];
            let counts = counts.map(SharedWord::load);
            (counts[0] != 0).then_some((*slot, counts))
        });
        let flows = self.state.live_flows().into_iter().map(Row::of).collect();
        let index = self.state.index_now().len();
        Tables { flows, usage: usage.collect(), index }.sorted()
    }
}

/// The tuple of a packet from here to there.
pub(super) fn key(
    family: FamilyId,
    protocol: Protocol,
    (from, port): (Station, u16),
    (to, to_port): (Station, u16),
) -> FlowKey {
    FlowKey {
        source: from.address(family),
        destination: to.address(family),
        source_port: port.to_be_bytes(),
        destination_port: to_port.to_be_bytes(),
        protocol: protocol as u32,
    }
}
