//! `netebpf network connect` and `netebpf network disconnect`.

use crate::{
    cli::{CliError, Context, arguments::endpoint_option},
    daemon::api::{Changes, ConnectRequest, DisconnectRequest, path},
    model::requests::AttachmentRequest,
};
use clap::Args;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Let an endpoint join a network
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// Its IPv4 address there
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// Its IPv6 address there
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// A further name there
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// The default route goes to the network with the highest; 0 when absent
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    gw_priority: Option<i32>,
    /// A driver's option: com.docker.network.endpoint.ifname
    #[arg(long = "driver-opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

impl Connect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        context.network(&self.network).await?;
        context.endpoint(&self.endpoint).await?;
        let mut attachment = AttachmentRequest::new(self.network);
        (attachment.v4, attachment.v6) = (self.ip, self.ip6);
        attachment.aliases = self.aliases;
        attachment.gateway_priority = self.gw_priority.unwrap_or_default();
        for option in &self.options {
            endpoint_option(&mut attachment, option).map_err(CliError::DriverOption)?;
        }
        let request = ConnectRequest { endpoint: self.endpoint, attachment };
        let _: Changes = context.change(path::NETWORKS_CONNECT, &request).await?;
        Ok(0)
    }
}

/// Let an endpoint leave a network
#[derive(Debug, Args)]
pub(super) struct Disconnect {
    /// As Docker; an endpoint leaves at once in any case
    #[arg(short, long)]
    force: bool,
    /// The network
    #[arg(value_name = "NETWORK")]
    network: String,
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

impl Disconnect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        context.network(&self.network).await?;
        context.endpoint(&self.endpoint).await?;
        let request = DisconnectRequest { network: self.network, endpoint: self.endpoint };
        let _: Changes = context.change(path::NETWORKS_DISCONNECT, &request).await?;
        Ok(0)
    }
}
