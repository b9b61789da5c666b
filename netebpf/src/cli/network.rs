//! `netebpf network`.

use super::{
    CliError, Context,
    arguments::pair,
    inspect,
    output::{self, Format, Listing, rfc3339},
};
use crate::{
    config::options,
    daemon::api::{Changes, CreateNetworkRequest, NetworkView, RemoveRequest, path},
    model::{
        Driver,
        requests::{NetworkRequest, SubnetRequest, check_network_name},
    },
};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Manage networks
#[derive(Debug, Args)]
pub(super) struct Network {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "list")]
    Ls(Ls),
    Create(Create),
    Inspect(Inspect),
    #[command(alias = "remove")]
    Rm(Rm),
}

impl Network {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        match self.command {
            Command::Ls(command) => command.run(context).await,
            Command::Create(command) => command.run(context).await,
            Command::Inspect(command) => command.run(context).await,
            Command::Rm(command) => command.run(context).await,
        }
    }
}

/// List networks
#[derive(Debug, Args)]
struct Ls {
    /// Only identifiers
    #[arg(short, long)]
    quiet: bool,
    /// Whole identifiers
    #[arg(long)]
    no_trunc: bool,
    /// table, json or a template
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Ls {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
        let views = context.networks().await?;
        let listing = Listing {
            columns: &[
                ("NETWORK ID", "ID"),
                ("NAME", "Name"),
                ("DRIVER", "Driver"),
                ("SCOPE", "Scope"),
            ],
            rows: views.iter().map(|view| row(view, self.no_trunc)).collect(),
        };
        let quiet = "{{.ID}}".parse().expect("a template of the subset");
        let text = listing.render(if self.quiet { &quiet } else { &self.format })?;
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

fn row(view: &NetworkView, whole: bool) -> Value {
    let network = &view.network;
    let labels: Vec<_> =
        network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "ID": if whole { network.id.as_str() } else { network.id.short() },
        "Name": network.name,
        "Driver": driver(network.driver),
        "Scope": "local",
        "Internal": network.internal.to_string(),
        "IPv4": network.subnet(false).is_some().to_string(),
        "IPv6": network.subnet(true).is_some().to_string(),
        "CreatedAt": rfc3339(network.created),
        "Labels": labels.join(","),
    })
}

const fn driver(driver: Driver) -> &'static str {
    match driver {
        Driver::Bridge => "bridge",
    }
}

/// Create a network
#[derive(Debug, Args)]
struct Create {
    /// Its name
    name: String,
    /// A subnet; at most one of each family
    #[arg(long = "subnet", value_name = "SUBNET")]
    subnets: Vec<IpNet>,
    /// The gateway of the subnet that it is in
    #[arg(long = "gateway", value_name = "ADDRESS")]
    gateways: Vec<IpAddr>,
    /// Where addresses come from, in the subnet that it is in
    #[arg(long = "ip-range", value_name = "SUBNET")]
    ranges: Vec<IpNet>,
    /// An address that no endpoint is given
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS", value_parser = reserved)]
    reserved: Vec<(String, IpAddr)>,
    /// The kind of network: bridge is the only one
    #[arg(short, long, default_value = "bridge", value_parser = ["bridge"])]
    driver: String,
    /// A driver's option: com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade, .gateway_mode_ipv4,
    /// .gateway_mode_ipv6, com.docker.network.driver.mtu, com.docker.network.host_ipv4, .host_ipv6
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// No way out and none in
    #[arg(long)]
    internal: bool,
    /// IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// A label
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = pair)]
    labels: Vec<(String, String)>,
}

