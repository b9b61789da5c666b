//! `netebpf network inspect`.

use crate::{
    cli::{
        CliError, Context, inspect,
        output::{Format, rfc3339},
    },
    config::options,
    daemon::api::NetworkView,
    drivers,
    model::Driver,
};
use clap::Args;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Print all about networks, in Docker's shape
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
    /// json or a template
    #[arg(short, long, default_value = "json")]
    format: Format,
    /// As Docker; all is told in any case
    #[arg(short, long)]
    verbose: bool,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let (mut objects, mut missing) = (Vec::new(), Vec::new());
        for name in &self.names {
            match context.network(name).await {
                Ok(view) => objects.push(shape(&view)),
                Err(error @ CliError::Lookup(_)) => missing.push(error),
                Err(error) => return Err(error),
            }
        }
        // As Docker: what there is, and then what there is not.
        let code = inspect::print(objects, &self.format)?;
        missing.iter().for_each(|error| eprintln!("netebpf: {error}"));
        Ok(if missing.is_empty() { code } else { 1 })
    }
}

/// A network as `docker network inspect` shows it.
pub(in crate::cli) fn shape(view: &NetworkView) -> Value {
    let network = &view.network;
    let config = network.subnets.iter().map(|subnet| {
        let mut config = json!({
            "Subnet": subnet.net.to_string(),
            "Gateway": subnet.gateway.to_string(),
        });
        if let Some(range) = subnet.range {
            config["IPRange"] = range.to_string().into();
        }
        if !subnet.reserved.is_empty() {
            config["AuxiliaryAddresses"] = json!(subnet.reserved);
        }
        config
    });
    let mut options = Map::new();
    if network.driver == Driver::Bridge {
        let shown = options::shown(network).into_iter();
        options.extend(shown.map(|(key, value)| (key.into(), value.into())));
    }
    json!({
        "Name": network.name,
        "Id": network.id.as_str(),
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": drivers::of(network.driver).name(),
        "EnableIPv4": network.subnet(false).is_some(),
        "EnableIPv6": network.subnet(true).is_some(),
        "IPAM": { "Driver": "default", "Options": {}, "Config": config.collect::<Vec<_>>() },
        "Internal": network.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers(view),
        "Options": options,
        "Labels": network.labels,
    })
}

fn containers(view: &NetworkView) -> Map<String, Value> {
    let network = &view.network;
    let with_length = |address: Option<IpAddr>| {
        let subnet = address.and_then(|address| network.subnet(address.is_ipv6()));
        match (address, subnet) {
            (Some(address), Some(subnet)) => format!("{address}/{}", subnet.net.prefix_len()),
            _ => String::new(),
        }
    };
    let mut containers = Map::new();
    for endpoint in &view.endpoints {
        let joined = endpoint.attachments.iter();
        for attachment in joined.filter(|attachment| attachment.network == network.name) {
            let value = json!({
                "Name": endpoint.name,
                "EndpointID": endpoint.id_on(network).as_str(),
                "MacAddress": attachment.mac.to_string(),
                "IPv4Address": with_length(attachment.v4.map(IpAddr::from)),
                "IPv6Address": with_length(attachment.v6.map(IpAddr::from)),
            });
            containers.insert(endpoint.id.to_string(), value);
        }
        if endpoint.predefined() == Some(&network.name) {
            let value = json!({
                "Name": endpoint.name,
                "EndpointID": endpoint.id_on(network).as_str(),
                "MacAddress": "",
                "IPv4Address": "",
                "IPv6Address": "",
            });
            containers.insert(endpoint.id.to_string(), value);
        }
    }
    containers
}
