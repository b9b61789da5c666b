//! What happens, told as it does.

use netebpf_tests::lab::{Lab, Running, eventually, topology};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    sync::{Arc, Mutex},
    thread,
};

netebpf_tests::tests![in_order, exit_codes, for_who_comes_later, filtered, bad_input];

/// Reads what `events` prints while a test goes on.
struct Reader {
    lines: Arc<Mutex<Vec<String>>>,
    _process: Running,
}

impl Reader {
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut process = lab.start(&[&["events"], arguments].concat());
        let out = process.output();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                read.lock().expect("nobody panics with it").push(line);
            }
        });
        Self { lines, _process: process }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    /// Waits for so many, and leaves no time for more than those.
    fn events(&self, count: usize) -> Vec<Value> {
        eventually("the events", || self.lines().len() >= count);
        self.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// `container start web`.
fn short(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = &event["Actor"]["Attributes"];
    let mut words = vec![text(&event["Type"]), text(&event["Action"]), text(&attributes["name"])];
    words.push(text(&attributes["port"]));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

const FILE: &str = "name: told
networks:
  front: {labels: {team: blue}}
services:
  web:
    networks: [front]
    labels: {room: one}
    command: [sh, -c, \"while [ ! -e /tmp/no-such-file ]; do sleep 1; done\"]
";

/// From before there is a daemon to after it: one line for each thing.
fn in_order() {
    let lab = Lab::bare();
    let reader = Reader::start(&lab, &["--format", "json"]);
    lab.up_text(FILE).ok();
    lab.run("network create back").ok();
    lab.run("network connect back web").ok();
    lab.run("publish web 8080:80").ok();
    lab.run("unpublish web 80").ok();
    lab.run("network disconnect back web").ok();
    lab.run("network rm back").ok();
    lab.run("run --rm --name once --network front -- sh -c true").ok();
    lab.run("down --all").ok();
    let expected = [
        "network create front",
        "container create web",
        "network connect front",
        "container start web",
        "network create back",
        "network connect back",
        "container publish web 80/tcp",
        "container unpublish web 80/tcp",
        "network disconnect back",
        "network destroy back",
        "container create once",
        "network connect front",
        "container start once",
        "container die once",
        "network disconnect front",
        "container destroy once",
        "container die web",
        "network disconnect front",
        "container destroy web",
        "network destroy front",
    ];
    let events = reader.events(expected.len());
    assert_eq!(events.iter().map(short).collect::<Vec<_>>(), expected);
    let times: Vec<_> = events.iter().map(|event| event["timeNano"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
    assert_eq!(events[0]["Actor"]["Attributes"]["team"], "blue");
    assert_eq!(events[0]["scope"], "local");
    assert_eq!(events[1]["Actor"]["Attributes"]["room"], "one");
    assert_eq!(events[2]["Actor"]["Attributes"]["container"], events[1]["Actor"]["ID"]);
    assert_eq!(events[6]["Actor"]["Attributes"]["host"], "8080");

    // What fails tells nothing, and what is there already is not told again.
    lab.up_again(&topology(), &[]).ok();
    lab.run("create --name c1").fails(1);
    let before = reader.lines().len();
    lab.kill_daemon();
    lab.run("ps").ok();
    lab.run("network create back2").ok();
    let events = reader.events(before + 1);
    assert_eq!(events[before..].iter().map(short).collect::<Vec<_>>(), ["network create back2"]);
}

/// Whoever waits for a command, its end is told with its code: 128 and the number for a signal.
fn exit_codes() {
    let lab = Lab::up(&topology());
    let reader = Reader::start(&lab, &["--filter", "event=die"]);
    let mut told = 0;
    let mut next = || {
        told += 1;
        eventually("the end to be told", || reader.lines().len() >= told);
        let line = reader.lines()[told - 1].clone();
        let code = line.split(['(', ',', ' ', ')']).find_map(|word| word.strip_prefix("exitCode="));
        code.unwrap_or_else(|| panic!("no code: {line}")).to_owned()
    };
    let run = ["run", "--name", "once", "--network", "front"];
    for (script, code) in [
        ("true", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("sleep 0.2; exit 3", 3),
    ] {
        let command = ["--rm", "--", "sh", "-c", script];
        assert_eq!(lab.netebpf(&[&run[..], &command].concat()).code, code, "{script}");
        assert_eq!(next(), code.to_string(), "{script}");
        let command = ["-d", "--", "sh", "-c", script];
        lab.netebpf(&[&run[..], &command].concat()).ok();
        assert_eq!(next(), code.to_string(), "{script} in the background");
        lab.run("rm once").ok();
    }
    // One that is ended by us.
    let ready = lab.file("ready", "");
    let long = format!("echo $$ > {}; exec sleep 1000", ready.display());
    let start = || {
        std::fs::write(&ready, "").expect("our own file");
        let running = lab.start(&[&run[..], &["--", "sh", "-c", &long]].concat());
        let mut pid = None;
        eventually("the command", || {
            let text = std::fs::read_to_string(&ready).expect("our own file");
            pid = text.strip_suffix('\n').and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            pid.is_some()
        });
        (running, pid.expect("it is there"))
    };
    let (mut running, _) = start();
    lab.run("rm -f once").ok();
    assert_eq!(next(), "143");
    assert_eq!(running.wait().code(), Some(143));
    // One that a daemon finds, and the end of which it sees.
    let (mut running, command) = start();
    lab.kill_daemon();
    lab.run("ps").ok();
    let reader = Reader::start(&lab, &["--since", "10m", "--filter", "event=die"]);
    kill_process(command, Signal::INT).expect("it runs");
    assert_eq!(running.wait().code(), Some(130));
    eventually("the end to be told", || reader.lines().len() == 1);
    assert!(reader.lines()[0].contains("exitCode=130"), "{:?}", reader.lines());
    let status = lab.run("ps --filter name=once --format {{.Status}}").ok();
    assert!(status.starts_with("Exited (130)"), "{status}");
}

/// What happened before is told to who asks for it, and the end is said.
fn for_who_comes_later() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    let until = || lab.run("events --since 10m --until 0s");
    let lines = until().ok();
    let words: Vec<Vec<&str>> = lines.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words.len(), 4, "{lines}");
    assert_eq!(words[0][1..3], ["network", "create"]);
    assert!(words[0][0].ends_with('Z') && words[0][0].len() == 30, "{lines}");
    assert!(lines.contains("(name=front, team=blue, type=bridge)"), "{lines}");
    assert_eq!(lab.run("events --since 0 --until 1").ok(), "");
    let named = lab.run("events --since 10m --until 0s --format {{.Action}}:{{.Actor.ID}}").ok();
    assert_eq!(named.lines().count(), 4);
    lab.run("down --all").ok();
    assert_eq!(until().ok(), "");
}

/// Docker's filters.
fn filtered() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    let count = |filters: &str| {
        let lines = lab.run(&format!("events --since 10m --until 0s {filters}")).ok();
        lines.lines().count()
    };
    assert_eq!(count("--filter type=network"), 2);
    assert_eq!(count("--filter type=container --filter event=start"), 1);
    assert_eq!(count("--filter event=create --filter event=start"), 3);
    assert_eq!(count("--filter container=web"), 2);
    assert_eq!(count("--filter network=front"), 2);
    assert_eq!(count("--filter label=team=blue"), 2);
    assert_eq!(count("--filter label=room"), 2);
    assert_eq!(count("--filter label=team=red"), 0);
}

fn bad_input() {
    let lab = Lab::bare();
    for (arguments, words) in [
        ("--filter colour=red", ["colour=red", "type="]),
        ("--filter type=volume", ["volume", "network"]),
        ("--since yesterday", ["yesterday", "10m"]),
        ("--format {{.Nothing", ["--format", "{{.Nothing"]),
    ] {
        lab.run(&format!("events {arguments}")).fails_saying(2, &words);
    }
}
