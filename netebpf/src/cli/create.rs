//! `netebpf create`.

use super::{CliError, Context, arguments::EndpointArguments, output};
use crate::daemon::api::{CreateRequest, EndpointView, path};
use clap::Args;
use std::path::PathBuf;

/// Make an endpoint without a command
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// A namespace that exists; one of its own when absent
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    #[command(flatten)]
    endpoint: EndpointArguments,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let (mut endpoint, host) = self.endpoint.request(self.name)?;
        endpoint.netns = self.netns;
        let request = CreateRequest { endpoint, host, runner: None };
        let view: EndpointView = context.change(path::ENDPOINTS, &request).await?;
        let text = format!("{}\n", view.endpoint.id);
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
