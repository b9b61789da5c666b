//! `netebpf network rm`.

use crate::{
    cli::{CliError, Context, output},
    daemon::api::{Changes, RemoveRequest, path},
};
use clap::Args;

/// Remove networks
#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        for name in &self.names {
            context.network(name).await?;
        }
        let request = RemoveRequest { names: self.names, force: false };
        let _: Changes = context.change(path::NETWORKS_REMOVE, &request).await?;
        let text: String = request.names.iter().map(|name| format!("{name}\n")).collect();
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
