//! The part of the page that says how long things take.

use super::{
    InArm, Record, figures,
    markup::{class, figure, table, title},
    plot::{self, Decades, Row},
};
use std::fmt::Write as _;

/// How long an operation takes.
pub(super) fn section(page: &mut String, record: &Record) {
    let all = record.results.iter().flat_map(|result| &result.arms).flat_map(InArm::latencies);
    let Some(scale) = Decades::over(all) else { return };
    let key = plot::SHAPES.iter().zip(["half of them (p50)", "99 % (p99)", "99.9 % (p99.9)"]);
    let key = key.map(|(shape, name)| {
        let svg = r#"<svg width="12" height="12" viewBox="-6 -6 12 12" aria-hidden="true">"#;
        format!("<li>{svg}<g class=\"limit\">{shape}</g></svg>{name}</li>\n")
    });
    let _ = write!(
        page,
        "<h2>Latencies</h2>\n<p>The time that so many operations take at most, in microseconds; of all rounds together. \
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
            cells: [String::new(), of.latencies().map(figures::microseconds).join(" · ")],
            mark: of.latencies(),
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
            let [p50, p99, p999] = of.latencies().map(figures::microseconds);
            let samples = of.pooled.map_or(f64::NAN, |of| of.samples as f64);
            [title(result), of.arm.to_string(), p50, p99, p999, figures::rate(samples)]
        })
    });
    table(page, "latencies as a table", ["measured", "arm", "p50", "p99", "p99.9", "of"], rows);
}
