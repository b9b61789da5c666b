//! `netebpf publish` and `netebpf unpublish`.

use super::{
    CliError, Context, output,
    ps::{HostSide, host_sides},
};
use crate::{
    config::ports,
    daemon::api::{Changes, PublishRequest, Published, path},
    model::requests::PublishSpec,
};
use clap::Args;
use ipnet::IpNet;
use std::fmt::Write as _;

/// Publish ports of an endpoint that is there
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Who may use them: a range of addresses; everybody when none is given. The host's own programs always may
    #[arg(long = "allow-from", value_name = "CIDR", value_parser = ports::source)]
    allow_from: Vec<IpNet>,
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// 8080:80, 80, 127.0.0.1:8080:80/tcp, [::1]:53:53/udp, 8000-8010:80-90
    #[arg(value_name = "PORT", required = true)]
    ports: Vec<String>,
}

impl Publish {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut publish = specs(&self.ports)?;
        publish.iter_mut().for_each(|spec| spec.allow_from.clone_from(&self.allow_from));
        let view = context.endpoint(&self.endpoint).await?;
        let request = PublishRequest { endpoint: self.endpoint, ports: publish };
        let published: Published = context.change(path::PORTS_PUBLISH, &request).await?;
        let mut text = String::new();
        for mapping in &published.ports {
            for host in host_sides(&view, mapping).into_iter().filter_map(HostSide::socket) {
                let _ = writeln!(text, "{}/{} -> {host}", mapping.endpoint_port, mapping.transport);
            }
        }
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// Take published ports of an endpoint back
#[derive(Debug, Args)]
pub(super) struct Unpublish {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// As it was published, or the endpoint's port alone for all that leads to it: 8080:80, 80, 53/udp
    #[arg(value_name = "PORT", required = true)]
    ports: Vec<String>,
}

impl Unpublish {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let ports = specs(&self.ports)?;
        context.endpoint(&self.endpoint).await?;
        let request = PublishRequest { endpoint: self.endpoint, ports };
        let _: Changes = context.change(path::PORTS_UNPUBLISH, &request).await?;
        Ok(0)
    }
}

fn specs(texts: &[String]) -> Result<Vec<PublishSpec>, CliError> {
    let mut specs = Vec::new();
    for text in texts {
        specs.extend(ports::parse(text).map_err(CliError::PublishedPort)?);
    }
    Ok(specs)
}
