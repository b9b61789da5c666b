//! `netebpf status`.

use super::{
    CliError, Context,
    client::ClientError,
    output::{self, Format, duration, table},
    ps,
};
use crate::daemon::{
    api::{Status as Instance, path},
    now,
};
use clap::Args;
use std::fmt::Write as _;

/// Show the instance: uplinks, hooks, networks, endpoints, ports, sysctls, flows, counters
#[derive(Debug, Args)]
pub(super) struct Status {
    /// table, json or a template
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let status: Instance = match context.client.get(path::STATUS).await {
            Err(ClientError::NoDaemon { .. } | ClientError::Ending(_)) if !context.exists() => {
                eprintln!("netebpf: instance {:?}: nothing is up", context.instance.name());
                if matches!(self.format, Format::Table) {
                    return Ok(0);
                }
                Instance { instance: context.instance.name().to_owned(), ..Instance::default() }
            }
            answer => answer?,
        };
        let value = serde_json::to_value(&status)
            .map_err(|error| CliError::Io { what: "status".to_owned(), source: error.into() })?;
        let text = match &self.format {
            Format::Table => text(&status),
            Format::Json => output::pretty(&value),
            Format::Template(template) => format!("{}\n", template.render(&value)?),
        };
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

fn text(status: &Instance) -> String {
    let up = duration(now().saturating_sub(status.started)).to_lowercase();
    let mut text = format!(
        "instance {}: daemon {} ({}), up {up}\nflows: {} of {}\n",
        status.instance, status.pid, status.version, status.flows.used, status.flows.capacity
    );
    let uplinks = status
        .uplinks
        .iter()
        .map(|uplink| vec![uplink.name.clone(), join(&uplink.addresses), uplink.mtu.to_string()]);
    section(&mut text, &["UPLINK", "ADDRESSES", "MTU"], uplinks);
    let hooks = status.hooks.iter().map(|hook| {
        let mechanism = hook.mechanism.clone().unwrap_or_else(|| "off".to_owned());
        let reason = hook.reason.clone().unwrap_or_default();
        vec![hook.interface.clone(), hook.program.clone(), mechanism, reason]
    });
    section(&mut text, &["INTERFACE", "PROGRAM", "HOOK", "WHY"], hooks);
    let networks = status.networks.iter().map(|network| {
        let subnets = network.subnets.iter();
        let gateways: Vec<_> = subnets.clone().map(|subnet| subnet.gateway).collect();
        vec![
            network.name.clone(),
            join(&subnets.map(|subnet| subnet.net).collect::<Vec<_>>()),
            join(&gateways),
            if network.internal { "internal" } else { "nat" }.to_owned(),
            network.bridge.to_string(),
            status.gso.get(&network.name).map_or_else(String::new, |gso| gso.to_string()),
        ]
    });
    section(&mut text, &["NETWORK", "SUBNETS", "GATEWAYS", "MODE", "BRIDGE", "GSO"], networks);
    let endpoints = status.endpoints.iter().map(|view| {
        vec![
            view.endpoint.name.clone(),
            ps::state(view).to_owned(),
            ps::networks(view).join(", "),
            ps::addresses(view).join(", "),
            join(&view.endpoint.attachments.iter().map(|a| &a.host_interface).collect::<Vec<_>>()),
        ]
    });
    section(&mut text, &["ENDPOINT", "STATUS", "NETWORKS", "ADDRESSES", "INTERFACES"], endpoints);
    let ports = status.endpoints.iter().flat_map(|view| {
        let name = view.endpoint.name.clone();
        ps::ports(view).into_iter().map(move |port| vec![port, name.clone()])
    });
    section(&mut text, &["PORT", "ENDPOINT"], ports);
    let sysctls = status.sysctls.iter().map(|sysctl| {
        let now = sysctl.now.clone().unwrap_or_else(|| "gone".to_owned());
        vec![sysctl.name.clone(), now, sysctl.before.clone()]
    });
    section(&mut text, &["SYSCTL", "VALUE", "BEFORE"], sysctls);
    let counters = status.counters.iter().flat_map(|(of, counters)| {
        counters
            .iter()
            .map(move |(name, packets)| vec![of.clone(), name.clone(), packets.to_string()])
    });
    section(&mut text, &["COUNTER OF", "VERDICT", "PACKETS"], counters);
    text
}

/// A table with a blank line before it; none without rows.
fn section(text: &mut String, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n{}", table(headings, rows));
    }
}

fn join<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
