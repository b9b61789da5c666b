//! Tables of it: each side beside itself with the fewest there, and netebpf beside each other side.

use super::{
    super::{
        Record, figures, markup,
        table::{self, line},
        unique,
    },
    AtScale, Quantity, Scale, Side,
};
use crate::bench::statistics::{Ratio, median};
use std::fmt::Write as _;

/// One quantity at every level, the fewest there first.
struct Group<'a> {
    scale: Scale,
    quantity: Quantity,
    levels: Vec<&'a AtScale>,
    /// The sides of netebpf's that others are compared with.
    ours: Vec<&'a str>,
}

fn groups(record: &Record) -> Vec<Group<'_>> {
    let key = |of: &AtScale| (of.scale, of.quantity);
    let group = |(scale, quantity)| {
        let of_it = |of: &&AtScale| key(of) == (scale, quantity);
        let levels: Vec<_> = record.scale.iter().filter(of_it).collect();
        let ours = unique(levels.iter().flat_map(|of| &of.beside).map(|of| of.ours.as_str()));
        Group { scale, quantity, levels, ours }
    };
    unique(record.scale.iter().map(key)).into_iter().map(group).collect()
}

impl Group<'_> {
    /// With how many everything is compared, where there are more.
    fn fewest(&self) -> Option<u32> {
        self.levels.first().filter(|_| self.levels.len() > 1).map(|of| of.there)
    }

    /// What stands above the ratios.
    fn headings(&self) -> Vec<String> {
        let itself = self.fewest().map(|fewest| format!("beside {}", count(fewest)));
        itself.into_iter().chain(self.ours.iter().map(|ours| (*ours).to_owned())).collect()
    }

    /// The ratios of a side at a level.
    fn ratios(&self, at: &AtScale, side: &Side) -> Vec<Option<Ratio>> {
        let itself = self.fewest().map(|fewest| (at.there != fewest).then_some(side.grows));
        let beside = |ours: &&str| {
            let of = at.beside.iter().find(|of| of.ours == *ours && of.side == side.side);
            of.map(|of| of.ratio)
        };
        itself.into_iter().chain(self.ours.iter().map(beside)).collect()
    }
}

fn count(there: u32) -> String {
    figures::rate(there.into())
}

fn value(quantity: Quantity, rounds: &[f64]) -> String {
    let n = median(rounds);
    match quantity {
        Quantity::Attach | Quantity::Detach | Quantity::Doctor => figures::microseconds(n),
        Quantity::Daemon if n.is_finite() => format!("{n:.1}"),
        _ => figures::rate(n),
    }
}

/// For a terminal.
pub(in super::super) fn text(record: &Record, dim: [&str; 2]) -> String {
    let mut parts = Vec::new();
    for group in groups(record) {
        let headings = group.headings().into_iter().map(|heading| format!("  {heading:<18}"));
        let mut text =
            line(&format!("{:<30}{}", group.quantity.to_string(), headings.collect::<String>()));
        for at in &group.levels {
            let _ = writeln!(text, "{}: {}", group.scale, count(at.there));
            for side in &at.sides {
                let ratios = group.ratios(at, side).into_iter();
                let ratios = ratios.map(|of| format!("  {}", table::ratio(of, [6, 11], dim)));
                text += &line(&format!(
                    "  {:<18}{:>10}{}",
                    side.side,
                    value(group.quantity, &side.rounds),
                    ratios.collect::<String>()
                ));
            }
        }
        parts.push(text);
    }
    let too_many = record.too_many.iter().map(|of| format!("not here: {of}\n"));
    parts.join("\n") + &too_many.collect::<String>()
}

/// For the page.
pub(in super::super) fn section(page: &mut String, record: &Record) {
    let groups = groups(record);
    if groups.is_empty() {
        return;
    }
    *page += "<h2>With many there</h2>\n<p>Medians; how many times as much that is as with the fewest there, and how many \
              times as much netebpf has as each other: within a round, with the lowest and the highest round; endpoints and \
              flows beside the fewest, which were measured before, by medians alone. Of what is \
              counted a second more is better, of times less. Beside netebpf's commands stands what its API takes without a process, and \
              the calls to the kernel that the least of the same needs (netlink), with a program attached that does \
              nothing and without. Endpoints are attached in both families; ports, packets, connections and flows are \
              those of IPv4. What has one round is one number for all that is there.</p>\n";
    for group in groups {
        let mut rows = Vec::new();
        for at in &group.levels {
            for side in &at.sides {
                let with = format!("{} {}", count(at.there), group.scale);
                let cells = [side.side.clone(), with, value(group.quantity, &side.rounds)];
                let ratios = group.ratios(at, side).into_iter().map(figures::compared);
                rows.push(cells.into_iter().chain(ratios).collect::<Vec<_>>());
            }
        }
        let headings = group.headings();
        let headings = headings.iter().map(String::as_str);
        let headings: Vec<_> = ["who", "with", "median"].into_iter().chain(headings).collect();
        let name = format!("{}: {}", group.scale, group.quantity);
        markup::table(page, &name, headings, rows.into_iter());
    }
    if !record.too_many.is_empty() {
        let all: String =
            record.too_many.iter().map(|of| format!("<li>Not here: {of}</li>")).collect();
        let _ = writeln!(page, "<ul>{all}</ul>");
    }
}
