//! `netebpf version`.

use super::{CliError, output};
use clap::Args;
use netebpf_common::abi::ABI_VERSION;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct Version {}

impl Version {
    pub(super) fn run(self) -> Result<u8, CliError> {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("netebpf {version} (layout of the maps: {ABI_VERSION})\n");
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
