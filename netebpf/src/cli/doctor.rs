//! `netebpf doctor`.

use super::{
    CliError, Context,
    client::ClientError,
    output::{self, Format, ListFormat, Listing},
};
use crate::{
    daemon::api::{FlowFindings, path},
    kernel::probe::{self, Feature, Need},
};
use clap::Args;
use serde_json::{Value, json};

/// Show every kernel feature that is wanted, what is lost without it, and how to get it; whether all is well
/// with the flows of the instance
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// table, json, a template, or a table of one: table {{.A}}\t{{.B}}
    #[arg(long, default_value = "table")]
    format: ListFormat,
}

impl Doctor {
    /// 1 when something is missing that nothing works without.
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let mut features = probe::features();
        features.push(probe::big_tcp().await?);
        features.push(probe::netkit().await?);
        features.push(flow_table(context).await);
        let text = match &self.format {
            ListFormat::Plain(Format::Json) => output::pretty(&json!(features)),
            format => Listing {
                columns: &[
                    ("FEATURE", "name"),
                    ("STATE", "State"),
                    ("WITHOUT IT", "Lost"),
                    ("HOW TO GET IT", "Remedy"),
                ],
                rows: features.iter().map(row).collect(),
            }
            .render(format)?,
        };
        output::print(&text).map_err(CliError::io("standard output"))?;
        let missing =
            features.iter().any(|feature| !feature.present && feature.need == Need::Required);
        Ok(u8::from(missing))
    }
}

/// How many findings are told one by one.
const TOLD: usize = 8;

/// Whether all is well with the table of flows. Asks the daemon that runs, and starts none.
async fn flow_table(context: &Context) -> Feature {
    let instance = context.instance.name();
    let (present, lost, remedy) = match context.client.get(path::FLOWS_CHECK).await {
        Ok(FlowFindings { findings }) if findings.is_empty() => (true, String::new(), ""),
        Ok(FlowFindings { findings }) => (
            false,
            told(&findings),
            "netebpf down and up make the table new; please report what was found",
        ),
        Err(ClientError::NoDaemon { .. } | ClientError::Ending(_)) if !context.exists() => {
            (true, format!("instance {instance:?} is not up: it has no flows"), "")
        }
        Err(ClientError::NoDaemon { .. }) => (
            false,
            format!("no daemon of instance {instance:?} runs: flows stay when their time is over"),
            "netebpf daemon, or up",
        ),
        Err(error) => (false, format!("it was not looked at: {error}"), "netebpf doctor, again"),
    };
    Feature {
        name: "flow table".to_owned(),
        need: Need::Warning,
        present,
        lost,
        remedy: remedy.to_owned(),
    }
}

fn told(findings: &[String]) -> String {
    let mut told = findings.iter().take(TOLD).cloned().collect::<Vec<_>>();
    if let Some(more @ 1..) = findings.len().checked_sub(TOLD) {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

/// The feature as its JSON is; in words, what is there needs no remedy, and what has none is a remark.
fn row(feature: &Feature) -> Value {
    let mut row = json!(feature);
    let (state, wanted) = match (feature.present, feature.need) {
        (true, _) => ("ok", feature.remedy.is_empty()),
        (false, Need::Required) => ("MISSING", true),
        (false, Need::Optional) => ("missing", true),
        (false, Need::Warning) => ("warning", true),
    };
    row["State"] = state.into();
    row["Lost"] = if wanted { feature.lost.as_str() } else { "" }.into();
    row["Remedy"] = if wanted { feature.remedy.as_str() } else { "" }.into();
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_are_counted() {
        let findings: Vec<_> = (0..TOLD + 2).map(|number| format!("finding {number}")).collect();
        assert!(told(&findings).ends_with("finding 7; and 2 more"));
        assert_eq!(told(&findings[..2]), "finding 0; finding 1");
        assert!(told(&findings[..TOLD]).ends_with("finding 7"));
    }
}
