//! The part of the page that says what a number depends on: how it was measured, on which machine, and what is not there.

use super::{
    Lacked, Offloads, Record,
    figures::{self, NONE},
    markup::{escaped, table, title},
};
use crate::bench::arms::Kind;
use std::fmt::Write as _;

pub(super) fn sections(page: &mut String, record: &Record) {
    method(page, record);
    absent(page, record);
    losses(page, record);
    machine(page, record);
}

fn absent(page: &mut String, record: &Record) {
    if record.absent.is_empty() {
        return;
    }
    *page += "<h2>Not here</h2>\n<dl>\n";
    for absent in &record.absent {
        let why = escaped(&absent.why);
        let about = match absent.what {
            Lacked::Arm(arm) => about(arm),
            Lacked::Workload(_) => "in no arm",
        };
        let _ = writeln!(page, "<dt>{}</dt><dd>{about}: {why}</dd>", absent.what);
    }
    *page += "</dl>\n";
}

fn losses(page: &mut String, record: &Record) {
    let rows: Vec<_> = record
        .losses()
        .map(|(result, arm, lost)| {
            [title(result), arm.to_string(), format!("{:.0} %", 100.0 * lost)]
        })
        .collect();
    if !rows.is_empty() {
        *page += "<h2>Lost</h2>\n<p>More packets than queues lose now and then; what is lost is in no rate.</p>\n";
        table(
            page,
            "small packets that were lost",
            ["measured", "arm", "median"],
            rows.into_iter(),
        );
    }
}

fn method(page: &mut String, record: &Record) {
    let Record { rounds, milliseconds, .. } = record;
    let times = if *rounds == 1 { "one round".to_owned() } else { format!("{rounds} rounds") };
    let _ = write!(
        page,
        "<h2>How it was measured</h2>
<p>Every arm has a host of its own, made of network namespaces with the same wire, neighbour, endpoints and servers; all are \
         alive at once, and in each of {times} everything is measured for {milliseconds} ms in one arm right after the \
         other, in an order that changes. Both ends of round trips and connections share one CPU and come before everything else on it, so a number is \
         the work that packets make and not the time that another CPU needs to wake up. A factor compares two arms \
         within one round, where whatever slows the machine down slows both down, and its median over the rounds counts.</p>
<dl>\n"
    );
    for arm in record.arms() {
        let gso = record
            .gso_of_streams()
            .filter(|_| matches!(arm, Kind::Netebpf | Kind::NetebpfNetkit | Kind::BareVeth));
        let big = gso.map_or_else(String::new, |gso| {
            format!(
                "; streams in packets of up to {} bytes (BIG TCP), which its wire takes",
                gso.sizes
            )
        });
        let _ = writeln!(page, "<dt>{arm}</dt><dd>{}{big}</dd>", about(arm));
    }
    *page += "</dl>\n";
}

fn about(arm: Kind) -> &'static str {
    match arm {
        Kind::Netebpf => "this program: eBPF on the interfaces, and no rules",
        Kind::NetebpfShortcut => {
            "the same on a network with netebpf.socket_shortcut=true: data go from socket to socket"
        }
        Kind::NetebpfNetkit => {
            "the same on a network with netebpf.device=netkit: netkit devices instead of veths"
        }
        Kind::BareVeth => {
            "a veth with nothing between its ends, about what can be reached: it has no endpoints, so each way is its wire"
        }
        Kind::IptablesLegacy => {
            "a Linux bridge and Docker's rules, in the tables that only iptables knows"
        }
        Kind::IptablesNft => "a Linux bridge and Docker's rules, which iptables puts into nftables",
        Kind::Netavark => "a Linux bridge and the rules of podman's netavark, in nftables",
        Kind::NetavarkFlowtable => {
            "netavark's rules and a flowtable, by which known connections go past them"
        }
    }
}

fn machine(page: &mut String, record: &Record) {
    let machine = &record.machine;
    let bridge_netfilter = match machine.bridge_netfilter {
        Some(true) => "there, as with Docker: packets that stay on a bridge meet its rules, too",
        Some(false) => "not there, other than with Docker: endpoint to endpoint met no rule",
        None => NONE,
    };
    let facts = [
        ("Kernel", machine.kernel.clone()),
        ("CPU", machine.cpu.clone()),
        ("CPUs", machine.cpus.to_string()),
        ("netebpf", format!("{}, commit {}", machine.netebpf, machine.commit)),
        ("br_netfilter", bridge_netfilter.to_owned()),
        ("Measured", format!("{}: {} × {} ms", record.when, record.rounds, record.milliseconds)),
    ];
    *page += "<h2>The machine</h2>\n<table>\n<tbody class=\"facts\">\n";
    for (name, fact) in facts {
        let fact = escaped(&fact);
        let _ = writeln!(page, r#"<tr><th scope="row">{name}</th><td>{fact}</td></tr>"#);
    }
    *page += "</tbody>\n</table>\n";
    offloads(page, &machine.offloads);
}

/// Arms that have the same share a line.
fn offloads(page: &mut String, all: &[Offloads]) {
    let facts = |of: &Offloads| {
        let on = |on| match on {
            Some(true) => "on".to_owned(),
            Some(false) => "off".to_owned(),
            None => NONE.to_owned(),
        };
        let bytes = |size: Option<u64>| {
            size.map_or_else(|| NONE.to_owned(), |size| figures::rate(size as f64))
        };
        let flags = [of.tso, of.gso, of.gro, of.tx_checksum].map(on);
        let sizes = [of.gso_max_size, of.gso_ipv4_max_size].map(bytes);
        flags.into_iter().chain(sizes).collect::<Vec<_>>()
    };
    let mut lines: Vec<(&str, Vec<String>, Vec<String>)> = Vec::new();
    for of in all {
        let (interface, facts, arm) = (of.interface.as_str(), facts(of), of.arm.to_string());
        match lines.iter_mut().find(|line| line.0 == interface && line.1 == facts) {
            Some((.., arms)) => arms.push(arm),
            None => lines.push((interface, facts, vec![arm])),
        }
    }
    if lines.is_empty() {
        return;
    }
    *page += r#"<div class="scroll" role="region" aria-label="Offloads" tabindex="0">
<table>
<caption>Offloads of the interfaces; a packet above 65,536 bytes is BIG TCP</caption>
<thead>
<tr><th>interface</th><th>arms</th><th>TSO</th><th>GSO</th><th>GRO</th><th>TX checksum</th><th>GSO bytes</th><th>in IPv4</th></tr>
</thead>
<tbody>
"#;
    for (interface, facts, arms) in lines {
        let cells: String = facts.iter().map(|fact| format!("<td>{fact}</td>")).collect();
        let (interface, arms) = (escaped(interface), arms.join(", "));
        let _ = writeln!(page, "<tr><th>{interface}</th><td>{arms}</td>{cells}</tr>");
    }
    *page += "</tbody>\n</table>\n</div>\n";
}
