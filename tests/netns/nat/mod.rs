//! What a NAT must do, row by row: tried with netebpf, and with a Linux bridge and Docker's rules in the same
//! laboratory. `docs/nat.md` is the table of what came out.
//!
//! A row is a function that panics where its requirement does not hold. That netebpf or Linux does not hold
//! it is written down with the row, and a test as well: who begins to hold it is noticed.

mod rows;

use netebpf_tests::lab::{Lab, topology};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What becomes of a requirement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    Yes,
    /// It does not, and in what way.
    No(&'static str),
}

/// A requirement.
struct Row {
    /// Its number in the list of what a NAT must do.
    number: u8,
    /// Its test.
    name: &'static str,
    /// In a sentence, with its source.
    requirement: &'static str,
    netebpf: Holds,
    linux: Holds,
    /// Panics where it does not hold.
    check: fn(&Lab),
}

/// Ports of c1 that are published in both laboratories.
const PUBLISHED: [(u16, u16); 1] = [(8080, 80)];

impl Row {
    fn try_both(&self) {
        println!("— netebpf —");
        let published: Vec<_> = PUBLISHED
            .iter()
            .flat_map(|(host, inside)| {
                ["", "/udp"].map(|protocol| format!("{host}:{inside}{protocol}"))
            })
            .collect();
        let published: Vec<&str> = published.iter().map(String::as_str).collect();
        let lab = Lab::up(&topology().ports("c1", &published));
        self.compare("netebpf", self.netebpf, &lab);
        drop(lab);
        println!("— Linux —");
        self.compare("Linux", self.linux, &Lab::reference(&PUBLISHED));
    }

    fn compare(&self, who: &str, expected: Holds, lab: &Lab) {
        let held = catch_unwind(AssertUnwindSafe(|| (self.check)(lab))).is_ok();
        assert_eq!(held, expected == Holds::Yes, "{who} and {:?}", self.requirement);
    }
}

/// Makes a test of each row, and the list of all.
macro_rules! rows {
    ($($number:literal $name:ident: $requirement:literal, netebpf $netebpf:expr, Linux $linux:expr;)+) => {
        const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            requirement: $requirement,
            netebpf: $netebpf,
            linux: $linux,
            check: rows::$name,
        }),+];

        $(fn $name() {
            let row = ROWS.iter().find(|row| row.name == stringify!($name));
            row.expect("it is listed").try_both();
        })+

        netebpf_tests::tests![the_table_is_true, $($name),+];
    };
}

use Holds::{No, Yes};

rows! {
    1 independent_mapping: "Two destinations see the same outside port (RFC 4787 REQ-1, RFC 5382 REQ-1)",
        netebpf Yes, Linux Yes;
    1 independent_mapping_of_another_port: "… also where the socket could not keep its own port",
        netebpf Yes, Linux Yes;
    2 outside_tuples_are_unique: "Two inside flows never share an outside tuple (RFC 4787 REQ-3, RFC 5382 REQ-7)",
        netebpf Yes, Linux Yes;
    3 the_port_is_kept: "The source port is kept when it is free: odd, even, below 1024",
        netebpf Yes, Linux Yes;
    4 the_hosts_sockets: "The port of a listening socket of the host is never taken",
        netebpf Yes, Linux No("a port that only listens is taken");
    5 filtering: "An unsolicited packet to a mapping is dropped (RFC 4787 REQ-8)",
        netebpf Yes, Linux Yes;
    8 forged_resets: "A reset with a wrong sequence number changes nothing (RFC 5961 §3.2, RFC 7857 §2.2)",
        netebpf Yes, Linux Yes;
    9 tuples_are_used_again: "A tuple in TIME_WAIT can be used again at once",
        netebpf Yes, Linux Yes;
    12 mid_flow: "An established connection goes on after the state is lost",
        netebpf Yes, Linux Yes;
    13 late_reply: "A late reply makes no new inbound entry",
        netebpf Yes, Linux Yes;
    14 hairpin: "An endpoint reaches a published port of another endpoint by the host's address (RFC 4787 REQ-9)",
        netebpf Yes, Linux Yes;
    14 hairpin_to_another_network: "… of an endpoint on another network",
        netebpf Yes, Linux No("networks are isolated first");
    14 hairpin_to_itself: "An endpoint reaches its own published port by the host's address",
        netebpf Yes, Linux Yes;
    14 hairpin_errors: "ICMP errors about such packets come back, from the host (RFC 5508 REQ-7)",
        netebpf Yes, Linux Yes;
    15 ping_identifiers: "Two endpoints ping with one identifier (RFC 5508 REQ-1)",
        netebpf Yes, Linux Yes;
    16 inbound_errors: "ICMP errors about translated packets arrive, from whom they came (RFC 5508 REQ-4)",
        netebpf Yes, Linux Yes;
    17 outbound_errors: "An endpoint's ICMP error arrives outside, from the host (RFC 5508 REQ-5)",
        netebpf Yes, Linux Yes;
    18 errors_end_nothing: "An ICMP error does not end a mapping (RFC 5508 REQ-6)",
        netebpf Yes, Linux Yes;
    19 hop_limit: "The gateway is the first hop, the router the second",
        netebpf Yes, Linux Yes;
    20 path_mtu: "Packet too big arrives from behind the router",
        netebpf Yes, Linux Yes;
    22 fragments_of_a_ping: "A ping of several fragments is answered (RFC 4787 REQ-14, in order)",
        netebpf Yes, Linux Yes;
    22 fragments_of_a_datagram: "A datagram of several fragments is answered (RFC 4787 REQ-14, in order)",
        netebpf Yes, Linux Yes;
    22 fragments_out_of_order: "… also when a later fragment comes first (REQ-14, out of order)",
        netebpf Yes, Linux Yes;
    23 identifications: "Fragments of two endpoints with one identification are two packets",
        netebpf Yes, Linux Yes;
    24 options_and_extension_headers: "IPv4 options and IPv6 extension headers are stepped over",
        netebpf Yes, Linux Yes;
    25 unknown_protocols: "GRE, ESP, SCTP and what nobody knows never leave with a private source",
        netebpf Yes, Linux No("what conntrack finds invalid leaves untranslated");
    35 transit: "DNAT matches only the host's own addresses",
        netebpf Yes, Linux Yes;
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/nat.md");

const HEAD: &str = "# What a NAT must do

Each row is a test between namespaces (`cargo test -p netebpf-tests --test netns -- nat`), with real sockets,
both families, run with netebpf and with a Linux bridge and Docker's netfilter rules. Written by that test:
`NETEBPF_UPDATE=1` writes it again.

| # | required | Linux | netebpf |
|---|---|---|---|
";

/// `docs/nat.md` says what the rows say.
fn the_table_is_true() {
    let word = |holds: Holds| match holds {
        Yes => "yes".to_owned(),
        No(why) => format!("no: {why}"),
    };
    let mut text = HEAD.to_owned();
    for row in ROWS {
        let (linux, netebpf) = (word(row.linux), word(row.netebpf));
        text += &format!("| {} | {} | {linux} | {netebpf} |\n", row.number, row.requirement);
    }
    if std::env::var_os("NETEBPF_UPDATE").is_some() {
        std::fs::write(FILE, text).expect("docs can be written");
        return;
    }
    let Ok(written) = std::fs::read_to_string(FILE) else {
        netebpf_tests::runner::skip("the sources are not on this machine");
    };
    assert_eq!(written, text, "NETEBPF_UPDATE=1 writes it again");
}
