//! What becomes of it with many there.

use super::{InArm, Measured, Record, figures, markup::table, table::line, unique};
use crate::bench::{
    arms::Kind,
    statistics::{Ratio, median, number},
};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// Of what there are many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Published ports of the host.
    Ports,
    /// Other endpoints on the network.
    Endpoints,
    /// Flows of one endpoint.
    Flows,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ports => "published ports",
            Self::Endpoints => "other endpoints",
            Self::Flows => "flows of one endpoint",
        })
    }
}

/// What is measured then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Milliseconds until an endpoint is there.
    Attach,
    /// Milliseconds until it is gone.
    Detach,
    /// Round trips a second.
    RoundTrips,
    /// Connections a second.
    Connections,
    /// Small packets a second, of as many of the flows as go to one port.
    Packets,
    /// Flows a second that were opened, and answered.
    Opened,
    /// Per cent of a CPU that the daemon takes.
    Daemon,
    /// Milliseconds that `doctor` takes, which looks at every flow.
    Doctor,
    /// Bytes of all maps.
    Bytes,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Attach => "one more is there, ms",
            Self::Detach => "it is gone, ms",
            Self::RoundTrips => "round trips a second",
            Self::Connections => "connections a second",
            Self::Packets => "small packets a second",
            Self::Opened => "flows opened a second",
            Self::Daemon => "the daemon, % of a CPU",
            Self::Doctor => "doctor, ms",
            Self::Bytes => "bytes of all maps",
        })
    }
}

/// One quantity with so many there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AtScale {
    /// Of what.
    pub scale: Scale,
    /// How many.
    pub there: u32,
    /// What was measured.
    pub quantity: Quantity,
    /// By whom.
    pub sides: Vec<Side>,
}

/// One of those who are measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// Who it is.
    pub side: String,
    /// One after the other.
    pub rounds: Vec<f64>,
    /// How many times as much it is as with the fewest there.
    #[serde(deserialize_with = "number")]
    pub grows: f64,
}

/// An arm whose table is too small.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TooMany {
    /// Which.
    pub arm: Kind,
    /// For how many flows.
    pub flows: u32,
    /// How many it can have.
    pub most: u32,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arm, flows, most } = self;
        let [flows, most] = [flows, most].map(|n| figures::rate(f64::from(*n)));
        write!(f, "{arm} with {flows} flows: nf_conntrack_max allows {most} here")
    }
}

/// Connections with many published ports, beside those with one: within each round.
pub(in crate::bench) fn of_ports(results: &[Measured]) -> Vec<AtScale> {
    let same = |of: &Measured| (of.way, of.family, of.workload);
    let Some(many) = results.iter().find(|of| of.ports > 1) else { return Vec::new() };
    let all = results.iter().filter(|of| same(of) == same(many));
    let Some(one) = all.clone().find(|of| of.ports == 1) else { return Vec::new() };
    let rates = |of: &InArm| of.rounds.iter().map(|round| round.per_second).collect::<Vec<_>>();
    let side = |of: &InArm| {
        let few = one.of(of.arm).map(rates).unwrap_or_default();
        let rounds = rates(of);
        Side { side: of.arm.to_string(), grows: Ratio::of(&rounds, &few).median, rounds }
    };
    let at = |of: &Measured| AtScale {
        scale: Scale::Ports,
        there: of.ports.into(),
        quantity: Quantity::Connections,
        sides: of.in_order().into_iter().filter(|of| of.arm != Kind::BareVeth).map(side).collect(),
    };
    all.map(at).collect()
}

/// One quantity, and a line for each side: what it is, and how it grows, with so many there.
struct Group<'a> {
    scale: Scale,
    quantity: Quantity,
    there: Vec<u32>,
    sides: Vec<(&'a str, Vec<Option<[f64; 2]>>)>,
}

fn groups(record: &Record) -> Vec<Group<'_>> {
    let key = |of: &AtScale| (of.scale, of.quantity);
    let group = |(scale, quantity)| {
        let levels: Vec<_> =
            record.scale.iter().filter(|of| key(of) == (scale, quantity)).collect();
        let sides = unique(levels.iter().flat_map(|of| &of.sides).map(|of| of.side.as_str()));
        let of = |side| {
            let at = levels.iter().map(|level| {
                let found = level.sides.iter().find(|of| of.side == side);
                found.map(|of| [median(&of.rounds), of.grows])
            });
            (side, at.collect())
        };
        let there = levels.iter().map(|of| of.there).collect();
        Group { scale, quantity, there, sides: sides.into_iter().map(of).collect() }
    };
    unique(record.scale.iter().map(key)).into_iter().map(group).collect()
}

fn value(quantity: Quantity, n: f64) -> String {
    match quantity {
        Quantity::Attach | Quantity::Detach | Quantity::Doctor => figures::microseconds(n),
        Quantity::Daemon if n.is_finite() => format!("{n:.1}"),
        _ => figures::rate(n),
    }
}

/// How many stand beside each other on a terminal.
const COLUMNS: usize = 4;

/// For a terminal.
pub(super) fn text(record: &Record) -> String {
    let mut text = String::new();
    for Group { scale, quantity, there, sides } in groups(record) {
        for (nth, there) in there.chunks(COLUMNS).enumerate() {
            let cells: String = there
                .iter()
                .map(|n| format!(" {:>10}       ", figures::rate(f64::from(*n))))
                .collect();
            if !text.is_empty() {
                text.push('\n');
            }
            text += &line(&format!("{:<19}{cells}", scale.to_string()));
            text += &line(&quantity.to_string());
            for (side, at) in &sides {
                let at = at.iter().skip(nth * COLUMNS).take(COLUMNS);
                let cells: String = at
                    .map(|at| match at {
                        None => format!(" {:>10}       ", figures::NONE),
                        Some([n, grows]) => {
                            let grows = figures::factor(*grows) + "x";
                            format!(" {:>10} {grows:>6}", value(quantity, *n))
                        }
                    })
                    .collect();
                text += &line(&format!("  {side:<17}{cells}"));
            }
        }
    }
    for too_many in &record.too_many {
        let _ = writeln!(text, "not here: {too_many}");
    }
    text
}

/// For the page.
pub(super) fn section(page: &mut String, record: &Record) {
    let groups = groups(record);
    if groups.is_empty() {
        return;
    }
    *page += "<h2>With many there</h2>\n<p>Medians, and how many times as much that is as with the fewest. Beside \
              netebpf's commands stands what its API takes without a process, and the calls to the \
              kernel that the least of the same needs (netlink), with a program attached that does nothing and without.</p>\n";
    for Group { scale, quantity, there, sides } in groups {
        let rows = sides.into_iter().flat_map(|(side, at)| {
            let there = there.clone();
            at.into_iter().zip(there).map(move |(at, there)| {
                let [n, grows] = at.unwrap_or([f64::NAN; 2]);
                let there = figures::rate(f64::from(there));
                [
                    side.to_owned(),
                    format!("{there} {scale}"),
                    value(quantity, n),
                    figures::factor(grows) + "×",
                ]
            })
        });
        let name = format!("{scale}: {quantity}");
        table(page, &name, ["who", "with", "median", "beside the fewest"], rows);
    }
    if !record.too_many.is_empty() {
        let all: String =
            record.too_many.iter().map(|of| format!("<li>Not here: {of}</li>")).collect();
        let _ = writeln!(page, "<ul>{all}</ul>");
    }
}
