//! `netebpf conntrack`.

use super::{
    CliError, Context,
    output::{self, Format, ListFormat, Listing, duration},
};
use crate::daemon::api::{FlowFilter, FlowSnapshot, FlowsRemoved, path};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Live flows
#[derive(Debug, Args)]
pub(super) struct Conntrack {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "list")]
    Ls(Ls),
    #[command(alias = "remove")]
    Rm(Rm),
}

impl Conntrack {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        match self.command {
            Command::Ls(command) => command.run(context).await,
            Command::Rm(command) => command.run(context).await,
        }
    }
}

/// List flows
#[derive(Debug, Args)]
struct Ls {
    /// Only those with protocol=, state=, endpoint=, address= or port= these values
    #[arg(value_name = "FILTER", value_parser = part)]
    filter: Vec<Part>,
    /// table, json, a template, or a table of one: table {{.A}}\t{{.B}}
    #[arg(long, default_value = "table")]
    format: ListFormat,
}

impl Ls {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
        let filter = resolved(context, filter(self.filter)).await?;
        let mut flows: Vec<FlowSnapshot> = context.look(path::FLOWS).await?;
        flows.retain(|flow| filter.takes(flow));
        let text = match &self.format {
            ListFormat::Plain(Format::Json) => output::pretty(&json!(flows)),
            format => Listing {
                columns: &[
                    ("PROTOCOL", "protocol"),
                    ("STATE", "state"),
                    ("ORIGINAL", "Original"),
                    ("REPLY", "Reply"),
                    ("ENDPOINT", "endpoint"),
                    ("PACKETS", "Packets"),
                    ("BYTES", "Bytes"),
                    ("AGE", "Age"),
                ],
                rows: flows.iter().map(row).collect(),
            }
            .render(format)?,
        };
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// The flow as its JSON is, and both ways in words.
fn row(flow: &FlowSnapshot) -> Value {
    let mut row = json!(flow);
    row["Original"] = flow.original.to_string().into();
    row["Reply"] = flow.reply.to_string().into();
    row["Packets"] = flow.packets.iter().sum::<u64>().into();
    row["Bytes"] = flow.bytes.iter().sum::<u64>().into();
    row["Age"] = duration(flow.age).into();
    row
}

/// Remove flows: their next packets begin anew
#[derive(Debug, Args)]
struct Rm {
    /// Those with protocol=, state=, endpoint=, address= or port= these values
    #[arg(value_name = "FILTER", value_parser = part, required_unless_present = "all")]
    filter: Vec<Part>,
    /// Every one
    #[arg(long, conflicts_with = "filter")]
    all: bool,
}

impl Rm {
    async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut removed = FlowsRemoved { removed: 0 };
        if context.exists() {
            let filter = resolved(context, filter(self.filter)).await?;
            removed = context.client.post(path::FLOWS_REMOVE, &filter).await?;
        }
        let text = format!("{} flows removed\n", removed.removed);
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// One part of a filter, as another filter.
#[derive(Clone, Debug)]
struct Part(FlowFilter);

fn part(text: &str) -> Result<Part, String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let mut filter = FlowFilter::default();
    let wrong = |error: &dyn std::fmt::Display| format!("{text:?}: {error}");
    match key {
        "protocol" => filter.protocol = Some(one_of(&PROTOCOLS, value)?),
        "state" => filter.state = Some(one_of(&STATES, value)?),
        "endpoint" => filter.endpoint = Some(value.to_owned()),
        "address" => filter.address = Some(value.parse().map_err(|error| wrong(&error))?),
        "port" => filter.port = Some(value.parse().map_err(|error| wrong(&error))?),
        _ => {
            let known = "protocol=, state=, endpoint=, address= and port= are understood";
            return Err(format!("{text:?}: {known}"));
        }
    }
    Ok(Part(filter))
}

/// As [`FlowSnapshot::protocol`].
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "icmp"];
/// As [`FlowSnapshot::state`].
const STATES: [&str; 8] = [
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "CLOSING",
    "TIME_WAIT",
    "CLOSE",
    "UNREPLIED",
    "REPLIED",
];

fn one_of(known: &[&str], value: &str) -> Result<String, String> {
    let found = known.iter().find(|known| known.eq_ignore_ascii_case(value));
    let found = found.ok_or_else(|| format!("{value:?}: {} would be right", known.join(", ")))?;
    Ok((*found).to_owned())
}

/// The endpoint by its name: the user may have given an identifier, or the beginning of one.
async fn resolved(context: &Context, mut filter: FlowFilter) -> Result<FlowFilter, CliError> {
    if let Some(query) = &filter.endpoint {
        filter.endpoint = Some(context.endpoint(query).await?.endpoint.name);
    }
    Ok(filter)
}

fn filter(parts: Vec<Part>) -> FlowFilter {
    parts.into_iter().fold(FlowFilter::default(), |all, Part(part)| FlowFilter {
        protocol: part.protocol.or(all.protocol),
        state: part.state.or(all.state),
        endpoint: part.endpoint.or(all.endpoint),
        address: part.address.or(all.address),
        port: part.port.or(all.port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::FlowTuple;

    fn flow() -> FlowSnapshot {
        let tuple = |source: &str, source_port, destination: &str, destination_port| FlowTuple {
            source: source.parse().unwrap(),
            source_port,
            destination: destination.parse().unwrap(),
            destination_port,
        };
        FlowSnapshot {
            protocol: "tcp".to_owned(),
            state: "ESTABLISHED".to_owned(),
            kind: "masquerade".to_owned(),
            original: tuple("10.0.0.2", 40_000, "192.0.2.9", 443),
            reply: tuple("192.0.2.9", 443, "192.0.2.1", 40_000),
            endpoint: Some("web".to_owned()),
            peer: None,
            packets: [1, 1],
            bytes: [60, 60],
            age: 3,
            idle: 1,
            left: 299,
        }
    }

    #[test]
    fn every_part_of_a_filter_is_met() {
        let takes = |parts: &[&str]| {
            filter(parts.iter().map(|text| part(text).unwrap()).collect()).takes(&flow())
        };
        assert!(takes(&[]));
        assert!(takes(&[
            "protocol=TCP",
            "state=established",
            "endpoint=web",
            "address=192.0.2.1",
            "port=443"
        ]));
        assert!(!takes(&["protocol=tcp", "endpoint=db"]));
        assert!(!takes(&["address=10.0.0.3"]));
        for wrong in ["colour=red", "port=x", "web", "protocol=foo", "state=XYZ"] {
            assert!(part(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tuple_in_words() {
        assert_eq!(row(&flow())["Reply"], "192.0.2.9:443 -> 192.0.2.1:40000");
    }
}
