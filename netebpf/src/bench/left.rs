//! What could not be taken away.
//!
//! **Invariant**: taking away goes on after a failure, and none is forgotten: whoever takes something away when it is
//! dropped, where nobody can be told, writes it down here, and it is the benchmark's error at its end.

use super::BenchError;
use std::{cell::RefCell, mem, rc::Rc};

/// The list; clones of it are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Left(Rc<RefCell<Vec<BenchError>>>);

impl Left {
    /// Writes down how taking something away ended.
    pub(super) fn note(&self, done: Result<(), BenchError>) {
        if let Err(error) = done {
            self.0.borrow_mut().push(error);
        }
    }

    /// All of it so far, as one error.
    pub(super) fn error(&self) -> Option<BenchError> {
        let errors = mem::take(&mut *self.0.borrow_mut());
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        (!said.is_empty()).then(|| BenchError::Left { said: said.join("; "), first: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_once() {
        let left = Left::default();
        assert!(left.error().is_none());
        left.clone().note(Err(BenchError::NotAlone));
        left.note(Ok(()));
        left.note(Err(BenchError::Cpus(1)));
        let said = left.error().unwrap().to_string();
        assert!(
            said.contains("another benchmark is running") && said.contains("; 1 CPU"),
            "{said}"
        );
        assert!(left.error().is_none());
    }
}
