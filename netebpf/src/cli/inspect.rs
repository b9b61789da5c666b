//! `netebpf inspect`.

use super::{
    CliError, Context, network,
    output::{self, Format, rfc3339},
    ps::{self, host_sides, state},
};
use crate::{
    config::endpoint_options,
    daemon::{LookupError, api::EndpointView},
    model::{Attachment, Namespace, Network, requests::DEFAULT_NETWORK},
};
use clap::Args;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// Print all about endpoints and networks, in Docker's shape
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Names or identifiers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// json or a template
    #[arg(short, long, default_value = "json")]
    format: Format,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let (mut objects, mut missing) = (Vec::new(), Vec::new());
        for name in &self.names {
            match look(context, name).await {
                Ok(object) => objects.push(object),
                Err(error @ CliError::Lookup(_)) => missing.push(error),
                Err(error) => return Err(error),
            }
        }
        // As Docker: what there is, and then what there is not.
        let code = print(objects, &self.format)?;
        missing.iter().for_each(|error| eprintln!("netebpf: {error}"));
        Ok(if missing.is_empty() { code } else { 1 })
    }
}

/// As Docker: an endpoint, else a network; what is neither is told of as an endpoint.
async fn look(context: &Context, name: &str) -> Result<Value, CliError> {
    match context.endpoint(name).await {
        Ok(view) => Ok(shape(&view)),
        Err(missing @ CliError::Lookup(LookupError::NotFound { .. })) => {
            Ok(network::shape(&context.network(name).await.map_err(|_| missing)?))
        }
        Err(error) => Err(error),
    }
}

/// Objects as an array, or each by a template.
pub(super) fn print(objects: Vec<Value>, format: &Format) -> Result<u8, CliError> {
    let text = match format {
        Format::Table | Format::Json => output::pretty(&Value::Array(objects)),
        Format::Template(template) => {
            let mut text = String::new();
            for object in &objects {
                text.push_str(&template.render(object)?);
                text.push('\n');
            }
            text
        }
    };
    output::print(&text).map_err(CliError::io("standard output"))?;
    Ok(0)
}

/// An endpoint as `docker inspect` shows a container, as far as it is one.
fn shape(view: &EndpointView) -> Value {
    let endpoint = &view.endpoint;
    let process = view.process.as_ref();
    let exit = process.and_then(|process| process.exit.as_ref());
    let running = process.filter(|process| process.exit.is_none());
    let service = endpoint.service.as_ref();
    json!({
        "Id": endpoint.id.as_str(),
        "Name": endpoint.name,
        "Created": rfc3339(endpoint.created),
        "State": {
            "Status": state(view),
            "Running": running.is_some(),
            "Pid": running.map_or(0, |process| process.pid),
            "ExitCode": exit.map_or(Some(0), |exit| exit.code),
            "StartedAt": process.map(|process| rfc3339(process.started)),
            "FinishedAt": exit.map(|exit| rfc3339(exit.at)),
        },
        "Config": {
            "Cmd": service.map(|service| &service.command),
            "Env": service.map(|service| {
                let pairs = service.environment.iter();
                pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
            }),
            "WorkingDir": service.and_then(|service| service.working_dir.as_ref()),
            "Labels": endpoint.labels,
        },
        "HostConfig": {
            "AutoRemove": endpoint.remove_on_exit,
            "Dns": endpoint.dns.servers,
            "DnsOptions": endpoint.dns.options,
            "DnsSearch": endpoint.dns.search,
            "NetworkMode": network_mode(view),
        },
        "LogPath": view.log,
        "NetworkSettings": settings(view),
    })
}

/// What is true of its networks, and of `bridge` a second time, as Docker told it before there were others; empty for who
/// is not on it.
fn settings(view: &EndpointView) -> Map<String, Value> {
    let networks = networks(view);
    let mut settings = networks.get(DEFAULT_NETWORK).map_or_else(no_addresses, |bridge| {
        let told = no_addresses().into_iter();
        told.map(|(field, _)| (field.clone(), bridge[&field].clone())).collect()
    });
    // Whose namespace is another's, or was there before, has none of its own.
    let own = matches!(view.endpoint.namespace, Namespace::Own(_));
    let sandbox = if own { view.endpoint.id.as_str() } else { "" };
    settings.insert("SandboxID".to_owned(), json!(sandbox));
    settings.insert("SandboxKey".to_owned(), json!(view.namespace));
    settings.insert("Networks".to_owned(), networks.into());
    settings.insert("Ports".to_owned(), ports(view).into());
    settings
}

