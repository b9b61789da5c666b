//! Values that stay where they are.

use std::cell::{Cell, OnceCell};

/// Keeps every value until it is dropped itself. A chunk has twice the room of the one before, so that
/// values never move and references to them last as long as the arena.
#[derive(Debug)]
pub(super) struct Arena<V> {
    chunks: [OnceCell<Box<[OnceCell<V>]>>; 32],
    length: Cell<usize>,
}

impl<V> Arena<V> {
    pub(super) fn new() -> Self {
        Self { chunks: [const { OnceCell::new() }; 32], length: Cell::new(0) }
    }

    /// Keeps a value; where it is.
    pub(super) fn keep(&self, value: V) -> usize {
        let at = self.length.get();
        self.length.set(at + 1);
        let (chunk, place) = position(at);
        let room = || (0..1_usize << chunk).map(|_| OnceCell::new()).collect();
        let kept = self.chunks[chunk].get_or_init(room)[place].set(value);
        assert!(kept.is_ok(), "each place is taken once");
        at
    }

    /// The value at a place.
    pub(super) fn at(&self, at: usize) -> &V {
        let (chunk, place) = position(at);
        let value = self.chunks[chunk].get().and_then(|chunk| chunk[place].get());
        value.expect("only places that were handed out are asked for")
    }
}

/// Chunk, and place in it.
fn position(at: usize) -> (usize, usize) {
    let chunk = (at + 1).ilog2() as usize;
    (chunk, at + 1 - (1 << chunk))
}
