//! `netebpf port`.

use super::{
    CliError, Context, output,
    ps::{HostSide, host_sides},
};
use clap::Args;
use ipnet::IpNet;
use std::fmt::Write as _;

/// List the published ports of an endpoint, and who may use them where not everybody may
#[derive(Debug, Args)]
pub(super) struct Port {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    name: String,
    /// Only what leads to this port of it: 80, 80/tcp
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// Who may use it, where not everybody may.
fn from(ranges: &[IpNet]) -> String {
    let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    if ranges.is_empty() { String::new() } else { format!(" from {}", ranges.join(", ")) }
}

impl Port {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let view = context.endpoint(&self.name).await?;
        let wanted = self.port.as_ref().map(|port| {
            if port.contains('/') { port.to_ascii_lowercase() } else { format!("{port}/tcp") }
        });
        let mut text = String::new();
        for mapping in &view.endpoint.ports {
            let inside = format!("{}/{}", mapping.endpoint_port, mapping.transport);
            for host in host_sides(&view, mapping).into_iter().filter_map(HostSide::socket) {
                let _ = match &wanted {
                    None => writeln!(text, "{inside} -> {host}{}", from(&mapping.allow_from)),
                    Some(wanted) if *wanted == inside => writeln!(text, "{host}"),
                    Some(_) => Ok(()),
                };
            }
        }
        if let (Some(port), true) = (wanted, text.is_empty()) {
            return Err(CliError::NotPublished { endpoint: view.endpoint.name, port });
        }
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}
