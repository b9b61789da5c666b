//! temp
use super::{CliError, Context};
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct Status {}
impl Status {
    pub(super) async fn run(self, _: &Context) -> Result<u8, CliError> {
        Ok(0)
    }
}
