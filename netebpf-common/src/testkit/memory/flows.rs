//! The array of flows.

use super::{
    arena::Arena,
    chaos::{Chaos, Operation, TableName},
};
use crate::{
    abi::{Flow, is_live},
    datapath::{FlowStore, Lookup},
};
use std::{
    cell::{Cell, RefCell},
    collections::{HashSet, VecDeque},
    rc::Rc,
};

#[derive(Debug)]
pub(super) struct Flows {
    chaos: Rc<Chaos>,
    /// Which value stands at each place now.
    places: Vec<Cell<usize>>,
    values: Arena<Flow>,
    free: RefCell<VecDeque<u32>>,
}

impl Flows {
    pub(super) fn new(places: u32, chaos: &Rc<Chaos>) -> Self {
        let values = Arena::new();
        Self {
            chaos: Rc::clone(chaos),
            places: (0..places).map(|_| Cell::new(values.keep(Flow::default()))).collect(),
            values,
            free: RefCell::new((0..places).collect()),
        }
    }

    pub(super) fn set_free_places(&self, places: usize) {
        self.free.borrow_mut().truncate(places);
    }

    pub(super) fn free_places(&self) -> usize {
        self.free.borrow().len()
    }

    /// A place that is free twice, or free and taken.
    pub(super) fn wrongly_free(&self) -> Option<u32> {
        let mut seen = HashSet::new();
        let taken = |slot| self.peek(slot).is_some_and(|flow| is_live(flow.generation.load()));
        self.free.borrow().iter().copied().find(|slot| !seen.insert(*slot) || taken(*slot))
    }

    pub(super) fn peek(&self, slot: u32) -> Option<&Flow> {
        self.places.get(slot as usize).map(|place| self.values.at(place.get()))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Flow> {
        self.places.iter().map(|place| self.values.at(place.get()))
    }
}

impl Lookup<u32, Flow> for Flows {
    fn get(&self, slot: &u32) -> Option<&Flow> {
        if self.chaos.fails(Operation::Get(TableName::Flows)) {
            return None;
        }
        self.peek(*slot)
    }
}

impl FlowStore for Flows {
    fn claim(&self) -> Option<u32> {
        if self.chaos.fails(Operation::Claim) {
            return None;
        }
        self.free.borrow_mut().pop_front()
    }

    fn release(&self, slot: u32) {
        self.free.borrow_mut().push_back(slot);
    }

    fn fill(&self, slot: u32, write: impl FnOnce(&mut Flow)) {
        let Some(place) = self.places.get(slot as usize) else { return };
        // What stood here keeps its readers; the new owner begins with the generation of the old one.
        let mut flow = Flow::default();
        flow.generation.store(self.values.at(place.get()).generation.load());
        write(&mut flow);
        place.set(self.values.keep(flow));
    }
}
