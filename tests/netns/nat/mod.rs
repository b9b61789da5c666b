//! What a NAT must do, row by row: tried with netebpf, and with a Linux bridge and Docker's rules in the same
//! laboratory. `docs/nat.md` is the table of what came out.
//!
//! A row is a function that panics where its requirement does not hold. That netebpf or Linux does not hold
//! it is written down with the row, and a test as well: who begins to hold it is noticed.

mod rows;

use netebpf_tests::lab::{Lab, Topology, topology};
pub(crate) use rows::priority_tags as answers_with_priority_tags;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What becomes of a requirement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    Yes,
    /// It does not, and in what way.
    No(&'static str),
    /// It cannot be tried, and why not.
    Untried(&'static str),
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

/// The topology of all rows.
fn published() -> Topology {
    let ports: Vec<_> = PUBLISHED
        .iter()
        .flat_map(|(host, inside)| {
            ["", "/udp"].map(|protocol| format!("{host}:{inside}{protocol}"))
        })
        .collect();
    topology().ports("c1", &ports.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Row {
    fn try_both(&self) {
        self.compare("netebpf", self.netebpf, || Lab::up(&published()));
        self.compare("Linux", self.linux, || Lab::reference(&PUBLISHED));
    }

    fn compare(&self, who: &str, expected: Holds, lab: impl Fn() -> Lab) {
        println!("— {who} —");
        if matches!(expected, Untried(_)) {
            return;
        }
        let lab = lab();
        let held = catch_unwind(AssertUnwindSafe(|| (self.check)(&lab))).is_ok();
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

use Holds::{No, Untried, Yes};

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
    6 udp_lives_on: "A UDP mapping lives 120 s, and what goes out gives it back its time (RFC 4787 REQ-5, REQ-6): by what the table of flows says, no test waits so long",
        netebpf Yes, Linux No("30 s");
    7 established_lives_on: "An established TCP connection lives 2 h 4 min without a packet (RFC 5382 REQ-5)",
        netebpf Yes, Linux Yes;
    7 transitory_lives_on: "… one that opens or is closed 4 min",
        netebpf Yes, Linux No("120 s");
    8 forged_resets: "A reset with a wrong sequence number changes nothing (RFC 5961 §3.2, RFC 7857 §2.2)",
        netebpf Yes, Linux Yes;
    9 tuples_are_used_again: "A tuple in TIME_WAIT can be used again at once",
        netebpf Yes, Linux Yes;
    10 simultaneous_open: "Two ends that open a connection to each other at once have one (RFC 5382 REQ-2)",
        netebpf Yes, Linux Yes;
    11 late_segments: "Late segments of a closed connection never leave with a private source",
        netebpf Yes, Linux No("what conntrack finds invalid leaves untranslated");
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
    15 queries_live_on: "A query of a ping lives 60 s (RFC 5508 REQ-2)",
        netebpf Yes, Linux No("30 s");
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
    21 no_port_left: "Without a free port a packet is refused and counted, and nobody else suffers",
        netebpf Yes, Linux Yes;
    22 fragments_of_a_ping: "A ping of several fragments is answered (RFC 4787 REQ-14, in order)",
        netebpf Yes, Linux Yes;
    22 fragments_of_a_datagram: "A datagram of several fragments is answered (RFC 4787 REQ-14, in order)",
        netebpf Yes, Linux Yes;
    22 fragments_out_of_order: "… also when a later fragment comes first (REQ-14, out of order)",
        netebpf Yes, Linux Yes;
    22 fragments_around_the_first: "… and when the first comes in between, many times",
        netebpf Yes, Linux Yes;
    22 fragments_in_reverse: "… and when there are many of them in reverse, from outside and to a published port as well",
        netebpf Yes, Linux Yes;
    22 cut_for_an_endpoint: "… and when the host cuts them, for an endpoint whose MTU is smaller (IPv4)",
        netebpf Yes, Linux Yes;
    23 identifications: "Fragments of two endpoints with one identification are two packets",
        netebpf Yes, Linux Yes;
    24 options_and_extension_headers: "IPv4 options and IPv6 extension headers are stepped over",
        netebpf Yes, Linux Yes;
    25 unknown_protocols: "GRE, ESP, SCTP and what nobody knows never leave with a private source",
        netebpf Yes, Linux No("what conntrack finds invalid leaves untranslated");
    26 tagged_frames: "Frames with VLAN tags (one, two, VLAN 0) never leave with a private source",
        netebpf Yes, Linux Yes;
    26 priority_tags: "What comes in with a priority tag (VLAN 0) arrives",
        netebpf Yes, Linux Yes;
    27 classes: "Type of service and congestion bits stay, all 256 values, both ways",
        netebpf Yes, Linux Yes;
    28 wrong_checksums: "A wrong checksum is not made right, and leaves with no private source",
        netebpf Yes, Linux No("what conntrack finds invalid leaves untranslated");
    28 no_checksum: "A UDP packet without a checksum gets none (IPv4, RFC 768)",
        netebpf Yes, Linux Yes;
    29 offloads: "Every byte arrives, by TCP and in datagrams sent as one, with offloads on, off, and on one side only",
        netebpf Yes, Linux Yes;
    30 neighbours: "Neighbour discovery and listener discovery are not translated and do not leave",
        netebpf Yes, Linux No("they are forwarded untranslated");
    31 a_full_table: "What has begun goes on when the table of flows is full: 2,000 for 1,024 places",
        netebpf Yes, Linux Untried("how large the table is, is the machine's");
    32 a_flood_from_an_endpoint: "40,000 SYNs of an endpoint to a server: others' transfers go on, and they connect to the same port",
        netebpf Yes, Linux Yes;
    32 a_flood_from_outside: "30,000 SYNs from anywhere to a published port: the same",
        netebpf Yes, Linux Yes;
    34 two_questions_at_once: "Two packets of one socket at once open one flow, and both are answered: 2,000 sockets, two threads",
        netebpf Yes, Linux Yes;
    35 transit: "DNAT matches only the host's own addresses",
        netebpf Yes, Linux Yes;
    36 a_restarted_endpoint: "A UDP client that keeps its socket is answered by the endpoint made again",
        netebpf Yes, Linux Yes;
    37 another_address: "The uplink's address changes: flows with the old one end, new ones and published ports have the new one",
        netebpf Yes, Linux Yes;
    37 a_flap: "The cable is pulled, the uplink goes down and up: everything goes on",
        netebpf Yes, Linux Yes;
    37 another_mtu: "The uplink's MTU changes: what is too long is told so, and transfers go on",
        netebpf Yes, Linux Yes;
    37 another_name: "The uplink is renamed: everything goes on",
        netebpf Yes, Linux Yes;
    37 another_default_route: "A second default route comes, the first goes and comes back: sockets go on by the one that there is",
        netebpf Yes, Linux Yes;
    37 a_loss: "The uplink disappears: what is left goes on, by the other one",
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
        Untried(why) => format!("not tried: {why}"),
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
