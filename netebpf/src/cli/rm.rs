//! `netebpf rm`.

use super::{CliError, Context, output};
use crate::daemon::{
    LookupError,
    api::{Changes, RemoveRequest, path},
};
use clap::Args;

/// Remove endpoints
#[derive(Debug, Args)]
pub(super) struct Rm {
    /// Names or identifiers
    #[arg(required = true, value_name = "ENDPOINT")]
    names: Vec<String>,
    /// End what runs in them; one that is not there is no failure
    #[arg(short, long)]
    force: bool,
}

impl Rm {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        // Named before they are gone; without a daemon and a state there are none, which the look-up says.
        let mut names = Vec::new();
        for name in self.names {
            match context.endpoint(&name).await {
                Ok(_) => names.push(name),
                Err(missing @ CliError::Lookup(LookupError::NotFound { .. })) if self.force => {
                    eprintln!("netebpf: {missing}");
                }
                Err(error) => return Err(error),
            }
        }
        if names.is_empty() {
            return Ok(0);
        }
        let request = RemoveRequest { names, force: self.force };
        let _: Changes = context.change(path::ENDPOINTS_REMOVE, &request).await?;
        let text: String = request.names.iter().map(|name| format!("{name}\n")).collect();
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
