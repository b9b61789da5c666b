//! `netebpf man`.

use super::{Cli, CliError, output};
use clap::{Args, CommandFactory as _};

/// Print the manual page, of netebpf or of one of its commands
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The command
    command: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> Result<u8, CliError> {
        let mut command = Cli::command();
        // Built, so that the pages of commands have the global options too.
        command.build();
        if let Some(name) = &self.command {
            let unknown = || CliError::Io {
                what: format!("man: command {name:?}"),
                source: std::io::Error::other("there is none: \"netebpf help\" lists them"),
            };
            command = command.find_subcommand(name).cloned().ok_or_else(unknown)?;
            command = command.name(format!("netebpf-{name}").leak() as &'static str);
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(CliError::io("manual page"))?;
        let page = String::from_utf8_lossy(&page);
        output::print(&page).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
