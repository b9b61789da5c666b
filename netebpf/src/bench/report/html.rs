//! The page: everything that was measured, where, how, and the record itself.
//!
//! **Invariant**: one file that needs neither a network nor a script to be read, and well-formed as XML, so that every tag is
//! closed. Text that is not ours is escaped where it goes in.

use super::{
    Measured, Record, cards, costs, facts, figures, latencies,
    markup::{class, escaped},
    memory, rates, scale, unique,
};
use std::fmt::Write as _;

/// The whole page.
pub(super) fn page(record: &Record) -> String {
    let sentence = match record.results.is_empty() {
        true => "What becomes of it with many there.".to_owned(),
        false => escaped(&figures::sentence(record)),
    };
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
    rates::section(&mut page, record);
    latencies::section(&mut page, record);
    costs::section(&mut page, record);
    memory::section(&mut page, record);
    scale::section(&mut page, record);
    cards::section(&mut page, record);
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
