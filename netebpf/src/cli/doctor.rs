//! `netebpf doctor`.

use super::{
    CliError,
    output::{self, Format, Listing},
};
use crate::kernel::probe::{self, Feature, Need};
use clap::Args;
use serde_json::{Value, json};

/// Show every kernel feature that is wanted, what is lost without it, and how to get it
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// table, json or a template
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Doctor {
    /// 1 when something is missing that nothing works without.
    pub(super) fn run(self) -> Result<u8, CliError> {
        let features = probe::features();
        let text = match &self.format {
            Format::Json => output::pretty(&json!(features)),
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

/// The feature as its JSON is; in words, what is there needs no remedy.
fn row(feature: &Feature) -> Value {
    let mut row = json!(feature);
    let (state, wanted) = match (feature.present, feature.need) {
        (true, _) => ("ok", false),
        (false, Need::Required) => ("MISSING", true),
        (false, Need::Optional) => ("missing", true),
        (false, Need::Warning) => ("warning", true),
    };
    row["State"] = state.into();
    row["Lost"] = if wanted { feature.lost.as_str() } else { "" }.into();
    row["Remedy"] = if wanted { feature.remedy.as_str() } else { "" }.into();
    row
}
