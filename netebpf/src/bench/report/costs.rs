//! What a packet costs on a CPU: of netebpf's programs one by one, by the kernel's statistics, and of its whole way in
//! each arm, where that is what small packets measure.

use super::{
    Measured, Record, figures,
    markup::{capital, table},
    table::line,
    unique,
};
use crate::bench::{
    arms::{Kind, Way},
    host::Family,
    load::{Workload, cost::Cost},
    statistics::median,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What netebpf's programs take on a way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WayCosts {
    /// Which way.
    pub way: Way,
    /// In which family.
    pub family: Family,
    /// What was done.
    pub workload: Workload,
    /// Those that are on the way.
    pub programs: Vec<OfProgram>,
}

/// What one of them takes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OfProgram {
    /// Its name.
    pub program: String,
    /// How long it is on a CPU for a packet, by the kernel's statistics, in each pass or round.
    pub rounds: Vec<Cost>,
}

impl OfProgram {
    /// How many packets it saw in all rounds.
    pub fn packets(&self) -> u64 {
        self.rounds.iter().map(|round| round.packets).sum()
    }

    /// How long it takes for one: the median of the rounds in which it saw any.
    pub fn nanoseconds(&self) -> f64 {
        let ran = self.rounds.iter().filter(|round| round.packets > 0);
        median(&ran.map(|round| round.nanoseconds).collect::<Vec<_>>())
    }
}

/// From one packet's end to the next one's in an arm, on the one CPU that does nothing else meanwhile: all that the kernel
/// does for it, from the driver that it seems to come from to the interface where it is counted.
fn whole_way(result: &Measured, arm: Kind) -> Option<f64> {
    let is_it = result.workload == Workload::Packets;
    let rate = result.of(arm).filter(|_| is_it)?.median(|round| round.per_second);
    (rate > 0.0).then(|| 1e9 / rate)
}

fn nanoseconds(time: Option<f64>) -> String {
    time.filter(|time| time.is_finite())
        .map_or_else(|| figures::NONE.to_owned(), |time| format!("{time:.0}"))
}

/// One way and what was done there.
struct Group<'a> {
    title: String,
    /// A program, and what it takes in each family.
    programs: Vec<(&'a str, [Option<f64>; 2])>,
    whole: [Option<f64>; 2],
}

fn groups(record: &Record) -> Vec<Group<'_>> {
    let key = |of: &WayCosts| (of.way, of.workload);
    let group = |(way, workload)| {
        let of = |family| {
            record.costs.iter().find(|of| key(of) == (way, workload) && of.family == family)
        };
        let both = Family::BOTH.map(of);
        let names = both.into_iter().flatten().flat_map(|of| &of.programs);
        let time = |name: &str| {
            both.map(|of| {
                of?.programs.iter().find(|of| of.program == name).map(OfProgram::nanoseconds)
            })
        };
        let whole = |family| {
            let is_it = |of: &&Measured| {
                (of.way, of.workload, of.family, of.ports) == (way, workload, family, 1)
            };
            record.results.iter().find(is_it).and_then(|of| whole_way(of, Kind::Netebpf))
        };
        Group {
            title: format!("{way}: {workload}"),
            programs: unique(names.map(|of| of.program.as_str()))
                .into_iter()
                .map(|name| (name, time(name)))
                .collect(),
            whole: Family::BOTH.map(whole),
        }
    };
    unique(record.costs.iter().map(key)).into_iter().map(group).collect()
}

/// What a packet's whole way is called in a table.
const WHOLE: &str = "(its whole way)";

/// For a terminal.
pub(super) fn text(record: &Record) -> String {
    let groups = groups(record);
    if groups.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    let row = |name: &str, cells: [String; 2]| {
        line(&format!("  {name:<30}{:>9} {:>9}", cells[0], cells[1]))
    };
    text += &line(&format!("{:<32}{:>9} {:>9}", "netebpf's programs, ns a packet", "IPv4", "IPv6"));
    for Group { title, programs, whole } in groups {
        text += &line(&title);
        for (name, times) in programs {
            text += &row(name, times.map(nanoseconds));
        }
        if whole.iter().any(Option::is_some) {
            text += &row(WHOLE, whole.map(nanoseconds));
        }
    }
    text
}

/// For the page.
pub(super) fn section(page: &mut String, record: &Record) {
    let groups = groups(record);
    let whole: Vec<_> = record
        .results
        .iter()
        .flat_map(|result| {
            let arms = result.in_order().into_iter();
            arms.filter_map(move |of| Some((result, of.arm, whole_way(result, of.arm)?)))
        })
        .collect();
    if groups.is_empty() && whole.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "<h2>On a CPU</h2>\n<p>Nanoseconds that a packet takes. Of netebpf's programs by the kernel's own statistics, \
         which were on in passes of their own, for they cost time themselves; what the kernel does when a program has \
         ended is not in them. Of the whole way where small packets were measured: one CPU does it all, and nothing \
         else meanwhile.</p>"
    );
    if !groups.is_empty() {
        let rows = groups.iter().flat_map(|group| {
            let programs = group.programs.iter().map(|(name, times)| (*name, *times));
            let whole = Some((WHOLE, group.whole)).filter(|(_, of)| of.iter().any(Option::is_some));
            programs.chain(whole).map(|(name, times)| {
                let [v4, v6] = times.map(nanoseconds);
                [capital(&group.title), name.to_owned(), v4, v6]
            })
        });
        table(page, "netebpf's programs, ns a packet", ["way", "program", "IPv4", "IPv6"], rows);
    }
    if !whole.is_empty() {
        let rows = whole.iter().map(|(result, arm, time)| {
            let way = format!("{}, {}", result.way, result.family);
            [capital(&way), arm.to_string(), nanoseconds(Some(*time))]
        });
        table(page, "a small packet's whole way, ns", ["way", "arm", "ns a packet"], rows);
    }
}
