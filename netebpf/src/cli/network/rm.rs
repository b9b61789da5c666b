//! `netebpf network rm`.

use crate::{
    cli::{CliError, Context, output},
    daemon::{
        LookupError,
        api::{Changes, RemoveRequest, path},
    },
};
use clap::Args;

/// Remove networks
#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
    /// One that is not there is no failure
    #[arg(short, long)]
    force: bool,
}

impl Rm {
    /// As Docker: each by itself, and a failure does not keep the others.
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut code = 0;
        for name in &self.names {
            match remove(context, name).await {
                Ok(()) => {
                    let text = format!("{name}\n");
                    output::print(&text).map_err(CliError::io("standard output"))?;
                }
                Err(CliError::Lookup(LookupError::NotFound { .. })) if self.force => {}
                Err(error) => {
                    eprintln!("netebpf: {error}");
                    code = 1;
                }
            }
        }
        Ok(code)
    }
}

async fn remove(context: &Context, name: &str) -> Result<(), CliError> {
    context.network(name).await?;
    let request = RemoveRequest { names: vec![name.to_owned()], force: false };
    let _: Changes = context.change(path::NETWORKS_REMOVE, &request).await?;
    Ok(())
}
