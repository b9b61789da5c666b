//! `netebpf network create`.

use crate::{
    cli::{CliError, Context, arguments::pair, output},
    config::options,
    daemon::api::{CreateNetworkRequest, NetworkView, path},
    model::{
        Driver,
        requests::{NetworkRequest, SubnetRequest, check_network_name},
    },
};
use clap::Args;
use ipnet::IpNet;
use std::net::IpAddr;

/// Create a network
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    name: String,
    /// A subnet; at most one of each family
    #[arg(long = "subnet", value_name = "SUBNET", value_parser = cidr)]
    subnets: Vec<IpNet>,
    /// The gateway of the subnet that it is in
    #[arg(long = "gateway", value_name = "ADDRESS")]
    gateways: Vec<IpAddr>,
    /// Where addresses come from, in the subnet that it is in
    #[arg(long = "ip-range", value_name = "SUBNET", value_parser = cidr)]
    ranges: Vec<IpNet>,
    /// An address that no endpoint is given
    #[arg(long = "aux-address", value_name = "NAME=ADDRESS", value_parser = reserved)]
    reserved: Vec<(String, IpAddr)>,
    /// The kind of network: bridge; of host and null there is one each, which is always there
    #[arg(short, long, default_value = "bridge", value_parser = driver)]
    driver: Driver,
    /// A driver's option: com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade, .gateway_mode_ipv4,
    /// .gateway_mode_ipv6, com.docker.network.driver.mtu, com.docker.network.host_ipv4, .host_ipv6;
    /// netebpf.socket_shortcut=true for faster round trips of TCP between its endpoints, netebpf.device=netkit for netkit
    /// devices instead of veths
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// No way out and none in
    #[arg(long)]
    internal: bool,
    /// IPv4; --ipv4=false for a network without
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    ipv4: bool,
    /// IPv6 too, as with a subnet of it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    ipv6: Option<bool>,
    /// As Docker; every network can be joined by hand in any case
    #[arg(long)]
    attachable: bool,
    /// Only local
    #[arg(long, default_value = "local", value_parser = ["local"])]
    scope: String,
    /// Only default
    #[arg(long, default_value = "default", value_parser = ["default"])]
    ipam_driver: String,
    /// As Docker: the default driver of addresses knows none
    #[arg(long = "ipam-opt", value_name = "KEY[=VALUE]", value_parser = pair)]
    ipam_options: Vec<(String, String)>,
    /// A label
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = pair)]
    labels: Vec<(String, String)>,
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        check_network_name(&self.name).map_err(CliError::NetworkName)?;
        for (key, _) in &self.ipam_options {
            eprintln!(
                "netebpf: warning: --ipam-opt: {key:?} has no effect: the default driver of addresses has no options"
            );
        }
        let mut network = NetworkRequest::new(self.name);
        network.driver = self.driver;
        network.ipv4 = self.ipv4;
        let named = self.subnets.iter().any(|net| net.addr().is_ipv6());
        network.ipv6 = self.ipv6.unwrap_or(named);
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

/// The daemon says of which another one can be made.
fn driver(text: &str) -> Result<Driver, String> {
    let known = [Driver::Bridge, Driver::Host, Driver::Null];
    let found = known.into_iter().find(|driver| driver.to_string() == text);
    found.ok_or_else(|| format!("there is no driver {text:?}: bridge would be right"))
}

/// `ADDRESS/LENGTH`, refused in Docker's words.
fn cidr(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| format!("invalid CIDR address: {text}; 10.10.0.0/24 would be right"))
}

/// `KEY=VALUE`, a driver's option.
fn option(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    options::set(&mut NetworkRequest::new(""), key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `NAME=ADDRESS`.
fn reserved(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').unwrap_or(("", text));
    match address.parse() {
        Ok(address) if !name.is_empty() => Ok((name.to_owned(), address)),
        Ok(address) => Err(format!("it has no name: router={address} would be right")),
        Err(_) => Err(format!("{address:?} is no address: router=10.10.0.9 would be right")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses() {
        let router = "10.0.0.9".parse().unwrap();
        assert_eq!(reserved("router=10.0.0.9"), Ok(("router".to_owned(), router)));
        for nameless in ["10.0.0.9", "=10.0.0.9"] {
            let error = reserved(nameless).unwrap_err();
            assert_eq!(error, "it has no name: router=10.0.0.9 would be right");
        }
        assert!(reserved("router=10.0.0.300").is_err());
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
