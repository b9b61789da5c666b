//! What came of it: data, a table of it for the terminal, and a page of it for the browser.
//!
//! **Invariant**: the data is all that either shows; whoever has the record can make both again. What cannot be
//! computed, of rounds that never were for example, is shown as a dash and never as a number.

mod cards;
mod costs;
mod facts;
mod figures;
mod file;
mod html;
mod latencies;
mod machine;
mod markup;
mod measured;
mod memory;
mod plot;
mod rates;
mod scale;
mod table;
#[cfg(test)]
mod tests;

pub use cards::{CardCosts, Counted, Flood, OfCards, Traffic};
pub use costs::{OfProgram, WayCosts};
pub use file::ReportFile;
pub use machine::{Absent, Lacked, Machine, Offloads};
pub use measured::{Beside, InArm, Measured, Pooled};
pub use memory::{MapMemory, Memory};
pub(in crate::bench) use scale::{API, NETEBPF, of_ports};
pub use scale::{AtScale, BesideSide, Quantity, Scale, Side, TooMany};

use super::{
    arms::{Kind, Way},
    load::Workload,
    statistics::geometric_mean,
};
use crate::plan::{GsoChoice, GsoSizes};
use measured::What;
use serde::{Deserialize, Serialize};

/// Everything that was measured, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When it was over (RFC 3339).
    pub when: String,
    /// On which machine.
    pub machine: Machine,
    /// How often.
    pub rounds: u32,
    /// How long one measurement took.
    pub milliseconds: u64,
    /// What this kernel does not have.
    pub absent: Vec<Absent>,
    /// How long the packets of streams are with netebpf.
    pub gso: Option<GsoChoice>,
    /// One for each way, family and workload.
    pub results: Vec<Measured>,
    /// What netebpf's programs take, for each way, family and workload that was looked at.
    pub costs: Vec<WayCosts>,
    /// What it takes of the kernel's memory.
    pub memory: Option<Memory>,
    /// With many ports, endpoints or flows.
    pub scale: Vec<AtScale>,
    /// Who cannot have so many flows.
    pub too_many: Vec<TooMany>,
    /// With two network cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cards: Option<OfCards>,
}

impl Record {
    /// The arms that netebpf is compared with; the bare veth comes last, for it does not do the same.
    pub fn others(&self) -> Vec<Kind> {
        let mut others = self.arms();
        others.retain(|arm| arm.is_beside());
        others.sort_by_key(|arm| *arm == Kind::BareVeth);
        others
    }

    /// The geometric mean of netebpf's ratios to another arm in some of the results, and of how many; none where nothing was
    /// compared.
    fn mean_beside(&self, other: Kind, some: impl Fn(&Measured) -> bool) -> Option<(f64, usize)> {
        let results = self.results.iter().filter(|result| some(result));
        let ratios = results.filter_map(|result| result.beside(other)).map(|ratio| ratio.median);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect();
        Some((geometric_mean(&ratios)?, ratios.len()))
    }

    /// Where more than a few packets were lost, and which part of them.
    fn losses(&self) -> impl Iterator<Item = (&Measured, Kind, f64)> {
        self.results.iter().flat_map(|result| {
            let arms = result.in_order().into_iter();
            arms.filter_map(move |of| Some((result, of.arm, of.loses()?)))
        })
    }

    /// How long the packets of streams were, where there were streams and that was out of the ordinary.
    fn gso_of_streams(&self) -> Option<&GsoChoice> {
        let streams = self.results.iter().any(|result| result.workload == Workload::Streams);
        self.gso.as_ref().filter(|gso| streams && gso.sizes != GsoSizes::USUAL)
    }

    /// The table for a terminal; ranges are dim on one that shows it.
    pub fn table(&self, dim: bool) -> String {
        table::rates(self, dim)
    }

    /// The same with latencies instead.
    pub fn latency_table(&self) -> String {
        table::latencies(self)
    }

    /// The page for a browser.
    pub fn page(&self) -> String {
        html::page(self)
    }

    /// In the order in which they are shown.
    fn arms(&self) -> Vec<Kind> {
        let mut arms =
            unique(self.results.iter().flat_map(|result| result.arms.iter().map(|of| of.arm)));
        arms.sort();
        arms
    }

    /// What was measured on a way, and what was done there: once for each family.
    fn groups(&self) -> Vec<((Way, What), Vec<&Measured>)> {
        let key = |result: &Measured| (result.way, result.what());
        let members = |group| self.results.iter().filter(|of| key(of) == group).collect();
        unique(self.results.iter().map(key)).into_iter().map(|g| (g, members(g))).collect()
    }
}

/// To the second.
pub(super) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Each once, where it is first.
fn unique<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}
