//! What Docker's users know, tried with netebpf and with Docker itself: one table, the same words, the same traffic.
//! `docs/docker.md` is what came out.
//!
//! A row looks and says in words what it saw. Both must have seen the same; or the row says what each of them must
//! see and why they differ: because netebpf is better (with the row of what hurts Docker's users), because it is
//! that way on purpose, or because it is worse.
//!
//! **Invariant**: a row's expectation is exact, on both sides: who begins to do something else is noticed.

mod engine;
mod rows;
mod see;

use engine::Side;
use std::{
    panic::resume_unwind,
    thread::{self, ScopedJoinHandle},
};

/// What is seen of both.
enum Seen {
    /// By both.
    Same(&'static str),
    /// Differently, because of something that Docker's users suffer from.
    Better { netebpf: &'static str, docker: &'static str, row: &'static str },
    /// Differently, on purpose, and why.
    Otherwise { netebpf: &'static str, docker: &'static str, why: &'static str },
}

/// A behaviour.
struct Row {
    name: &'static str,
    look: fn(&Side) -> String,
    seen: Seen,
}

/// Rows that are looked at one after the other, on what was set up for all of them.
struct Group {
    /// A heading.
    about: &'static str,
    set_up: fn(&Side),
    rows: &'static [Row],
}

impl Seen {
    fn of(&self, side: &Side) -> &'static str {
        match self {
            Same(both) => both,
            Better { netebpf, docker, .. } | Otherwise { netebpf, docker, .. } => {
                if side.is_docker() { docker } else { netebpf }
            }
        }
    }
}

impl Group {
    /// Both at the same time: most of it is waiting. Where Docker cannot be, netebpf is looked at nevertheless.
    fn compare(&self) {
        let [netebpf, docker] = thread::scope(|scope| {
            let sides = [Side::netebpf as fn() -> Side, Side::docker];
            sides.map(|side| scope.spawn(move || self.look(&side()))).map(ScopedJoinHandle::join)
        });
        for seen in [netebpf, docker] {
            let wrong = seen.unwrap_or_else(|why| resume_unwind(why));
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    }

    /// What was not seen as it is expected.
    fn look(&self, side: &Side) -> Vec<String> {
        (self.set_up)(side);
        let rows = self.rows.iter().filter_map(|row| {
            let who = side.name();
            println!("· {who}: {}", row.name);
            let (seen, expected) = ((row.look)(side), row.seen.of(side));
            let wrong =
                || format!("{who}, {}:\n  seen     {seen}\n  expected {expected}", row.name);
            (seen != expected).then(wrong)
        });
        rows.collect()
    }
}

use Seen::{Better, Otherwise, Same};

/// Makes a test of each group, and the list of all.
macro_rules! groups {
    ($($name:ident),+ $(,)?) => {
        $(fn $name() {
            rows::$name::GROUP.compare();
        })+

        const GROUPS: &[&Group] = &[$(&rows::$name::GROUP),+];

        netebpf_tests::tests![the_table_is_true, $($name),+];
    };
}

groups![reaching, publishing, naming, joining, commands];

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/docker.md");

const HEAD: &str = "# netebpf and Docker

Each row was tried with netebpf and with Docker 20.10 as it is without settings, each on a host between a LAN and
a router, with the same words and the same traffic (`cargo test -p netebpf-tests --test netns -- docker`). A row says
what was seen. Written by that test: `NETEBPF_UPDATE=1` writes it again. \"P3\" and the like: see the end.
";

const TAIL: &str = "
P3: what is published on 127.0.0.1 is reached from the LAN. P4: what is not published, or a gateway, is reached by a
route. P5: a process for each published port. P6: the client's address is lost. P7: a datagram's answer comes from
another address than was asked. P10: a flow to the outside takes a published port. P12: names stall. IPv6: Docker
neither masquerades nor filters it, and its published ports are those of a proxy.
";

/// `docs/docker.md` says what the rows say.
fn the_table_is_true() {
    let mut text = HEAD.to_owned();
    for group in GROUPS {
        text +=
            &format!("\n## {}\n\n| | netebpf | Docker | why |\n|---|---|---|---|\n", group.about);
        for Row { name, seen, .. } in group.rows {
            let (netebpf, docker, why) = match seen {
                Same(both) => (both, both, String::new()),
                Better { netebpf, docker, row } => (netebpf, docker, format!("better: {row}")),
                Otherwise { netebpf, docker, why } => (netebpf, docker, (*why).to_owned()),
            };
            let [netebpf, docker] =
                [netebpf, docker].map(|seen| if seen.is_empty() { "nothing" } else { seen });
            text += &format!("| {name} | {netebpf} | {docker} | {why} |\n");
        }
    }
    text += TAIL;
    if std::env::var_os("NETEBPF_UPDATE").is_some() {
        std::fs::write(FILE, text).expect("docs can be written");
        return;
    }
    let Ok(written) = std::fs::read_to_string(FILE) else {
        netebpf_tests::runner::skip("the sources are not on this machine");
    };
    assert_eq!(written, text, "NETEBPF_UPDATE=1 writes it again");
}
