//! `netebpf schema`.

use super::{CliError, output};
use crate::config::topology;
use clap::Args;

/// Print the JSON Schema of the topology file, for editors
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<u8, CliError> {
        output::print(&output::pretty(&topology::schema()))
            .map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
