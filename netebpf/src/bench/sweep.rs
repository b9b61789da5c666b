//! What a run that was killed left behind.
//!
//! **Invariant**: what has a name of ours is ours, for one benchmark runs at a time. Nothing else is touched.

use super::{BenchError, host, process};
use std::{collections::BTreeSet, fs, path::Path};

/// The beginning of every name: of namespaces, and of instances of netebpf.
pub(super) const PREFIX: &str = "netebpf-bench";

/// A file that says nothing: settings are what they are without one, whatever the machine's say.
pub(super) const NO_SETTINGS: &str = "/dev/null";

/// Where an instance may have left something.
const OF_INSTANCES: [&str; 3] = ["/var/lib/netebpf", "/run/netebpf", "/sys/fs/bpf/netebpf"];

/// Takes all of it away.
pub(super) fn sweep() -> Result<(), BenchError> {
    let instances: BTreeSet<String> = OF_INSTANCES.into_iter().flat_map(names).collect();
    for instance in &instances {
        // Its daemon lives there; if it does not, a new one has to, and not on this host.
        if !Path::new("/run/netns").join(instance).exists() {
            host::create(instance)?;
        }
        let mut down = process::inside(instance, process::netebpf()?);
        process::output(down.args([
            "--instance",
            instance,
            "--settings",
            NO_SETTINGS,
            "down",
            "--all",
        ]))?;
    }
    names("/run/netns").iter().try_for_each(|name| host::remove(name))
}

/// What has a name of ours in a directory.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}
