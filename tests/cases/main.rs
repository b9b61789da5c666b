//! Layer 1: the packet logic over tables in memory, case by case.
//!
//! The tables in `table/` are read by `prog_run/` too, where the same cases go through the real object.

use netebpf_common::verdict::{COUNTER_COUNT, counter_label};
use std::collections::BTreeSet;

mod answers;
mod big_tcp;
mod captured;
mod connection;
mod local;
mod race;
mod table;

#[test]
fn every_case_is_as_described() {
    let mut failures = Vec::new();
    for case in table::all() {
        for family in case.families() {
            let mut machine = netebpf_common::testkit::Memory::default();
            if let Err(error) = case.play(family, &mut machine) {
                failures.push(format!("{}: {error}", case.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn no_two_cases_have_one_name() {
    let mut names = BTreeSet::new();
    table::all().iter().for_each(|case| assert!(names.insert(case.name()), "{}", case.name()));
}

#[test]
fn every_case_is_of_a_family() {
    table::all().iter().for_each(|case| assert!(!case.families().is_empty(), "{}", case.name()));
}

/// Every reason there is to pass, to deliver and to drop.
#[test]
fn every_reason_is_reached() {
    let mut reached = BTreeSet::new();
    for case in table::all() {
        for family in case.families() {
            reached.extend(case.expectations().map(|expect| expect.verdict(family).counter()));
        }
    }
    let all = (0..COUNTER_COUNT as u32).filter(|counter| counter_label(*counter).is_some());
    let missing: Vec<_> =
        all.filter(|counter| !reached.contains(counter)).filter_map(counter_label).collect();
    assert!(missing.is_empty(), "no case ends as {missing:?}");
}
