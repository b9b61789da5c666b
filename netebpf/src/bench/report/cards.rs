//! What XDP in a card's driver saves.

use super::{
    OfProgram, Record, figures,
    markup::{self, escaped},
    table::{self, line},
    unique,
};
use crate::bench::{
    host::Family,
    statistics::{Ratio, median, number},
};
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
    /// Each of them, in the order in which a datagram meets them.
    pub programs: Vec<OfProgram>,
}

impl CardCosts {
    /// What all of them take together for one datagram, in nanoseconds, in each round: not each has to see every one.
    fn together(&self) -> Vec<f64> {
        let rounds = self.programs.iter().map(|of| of.rounds.len()).max().unwrap_or_default();
        let of_round = |round: usize| {
            let costs = self.programs.iter().filter_map(|of| of.rounds.get(round));
            let datagrams = costs.clone().map(|cost| cost.packets).max().unwrap_or_default();
            let ran = costs.filter(|cost| cost.packets > 0);
            let time: f64 = ran.map(|cost| cost.nanoseconds * cost.packets as f64).sum();
            time / datagrams as f64
        };
        (0..rounds).map(of_round).collect()
    }
}

/// Small datagrams, as many as go out, that are dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flood {
    /// In which family.
    pub family: Family,
    /// As in [`CardCosts`].
    pub native: bool,
    /// One after the other.
    pub rounds: Vec<Counted>,
}

/// A flood, in a round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Counted {
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
    /// In each family XDP beside TC alone, within the rounds, where that says something.
    beside: [Option<Ratio>; 2],
}

impl Row {
    /// Of numbers in each round.
    fn new(
        what: &str,
        rounds: impl Fn(Family, bool) -> Vec<f64>,
        text: impl Fn(f64) -> String,
    ) -> Self {
        let both = Family::BOTH.map(|family| MODES.map(|native| rounds(family, native)));
        let cell = |rounds: &Vec<f64>| match median(rounds) {
            n if n.is_finite() => text(n),
            _ => figures::NONE.to_owned(),
        };
        let [[a, b], [c, d]] = both.each_ref().map(|of| of.each_ref().map(cell));
        let beside = both.map(|[tc, xdp]| Some(Ratio::of(&xdp, &tc)));
        Self { what: what.to_owned(), cells: [a, b, c, d], beside }
    }

    /// What is not compared.
    fn alone(self) -> Self {
        Self { beside: [None; 2], ..self }
    }
}

fn whole(n: f64) -> String {
    format!("{n:.0}")
}

/// One kind of datagrams, a line for each program and one for all of them.
fn programs(of: &OfCards, traffic: Traffic) -> Vec<Row> {
    let costs = || of.costs.iter().filter(move |of| of.traffic == traffic);
    let at = |family, native| costs().find(|of| (of.family, of.native) == (family, native));
    let names = costs().flat_map(|of| &of.programs).map(|of| of.program.as_str());
    let alone = unique(names).into_iter().map(|name| {
        let time = |family, native| {
            let program =
                at(family, native).and_then(|of| of.programs.iter().find(|of| of.program == name));
            program.map(OfProgram::nanoseconds).into_iter().collect()
        };
        Row::new(name, time, whole).alone()
    });
    let all = Row::new(
        "all of them",
        |family, native| at(family, native).map(CardCosts::together).unwrap_or_default(),
        whole,
    );
    alone.chain([all]).collect()
}

fn groups(of: &OfCards) -> Vec<(String, Vec<Row>)> {
    let kinds = unique(of.costs.iter().map(|of| of.traffic)).into_iter();
    let mut all: Vec<_> =
        kinds.map(|traffic| (format!("{traffic}, ns in"), programs(of, traffic))).collect();
    let flood = |what: fn(&Counted) -> f64| {
        move |family: Family, native: bool| -> Vec<f64> {
            let floods = of.floods.iter();
            let of_it = floods.filter(move |of| (of.family, of.native) == (family, native));
            of_it.flat_map(|of| &of.rounds).map(what).collect()
        }
    };
    let rows = vec![
        Row::new("a second", flood(|of| of.per_second), figures::rate),
        Row::new("all CPUs, ns for one", flood(|of| of.nanoseconds), whole),
        Row::new("lost, %", flood(|of| 100.0 * of.lost), whole).alone(),
    ];
    all.push(("dropped, as many as go out".to_owned(), rows));
    all
}

fn title(of: &OfCards) -> String {
    let driver = of.driver.as_ref().map_or_else(String::new, |driver| format!(" ({driver})"));
    format!("{}{driver}", of.cards[0])
}

/// For a terminal.
pub(super) fn text(record: &Record, dim: [&str; 2]) -> String {
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
        for Row { what, cells, beside } in rows {
            text += &shown(&format!("  {what}"), cells.each_ref().map(String::as_str));
            if beside.iter().flatten().any(|ratio| ratio.median.is_finite()) {
                let [v4, v6] = beside.map(|ratio| table::ratio(ratio, [8, 13], dim));
                text += &line(&format!("{:<32}{v4} {v6}", "    XDP beside TC alone"));
            }
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
         own statistics; a flood is counted without these, and the time of all CPUs has the work of who sends in it. \
         Medians; XDP beside TC alone is within a round, with the lowest and the highest round.</p>",
        escaped(&title(of)),
        escaped(&of.cards[1])
    );
    let rows = groups(of).into_iter().flat_map(|(title, rows)| {
        rows.into_iter().map(move |Row { what, cells: [a, b, c, d], beside }| {
            let [v4, v6] = beside.map(figures::compared);
            [title.clone(), what, a, b, v4, c, d, v6]
        })
    });
    let heads = [
        "datagrams",
        "what",
        "IPv4, TC alone",
        "IPv4, XDP",
        "XDP beside TC",
        "IPv6, TC alone",
        "IPv6, XDP",
        "XDP beside TC",
    ];
    markup::table(page, "XDP in a card's driver", heads, rows);
}
