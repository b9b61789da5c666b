//! `netebpf daemon`.

use super::CliError;
use crate::{
    daemon::{self, Announcer},
    state::Instance,
};
use clap::Args;
use std::{io, os::fd::RawFd, path::Path};
use tracing_subscriber::EnvFilter;

/// Run the long-running part in the foreground, for systemd
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// Where the command that started it waits for a word
    #[arg(long, hide = true)]
    ready_fd: Option<RawFd>,
}

impl Daemon {
    pub(super) fn run(self, instance: &Instance, settings: &Path) -> Result<u8, CliError> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(false)
            .with_target(false)
            .init();
        let announcer = Announcer::new(self.ready_fd);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(CliError::io("start the runtime"))?;
        runtime.block_on(daemon::run(instance, settings, announcer)).map_err(Box::new)?;
        Ok(0)
    }
}
