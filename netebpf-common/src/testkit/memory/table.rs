//! A hash, or an array that is asked like one.

use super::{
    arena::Arena,
    chaos::{Chaos, Operation, TableName},
};
use crate::datapath::{Insertion, Lookup, Memo, Table};
use std::{cell::RefCell, collections::HashMap, hash::Hash as Key, rc::Rc};

#[derive(Debug)]
pub(super) struct Hash<K, V> {
    name: TableName,
    chaos: Rc<Chaos>,
    places: RefCell<HashMap<K, usize>>,
    values: Arena<V>,
}

impl<K: Key + Eq + Copy, V> Hash<K, V> {
    pub(super) fn new(name: TableName, chaos: &Rc<Chaos>) -> Self {
        Self { name, chaos: Rc::clone(chaos), places: RefCell::default(), values: Arena::new() }
    }

    /// Replaces, as the user side does.
    pub(super) fn put(&self, key: K, value: V) {
        self.places.borrow_mut().insert(key, self.values.keep(value));
    }

    pub(super) fn take(&self, key: &K) {
        self.places.borrow_mut().remove(key);
    }

    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        let place = self.places.borrow().get(key).copied()?;
        Some(self.values.at(place))
    }

    pub(super) fn keys(&self) -> Vec<K> {
        self.places.borrow().keys().copied().collect()
    }

    pub(super) fn entries(&self) -> Vec<(K, V)>
    where
        V: Copy,
    {
        self.keys().into_iter().filter_map(|key| Some((key, *self.peek(&key)?))).collect()
    }
}

impl<K: Key + Eq + Copy, V> Lookup<K, V> for Hash<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        if self.chaos.fails(Operation::Get(self.name)) {
            self.take(key);
        }
        self.peek(key)
    }
}

impl<K: Key + Eq + Copy, V: Copy> Memo<K, V> for Hash<K, V> {
    fn put(&self, key: &K, value: &V) {
        if !self.chaos.fails(Operation::Insert(self.name)) {
            Self::put(self, *key, *value);
        }
    }

    fn forget(&self, key: &K) {
        self.take(key);
    }
}

impl<K: Key + Eq + Copy, V: Copy> Table<K, V> for Hash<K, V> {
    fn insert_new(&self, key: &K, value: &V) -> Insertion {
        if self.chaos.fails(Operation::Insert(self.name)) {
            return Insertion::Full;
        }
        if self.peek(key).is_some() {
            return Insertion::Exists;
        }
        self.put(*key, *value);
        Insertion::Inserted
    }

    fn remove(&self, key: &K) {
        self.take(key);
    }
}
