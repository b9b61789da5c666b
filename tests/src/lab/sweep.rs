//! Takes away what a laboratory made, also one whose test is dead.
//!
//! **Invariant**: touches nothing whose name does not begin with that of a laboratory.

use super::{Ns, ns};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Where an instance leaves things.
pub(super) const PLACES: [&str; 3] = ["/run/netebpf", "/var/lib/netebpf", "/sys/fs/bpf/netebpf"];

/// Where files for programs in a namespace are, a directory for each.
pub(super) const ETC_NETNS: &str = "/etc/netns";

/// Removes what the tests of dead processes left.
pub fn sweep() {
    for name in PLACES.iter().chain(&["/run/netns", ETC_NETNS]).flat_map(|place| entries(place)) {
        let pid = name.strip_prefix("nbt-").and_then(|rest| rest.split('-').next());
        if let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            sweep_of(pid);
        }
    }
}

/// Removes what the tests of this process, which has ended, left.
pub fn sweep_of(pid: u32) {
    remove(&format!("nbt-{pid}-"));
}

/// Removes all of the laboratories whose names begin so: processes in their namespaces first.
pub(super) fn remove(prefix: &str) {
    let names = namespaces(prefix);
    for name in &names {
        for pid in Ns::existing(name.clone()).processes() {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                // It may have ended on its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    for name in &names {
        ns::ip(&["netns", "delete", name]);
    }
    for place in PLACES.into_iter().chain([ETC_NETNS]) {
        for name in entries(place).filter(|name| name.starts_with(prefix)) {
            let path = Path::new(place).join(name);
            if let Err(error) = fs::remove_dir_all(&path) {
                println!("{}: {error}", path.display());
            }
        }
    }
    control_groups(prefix).iter().for_each(|group| remove_control_group(group));
}

/// The control groups whose names begin so, in each hierarchy: other engines make them.
fn control_groups(prefix: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies =
        entries("/sys/fs/cgroup").map(|name| root.join(name)).chain([root.to_owned()]);
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let ours = hierarchies.flat_map(below).filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir())
            && entry.file_name().to_string_lossy().starts_with(prefix)
    });
    ours.map(|entry| entry.path()).collect()
}

/// Its processes were killed; the last of them may need a moment to be gone.
fn remove_control_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_control_group(&entry.path());
        }
    }
    let mut tries = 0..200;
    while let Err(error) = fs::remove_dir(group) {
        if tries.next().is_none() {
            println!("{}: {error}", group.display());
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The namespaces whose names begin so.
pub(super) fn namespaces(prefix: &str) -> Vec<String> {
    entries("/run/netns").filter(|name| name.starts_with(prefix)).collect()
}

pub(super) fn entries(directory: &str) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
