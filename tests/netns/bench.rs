//! `netebpf bench`: that it measures what it says, and leaves nothing. How fast anything is, no test asks.

use netebpf_tests::lab::{Family, Lab, binary, eventually, needs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{io::Read as _, path::Path, thread, time::Duration};

// One benchmark at a time: so this is one test.
netebpf_tests::tests![a_benchmark];

fn a_benchmark() {
    for program in ["iptables-legacy-restore", "iptables-nft-restore", "nft", "iperf3"] {
        needs(program);
    }
    let lab = Lab::bare();
    measures_everything(&lab);
    ends_when_it_should(&lab);
    what_a_killed_one_left(&lab);
    says_what_is_missing(&lab);
}

/// Every arm on every way, in both families.
fn measures_everything(lab: &Lab) {
    let record = lab.json("bench --rounds 2 --milliseconds 5 --ports 20");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let results = list(&record["results"]);
    let arms = list(&results[0]["arms"]).len();
    assert_eq!(arms + list(&record["absent"]).len(), 6, "{record}");
    for absent in list(&record["absent"]) {
        assert!(absent["why"].as_str().is_some_and(|why| !why.is_empty()), "{absent}");
    }
    for way in ["endpoint-to-endpoint", "masquerade", "published-port"] {
        for family in [Family::V4, Family::V6].map(|family| family.to_string()) {
            let of = |result: &&Value| result["way"] == way && result["family"] == family.as_str();
            let ports: Vec<&Value> = results.iter().filter(of).map(|of| &of["ports"]).collect();
            let many = way == "published-port" && family == "IPv4";
            let expected = if many { vec![1, 1, 20, 1] } else { vec![1, 1, 1] };
            assert_eq!(ports, expected, "{way} {family}: {record}");
        }
    }
    for result in &results {
        // A bare veth among them, whatever is published elsewhere.
        assert_eq!(list(&result["arms"]).len(), arms);
        for round in list(&result["arms"]).iter().flat_map(|arm| list(&arm["rounds"])) {
            let number = |name: &str| round[name].as_f64().expect("a number");
            assert!(number("per_second") > 0.0, "{result}");
            if result["workload"] != "packets" {
                let times = ["p50", "p99", "p999"].map(number);
                assert!(times[0] > 0.0 && times.is_sorted(), "{result}");
            }
        }
    }
    nothing_left();
}

/// By a signal, at any time; and a second one does not begin.
fn ends_when_it_should(lab: &Lab) {
    for pause in [50, 1000, 4000] {
        let mut running = lab.start(&["bench", "--rounds", "1000", "--milliseconds", "2"]);
        thread::sleep(Duration::from_millis(pause));
        if pause > 1000 {
            lab.run("bench").fails_saying(1, &["another benchmark is running"]);
        }
        let pid = i32::try_from(running.0.id()).ok().and_then(Pid::from_raw).expect("a number");
        kill_process(pid, Signal::INT).expect("it runs");
        assert_eq!(running.wait().code(), Some(130));
        let mut said = String::new();
        running.0.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(said.contains("interrupted"), "{said}");
        nothing_left();
    }
}

/// What is left by one that was killed goes with the next, whatever that measures.
fn what_a_killed_one_left(lab: &Lab) {
    let mut running = lab.start(&["bench", "--rounds", "1000", "--ports", "30"]);
    let instance = Path::new("/run/netebpf/netebpf-bench-30/daemon.pid");
    eventually("an instance to be up", || instance.exists());
    let pid = i32::try_from(running.0.id()).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, Signal::KILL).expect("it runs");
    running.wait();
    assert!(instance.exists());
    // What it was just waiting for may make some more.
    thread::sleep(Duration::from_secs(2));
    lab.run("bench --rounds 1 --milliseconds 1 --workloads round-trips --ports 2,2").ok();
    nothing_left();
}

fn says_what_is_missing(lab: &Lab) {
    let program = binary();
    let ran = lab.host.tool("env", &["PATH=/nowhere", program.to_str().expect("plain"), "bench"]);
    ran.fails_saying(1, &["ip is missing", "iproute2"]);
    nothing_left();
}

#[track_caller]
fn nothing_left() {
    let entries = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    for directory in ["/run/netns", "/run/netebpf", "/var/lib/netebpf", "/sys/fs/bpf/netebpf"] {
        let left = || entries(directory).into_iter().any(|name| name.starts_with("netebpf-bench"));
        eventually(&format!("{directory} to be as it was"), || !left());
    }
}
