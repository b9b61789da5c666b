//! `netebpf ps`.

mod filter;

use super::{
    CliError, Context,
    filter::Condition as _,
    output::{self, ListFormat, Listing, duration, rfc3339},
};
use crate::{
    daemon::{api::EndpointView, now},
    model::{GatewayMode, PortMapping},
};
use clap::Args;
use filter::{Filter, filter};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// List endpoints
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Only identifiers
    #[arg(short, long)]
    quiet: bool,
    /// As Docker; every endpoint is listed in any case
    #[arg(short, long)]
    all: bool,
    /// Only those: id=, label=KEY[=VALUE], name=, network=, publish=PORT[/PROTOCOL], status=
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<Filter>,
    /// Whole identifiers
    #[arg(long)]
    no_trunc: bool,
    /// table, json, a template, or a table of one: table {{.A}}\t{{.B}}
    #[arg(long, default_value = "table")]
    format: ListFormat,
}

impl Ps {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut views = context.endpoints().await?;
        views.retain(|view| Filter::all(&self.filters, view));
        let now = now();
        let rows = views.iter().map(|view| row(view, now, self.no_trunc)).collect();
        let listing = Listing {
            columns: &[
                ("ENDPOINT ID", "ID"),
                ("NAME", "Name"),
                ("NETWORKS", "Networks"),
                ("ADDRESSES", "Addresses"),
                ("PORTS", "Ports"),
                ("STATUS", "Status"),
                ("CREATED", "RunningFor"),
            ],
            rows,
        };
        let quiet = "{{.ID}}".parse().expect("a template of the subset");
        let text = listing.render(if self.quiet { &quiet } else { &self.format })?;
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// The fields have Docker's names.
fn row(view: &EndpointView, now: u64, whole: bool) -> Value {
    let endpoint = &view.endpoint;
    let labels: Vec<_> =
        endpoint.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let command = endpoint.service.as_ref().map(|service| service.command.join(" "));
    json!({
        "ID": if whole { endpoint.id.as_str() } else { endpoint.id.short() },
        "Name": endpoint.name,
        "Names": endpoint.name,
        "Networks": networks(view).join(","),
        "Addresses": addresses(view).join(", "),
        "Ports": ports(view).join(", "),
        "Status": status(view, now),
        "State": state(view),
        "Command": command.unwrap_or_default(),
        "Pid": view.process.as_ref().filter(|process| process.exit.is_none()).map(|process| process.pid),
        "CreatedAt": rfc3339(endpoint.created),
        "RunningFor": format!("{} ago", duration(now.saturating_sub(endpoint.created))),
        "Labels": labels.join(","),
    })
}

/// Docker's word for it.
pub(super) fn state(view: &EndpointView) -> &'static str {
    match &view.process {
        None => "created",
        Some(process) if process.exit.is_none() => "running",
        Some(_) => "exited",
    }
}

fn status(view: &EndpointView, now: u64) -> String {
    let since = |at: u64| duration(now.saturating_sub(at));
    match &view.process {
        None => "Created".to_owned(),
        Some(process) => match &process.exit {
            None => format!("Up {}", since(process.started)),
            Some(exit) => {
                let code = exit.code.map_or("unknown".to_owned(), |code| code.to_string());
                format!("Exited ({code}) {} ago", since(exit.at))
            }
        },
    }
}

/// The networks' names.
pub(super) fn networks(view: &EndpointView) -> Vec<String> {
    let predefined = view.endpoint.predefined().map(str::to_owned);
    let joined = view.endpoint.attachments.iter().map(|attachment| attachment.network.clone());
    predefined.into_iter().chain(joined).collect()
}

/// Every address.
pub(super) fn addresses(view: &EndpointView) -> Vec<String> {
    let attachments = view.endpoint.attachments.iter();
    attachments
        .flat_map(|attachment| {
            let v4 = attachment.v4.map(|address| address.to_string());
            v4.into_iter().chain(attachment.v6.map(|address| address.to_string()))
        })
        .collect()
}

/// `0.0.0.0:8080->80/tcp` for each, and `80/tcp` for what is reached without a port of the host.
pub(super) fn ports(view: &EndpointView) -> Vec<String> {
    let mappings = view.endpoint.ports.iter();
    mappings
        .flat_map(|mapping| {
            let inside = format!("{}/{}", mapping.endpoint_port, mapping.transport);
            let mut texts: Vec<_> = host_sides(view, mapping)
                .into_iter()
                .map(|side| match side.socket() {
                    Some(host) => format!("{host}->{inside}"),
                    None => inside.clone(),
                })
                .collect();
            texts.dedup();
            texts
        })
        .collect()
}

/// What a mapping takes of the host in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HostSide {
    /// The address; an unspecified one is every one of its family.
    pub(super) address: IpAddr,
    /// None where the network is routed: the endpoint's port is reached at its own address, and none of the host's is
    /// taken.
    pub(super) port: Option<u16>,
}

impl HostSide {
    /// The port, where there is one.
    pub(super) fn socket(self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.address, port))
    }
}

/// The host's sides of a mapping of an endpoint: no address means every one of both families.
pub(super) fn host_sides(view: &EndpointView, mapping: &PortMapping) -> Vec<HostSide> {
    let side = |address: IpAddr| {
        let reached = view.endpoint.reached_at(&view.networks, address.is_ipv6());
        let mode = reached.map(|(_, network)| network.gateway_mode(address.is_ipv6()));
        let port = (mode != Some(GatewayMode::Routed)).then_some(mapping.host_port);
        HostSide { address, port }
    };
    match mapping.host_address {
        Some(address) => vec![side(address)],
        None => vec![side(Ipv4Addr::UNSPECIFIED.into()), side(Ipv6Addr::UNSPECIFIED.into())],
    }
}
