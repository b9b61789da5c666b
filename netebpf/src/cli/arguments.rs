//! Arguments that several commands have.

use super::CliError;
use crate::{
    config::{endpoint_options, ports},
    daemon::api::HostChoice,
    drivers::{self, Publishing},
    model::{
        BigTcp, DnsChoice, DnsWord, InterfaceName, InterfaceNameError, MacText, XdpMode,
        requests::{
            AttachmentRequest, DEFAULT_NETWORK, EndpointRequest, NetworkMode, PublishSpec,
            check_name,
        },
    },
};
use clap::Args;
use ipnet::IpNet;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What the user says about the host.
#[derive(Debug, Args)]
pub(super) struct HostArguments {
    /// An interface to the outside; every one with an address when none is named
    #[arg(long = "uplink", value_name = "IF", value_parser = interface)]
    uplinks: Vec<InterfaceName>,
    /// Whether a program looks at what comes in by the uplinks before there is a socket buffer: off; native, in the driver, which
    /// drops floods sooner and costs what is not dropped a second look (an uplink whose driver refuses does without, and
    /// status says why; an error where every one does); or generic, for tests
    #[arg(long, value_name = "MODE", value_parser = xdp_mode)]
    xdp: Option<XdpMode>,
    /// Packets of more than 64 KiB from endpoints' TCP, to be cut where they leave: auto (as long as every uplink takes
    /// them), on or off
    #[arg(long, value_name = "MODE", value_parser = big_tcp)]
    big_tcp: Option<BigTcp>,
}

impl HostArguments {
    pub(super) fn choice(self) -> HostChoice {
        HostChoice {
            uplinks: (!self.uplinks.is_empty()).then_some(self.uplinks),
            xdp: self.xdp,
            big_tcp: self.big_tcp,
        }
    }
}

/// An endpoint to make.
#[derive(Debug, Args)]
pub(super) struct EndpointArguments {
    /// A network to join, with what is asked for there; or none, host, container:NAME
    #[arg(long = "network", visible_alias = "net", value_name = "NET[:ip=…,ip6=…,alias=…,mac=…]", value_parser = network)]
    networks: Vec<Joins>,
    /// The IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// The IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// A further name on the first network
    #[arg(long = "network-alias", value_name = "NAME")]
    aliases: Vec<String>,
    /// The Ethernet address on the first network
    #[arg(long = "mac-address", value_name = "MAC")]
    mac: Option<MacText>,
    /// A port to publish: 8080:80, 80, 127.0.0.1:8080:80/tcp, [::1]:53:53/udp, 8000-8010:80-90
    #[arg(short, long = "publish", value_name = "PORT")]
    publish: Vec<String>,
    /// Who may use the published ports: a range of addresses; everybody when none is given. The host's own programs always
    /// may
    #[arg(long = "allow-from", value_name = "CIDR", value_parser = ports::source)]
    allow_from: Vec<IpNet>,
    /// A label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Who it asks for names that are nobody's here, the first three of them; the host's resolvers when absent
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// A search domain instead of the host's; "." for none
    #[arg(long = "dns-search", value_name = "DOMAIN")]
    dns_search: Vec<DnsWord>,
    /// An option of resolv.conf instead of the host's
    #[arg(long = "dns-option", visible_alias = "dns-opt", value_name = "OPTION")]
    dns_options: Vec<DnsWord>,
    #[command(flatten)]
    host: HostArguments,
}

impl EndpointArguments {
    /// The request, and what was said about the host.
    pub(super) fn request(
        self,
        name: Option<String>,
    ) -> Result<(EndpointRequest, HostChoice), CliError> {
        if let Some(name) = &name {
            check_name(name)?;
        }
        let (mode, mut networks) = joins(self.networks)?;
        if let Some(first) = networks.first_mut() {
            first.v4 = self.ip.or(first.v4);
            first.v6 = self.ip6.or(first.v6);
            first.mac = self.mac.or(first.mac);
            first.aliases.extend(self.aliases);
        } else if self.ip.is_some() || self.ip6.is_some() {
            return Err(CliError::NoAddress);
        } else if self.mac.is_some() {
            return Err(CliError::Conflict("mac-address and the network mode"));
        } else if !self.aliases.is_empty() {
            return Err(CliError::NoAlias);
        }
        let mut publish: Vec<PublishSpec> = Vec::new();
        for text in &self.publish {
            publish.extend(ports::parse(text)?);
        }
        publish.iter_mut().for_each(|spec| spec.allow_from.clone_from(&self.allow_from));
        if let Some(Publishing::Discarded(why)) =
            mode.as_ref().map(|mode| drivers::of_mode(mode).publishing())
            && !publish.is_empty()
        {
            eprintln!("netebpf: warning: {why}");
        }
        let labels = self.labels.into_iter().collect();
        let dns =
            DnsChoice { servers: self.dns, search: self.dns_search, options: self.dns_options };
        let request =
            EndpointRequest { name, mode, networks, publish, labels, dns, ..Default::default() };
        Ok((request, self.host.choice()))
    }
}

/// Environment of a command.
pub(super) fn environment(variables: Vec<String>) -> BTreeMap<String, String> {
    let pair = |variable: String| match variable.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        // As Docker: a name alone takes our own value, if there is one.
        None => std::env::var(&variable).ok().map(|value| (variable, value)),
    };
    variables.into_iter().filter_map(pair).collect()
}

