//! `netebpf gc`.

use super::{CliError, Context, down::print_changes};
use crate::daemon::api::{Changes, GcRequest, path};
use clap::Args;

/// Remove what no state accounts for
#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let request = GcRequest { dry_run: self.dry_run };
        let done: Changes = context.change(path::GC, &request).await?;
        print_changes(&done.changes)?;
        Ok(0)
    }
}
