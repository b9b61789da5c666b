//! `netebpf completion`.

use super::{Cli, CliError, output};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Print the completions of a shell
#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self) -> Result<u8, CliError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "netebpf", &mut text);
        let text = String::from_utf8_lossy(&text);
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
