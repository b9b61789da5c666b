//! The part of the page that says how much is done in a second.

use super::{
    InArm, Measured, Record, figures,
    markup::{capital, class, figure, table, title},
    plot::{self, Bar, Row},
};
use crate::bench::{
    arms::{Kind, Way},
    load::Workload,
};
use std::fmt::Write as _;

/// Operations per second: plots for each way, and a table of them.
pub(super) fn section(page: &mut String, record: &Record) {
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

fn about(way: Way) -> &'static str {
    match way {
        Way::EndpointToEndpoint => "From one endpoint to another on the same network.",
        Way::Masquerade => "From an endpoint to somebody outside, who sees the host's address.",
        Way::PublishedPort => "From somebody outside to an endpoint, by a port of the host.",
        Way::HostsOwn => {
            "From the host itself to somebody outside: nobody forwards, and what is there to forward for endpoints should cost nothing."
        }
    }
}
