//! Cases: what is given, what is sent, what must come of it. Read from top to bottom, as it happens.

mod expect;
mod layout;
mod machine;

pub use expect::{
    Expect, answered, asked, hairpin, keep, keep_and_pass, pass, peer, refuse, release, rx,
    translated, tx,
};
pub use layout::{
    Given, Layout, WayOut, bring_back, capacity, connects, embryonic_quota, flow_vanishes, later,
    leaves_as, never_masqueraded, no_default_route, no_uplink_address, only_for, open, peers_apart,
    place_of, publish, quota, remove, restart, snat_ports, socket, way_in_takes, way_out_elsewhere,
    way_out_takes, world_unreachable, xdp_at_uplink,
};
pub use machine::{
    Hook, Machine, Memory, Row, Seen, Tables, into_network, to_outside, to_outside_from, veth,
};

use super::{
    frame::Frame,
    station::{Place, Socket},
};
use crate::datapath::{FamilyId, TcpPhase};

/// A case. Made by [`case`], finished by [`Case::run`] or kept in a table.
#[must_use]
#[derive(Clone, Debug)]
pub struct Case {
    name: &'static str,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Given(Given),
    Send(Hook, Frame),
    Expect(Expect),
    Binding(Socket, Socket),
    Flows(usize),
    Phase(TcpPhase),
}

/// What one machine was seen to do with one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// Where it was met.
    pub hook: Hook,
    /// Of the frame.
    pub seen: Seen,
    /// Of the tables, afterwards.
    pub tables: Tables,
}

/// Begins a case. Its name is the sentence that it shows to be true.
pub fn case(name: &'static str) -> Case {
    Case { name, steps: Vec::new() }
}

impl Case {
    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// What is different, from here on.
    pub fn given(self, given: Given) -> Self {
        self.step(Step::Given(given))
    }

    /// A frame, met where it comes from: an endpoint's veth, or the uplink.
    pub fn send(self, frame: Frame) -> Self {
        let hook = match frame.from.place {
            Place::Endpoint { .. } => Hook::Veth(frame.from),
            _ => Hook::FromOutside,
        };
        self.send_at(hook, frame)
    }

    /// A frame, met at another place.
    pub fn send_at(self, hook: Hook, frame: Frame) -> Self {
        self.step(Step::Send(hook, frame))
    }

    /// What must become of the frame sent last.
    pub fn expect(self, expect: Expect) -> Self {
        self.step(Step::Expect(expect))
    }

    /// A flow is now there in which this socket of an endpoint is this one to the outside.
    pub fn binding(self, inside: Socket, outside: Socket) -> Self {
        self.step(Step::Binding(inside, outside))
    }

    /// So many flows live now.
    pub fn flows(self, number: usize) -> Self {
        self.step(Step::Flows(number))
    }

    /// The one connection that there is has come so far.
    pub fn phase(self, phase: TcpPhase) -> Self {
        self.step(Step::Phase(phase))
    }

    /// The sentence.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The families that all its frames exist in.
    pub fn families(&self) -> Vec<FamilyId> {
        let exists = |family: &FamilyId| {
            self.steps.iter().all(|step| match step {
                Step::Send(_, frame) => frame.is_of(*family),
                _ => true,
            })
        };
        [FamilyId::V4, FamilyId::V6].into_iter().filter(exists).collect()
    }

    /// What it expects, in order.
    pub fn expectations(&self) -> impl Iterator<Item = &Expect> {
        self.steps.iter().filter_map(|step| match step {
            Step::Expect(expect) => Some(expect),
            _ => None,
        })
    }

    /// Plays it on a machine that has just been arranged as the default layout; what was seen.
    ///
    /// # Errors
    ///
    /// The first thing that was not as expected, and where.
    pub fn play(
        &self,
        family: FamilyId,
        machine: &mut impl Machine,
    ) -> Result<Vec<Observation>, String> {
        let mut layout = Layout::default();
        let mut seen = Vec::new();
        let mut last = None;
        for (n, step) in self.steps.iter().enumerate() {
            let outcome = self.perform(step, family, machine, &mut layout, &mut last);
            let new = outcome.map_err(|error| format!("step {n} of {family:?}: {error}"))?;
            seen.extend(new);
        }
        Ok(seen)
    }

    fn perform(
        &self,
        step: &Step,
        family: FamilyId,
        machine: &mut impl Machine,
        layout: &mut Layout,
        last: &mut Option<(Hook, Vec<u8>, Seen)>,
    ) -> Result<Option<Observation>, String> {
        match step {
            Step::Given(Given::Later(seconds)) => machine.later(*seconds)?,
            Step::Given(Given::FlowEnds(protocol, from, to)) => {
                machine.end_flow(&machine::key(family, *protocol, *from, *to))?;
            }
            Step::Given(given) => {
                layout.change(given);
                machine.arrange(layout)?;
            }
            Step::Send(hook, frame) => {
                let bytes = frame.bytes(family);
                let seen = machine.send(*hook, &bytes, frame.segment_size)?;
                *last = Some((*hook, bytes, seen.clone()));
                return Ok(Some(Observation { hook: *hook, seen, tables: machine.tables() }));
            }
            Step::Expect(expect) => {
                let (hook, sent, seen) = last.as_ref().ok_or("nothing was sent yet")?;
                expect.check(family, hook, sent, seen)?;
            }
            Step::Binding(inside, outside) => {
                let tables = machine.tables();
                let is = |row: &Row| binds(row, family, inside, outside);
                if !tables.flows.iter().any(is) {
                    return Err(format!("no binding of {inside:?} and {outside:?}: {tables:#?}"));
                }
            }
            Step::Phase(phase) => {
                let tables = machine.tables();
                let [row] = &tables.flows[..] else {
                    return Err(format!("not one flow: {tables:#?}"));
                };
                let found = row.phase();
                if found != *phase {
                    return Err(format!("expected {phase:?}, it is {found:?}"));
                }
            }
            Step::Flows(number) => {
                let live = machine.tables().flows.len();
                if live != *number {
                    return Err(format!("expected {number} flows, there are {live}"));
                }
            }
        }
        Ok(None)
    }

    /// Runs it over tables in memory, in each family.
    ///
    /// # Panics
    ///
    /// Where something is not as expected.
    pub fn run(&self) {
        for family in self.families() {
            if let Err(error) = self.play(family, &mut Memory::default()) {
                panic!("{}: {error}", self.name);
            }
        }
    }
}

fn binds(row: &Row, family: FamilyId, inside: &Socket, outside: &Socket) -> bool {
    let [original, reply] = row.keys;
    let is = |address, port: [u8; 2], socket: &Socket| {
        address == socket.station.address(family) && port == socket.port.to_be_bytes()
    };
    let masquerade = is(original.source, original.source_port, inside)
        && is(reply.destination, reply.destination_port, outside);
    let published = is(original.destination, original.destination_port, outside)
        && is(reply.source, reply.source_port, inside);
    masquerade || published
}
