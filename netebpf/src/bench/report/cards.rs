//! What XDP in a card's driver saves.

use super::{
    Record, figures,
    markup::{escaped, table},
    table::line,
    unique,
};
use crate::bench::{host::Family, report::OfProgram, statistics::number};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// What becomes of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// It is addressed into a network by somebody outside.
    Dropped,
    /// It is of a published port's flow.
    Published,
    /// It is the host's own.
    NotOurs,
}

impl Traffic {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Dropped, Self::Published, Self::NotOurs];
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dropped => "dropped: into a network",
            Self::Published => "to a published port",
            Self::NotOurs => "to the host itself",
        })
    }
}

/// Measured with two cards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfCards {
    /// The host's, and its neighbour's.
    pub cards: [String; 2],
    /// The driver of the host's; none where it has none.
    pub driver: Option<String>,
    /// What programs take.
    pub costs: Vec<CardCosts>,
    /// What a flood takes that is dropped.
    pub floods: Vec<Flood>,
}

/// What netebpf's programs at the uplink's ingress take for a datagram.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CardCosts {
    /// Of this kind.
    pub traffic: Traffic,
    /// In which family.
    pub family: Family,
    /// Whether XDP is in the driver, or there is TC alone.
    pub native: bool,
    /// Each of them, by the kernel's statistics, the medians of the rounds.
    pub programs: Vec<OfProgram>,
}

/// Small datagrams, as many as go out, that are dropped: medians of the rounds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flood {
    /// In which family.
    pub family: Family,
    /// As in [`CardCosts`].
    pub native: bool,
    /// How many were dropped in a second.
    #[serde(deserialize_with = "number")]
    pub per_second: f64,
    /// How long all CPUs of the machine did something for one of them, sending it included.
    #[serde(deserialize_with = "number")]
    pub nanoseconds: f64,
    /// The part of what was sent that never got there.
    #[serde(deserialize_with = "number")]
    pub lost: f64,
}

/// Whether XDP is there, in the order of a line's cells.
const MODES: [bool; 2] = [false, true];
/// What they are called.
const TITLES: [&str; 2] = ["TC alone", "XDP"];

/// What stands in a line: both families, each by TC alone and with XDP.
struct Row {
    what: String,
    cells: [String; 4],
}

impl Row {
    fn new(
        what: &str,
        cell: impl Fn(Family, bool) -> Option<f64>,
        text: fn(f64) -> String,
    ) -> Self {
        let cells = Family::BOTH.map(|family| MODES.map(|native| cell(family, native)));
        let text = |n: Option<f64>| {
            n.filter(|n| n.is_finite()).map_or_else(|| figures::NONE.to_owned(), text)
        };
        let [[a, b], [c, d]] = cells;
        Self { what: what.to_owned(), cells: [a, b, c, d].map(text) }
    }
}

/// One kind of datagrams, a line for each program.
fn groups(of: &OfCards) -> Vec<(String, Vec<Row>)> {
    let whole = |n: f64| format!("{n:.0}");
    let mut all = Vec::new();
    for traffic in unique(of.costs.iter().map(|of| of.traffic)) {
        let costs = || of.costs.iter().filter(move |of| of.traffic == traffic);
        let at = |family, native| costs().find(|of| (of.family, of.native) == (family, native));
        let names = costs().flat_map(|of| &of.programs).map(|of| of.program.as_str());
        let rows = unique(names).into_iter().map(|name| {
            let time = |family, native| {
                let programs = &at(family, native)?.programs;
                programs.iter().find(|of| of.program == name).map(|of| of.nanoseconds)
            };
            Row::new(name, time, whole)
        });
        all.push((format!("{traffic}, ns in"), rows.collect()));
    }
    let flood = |what: fn(&Flood) -> f64| {
        move |family, native| {
            of.floods.iter().find(|of| (of.family, of.native) == (family, native)).map(what)
        }
    };
    let rows = [
        Row::new("a second", flood(|of| of.per_second), figures::rate),
        Row::new("all CPUs, ns for one", flood(|of| of.nanoseconds), whole),
        Row::new("lost, %", flood(|of| 100.0 * of.lost), whole),
    ];
    all.push(("dropped, as many as go out".to_owned(), rows.into()));
    all
}

fn title(of: &OfCards) -> String {
    let driver = of.driver.as_ref().map_or_else(String::new, |driver| format!(" ({driver})"));
    format!("{}{driver}", of.cards[0])
}

/// For a terminal.
pub(super) fn text(record: &Record) -> String {
    let Some(of) = &record.cards else { return String::new() };
    let shown = |name: &str, cells: [&str; 4]| {
        let [a, b, c, d] = cells;
        line(&format!("{name:<32}{a:>11} {b:>9}  {c:>11} {d:>9}"))
    };
    let [tc, xdp] = TITLES;
    let [v4, v6] = Family::BOTH.map(|family| family.to_string());
    let mut text = shown(&format!("uplink {}", title(of)), [&v4, "", &v6, ""]);
    text += &shown("", [tc, xdp, tc, xdp]);
    for (title, rows) in groups(of) {
        text += &line(&title);
        for Row { what, cells } in rows {
            text += &shown(&format!("  {what}"), cells.each_ref().map(String::as_str));
        }
    }
    text
}

/// For the page.
pub(super) fn section(page: &mut String, record: &Record) {
    let Some(of) = &record.cards else { return };
    let _ = writeln!(
        page,
        "<h2>XDP in a card's driver</h2>\n<p>The uplink is {}, and {} the neighbour's card. What programs take is by the kernel's \
         own statistics; a flood is counted without these, and the time of all CPUs has the work of who sends in it.</p>",
        escaped(&title(of)),
        escaped(&of.cards[1])
    );
    let rows = groups(of).into_iter().flat_map(|(title, rows)| {
        rows.into_iter()
            .map(move |Row { what, cells: [a, b, c, d] }| [title.clone(), what, a, b, c, d])
    });
    let heads = ["datagrams", "what", "IPv4, TC alone", "IPv4, XDP", "IPv6, TC alone", "IPv6, XDP"];
    table(page, "XDP in a card's driver", heads, rows);
}
