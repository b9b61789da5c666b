//! Pages and tables of records that no measuring makes.

use super::*;
use crate::bench::{
    Options,
    histogram::Histogram,
    host::Family,
    load::{Latency, Sample, Workload, cost::Cost},
    measure::Cell,
    statistics::Ratio,
};

const ODD: &str = "a <b> & \"c\" </script><!-- <script> https://example.com";

fn sample(per_second: f64) -> Sample {
    let time = 1e6 / per_second;
    let latency = Some(Latency { p50: time, p99: 2.0 * time, p999: 4.0 * time });
    Sample { per_second, latency, lost: Some(0.125) }
}

fn cells() -> Vec<Cell> {
    Cell::all(&Options { ports: vec![10_000], ..Options::quick() })
}

/// Every cell in these arms, the samples of a round in their order.
fn record(arms: &[Kind], rounds: &[&[f64]]) -> Record {
    let result = |cell| {
        let mut result = Measured::new(cell, arms.iter().copied());
        for round in rounds {
            for (of, per_second) in result.arms.iter_mut().zip(*round) {
                let mut times = Histogram::default();
                times.count((1e9 / per_second) as u32);
                of.push(sample(*per_second), Some(&times));
            }
        }
        result.compare();
        result
    };
    let mut many = at_scale(1000, 53.0);
    many.sides[0].grows = Ratio::of(&[], &[]);
    Record {
        when: "2026-11-20T23:41:21Z".to_owned(),
        machine: Machine {
            kernel: ODD.to_owned(),
            cpu: ODD.to_owned(),
            cpus: 2,
            netebpf: "0.1.0".to_owned(),
            commit: ODD.to_owned(),
            bridge_netfilter: Some(false),
            offloads: arms
                .iter()
                .map(|arm| Offloads {
                    arm: *arm,
                    interface: ODD.to_owned(),
                    tso: Some(true),
                    gso: Some(false),
                    gro: None,
                    tx_checksum: Some(true),
                    gso_max_size: Some(65_536),
                    gso_ipv4_max_size: None,
                })
                .collect(),
        },
        rounds: 3,
        milliseconds: 60,
        gso: None,
        absent: [Lacked::Arm(Kind::NetavarkFlowtable), Lacked::Workload(Workload::Packets)]
            .map(|what| Absent { what, why: ODD.to_owned() })
            .to_vec(),
        results: cells().into_iter().map(result).collect(),
        costs: costs(),
        memory: Some(Memory {
            maps: vec![MapMemory {
                name: ODD.to_owned(),
                entries: 7,
                bytes: 9_000,
                full: 12_345_678,
            }],
            flow: 480.0,
            endpoint: f64::NAN,
            port: 0.5,
            daemon: None,
        }),
        scale: vec![at_scale(1, 26.5), many],
        cards: Some(cards()),
        too_many: vec![TooMany { arm: Kind::IptablesNft, flows: 1_000_000, most: 235_926 }],
    }
}

/// An endpoint that takes so long to come with so many there.
fn at_scale(there: u32, time: f64) -> AtScale {
    let mut at = AtScale::new(Scale::Endpoints, there, Quantity::Attach);
    let side = |(side, times): (&str, f64)| {
        let rounds = vec![times * time, times * time / 2.0];
        let grows = Ratio::of_medians(&rounds, &[times * 26.5; 2]);
        Side { side: side.to_owned(), rounds, grows }
    };
    let sides = [("netebpf", 1.0), ("netebpf's API", 0.75), ("netlink, a program", 0.5)];
    at.sides = sides.into_iter().map(side).collect();
    at.compare();
    at
}

fn cards() -> OfCards {
    let both = || Family::BOTH.into_iter().flat_map(|of| [true, false].map(|native| (of, native)));
    let costs = Traffic::ALL.into_iter().flat_map(|traffic| {
        both().map(move |(family, native)| CardCosts {
            traffic,
            family,
            native,
            programs: costs().swap_remove(0).programs,
        })
    });
    let flood = |(family, native)| {
        let per_second = if native { 2e6 } else { 1e6 };
        let round = Counted { per_second, nanoseconds: f64::NAN, lost: f64::INFINITY };
        Flood { family, native, rounds: vec![round; 3] }
    };
    OfCards {
        cards: [ODD, ODD].map(ToOwned::to_owned),
        driver: Some(ODD.to_owned()),
        costs: costs.collect(),
        floods: both().map(flood).collect(),
    }
}

fn costs() -> Vec<WayCosts> {
    let of = |program: &str, nanoseconds| OfProgram {
        program: program.to_owned(),
        rounds: vec![Cost { packets: 1000, nanoseconds }, Cost::NONE],
    };
    let ways = Way::ALL.into_iter().flat_map(|way| Family::BOTH.map(|family| (way, family)));
    let costs = |(way, family)| WayCosts {
        way,
        family,
        workload: Workload::RoundTrips,
        programs: vec![of("endpoint_ingress", 120.4), of(ODD, f64::NAN)],
    };
    ways.map(costs).collect()
}

const TWO: [Kind; 2] = [Kind::Netebpf, Kind::BareVeth];
const SIX: [Kind; 6] = [
    Kind::Netebpf,
    Kind::BareVeth,
    Kind::IptablesLegacy,
    Kind::IptablesNft,
    Kind::Netavark,
    Kind::NetavarkFlowtable,
];

