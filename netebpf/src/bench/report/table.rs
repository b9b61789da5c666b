//! Tables for a terminal, of one width with any number of arms and workloads: an arm has a line, a family has columns.

use super::{InArm, Measured, Record, cards, costs, figures, memory, scale, unique};
use crate::bench::{arms::Kind, host::Family, statistics::Ratio};
use std::fmt::Write as _;

/// Wide enough for all columns.
const WIDTH: usize = 91;
/// What a reader of the same line sees, and what stands there without one.
const DIM: [&str; 2] = ["\x1b[2m", "\x1b[0m"];

/// The medians of operations per second, and how netebpf compares.
pub(super) fn rates(record: &Record, dim: bool) -> String {
    let dim = if dim { DIM } else { ["", ""] };
    let heading = |family: Family| {
        format!("  {:>11}  {:>7} {:<13}", family.to_string(), "netebpf", "(range)")
    };
    let all = |_: &Measured| true;
    let mut parts = Vec::new();
    let rates = grouped(record, "per second", all, heading, |result, arm| {
        let rate = result.of(arm).map_or(f64::NAN, |of| of.median(|sample| sample.per_second));
        let ratio = result.beside(arm).filter(|_| arm != Kind::Netebpf);
        format!("  {:>11}  {}", figures::rate(rate), self::ratio(ratio, [7, 13], dim))
    });
    let is_compared = !record.results.is_empty();
    parts.extend(is_compared.then_some(rates));
    parts.extend([costs::text(record), memory::text(record), scale::text(record, dim)]);
    parts.extend([cards::text(record, dim), notes(record)]);
    parts.extend(is_compared.then(|| wrapped(&figures::sentence(record))));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// How two compare: the median and, as dim as is said, the range, each in so many columns.
pub(super) fn ratio(
    ratio: Option<Ratio>,
    [factor, range]: [usize; 2],
    [dim, plain]: [&str; 2],
) -> String {
    let times = ratio.filter(|ratio| ratio.median.is_finite());
    let times = times.map(|ratio| figures::factor(ratio.median) + "x").unwrap_or_default();
    let shown = ratio.and_then(|ratio| figures::range(&ratio, "-"));
    let (shown, blank) = match shown {
        Some(shown) => (format!("{dim}({shown}){plain}"), range.saturating_sub(shown.len() + 2)),
        None => (String::new(), range),
    };
    format!("{times:>factor$} {shown}{:blank$}", "")
}

/// The percentiles of all rounds together.
pub(super) fn latencies(record: &Record) -> String {
    let heading = |family: Family| {
        format!("  {:>8} {:>7} {:>7} {:>8}", format!("{family} p50"), "p99", "p99.9", "of")
    };
    let mut text =
        grouped(record, "microseconds", Measured::has_latencies, heading, |result, arm| {
            let of = result.of(arm);
            let times = of.map_or([f64::NAN; 3], InArm::latencies).map(figures::microseconds);
            let [p50, p99, p999] = times;
            let samples = of.and_then(|of| of.pooled);
            let samples = samples.map_or(f64::NAN, |of| of.samples as f64);
            format!("  {p50:>8} {p99:>7} {p999:>7} {:>8}", figures::rate(samples))
        });
    text += &notes(record);
    text
}

/// A heading for each way and workload, under it a line for each arm with a cell for each family.
fn grouped(
    record: &Record,
    unit: &str,
    shown: impl Fn(&Measured) -> bool,
    heading: impl Fn(Family) -> String,
    cell: impl Fn(&Measured, Kind) -> String,
) -> String {
    let families = unique(record.results.iter().map(|result| result.family));
    let headings: String = families.iter().map(|family| heading(*family)).collect();
    let mut text = line(&format!("{unit:<19}{headings}"));
    let width = heading(Family::V4).len();
    for ((way, what), mut members) in record.groups() {
        members.retain(|result| shown(result));
        if members.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{way}: {what}");
        let measured = |arm: &Kind| members.iter().any(|result| result.of(*arm).is_some());
        for arm in record.arms().into_iter().filter(measured) {
            let cells = families.iter().map(|family| {
                let result = members.iter().find(|result| result.family == *family);
                result.map_or_else(|| " ".repeat(width), |result| cell(result, arm))
            });
            text += &line(&format!("  {arm:<17}{}", cells.collect::<String>()));
        }
    }
    text
}

pub(super) fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// Lines of whole words.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// What the reader has to know, too.
fn notes(record: &Record) -> String {
    let mut text = String::new();
    for absent in &record.absent {
        let _ = writeln!(text, "not here: {}: {}", absent.what, absent.why);
    }
    for (result, of, lost) in record.losses() {
        let Measured { way, family, .. } = result;
        let _ =
            writeln!(text, "lost: {}, {way}, {family}: {:.0} % of small packets", of, 100.0 * lost);
    }
    for (result, ratio) in record.results.iter().filter_map(|of| Some((of, of.shortcut?))) {
        let _ = writeln!(
            text,
            "socket shortcut, {}: {} times a bare veth{}",
            result.family,
            figures::factor(ratio.median),
            figures::range(&ratio, "-").map_or_else(String::new, |range| format!(" ({range})"))
        );
    }
    if let Some(gso) = record.gso_of_streams() {
        let _ = writeln!(
            text,
            "streams: netebpf's in packets of up to {} bytes (BIG TCP): its wire takes them, and the bare veth",
            gso.sizes
        );
    }
    if record.machine.bridge_netfilter == Some(false) {
        text +=
            "br_netfilter, which Docker loads, is not there: endpoint to endpoint met no rule\n";
    }
    text
}
