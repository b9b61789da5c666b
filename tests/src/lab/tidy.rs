//! What a host looks like, and that nothing of an instance is left.

use super::{
    Ns,
    sweep::{ETC_NETNS, PLACES, entries},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A host's interfaces, addresses, routes, rules, queueing disciplines and sysctls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    facts: BTreeMap<String, String>,
}

impl Snapshot {
    /// Takes one.
    pub fn take(host: &Ns) -> Self {
        let mut facts = BTreeMap::new();
        for (name, index) in host.links() {
            let details = host.ip(&format!("-o link show dev {name}"));
            // What the kernel itself changes: whether the other end is up.
            facts.insert(format!("interface {name}"), format!("{index}: {}", flags(&details)));
        }
        for what in
            ["-o -4 address", "-o -6 address", "-4 route show table all", "-4 rule", "-6 rule"]
        {
            for line in host.ip(what).lines() {
                // Lifetimes run, and addresses settle.
                let line = line.split("\\").next().unwrap_or_default().trim();
                let line = line.trim_end_matches(" tentative");
                facts.insert(format!("{what}: {line}"), String::new());
            }
        }
        if let Ok(output) = host.command("tc").args(["qdisc", "show"]).output() {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            facts.insert("qdiscs".to_owned(), text);
        }
        host.run(|| sysctls(Path::new("/proc/sys/net"), &mut facts));
        Self { facts }
    }

    /// What is not as it was, a line each.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, value) in &self.facts {
            match now.facts.get(key) {
                None => lines.push(format!("gone: {key} {value}")),
                Some(other) if other != value => {
                    lines.push(format!("changed: {key} from {value:?} to {other:?}"));
                }
                Some(_) => {}
            }
        }
        let new = now.facts.iter().filter(|(key, _)| !self.facts.contains_key(*key));
        lines.extend(new.map(|(key, value)| format!("new: {key} {value}")));
        lines
    }

    /// Asserts that nothing changed.
    pub fn same(&self, now: &Self) {
        let changes = self.changes(now);
        assert!(changes.is_empty(), "the host is not as it was:\n{}", changes.join("\n"));
    }
}

/// `<…>`, the MTU and XDP of a line of `ip link`.
fn flags(line: &str) -> String {
    let words = line.split_whitespace().skip_while(|word| !word.starts_with('<'));
    let (first, rest): (Vec<_>, Vec<_>) = words.enumerate().partition(|(n, _)| *n < 3);
    let xdp = rest.into_iter().filter(|(_, word)| word.contains("xdp"));
    first.into_iter().chain(xdp).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

fn sysctls(directory: &Path, facts: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path: PathBuf = entry.path();
        // Counts of what is in use, and switches that act when they are read.
        if path.ends_with("netfilter") || path.ends_with("flush") {
            continue;
        }
        if path.is_dir() {
            sysctls(&path, facts);
        } else if let Ok(value) = fs::read_to_string(&path) {
            facts.insert(format!("{}", path.display()), value.trim().to_owned());
        }
    }
}

/// Asserts that nothing of an instance is on the machine.
pub(super) fn nothing_left(instance: &str, host: &Ns) {
    for place in PLACES {
        let path = Path::new(place).join(instance);
        assert!(!path.exists(), "{} is left: {:?}", path.display(), list(&path));
    }
    let namespaces = super::sweep::namespaces(&format!("{instance}."));
    assert!(namespaces.is_empty(), "namespaces are left: {namespaces:?}");
    let prefix = format!("{instance}.");
    let files: Vec<String> = entries(ETC_NETNS).filter(|name| name.starts_with(&prefix)).collect();
    assert!(files.is_empty(), "files for namespaces are left: {files:?}");
    // A daemon that was told to end may need a moment to be gone.
    super::eventually("the host's processes to end", || host.processes().is_empty());
}

fn list(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
