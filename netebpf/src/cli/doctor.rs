//! temp
use super::{CliError, Context};
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct Doctor {}
impl Doctor {
    pub(super) fn run(self) -> Result<u8, CliError> {
        let _: Option<Context> = None;
        Ok(0)
    }
}
