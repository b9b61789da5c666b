//! Two network cards that lead to each other, in the place of the cable between a laboratory's host and its segment: what
//! only a driver can do is seen there.
//!
//! **Invariant**: none but the cards that `NETEBPF_CARDS` names are touched, and these only while nobody uses them; they
//! are where and what they were when the laboratory is gone. Of a test that is killed the kernel brings them back, with the names
//! that they had there.

use super::{Ns, cable_end, ns::ip};
use serde_json::Value;

/// Names both of them, with a comma between.
const NAMED_BY: &str = "NETEBPF_CARDS";

/// The cards, each by its name.
#[derive(Clone, Debug)]
pub struct Cards([String; 2]);

impl Cards {
    /// Those of this machine; else the test is skipped. Cards that are somebody's are an error: whoever named them meant
    /// others.
    pub fn of_this_machine() -> Self {
        let named = std::env::var(NAMED_BY).unwrap_or_default();
        let Some((first, second)) = named.split_once(',') else {
            crate::runner::skip(format_args!(
                "{NAMED_BY} names no two network cards that lead to each other (`cargo xtask vm` has such)"
            ));
        };
        let names = [first, second];
        names.iter().for_each(|name| is_nobodys(name));
        Self(names.map(ToOwned::to_owned))
    }

    /// One end each, under names of the laboratory's.
    pub(super) fn connect(&self, ends: [(&Ns, &str); 2]) {
        for (card, (ns, name)) in self.0.iter().zip(ends) {
            ip(&["link", "set", card, "netns", ns.name(), "name", name]);
            cable_end(ns, name);
        }
    }

    /// Back to where they were, and as they were.
    pub(super) fn give_back(&self, ends: [(&Ns, &str); 2]) {
        let home = std::process::id().to_string();
        for (card, (ns, name)) in self.0.iter().zip(ends) {
            ns.ip(&format!("link set {name} nomaster down"));
            ns.ip(&format!("link set {name} netns {home} name {card}"));
        }
    }
}

#[track_caller]
fn is_nobodys(name: &str) {
    let text = ip(&["-json", "address", "show", "dev", name]);
    let all: Value = serde_json::from_str(&text).expect("ip prints JSON");
    let card = &all[0];
    let flags = card["flags"].as_array().expect("flags");
    let addresses = card["addr_info"].as_array().map_or(0, Vec::len);
    assert!(
        !flags.contains(&"UP".into()) && addresses == 0 && card["master"].is_null(),
        "{NAMED_BY}: {name} is in use: {text}"
    );
}
