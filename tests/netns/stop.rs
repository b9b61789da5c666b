//! `stop`, `start` and `restart`: commands that end and come again in endpoints that stay.

use netebpf_tests::lab::{Family, Lab, eventually, family::HOST};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read as _;

netebpf_tests::tests![
    addresses_and_ports_stay,
    who_does_not_end,
    several_at_once,
    up_starts_what_was_stopped,
    the_next_daemon_does_not,
    gone_with_its_command,
    who_shares_the_namespace,
    without_a_command,
    a_foreground_run,
    what_it_started,
    told,
    an_interrupted_up,
];

const FILE: &str = "name: stopped
networks:
  front: {ipam: {config: [{subnet: 10.10.0.0/24}]}}
services:
  web:
    networks: {front: {ipv4_address: 10.10.0.10}}
    ports: [\"8080:80\"]
    command: [sh, -c, \"echo begun; exec sleep 1000\"]
  polite:
    networks: [front]
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.05; done\"]
  plain: {networks: [front]}
";

/// What `inspect` says of an endpoint's command.
fn state(lab: &Lab, name: &str) -> Value {
    lab.json(&format!("inspect {name}"))[0]["State"].clone()
}

fn pid(lab: &Lab, name: &str) -> u64 {
    let state = state(lab, name);
    assert_eq!((&state["Running"], &state["Status"]), (&true.into(), &"running".into()), "{state}");
    state["Pid"].as_u64().expect("a number")
}

/// Ended by a signal, or with a code.
fn has_ended(lab: &Lab, name: &str, code: u64) {
    let state = state(lab, name);
    assert_eq!((&state["Status"], &state["ExitCode"]), (&"exited".into(), &code.into()), "{state}");
}

/// What waits for TERM runs before it is sent.
fn waits_for_term(lab: &Lab, name: &str) {
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid(lab, name)));
        let status = status.expect("it runs");
        let masks =
            status.lines().filter(|line| line.starts_with("SigCgt") || line.starts_with("SigIgn"));
        let mut masks =
            masks.filter_map(|line| u64::from_str_radix(line.split_once('\t')?.1, 16).ok());
        masks.any(|mask| mask & 1 << 14 != 0)
    };
    eventually("a trap", caught);
}

fn addresses_and_ports_stay() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    let web = lab.endpoint("web");
    let (links, first) = (web.links(), pid(&lab, "web"));
    assert_eq!(lab.run("start web").ok(), "web\n", "it runs");
    assert_eq!(pid(&lab, "web"), first);
    for _ in 0..2 {
        assert_eq!(lab.run("stop web").ok(), "web\n");
        has_ended(&lab, "web", 143);
    }
    let row = lab.run("ps --filter name=web --format {{.Status}};{{.Addresses}};{{.Ports}}").ok();
    assert!(row.starts_with("Exited (143)") && row.contains("10.10.0.10"), "{row}");
    assert!(row.contains("0.0.0.0:8080->80/tcp"), "{row}");
    assert_eq!(web.links(), links);
    let _echo = web.echo(80);
    lab.lan.ask_tcp(HOST.port(Family::V4, 8080));
    assert_eq!(lab.run("start web").ok(), "web\n");
    let second = pid(&lab, "web");
    assert_eq!(lab.run("restart web").ok(), "web\n");
    assert!(second != first && pid(&lab, "web") != second);
    eventually("its output", || lab.run("logs web").ok() == "begun\nbegun\nbegun\n");
    assert_eq!(web.links(), links);
    lab.lan.ask_tcp(HOST.port(Family::V4, 8080));
    lab.run("rm -f web").ok();
}

