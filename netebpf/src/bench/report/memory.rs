//! What an instance takes of the kernel's memory.

use super::{
    Record, figures,
    markup::table,
    table::{line, wrapped},
};
use crate::bench::statistics::number;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Of an instance with two endpoints and three published ports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// All maps of its programs, the largest first.
    pub maps: Vec<MapMemory>,
    /// Bytes of the tables of flows, for each flow that there is room for: they are made with the instance.
    #[serde(deserialize_with = "number")]
    pub flow: f64,
    /// Bytes that one more endpoint takes.
    #[serde(deserialize_with = "number")]
    pub endpoint: f64,
    /// Bytes that one more published port takes, in both families.
    #[serde(deserialize_with = "number")]
    pub port: f64,
    /// Bytes in memory that are the daemon's own.
    pub daemon: Option<u64>,
}

/// One map.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MapMemory {
    /// Its name.
    pub name: String,
    /// How many entries there is room for.
    pub entries: u32,
    /// Bytes as it is.
    pub bytes: u64,
    /// Bytes with every entry there.
    pub full: u64,
}

/// How many maps the terminal shows.
const LARGEST: usize = 6;

impl Memory {
    fn bytes(&self) -> [u64; 2] {
        let sum = |of: fn(&MapMemory) -> u64| self.maps.iter().map(of).sum();
        [sum(|map| map.bytes), sum(|map| map.full)]
    }

    /// What the last lines of both say.
    fn sentence(&self) -> String {
        let places = self.maps.iter().find(|map| map.name == "FLOWS").map_or(0, |map| map.entries);
        let daemon =
            self.daemon.map(|bytes| format!("; the daemon has {} of its own", size(bytes)));
        format!(
            "{} bytes for each of {} flows that there is room for; {} for one more published port, \
             {} for one more endpoint{}",
            bytes(self.flow),
            figures::rate(f64::from(places)),
            bytes(self.port),
            bytes(self.endpoint),
            daemon.unwrap_or_default()
        )
    }
}

/// `1.25 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes as f64 {
        n if n < 1e4 => format!("{n} B"),
        n if n < 1e6 => format!("{:.0} kB", n / 1e3),
        n => format!("{:.1} MB", n / 1e6),
    }
}

fn bytes(n: f64) -> String {
    if n.is_finite() { figures::rate(n) } else { figures::NONE.to_owned() }
}

/// For a terminal: the largest maps.
pub(super) fn text(record: &Record) -> String {
    let Some(memory) = &record.memory else { return String::new() };
    let row = |name: &str, [bytes, full]: [u64; 2]| {
        line(&format!("  {name:<30}{:>9} {:>9}", size(bytes), size(full)))
    };
    let mut text = String::new();
    text += &line(&format!("{:<32}{:>9} {:>9}", "maps of two endpoints", "memory", "full"));
    text += &row("all", memory.bytes());
    for map in memory.maps.iter().take(LARGEST) {
        text += &row(&map.name, [map.bytes, map.full]);
    }
    text + &wrapped(&memory.sentence())
}

/// For the page.
pub(super) fn section(page: &mut String, record: &Record) {
    let Some(memory) = &record.memory else { return };
    let [bytes, full] = memory.bytes();
    let _ = writeln!(
        page,
        "<h2>Memory</h2>\n<p>The maps of an instance with two endpoints take {} of the kernel's memory, and {} where \
         every map is full. {}.</p>",
        size(bytes),
        size(full),
        memory.sentence()
    );
    let rows = memory.maps.iter().map(|map| {
        let MapMemory { name, entries, bytes, full } = map;
        let entries = figures::rate(f64::from(*entries));
        [name.clone(), "netebpf".to_owned(), entries, size(*bytes), size(*full)]
    });
    table(page, "memory of the maps", ["map", "of", "entries", "as it is", "full"], rows);
}