fn records() -> Vec<Record> {
    let six: &[f64] = &[38_000.0, 40_000.0, 29_000.0, 28_000.0, 27_000.0, 30_000.0];
    let mut none = record(&TWO, &[]);
    none.results.clear();
    vec![
        record(&SIX, &[six, six, six]),
        record(&TWO, &[]),
        record(&TWO, &[&[f64::NAN, 1.0], &[f64::INFINITY, 0.0], &[-1.0, 1e300]]),
        record(&TWO, &[&[0.0, 0.0]]),
        record(&[Kind::Netebpf], &[&[1.0]]),
        record(&[], &[]),
        none,
    ]
}

/// Goes through the tags, and answers with the text between them; says what is not well-formed.
fn text_of(page: &str) -> String {
    let (mut open, mut text) = (Vec::new(), String::new());
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").unwrap();
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>'), "a > in {before:?}");
        text.push_str(before);
        let (tag, after) = after.split_once('>').unwrap();
        assert!(!tag.contains('<'), "a < in <{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = after;
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
    }
    assert_eq!(open, [""; 0], "never closed");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        assert!(known.iter().any(|known| text[at..].starts_with(known)), "{}", &text[at..]);
    }
    text
}

/// What is in the element with the record.
fn data_of(page: &str) -> &str {
    let begin = r#"<script type="application/json" id="record">"#;
    page.split_once(begin).unwrap().1.split_once("</script>").unwrap().0
}

#[test]
fn a_page_is_well_formed_whatever_is_in_it() {
    for record in records() {
        let page = record.page();
        let text = text_of(&page);
        assert!(text.contains("a &lt;b&gt; &amp; &quot;c&quot; &lt;/script&gt;"));
        for no_number in ["NaN", "inf"] {
            assert!(!page.contains(no_number), "{no_number} in {page}");
        }
    }
}

#[test]
fn a_page_needs_nothing_else() {
    for record in records() {
        // The names that are in it are odd enough to have an address in them, but as text.
        let page = record.page().replace(ODD, "").replace(&super::markup::escaped(ODD), "");
        let page = page.replace(data_of(&page), "");
        for reference in ["://", "//", "src=", "href=", "url(", "@import", "<link", "<img"] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert_eq!(page.matches("<script").count(), 1, "the record, which is data");
    }
}

#[test]
fn the_record_in_a_page_is_the_record() {
    for record in records() {
        let page = record.page();
        let read: Record = serde_json::from_str(data_of(&page)).unwrap();
        assert_eq!(serde_json::json!(read), serde_json::json!(record));
        assert_eq!(read.table(false), record.table(false));
    }
}

#[test]
fn every_plot_has_its_numbers_in_words() {
    let page = records()[0].page();
    let label = "endpoint to endpoint, round trips, IPv4: netebpf 38,000; bare veth 40,000, netebpf 0.95×; \
                 iptables (legacy) 29,000, netebpf 1.31×";
    assert!(page.contains(&format!("<svg role=\"img\" aria-label=\"{label}")));
    assert_eq!(page.matches("<figure>").count(), 2 * cells().len());
    assert_eq!(page.matches("<figure>").count(), page.matches("role=\"img\"").count());
}

#[test]
fn each_is_compared_within_a_round() {
    let scale = vec![at_scale(1, 26.5), at_scale(1000, 53.0)];
    let record = Record { scale, ..record(&TWO, &[]) };
    let table = record.table(false);
    for line in [
        "one more is there, ms           beside 1            netebpf             netebpf's API\n",
        "other endpoints: 1,000\n",
        "  netebpf                 39.8   1.50x\n",
        "  netlink, a program      19.9   1.50x               2.00x (2.00-2.00)   1.50x (1.50-1.50)\n",
        "    XDP beside TC alone            2.00x (2.00-2.00)      2.00x (2.00-2.00)\n",
    ] {
        assert!(table.contains(line), "{line}{table}");
    }
    let page = record.page();
    for cell in ["1.50×", "2.00× (2.00–2.00)"] {
        assert!(page.contains(&format!("<td class=\"number\">{cell}</td>")), "{cell}");
    }
}

#[test]
fn tables_fit_on_a_terminal() {
    let shown = |text: &str| text.replace("\x1b[2m", "").replace("\x1b[0m", "");
    for record in records() {
        let tables = [record.table(false), record.latency_table()];
        for line in tables.iter().flat_map(|text| text.lines()) {
            assert!(
                !line.ends_with(' ') && !line.contains("NaN") && !line.contains("inf"),
                "{line}"
            );
            // What the kernel says may be longer.
            assert!(line.len() <= 91 || line.contains(ODD), "{line}");
        }
        assert_eq!(shown(&record.table(true)), tables[0]);
    }
    let table = records()[0].table(true);
    let line = "  bare veth               40,000    0.95x \x1b[2m(0.95-0.95)\x1b[0m  ";
    assert!(table.contains(line), "{table}");
    // One of them has many ports, and does not count here.
    let means = "On average (geometric mean of 12 ratios), netebpf is 1.31 times as fast as iptables\n\
                 (legacy), 1.36 times iptables (nft), 1.41 times netavark (nft), 1.27 times flowtable (nft)\n\
                 and 0.95 times a bare veth with nothing in between.\n";
    assert!(table.ends_with(means), "{table}");
}