impl Create {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
        check_network_name(&self.name)?;
        let mut network = NetworkRequest::new(self.name);
        network.ipv6 = self.ipv6 || self.subnets.iter().any(|net| net.addr().is_ipv6());
        network.internal = self.internal;
        network.labels = self.labels.into_iter().collect();
        network.subnets = subnets(self.subnets, self.gateways)?;
        for range in self.ranges {
            if range != range.trunc() {
                return Err(CliError::HostBits { option: "--ip-range", net: range });
            }
            let subnet = subnet_of(&mut network, range.addr(), "--ip-range")?;
            subnet.range = Some(range);
        }
        for (name, address) in self.reserved {
            let subnet = subnet_of(&mut network, address, "--aux-address")?;
            subnet.reserved.insert(name, address);
        }
        for (key, value) in &self.options {
            options::set(&mut network, key, value)?;
        }
        let request = CreateNetworkRequest { network };
        let view: NetworkView = context.change(path::NETWORKS, &request).await?;
        let text = format!("{}\n", view.network.id);
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// `KEY=VALUE`, a driver's option.
fn option(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    options::set(&mut NetworkRequest::new(""), key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `NAME=ADDRESS`.
fn reserved(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = pair(text)?;
    let address = address.parse().map_err(|error| format!("{address:?}: {error}"))?;
    Ok((name, address))
}

/// The subnet that an address is in.
fn subnet_of<'a>(
    network: &'a mut NetworkRequest,
    address: IpAddr,
    option: &'static str,
) -> Result<&'a mut SubnetRequest, CliError> {
    let found = network.subnets.iter_mut().find(|subnet| subnet.net.contains(&address));
    found.ok_or(CliError::OutsideSubnets { option, address })
}

/// Each gateway goes to the subnet of its family, as with Docker.
fn subnets(nets: Vec<IpNet>, gateways: Vec<IpAddr>) -> Result<Vec<SubnetRequest>, CliError> {
    let mut gateways = gateways;
    let mut subnets = Vec::new();
    for net in nets {
        if net.addr() != net.network() {
            return Err(CliError::HostBits { option: "--subnet", net });
        }
        let ours = |gateway: &IpAddr| gateway.is_ipv4() == net.addr().is_ipv4();
        let gateway = gateways.iter().position(ours).map(|place| gateways.remove(place));
        subnets.push(SubnetRequest {
            net,
            gateway,
            range: None,
            reserved: Default::default(),
            place: None,
        });
    }
    match gateways.first() {
        Some(gateway) => Err(CliError::GatewayWithoutSubnet(*gateway)),
        None => Ok(subnets),
    }
}

/// Print all about networks, in Docker's shape
#[derive(Debug, Args)]
struct Inspect {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
    /// json or a template
    #[arg(short, long, default_value = "json")]
    format: Format,
}

impl Inspect {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut objects = Vec::new();
        for name in &self.names {
            objects.push(shape(&context.network(name).await?));
        }
        inspect::print(objects, &self.format)
    }
}

/// Remove networks
#[derive(Debug, Args)]
struct Rm {
    /// Names or identifiers
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl Rm {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
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

/// A network as `docker network inspect` shows it.
pub(super) fn shape(view: &NetworkView) -> Value {
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
    let options: Map<String, Value> = options::shown(network)
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    json!({
        "Name": network.name,
        "Id": network.id.as_str(),
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": driver(network.driver),
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
                "MacAddress": attachment.mac.to_string(),
                "IPv4Address": with_length(attachment.v4.map(IpAddr::from)),
                "IPv6Address": with_length(attachment.v6.map(IpAddr::from)),
            });
            containers.insert(endpoint.id.to_string(), value);
        }
    }
    containers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses() {
        let router = "10.0.0.9".parse().unwrap();
        assert_eq!(reserved("router=10.0.0.9"), Ok(("router".to_owned(), router)));
        assert!(reserved("10.0.0.9").is_err());
    }

    #[test]
    fn an_address_finds_its_subnet() {
        let nets = ["10.0.0.0/24", "fd00::/64"].map(|net| net.parse().unwrap());
        let mut network = NetworkRequest::new("front");
        network.subnets = subnets(nets.to_vec(), Vec::new()).unwrap();
        let mut found = |address: &str| {
            let address = address.parse().unwrap();
            subnet_of(&mut network, address, "--ip-range").map(|subnet| subnet.net)
        };
        assert_eq!(found("10.0.0.128").unwrap(), nets[0]);
        assert_eq!(found("fd00::8").unwrap(), nets[1]);
        assert!(found("10.0.1.1").is_err());
    }
}
