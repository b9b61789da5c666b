//! A queue.

use crate::datapath::Queue;
use std::{cell::RefCell, collections::VecDeque};

#[derive(Debug)]
pub(super) struct Fifo<V> {
    room: usize,
    values: RefCell<VecDeque<V>>,
}

impl<V> Fifo<V> {
    pub(super) fn new(room: usize) -> Self {
        Self { room, values: RefCell::default() }
    }
}

impl<V: Copy> Queue<V> for Fifo<V> {
    fn push(&self, value: &V) {
        let mut values = self.values.borrow_mut();
        if values.len() == self.room {
            values.pop_front();
        }
        values.push_back(*value);
    }

    fn peek(&self, first: &mut V) -> bool {
        self.values.borrow().front().map(|value| *first = *value).is_some()
    }

    fn pop(&self, first: &mut V) -> bool {
        let popped = self.values.borrow_mut().pop_front();
        popped.map(|value| *first = value).is_some()
    }
}