/// What ignores SIGTERM is killed when its time is over.
fn who_does_not_end() {
    let lab = Lab::bare();
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    lab.netebpf(&["run", "-d", "--name", "deaf", "--", "sh", "-c", script]).ok();
    for time in ["-t 0", "--timeout 1", "--time 0"] {
        waits_for_term(&lab, "deaf");
        lab.run(&format!("stop {time} deaf")).ok();
        has_ended(&lab, "deaf", 137);
        lab.run("start deaf").ok();
    }
    let before = pid(&lab, "deaf");
    lab.run("restart -t 0 deaf").ok();
    assert_ne!(pid(&lab, "deaf"), before);
    lab.run("stop -t -2 deaf").fails_saying(2, &["-2"]);
    // While one that has all the time is waited for, others have their turn.
    waits_for_term(&lab, "deaf");
    let signals =
        || lab.run("events --since 0 --until 0s --filter event=kill").ok().lines().count();
    let told = signals();
    let mut waiting = lab.start(&["stop", "-t", "-1", "deaf"]);
    eventually("SIGTERM", || signals() > told);
    lab.run("create --name other").ok();
    pid(&lab, "deaf");
    lab.run("stop -t 0 deaf").ok();
    assert!(waiting.wait().success());
}

/// What can be done is done.
fn several_at_once() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    waits_for_term(&lab, "polite");
    let ran = lab.run("stop web nobody polite");
    assert_eq!((ran.code, ran.out.as_str()), (1, "web\npolite\n"), "{}", ran.err);
    assert!(ran.err.contains("No such endpoint: nobody"), "{}", ran.err);
    has_ended(&lab, "web", 143);
    has_ended(&lab, "polite", 0);
    for command in ["start", "restart"] {
        let ran = lab.run(&format!("{command} nobody web"));
        assert_eq!((ran.code, ran.out.as_str()), (1, "web\n"), "{}", ran.err);
        pid(&lab, "web");
    }
    let id = lab.run("ps -q --filter name=web").ok();
    assert_eq!(lab.run(&format!("stop {}", id.trim())).ok(), id);
    lab.run("down --all").ok();
    lab.run("stop web").fails_saying(1, &["No such endpoint: web"]);
    lab.nothing_left();
}

/// However it ended: what ended by itself and well is done, and what was stopped is not.
fn up_starts_what_was_stopped() {
    let lab = Lab::bare();
    let once = "  once: {networks: [front], command: [\"true\"]}\n";
    lab.up_text(&format!("{FILE}{once}")).ok();
    eventually("the end of once", || state(&lab, "once")["Status"] == "exited");
    waits_for_term(&lab, "polite");
    lab.run("stop web polite").ok();
    has_ended(&lab, "polite", 0);
    let said = lab.up_text(&format!("{FILE}{once}")).ok();
    assert!(said.contains("web") && said.contains("polite") && !said.contains("once: "), "{said}");
    for name in ["web", "polite"] {
        pid(&lab, name);
    }
}

fn the_next_daemon_does_not() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    lab.run("stop web").ok();
    lab.kill_daemon();
    lab.run("create --name other").ok();
    has_ended(&lab, "web", 143);
    pid(&lab, "polite");
    // Nobody's child by now.
    lab.run("restart polite web").ok();
    for name in ["web", "polite"] {
        pid(&lab, name);
    }
}

/// With --rm an endpoint goes when it is stopped, and stays when it is started again.
fn gone_with_its_command() {
    let lab = Lab::bare();
    for name in ["one", "two"] {
        lab.run(&format!("run -d --rm --name {name} -- sleep 1000")).ok();
    }
    let before = pid(&lab, "one");
    lab.run("restart one").ok();
    assert_ne!(pid(&lab, "one"), before);
    assert_eq!(lab.run("stop one two").ok(), "one\ntwo\n");
    lab.nothing_left();
}

fn who_shares_the_namespace() {
    let lab = Lab::bare();
    lab.run("run -d --name one -- sleep 1000").ok();
    lab.run("run -d --name two --network container:one -- sleep 1000").ok();
    let two = pid(&lab, "two");
    lab.run("restart one").ok();
    lab.run("stop one").ok();
    assert_eq!(pid(&lab, "two"), two);
    lab.run("start one").ok();
    let one = pid(&lab, "one");
    lab.run("stop two").ok();
    assert_eq!(pid(&lab, "one"), one);
}

