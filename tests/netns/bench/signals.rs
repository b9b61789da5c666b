//! Ctrl-C, in each phase of a benchmark: what the terminal shows tells which one it is.

use super::{CARDS, cards_are_back, nothing_left};
use netebpf_tests::lab::{Lab, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::{io::Read as _, path::Path};

/// All in no time, what is looked at after the rounds included.
const SHORT: &str = "--quick --rounds 1 --milliseconds 1 --workloads round-trips";

/// What is measured, and what is shown when it is interrupted.
const PHASES: [(&str, &str); 11] = [
    ("--quick", "making a host for netebpf"),
    ("--quick", "trying the ways with "),
    ("--quick --milliseconds 300 --workloads round-trips", "round 1: "),
    ("--quick --milliseconds 300 --workloads connections", "round 1: "),
    ("--quick --milliseconds 300 --workloads packets", "round 1: "),
    ("--quick --workloads streams", "round 1: "),
    (
        "--workloads connections --ports 300",
        "warming up: netebpf: published port, IPv4, connections, 300",
    ),
    (SHORT, "what programs take"),
    (SHORT, "what the maps take"),
    ("--endpoints 1000", "attaching others: 50 of"),
    ("--flows 1000000", "opening 1000000 flows: round 1"),
];

/// What tells a phase from the others.
const WORDS: [&str; 10] = [
    "making a host",
    "trying the ways",
    "warming up",
    "round 1",
    "what programs take",
    "what the maps take",
    "attaching others",
    "other endpoints",
    "opening",
    "flows: round",
];

pub(super) fn ends_when_it_should(lab: &Lab) {
    before_anything_is_shown(lab);
    for (options, phase) in PHASES {
        interrupted(lab, options, phase);
    }
    interrupted(lab, &format!("--cards {CARDS}"), "round 1: XDP");
    cards_are_back(lab);
    when_all_is_measured(lab);
}

/// While it looks what can be measured; and not by Ctrl-C, but by whoever ends programs.
fn before_anything_is_shown(lab: &Lab) {
    let mut running = lab.start(&["bench"]);
    let probe = Path::new("/run/netns/netebpf-bench-probe");
    eventually("something to be tried", || probe.exists());
    let pid = i32::try_from(running.0.id()).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert_eq!(running.wait().code(), Some(130));
    let mut said = String::new();
    running.0.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(said.contains("interrupted"), "{said}");
    nothing_left();
}

/// A phase is the last one; and a second benchmark does not begin meanwhile.
fn interrupted(lab: &Lab, options: &str, phase: &str) {
    println!("bench {options}: {phase}");
    let words: Vec<&str> = ["bench"].into_iter().chain(options.split_whitespace()).collect();
    let (mut running, mut terminal) = lab.start_on_a_terminal(&words);
    terminal.shows(phase);
    if phase.starts_with("round") {
        lab.run("bench").fails_saying(1, &["another benchmark is running"]);
    }
    terminal.interrupt();
    let ended = running.wait();
    let rest = terminal.rest();
    assert_eq!(ended.code(), Some(130), "{rest}");
    assert!(rest.contains("interrupted"), "{rest}");
    for other in WORDS.iter().filter(|word| !phase.contains(**word)) {
        assert!(!rest.contains(other), "{phase} was over: {rest}");
    }
    nothing_left();
}

/// It is not in vain: all is measured, and taken away either way.
fn when_all_is_measured(lab: &Lab) {
    let words: Vec<&str> = ["bench"].into_iter().chain(SHORT.split_whitespace()).collect();
    let (mut running, mut terminal) = lab.start_on_a_terminal(&words);
    terminal.shows("taking everything away");
    terminal.interrupt();
    assert_eq!(running.wait().code(), Some(0));
    let mut table = String::new();
    running.output().read_to_string(&mut table).expect("text");
    assert!(table.contains("bare veth"), "{table}");
    nothing_left();
}
