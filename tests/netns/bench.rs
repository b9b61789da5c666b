//! `netebpf bench`: that it measures what it says, and leaves nothing. How fast anything is, no test asks.

mod missing;
mod signals;

use netebpf_tests::lab::{Family, Lab, eventually, needs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{collections::BTreeSet, path::Path, thread, time::Duration};

// One benchmark at a time: so this is one test.
netebpf_tests::tests![within Duration::from_secs(600); a_benchmark];

/// An arm that is not measured everywhere.
const SHORTCUT: &str = "netebpf-shortcut";

fn a_benchmark() {
    for program in ["iptables-legacy-restore", "iptables-nft-restore", "nft", "iperf3"] {
        needs(program);
    }
    let lab = Lab::bare();
    measures_everything(&lab);
    measures_streams(&lab);
    measures_with_many_there(&lab);
    lab.host.ip("link add card0 type veth peer name card1");
    measures_with_cards(&lab);
    signals::ends_when_it_should(&lab);
    lab.host.ip("link delete card0");
    what_a_killed_one_left(&lab);
    missing::says_what_is_missing(&lab);
}

/// Every arm on every way, in both families.
fn measures_everything(lab: &Lab) {
    let record = lab.json("bench --rounds 2 --milliseconds 5 --ports 20");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let results = list(&record["results"]);
    let names = |result: &Value| -> BTreeSet<String> {
        let arms = list(&result["arms"]);
        arms.iter().map(|arm| arm["arm"].as_str().expect("a name").to_owned()).collect()
    };
    let all: BTreeSet<String> = results.iter().flat_map(names).collect();
    let absent = list(&record["absent"]);
    let lacks = |what: &str| absent.iter().filter(|absent| absent[what].is_string()).count();
    assert_eq!(all.len() + lacks("arm"), 8, "{:?} {}", all, record["absent"]);
    let no_frames = lacks("workload") > 0;
    for absent in absent {
        assert!(absent["why"].as_str().is_some_and(|why| !why.is_empty()), "{absent}");
    }
    for way in ["endpoint-to-endpoint", "masquerade", "published-port"] {
        for family in [Family::V4, Family::V6].map(|family| family.to_string()) {
            let of = |result: &&Value| result["way"] == way && result["family"] == family.as_str();
            let ports: Vec<&Value> = results.iter().filter(of).map(|of| &of["ports"]).collect();
            let many = way == "published-port" && family == "IPv4";
            let mut expected = if many { vec![1, 1, 20, 1] } else { vec![1, 1, 1] };
            expected.truncate(expected.len() - usize::from(no_frames));
            assert_eq!(ports, expected, "{way} {family}: {record}");
        }
    }
    let own = results.iter().filter(|result| result["way"] == "hosts-own");
    assert!(own.map(|result| &result["workload"]).eq(["round-trips"; 2]), "{record}");
    for result in &results {
        // A bare veth among them, whatever is published elsewhere; the socket shortcut where it is for something.
        let mut expected = all.clone();
        if (&result["way"], &result["workload"])
            != (&"endpoint-to-endpoint".into(), &"round-trips".into())
        {
            expected.remove(SHORTCUT);
        } else if all.contains(SHORTCUT) {
            assert!(
                result["shortcut"]["median"].as_f64().is_some_and(|times| times > 0.0),
                "{result}"
            );
        }
        assert_eq!(names(result), expected);
        for round in list(&result["arms"]).iter().flat_map(|arm| list(&arm["rounds"])) {
            let number = |name: &str| round[name].as_f64().expect("a number");
            assert!(number("per_second") > 0.0, "{result}");
            if result["workload"] != "packets" {
                let times = ["p50", "p99", "p999"].map(number);
                assert!(times[0] > 0.0 && times.is_sorted(), "{result}");
            } else {
                assert!((0.0..=0.5).contains(&number("lost")), "{result}");
            }
        }
        for arm in list(&result["arms"]).iter().filter(|_| result["workload"] != "packets") {
            let pooled = |name: &str| arm["pooled"][name].as_f64().expect("a number");
            let times = ["p50", "p99", "p999"].map(pooled);
            assert!(pooled("samples") >= 2.0 && times[0] > 0.0 && times.is_sorted(), "{arm}");
        }
    }
    measures_costs(&record);
    let memory = &record["memory"];
    for map in list(&memory["maps"]) {
        assert!(map["bytes"].as_u64() <= map["full"].as_u64(), "{map}");
    }
    for one in ["flow", "endpoint", "port"] {
        assert!(memory[one].as_f64().is_some_and(|bytes| bytes > 0.0), "{memory}");
    }
    let ports = list(&record["scale"]);
    assert_eq!(ports.iter().map(|at| &at["there"]).collect::<Vec<_>>(), [1, 20], "{ports:?}");
    assert_eq!(ports[0]["sides"][0]["grows"]["median"], 1.0, "{ports:?}");
    nothing_left();
}

/// Of the programs that are on each way.
fn measures_costs(record: &Value) {
    let costs = record["costs"].as_array().expect("a list");
    for (way, program) in [
        ("endpoint-to-endpoint", "endpoint_ingress"),
        ("masquerade", "uplink_egress"),
        ("published-port", "uplink_ingress"),
    ] {
        let of_way: Vec<_> = costs.iter().filter(|of| of["way"] == way).collect();
        let families =
            |workload: &str| of_way.iter().filter(|of| of["workload"] == workload).count();
        assert_eq!(families("round-trips"), 2, "{way}: {costs:?}");
        for of in of_way.iter().filter(|of| of["workload"] == "round-trips") {
            let programs = of["programs"].as_array().expect("a list");
            let found = programs.iter().find(|of| of["program"] == program).expect("on the way");
            let rounds = found["rounds"].as_array().expect("a list");
            assert!(rounds.iter().any(|of| of["nanoseconds"].as_f64() > Some(0.0)), "{of}");
        }
    }
}

/// End to end, for a second each.
fn measures_streams(lab: &Lab) {
    let record = lab.json("bench --rounds 1 --milliseconds 5 --workloads streams --ports 2");
    let results = record["results"].as_array().expect("a list");
    let streams: Vec<_> = results.iter().filter(|of| of["workload"] == "streams").collect();
    assert_eq!(streams.len(), 6, "{record}");
    for arm in streams.iter().flat_map(|of| of["arms"].as_array().expect("a list")) {
        assert!(arm["rounds"][0]["per_second"].as_f64().is_some_and(|bits| bits > 1e6), "{arm}");
    }
    nothing_left();
}

/// Endpoints and flows: every side, and each beside itself with the fewest.
fn measures_with_many_there(lab: &Lab) {
    let record = lab.json("bench --rounds 2 --milliseconds 5 --endpoints 1,3 --flows 1,20000");
    assert_eq!(record["results"].as_array().map(Vec::len), Some(0), "{record}");
    let scale = record["scale"].as_array().expect("a list");
    let sides = |kind: &str, there: u32, quantity: &str| -> Vec<String> {
        let is_it =
            |at: &&Value| at["scale"] == kind && at["there"] == there && at["quantity"] == quantity;
        let at = scale.iter().find(is_it).unwrap_or_else(|| panic!("{quantity}: {record}"));
        let list = |what: &str| at[what].as_array().expect("a list").iter();
        let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
        for side in list("sides") {
            let rounds = side["rounds"].as_array().expect("a list");
            assert!(rounds.iter().all(positive), "{at}");
            let one = ["daemon", "doctor", "bytes"].contains(&quantity);
            assert_eq!(rounds.len(), if one { 1 } else { 2 }, "{at}");
        }
        for side in list("sides") {
            assert!(
                positive(&side["grows"]["median"]) && side["grows"]["lowest"].is_null(),
                "{at}"
            );
        }
        for ratio in list("beside").map(|beside| &beside["ratio"]) {
            assert!(["lowest", "median", "highest"].iter().all(|of| positive(&ratio[of])), "{at}");
        }
        let ours = list("sides").filter(|side| {
            ["netebpf", "netebpf's API"].contains(&side["side"].as_str().unwrap_or_default())
        });
        let (ours, all) = (ours.count(), list("sides").count());
        assert_eq!(list("beside").count(), ours * (all - ours), "{at}");
        list("sides").map(|side| side["side"].as_str().expect("a name").to_owned()).collect()
    };
    for there in [1, 3] {
        for quantity in ["attach", "detach"] {
            let all = ["netebpf", "netebpf's API", "netlink", "netlink, a program"];
            assert_eq!(sides("endpoints", there, quantity), all);
        }
        assert_eq!(sides("endpoints", there, "connections").len(), 2);
    }
    let arms = sides("flows", 1, "connections");
    assert!(arms.len() >= 4, "{record}");
    for quantity in ["opened", "connections"] {
        assert_eq!(sides("flows", 20_000, quantity).len(), arms.len());
    }
    assert_eq!(sides("flows", 20_000, "bytes"), ["netebpf"]);
    nothing_left();
}

/// A veth's two ends, in the place of two cards.
const CARDS: &str = "card0,card1";

/// With XDP and without, in turns; and cards that cannot be had.
fn measures_with_cards(lab: &Lab) {
    let record = lab.json(&format!("bench --rounds 2 --milliseconds 5 --cards {CARDS}"));
    assert_eq!(record["results"].as_array().map(Vec::len), Some(0), "{record}");
    let cards = &record["cards"];
    let list = |what: &str| cards[what].as_array().expect("a list").clone();
    for traffic in ["dropped", "published", "not-ours"] {
        for (family, native) in ["IPv4", "IPv6"].into_iter().flat_map(|f| [(f, true), (f, false)]) {
            let is_it = |of: &&Value| {
                of["traffic"] == traffic && of["family"] == family && of["native"] == native
            };
            let costs = list("costs");
            let programs = &costs.iter().find(is_it).expect("each of them")["programs"];
            let names: Vec<_> = programs.as_array().into_iter().flatten().collect();
            assert!(names.iter().all(|of| of["rounds"].as_array().map(Vec::len) == Some(2)));
            let names: Vec<_> = names.iter().filter_map(|of| of["program"].as_str()).collect();
            let expected: &[&str] = match (native, traffic) {
                (false, _) => &["uplink_ingress"],
                // Nothing comes to TC.
                (true, "dropped") => &["uplink_xdp"],
                (true, _) => &["uplink_xdp", "uplink_ingress"],
            };
            assert_eq!(names, expected, "{traffic}, {family}, {native}: {cards}");
        }
    }
    let floods = list("floods");
    assert_eq!(floods.len(), 4, "{cards}");
    for rounds in floods.iter().map(|of| of["rounds"].as_array().expect("a list")) {
        assert!(rounds.iter().all(|of| of["per_second"].as_f64() > Some(0.0)), "{cards}");
        assert_eq!(rounds.len(), 2, "{cards}");
    }
    nothing_left();
    cards_are_back(lab);
    lab.host.ip("link set card1 up");
    for (cards, words) in [
        ("card0,card0", ["card0", "twice"]),
        ("card0,card7", ["card7", "there is no interface"]),
        ("lo,card0", ["lo", "Ethernet"]),
        ("card0,card1", ["card1", "is up"]),
    ] {
        lab.run(&format!("bench --cards {cards}")).fails_saying(1, &words);
    }
    lab.run("bench --cards card0").fails_saying(2, &["two network cards"]);
    lab.host.ip("link set card1 down");
}

/// Where they were, and switched off.
#[track_caller]
fn cards_are_back(lab: &Lab) {
    for name in CARDS.split(',') {
        let link = lab.host.ip(&format!("link show dev {name}"));
        assert!(!link.contains("UP") && !link.contains("xdp"), "{link}");
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
