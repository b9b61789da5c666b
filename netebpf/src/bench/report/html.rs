//! The page: everything that was measured, where, how, and the record itself.
//!
//! **Invariant**: one file that needs neither a network nor a script to be read, and well-formed as XML, so that every tag is
//! closed. Text that is not ours is escaped where it goes in.

use super::{
    InArm, Measured, Record, facts, figures,
    plot::{self, Bar, Decades, Row},
    unique,
};
use crate::bench::{
    arms::{Kind, Way},
    load::Workload,
};
use std::fmt::Write as _;

/// The whole page.
pub(super) fn page(record: &Record) -> String {
    let sentence = escaped(&figures::sentence(record));
    let title =
        escaped(&format!("netebpf bench: {}, {}", record.machine.cpu, record.machine.kernel));
    let mut page = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>netebpf bench</h1>
<p class="lead">{sentence}</p>
</header>
<main>
"#,
        style = include_str!("page.css")
    );
    tiles(&mut page, record);
    rates(&mut page, record);
    latencies(&mut page, record);
    facts::sections(&mut page, record);
    // Within a script nothing is escaped but the end of it, which must not come from a name.
    let data = serde_json::to_string(record).unwrap_or_default().replace('<', r"\u003c");
    let _ = write!(
        page,
        r#"<h2>The record</h2>
<p>Every round is in the source of this page, as JSON in its element <code>script#record</code>.</p>
<script type="application/json" id="record">{data}</script>
</main>
</body>
</html>
"#
    );
    page
}

/// The key figures: each other arm, in the middle and by what was done.
fn tiles(page: &mut String, record: &Record) {
    *page += "<ul class=\"tiles\">\n";
    for arm in record.others() {
        let Some((mean, _)) = record.mean_beside(arm, figures::is_usual) else { continue };
        let (class, mean) = (class(arm), figures::factor(mean));
        let _ = write!(page, r#"<li class="{class}"><b>{mean}×</b> {arm}<dl>"#);
        for what in unique(record.results.iter().map(Measured::what)) {
            let mean = record.mean_beside(arm, |result| result.what() == what);
            if let Some((mean, _)) = mean {
                let _ = write!(page, "<dt>{what}</dt><dd>{}×</dd>", figures::factor(mean));
            }
        }
        *page += "</dl></li>\n";
    }
    *page += "</ul>\n";
}

/// Operations per second: plots for each way, and a table of them.
fn rates(page: &mut String, record: &Record) {
    let mut explained = false;
    for way in Way::ALL {
        let groups = record.groups();
        let of_way = || groups.iter().filter(|((of, _), _)| *of == way);
        if of_way().next().is_none() {
            continue;
        }
        let _ = writeln!(page, "<h2>{}</h2>\n<p>{}</p>", capital(&way.to_string()), about(way));
        if !explained {
            let _ = writeln!(
                page,
                r#"<p class="faint">A bar is the median of the rounds; a whisker goes from the lowest to the highest. The factor says how many
times as much netebpf does: above 1, netebpf is faster.</p>"#
            );
            explained = true;
        }
        *page += "<div class=\"plots\">\n";
        for ((_, what), members) in of_way() {
            let most = most(record, what.workload);
            for result in members {
                let _ = writeln!(page, "{}", bars(result, most));
            }
        }
        *page += "</div>\n";
        let results = of_way().flat_map(|(_, members)| members.iter().copied());
        rate_table(page, way, results);
    }
}

/// One end of the scale for what can be compared: a workload, whatever way it takes.
fn most(record: &Record, workload: Workload) -> f64 {
    let results = record.results.iter().filter(|result| result.workload == workload);
    let rounds = results.flat_map(|result| &result.arms).flat_map(|of| &of.rounds);
    rounds.map(|round| round.per_second).filter(|n| n.is_finite()).fold(0.0, f64::max)
}

fn bars(result: &Measured, most: f64) -> String {
    let row = |of: &InArm| {
        let [lowest, highest] = of.range();
        let bar = Bar { median: of.median(|round| round.per_second), lowest, highest };
        Row {
            name: of.arm.to_string(),
            class: class(of.arm),
            cells: [figures::rate(bar.median), times(result, of.arm)],
            mark: bar,
        }
    };
    let rows: Vec<_> = result.in_order().into_iter().map(row).collect();
    let said = |row: &Row<Bar>| match row.cells.each_ref().map(String::as_str) {
        [rate, ""] => format!("{} {rate}", row.name),
        [rate, times] => format!("{} {rate}, netebpf {times}", row.name),
    };
    let label =
        format!("{}: {}", title(result), rows.iter().map(said).collect::<Vec<_>>().join("; "));
    figure(result, "per second", &plot::bars(&label, ["per second", "netebpf"], &rows, most))
}

/// How many times as much netebpf does; nothing for itself.
fn times(result: &Measured, arm: Kind) -> String {
    let ratio = result.beside(arm).filter(|_| arm != Kind::Netebpf);
    ratio.map(|ratio| figures::factor(ratio.median) + "×").unwrap_or_default()
}

fn rate_table<'a>(page: &mut String, way: Way, results: impl Iterator<Item = &'a Measured>) {
    let rows = results.flat_map(|result| {
        result.in_order().into_iter().map(move |of| {
            let [lowest, highest] = of.range();
            let ratio = result.beside(of.arm).filter(|_| of.arm != Kind::Netebpf);
            [
                format!("{}, {}", result.what(), result.family),
                of.arm.to_string(),
                figures::rate(of.median(|round| round.per_second)),
                figures::rate(lowest),
                figures::rate(highest),
                times(result, of.arm),
                ratio.and_then(|ratio| figures::range(&ratio, "–")).unwrap_or_default(),
            ]
        })
    });
    let headings =
        ["measured", "arm", "median", "lowest", "highest", "netebpf does", "lowest–highest"];
    table(page, &format!("{way}, per second, as a table"), headings, rows);
}

