//! `netebpf network ls`.

use super::filter::{Filter, filter};
use crate::{
    cli::{
        CliError, Context,
        filter::Condition as _,
        output::{self, ListFormat, Listing, rfc3339},
    },
    daemon::api::NetworkView,
    drivers,
};
use clap::Args;
use serde_json::{Value, json};

/// List networks
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// Only identifiers
    #[arg(short, long)]
    quiet: bool,
    /// Whole identifiers
    #[arg(long)]
    no_trunc: bool,
    /// Only those: driver=, id=, label=KEY[=VALUE], name=, scope=, type=custom or builtin, dangling=
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<Filter>,
    /// table, json, a template, or a table of one: table {{.A}}\t{{.B}}
    #[arg(long, default_value = "table")]
    format: ListFormat,
}

impl Ls {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut views = context.networks().await?;
        views.retain(|view| Filter::all(&self.filters, view));
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
        "Driver": drivers::of(network.driver).name(),
        "Scope": "local",
        "Internal": network.internal.to_string(),
        "IPv4": network.subnet(false).is_some().to_string(),
        "IPv6": network.subnet(true).is_some().to_string(),
        "CreatedAt": rfc3339(network.created),
        "Labels": labels.join(","),
    })
}
