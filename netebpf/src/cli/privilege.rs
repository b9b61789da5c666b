//! Whether this process may do what netebpf does.

use rustix::thread::{CapabilitySet, capabilities};

/// What is wanted, by name.
const WANTED: [(&str, CapabilitySet); 3] = [
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_BPF", CapabilitySet::BPF),
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
];

/// Not enough.
#[derive(Debug, thiserror::Error)]
#[error("permission: {0} missing: run it as root, with sudo for example")]
pub(super) struct Missing(String);

/// Says what is missing before anything else fails because of it.
pub(super) fn check() -> Result<(), Missing> {
    // Where the sets cannot be read, the kernel's own refusals say what is wrong.
    let Ok(sets) = capabilities(None) else { return Ok(()) };
    let missing = WANTED.iter().filter(|(_, wanted)| !sets.effective.contains(*wanted));
    let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
    match missing[..] {
        [] => Ok(()),
        [one] => Err(Missing(format!("{one} is"))),
        _ => Err(Missing(format!("{} are", missing.join(", ")))),
    }
}