/// Where there is none.
fn no_addresses() -> Map<String, Value> {
    let texts =
        ["EndpointID", "IPAddress", "Gateway", "GlobalIPv6Address", "IPv6Gateway", "MacAddress"];
    let lengths = ["IPPrefixLen", "GlobalIPv6PrefixLen"];
    let texts = texts.into_iter().map(|field| (field.to_owned(), json!("")));
    texts.chain(lengths.into_iter().map(|field| (field.to_owned(), json!(0)))).collect()
}

/// Docker's: the first network, or what stands in its place.
fn network_mode(view: &EndpointView) -> String {
    match &view.endpoint.namespace {
        Namespace::Of(other, _) => format!("container:{other}"),
        _ => ps::networks(view).into_iter().next().unwrap_or_else(|| "none".to_owned()),
    }
}

fn networks(view: &EndpointView) -> Map<String, Value> {
    let attachments = view.endpoint.attachments.iter();
    let predefined = view.endpoint.predefined().map(|name| {
        let network = view.networks.get(name);
        let id = network.map(|network| network.id.as_str());
        let mut value = no_addresses();
        value.insert("NetworkID".to_owned(), json!(id));
        value.insert("EndpointID".to_owned(), json!(endpoint_id(view, network)));
        value.insert("Aliases".to_owned(), json!([]));
        value.insert("IPAMConfig".to_owned(), Value::Null);
        value.insert("DriverOpts".to_owned(), Value::Null);
        (name.to_owned(), value.into())
    });
    attachments
        .map(|attachment| {
            let network = view.networks.get(&attachment.network);
            let subnet = |v6| network.and_then(|network| network.subnet(v6));
            let length = |v6| subnet(v6).map_or(0, |subnet| subnet.net.prefix_len());
            let gateway = |v6| {
                let subnet = subnet(v6).filter(|_| attachment.default_route);
                subnet.map(|subnet| subnet.gateway.to_string()).unwrap_or_default()
            };
            let text = |address: Option<String>| address.unwrap_or_default();
            let value = json!({
                "NetworkID": network.map(|network| network.id.as_str()),
                "EndpointID": endpoint_id(view, network),
                "IPAMConfig": chosen(attachment),
                "DriverOpts": endpoint_options::shown(attachment).into_iter().collect::<BTreeMap<_, _>>(),
                "GwPriority": attachment.gateway_priority,
                "IPAddress": text(attachment.v4.map(|address| address.to_string())),
                "IPPrefixLen": if attachment.v4.is_some() { length(false) } else { 0 },
                "Gateway": gateway(false),
                "GlobalIPv6Address": text(attachment.v6.map(|address| address.to_string())),
                "GlobalIPv6PrefixLen": if attachment.v6.is_some() { length(true) } else { 0 },
                "IPv6Gateway": gateway(true),
                "MacAddress": attachment.mac.to_string(),
                "Aliases": attachment.aliases,
                "Interface": attachment.interface.as_str(),
                "HostInterface": attachment.host_interface.as_str(),
            });
            (attachment.network.clone(), value)
        })
        .chain(predefined)
        .collect()
}

/// Docker's endpoint is one of ours on one network.
fn endpoint_id(view: &EndpointView, network: Option<&Network>) -> String {
    network.map(|network| view.endpoint.id_on(network).to_string()).unwrap_or_default()
}

/// The addresses that the user chose; null where there are none.
fn chosen(attachment: &Attachment) -> Option<BTreeMap<&'static str, IpAddr>> {
    let key = |address: &IpAddr| if address.is_ipv6() { "IPv6Address" } else { "IPv4Address" };
    let chosen = attachment.chosen.iter().map(|address| (key(address), *address));
    (!attachment.chosen.is_empty()).then(|| chosen.collect())
}

fn ports(view: &EndpointView) -> Map<String, Value> {
    let mut ports = Map::new();
    for mapping in &view.endpoint.ports {
        let inside = format!("{}/{}", mapping.endpoint_port, mapping.transport);
        let list = ports.entry(inside).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.extend(host_sides(view, mapping).into_iter().map(|side| {
                let port = side.port.map(|port| port.to_string()).unwrap_or_default();
                let mut told = json!({"HostIp": side.address.to_string(), "HostPort": port});
                // Ours: Docker has no such thing.
                if !mapping.allow_from.is_empty() {
                    told["AllowFrom"] = json!(mapping.allow_from);
                }
                told
            }));
        }
    }
    ports
}
