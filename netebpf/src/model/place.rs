//! Where in a file something was asked for, so that an error can point at it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A line and a column of a file, both counted from 1; shown as `netebpf.yaml:12:5`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The file, as the user named it.
    pub file: String,
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