/// `KEY` or `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() { Err("the key is empty") } else { Ok((key.to_owned(), value.to_owned())) }
}

fn interface(text: &str) -> Result<InterfaceName, InterfaceNameError> {
    InterfaceName::new(text)
}

fn xdp_mode(text: &str) -> Result<XdpMode, &'static str> {
    Ok(match text {
        "native" => XdpMode::Native,
        "generic" => XdpMode::Generic,
        "off" => XdpMode::Off,
        _ => return Err("off, native or generic would be right"),
    })
}

fn big_tcp(text: &str) -> Result<BigTcp, &'static str> {
    Ok(match text {
        "auto" => BigTcp::Auto,
        "on" => BigTcp::On,
        "off" => BigTcp::Off,
        _ => return Err("auto, on or off would be right"),
    })
}

/// What `--network` says.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Joins {
    Network(AttachmentRequest),
    Mode(NetworkMode),
}

/// All that was said with `--network`; nothing is the default network.
fn joins(all: Vec<Joins>) -> Result<(Option<NetworkMode>, Vec<AttachmentRequest>), CliError> {
    let (mut modes, mut networks) = (Vec::new(), Vec::new());
    for joins in all {
        match joins {
            Joins::Network(network) => networks.push(network),
            Joins::Mode(mode) => modes.push(mode),
        }
    }
    match (modes.pop(), networks.is_empty()) {
        (None, true) => Ok((None, vec![AttachmentRequest::new(DEFAULT_NETWORK)])),
        (Some(mode), true) if modes.is_empty() => Ok((Some(mode), networks)),
        (None, false) => Ok((None, networks)),
        _ => Err(CliError::Conflict(
            "cannot attach both user-defined and non-user-defined network-modes",
        )),
    }
}

/// `none`, `host`, `container:NAME` or `NET[:KEY=VALUE,…]`.
fn network(text: &str) -> Result<Joins, String> {
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    match (name, options) {
        ("none", "") => return Ok(Joins::Mode(NetworkMode::None)),
        ("host", "") => return Ok(Joins::Mode(NetworkMode::Host)),
        ("container", other) if !other.is_empty() => {
            return Ok(Joins::Mode(NetworkMode::Container(other.to_owned())));
        }
        ("container", _) => return Err("container:NAME is meant".to_owned()),
        ("none" | "host", _) => return Err(format!("{name} takes no options")),
        _ => {}
    }
    // Docker's long form has the name among the rest.
    let long = name.contains('=');
    if let Some(alone) = text.strip_prefix("name=").filter(|rest| long && !rest.contains(',')) {
        return network(alone);
    }
    let (mut request, options) = if long {
        (AttachmentRequest::default(), text)
    } else {
        (AttachmentRequest::new(name), options)
    };
    for option in fields(options) {
        network_option(&mut request, &option)?;
    }
    match request.network.as_str() {
        "" => Err("no network is named: name=NET would be right".to_owned()),
        "none" | "host" => Err(format!("{} takes no options", request.network)),
        _ => Ok(Joins::Network(request)),
    }
}

/// What stands between commas; those within quotation marks are no commas.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match (c, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

fn network_option(request: &mut AttachmentRequest, option: &str) -> Result<(), String> {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    let wrong = |error: &dyn std::fmt::Display| format!("{key}={value}: {error}");
    match key {
        "name" if !value.is_empty() => value.clone_into(&mut request.network),
        "ip" => request.v4 = Some(value.parse().map_err(|error| wrong(&error))?),
        "ip6" => request.v6 = Some(value.parse().map_err(|error| wrong(&error))?),
        "mac" | "mac-address" => {
            request.mac = Some(value.parse().map_err(|error| wrong(&error))?);
        }
        "gw-priority" => {
            request.gateway_priority = value.parse().map_err(|error| wrong(&error))?;
        }
        "driver-opt" => endpoint_option(request, value)?,
        "alias" if !value.is_empty() => request.aliases.push(value.to_owned()),
        "link-local-ip" => {
            return Err(wrong(&"link-local addresses are the kernel's own; leave it out"));
        }
        _ => {
            return Err(format!(
                "{option:?}: name=, ip=, ip6=, alias=, mac-address=, gw-priority= and driver-opt= are \
                 understood"
            ));
        }
    }
    Ok(())
}

/// A driver's option of an endpoint on a network, `KEY=VALUE`.
pub(super) fn endpoint_option(request: &mut AttachmentRequest, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    endpoint_options::set(request, key, value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_with_and_without_options() {
        assert_eq!(network("front"), Ok(Joins::Network(AttachmentRequest::new("front"))));
        assert_eq!(network("host"), Ok(Joins::Mode(NetworkMode::Host)));
        let web = NetworkMode::Container("web".to_owned());
        assert_eq!(network("container:web"), Ok(Joins::Mode(web)));
        let full = network("front:ip=10.0.0.2,ip6=fd00::2,alias=a,alias=b,mac=02:42:0a:00:00:02");
        let Ok(Joins::Network(full)) = full else { panic!("a network: {full:?}") };
        assert_eq!(full.network, "front");
        assert_eq!(full.v4, Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(full.v6, Some("fd00::2".parse().unwrap()));
        assert_eq!(full.aliases, ["a", "b"]);
        assert_eq!(full.mac.unwrap().to_string(), "02:42:0a:00:00:02");
        for wrong in
            ["host:ip=1.2.3.4", "container", "container:", "a:ip=x", "a:colour=red", "a:alias="]
        {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