/// Stopped it is already; to start there is nothing, which is not passed over.
fn without_a_command() {
    let lab = Lab::bare();
    lab.up_text(FILE).ok();
    assert_eq!(lab.run("stop plain").ok(), "plain\n");
    for command in ["start", "restart"] {
        lab.run(&format!("{command} plain")).fails_saying(1, &["plain", "no command"]);
    }
    // And one whose program is gone stays as it is.
    let gone = lab.file("gone", "#!/bin/sh\nexec sleep 1000\n");
    let gone = gone.to_str().expect("plain");
    lab.host.tool("chmod", &["755", gone]).ok();
    lab.run(&format!("run -d --name gone -- {gone}")).ok();
    lab.run("stop gone").ok();
    std::fs::remove_file(gone).expect("ours");
    lab.run("start gone").fails_saying(1, &["gone", "there is no such file"]);
    has_ended(&lab, "gone", 143);
}

/// Its command is that of the `run` that waits for it, which ends with its code.
fn a_foreground_run() {
    let lab = Lab::bare();
    let run = ["run", "--name", "fore", "--", "sh", "-c", "echo begun; exec sleep 1000"];
    let mut running = lab.start(&run);
    let runs = || lab.run("ps --format {{.Name}}-{{.State}}").ok() == "fore-running\n";
    eventually("it", runs);
    // Not while `run` itself stands for it.
    eventually("the end", || lab.run("stop fore").code == 0);
    assert_eq!(running.wait().code(), Some(143));
    has_ended(&lab, "fore", 143);
    lab.run("start fore").fails_saying(1, &["fore", "no command"]);
}

/// Its children go with it, though they would not end by themselves.
fn what_it_started() {
    let lab = Lab::bare();
    let script = "sleep 1000 & echo $!; exec sleep 1000";
    lab.netebpf(&["run", "-d", "--name", "web", "--", "sh", "-c", script]).ok();
    let child = || lab.run("logs web").ok().lines().last().map(str::to_owned);
    eventually("the child", || child().is_some());
    let first = child().expect("seen");
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{first}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(lives());
    lab.run("restart web").ok();
    assert!(!lives());
    eventually("another child", || child().is_some_and(|child| child != first));
}

/// In Docker's words, and in Docker's order.
fn told() {
    let lab = Lab::bare();
    lab.netebpf(&["run", "-d", "--name", "web", "--", "sleep", "1000"]).ok();
    lab.run("restart web").ok();
    lab.run("stop web").ok();
    lab.run("stop web").ok();
    lab.run("start web").ok();
    let text = lab.run("events --since 0 --until 0s --filter container=web --format json").ok();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let words = events.filter_map(|event| {
        let of =
            |key: &str| event["Actor"]["Attributes"][key].as_str().map(|value| format!(" {value}"));
        let action = event["Action"].as_str()?;
        let more = [of("signal"), of("exitCode")].into_iter().flatten().collect::<String>();
        (event["Type"] == "container").then(|| format!("{action}{more}"))
    });
    let ended = ["kill 15", "die 143", "stop"];
    let restarted = [&ended[..], &["start", "restart"]].concat();
    let expected = [&["create", "start"], &restarted[..], &ended, &["start"]].concat();
    assert_eq!(words.collect::<Vec<_>>(), expected);
}

/// Ctrl-C ends `up`, and not what it asked for: that is said, with what to do.
fn an_interrupted_up() {
    let lab = Lab::bare();
    let deaf = FILE.replace("exec sleep 1000", "trap 'echo no' TERM; while :; do sleep 0.05; done");
    lab.up_text(&deaf).ok();
    waits_for_term(&lab, "web");
    let old = pid(&lab, "web");
    let file = lab.file("another.yaml", FILE);
    let mut running = lab.start(&["up", "-f", file.to_str().expect("plain")]);
    eventually("the old command to be told", || lab.run("logs web").ok().contains("no"));
    let process = |pid: u64| i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(process(running.0.id().into()), Signal::INT).expect("it runs");
    assert_eq!(running.wait().code(), Some(130));
    let mut said = String::new();
    running.0.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    for word in ["status", "down"] {
        let word = format!("\"netebpf --instance {} {word}\"", lab.instance());
        assert!(said.contains(&word), "{said}");
    }
    kill_process(process(old), Signal::KILL).expect("it runs");
    let another = || {
        let state = state(&lab, "web");
        state["Running"] == true && state["Pid"] != old
    };
    eventually("the new command", another);
}
