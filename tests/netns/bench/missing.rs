//! What a benchmark needs, and what it says where that is not there.

use super::nothing_left;
use netebpf_tests::lab::{Lab, binary};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What it takes, Debian's package that has it, and what it is needed for.
const TOOLS: [(&str, &str, &str); 13] = [
    ("ip", "iproute2", "--quick"),
    ("nsenter", "util-linux", "--quick"),
    ("sysctl", "procps", "--quick"),
    ("iptables-legacy-restore", "iptables", "--quick"),
    ("ip6tables-legacy-restore", "iptables", "--quick"),
    ("iptables-legacy-save", "iptables", "--quick"),
    ("ip6tables-legacy-save", "iptables", "--quick"),
    ("iptables-nft-restore", "iptables", "--quick"),
    ("ip6tables-nft-restore", "iptables", "--quick"),
    ("iptables-nft-save", "iptables", "--quick"),
    ("ip6tables-nft-save", "iptables", "--quick"),
    ("nft", "nftables", "--flows 1"),
    ("iperf3", "iperf3", "--quick --workloads streams"),
];

/// Those that are needed for everything.
const ALWAYS: usize = 3;

pub(super) fn says_what_is_missing(lab: &Lab) {
    let directory = tempfile::tempdir().expect("a directory for links");
    let link = |program: &str| directory.path().join(program);
    for (program, ..) in TOOLS {
        symlink(installed(program), link(program)).expect("a link in our own directory");
    }
    for (program, package, options) in TOOLS {
        fs::remove_file(link(program)).expect("our own link");
        let ran = with_path(lab, directory.path(), options);
        one_sentence(&ran.fails(1), &[&format!("{program} is missing"), package]);
        symlink(installed(program), link(program)).expect("a link in our own directory");
    }
    // Of others' tools nothing is needed where nobody is compared with them.
    for (program, ..) in &TOOLS[ALWAYS..] {
        fs::remove_file(link(program)).expect("our own link");
    }
    with_path(lab, directory.path(), "--endpoints 1 --rounds 1 --milliseconds 1").ok();
    nothing_left();
    one_cpu(lab);
}

fn one_cpu(lab: &Lab) {
    let program = binary();
    let ran = lab.host.tool("taskset", &["-c", "0", program.to_str().expect("plain"), "bench"]);
    one_sentence(&ran.fails(1), &["1 CPU is too few", "2 are needed"]);
}

/// Where a program is.
fn installed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|place| place.exists()).unwrap_or_else(|| panic!("{program} is not installed"))
}

fn with_path(lab: &Lab, path: &Path, options: &str) -> netebpf_tests::lab::Ran {
    let (path, program) = (format!("PATH={}", path.display()), binary());
    let program = program.to_str().expect("plain");
    let words = [&path, program, "bench"].into_iter().chain(options.split_whitespace());
    lab.host.tool("env", &words.collect::<Vec<_>>())
}

#[track_caller]
fn one_sentence(said: &str, words: &[&str]) {
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    nothing_left();
}
