//! Files of `/etc` that a command of an endpoint sees instead of the host's, as with `ip netns exec`.
//!
//! **Invariant**: they are mounted in a mount namespace that is the command's alone; what is mounted there
//! later is seen nowhere else, and what the host mounts later is seen there.

use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
};

/// What is mounted over what.
#[derive(Debug, Default)]
pub(super) struct Etc(Vec<(CString, CString)>);

impl Etc {
    /// The files of some directories; of two of one name the later one is on top. A file that `/etc` does not
    /// have is left out, as nothing can be mounted over it.
    pub(super) fn of(directories: &[PathBuf]) -> Self {
        let mut mounts = Vec::new();
        for entry in directories.iter().flat_map(fs::read_dir).flatten().flatten() {
            let target = Path::new("/etc").join(entry.file_name());
            let paths = [entry.path(), target.clone()];
            let [Ok(from), Ok(to)] =
                paths.map(|p| CString::new(p.into_os_string().into_encoded_bytes()))
            else {
                continue;
            };
            if target.exists() {
                mounts.push((from, to));
            } else {
                tracing::warn!("{}: there is none to stand in for", target.display());
            }
        }
        Self(mounts)
    }

    /// Mounts them for the calling process alone: only for a child before it runs its command. Allocates
    /// nothing.
    pub(super) fn mount(&self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller has one thread, and shares nothing with others that this takes away.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        for (from, to) in &self.0 {
            // One that went away meanwhile is as if it had never been there.
            let _ = mount_bind(from, to);
        }
        Ok(())
    }
}