/// How long an operation takes.
fn latencies(page: &mut String, record: &Record) {
    let at = |of: &InArm| [of.latency(|l| l.p50), of.latency(|l| l.p99), of.latency(|l| l.p999)];
    let all = record.results.iter().flat_map(|result| &result.arms).flat_map(at);
    let Some(scale) = Decades::over(all) else { return };
    let key = plot::SHAPES.iter().zip(["half of them (p50)", "99 % (p99)", "99.9 % (p99.9)"]);
    let key = key.map(|(shape, name)| {
        let svg = r#"<svg width="12" height="12" viewBox="-6 -6 12 12" aria-hidden="true">"#;
        format!("<li>{svg}<g class=\"limit\">{shape}</g></svg>{name}</li>\n")
    });
    let _ = write!(
        page,
        "<h2>Latencies</h2>\n<p>The time that so many operations take at most, in microseconds; medians of the rounds. \
         Each step of the scale is ten times as long.</p>\n<ul class=\"key\">\n{}</ul>\n<div class=\"plots\">\n",
        key.collect::<String>()
    );
    // As above: first all of a way, and its families side by side.
    let groups = record.groups();
    let in_order = || {
        groups
            .iter()
            .flat_map(|(_, members)| members.iter().copied())
            .filter(|result| result.has_latencies())
    };
    for result in in_order() {
        let row = |of: &InArm| Row {
            name: of.arm.to_string(),
            class: class(of.arm),
            cells: [String::new(), at(of).map(figures::microseconds).join(" · ")],
            mark: at(of),
        };
        let rows: Vec<_> = result.in_order().into_iter().map(row).collect();
        let said = rows.iter().map(|row| format!("{} {}", row.name, row.cells[1]));
        let said = said.collect::<Vec<_>>().join("; ");
        let label = format!("{}, p50, p99 and p99.9 in microseconds: {said}", title(result));
        let svg = plot::dots(&label, "p50 · p99 · p99.9", &rows, scale);
        let _ = writeln!(page, "{}", figure(result, &result.way.to_string(), &svg));
    }
    *page += "</div>\n";
    let rows = in_order().flat_map(|result| {
        result.in_order().into_iter().map(move |of| {
            let [p50, p99, p999] = at(of).map(figures::microseconds);
            [title(result), of.arm.to_string(), p50, p99, p999]
        })
    });
    table(page, "latencies as a table", ["measured", "arm", "p50", "p99", "p99.9"], rows);
}

fn figure(result: &Measured, more: &str, svg: &str) -> String {
    let title = capital(&format!("{}, {}", result.what(), result.family));
    format!("<figure>\n<figcaption><b>{title}</b>, {more}</figcaption>\n{svg}\n</figure>")
}

fn title(result: &Measured) -> String {
    format!("{}, {}, {}", result.way, result.what(), result.family)
}

/// Rows of words, the first two columns, and numbers, all others; opened by who wants to see it.
fn table<const N: usize>(
    page: &mut String,
    name: &str,
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let row = |tag: &str, cells: [&str; N]| {
        let cell = |(index, text): (usize, &&str)| match index {
            0 | 1 => format!("<{tag}>{}</{tag}>", escaped(text)),
            _ => format!("<{tag} class=\"number\">{}</{tag}>", escaped(text)),
        };
        format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
    };
    let name = capital(name);
    let _ = write!(
        page,
        "<details>\n<summary>{name}</summary>\n<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">\n\
         <table class=\"data\">\n<thead>\n{}</thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n</details>\n",
        row("th", headings),
        rows.map(|cells| row("td", cells.each_ref().map(String::as_str))).collect::<String>()
    );
}

fn about(way: Way) -> &'static str {
    match way {
        Way::EndpointToEndpoint => "From one endpoint to another on the same network.",
        Way::Masquerade => "From an endpoint to somebody outside, who sees the host's address.",
        Way::PublishedPort => "From somebody outside to an endpoint, by a port of the host.",
    }
}

/// Ours, the limit and the others are told apart by colour; who exactly it is says the name.
fn class(arm: Kind) -> &'static str {
    match arm {
        Kind::Netebpf => "ours",
        Kind::BareVeth => "limit",
        _ => "other",
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// As text or as an attribute's value.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}
