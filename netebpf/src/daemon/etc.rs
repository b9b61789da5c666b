//! Files of `/etc` that a command of an endpoint sees instead of the host's, as with `ip netns exec`.
//!
//! **Invariant**: they are mounted in a mount namespace that is the command's alone; what is mounted there
//! later is seen nowhere else, and what the host mounts later is seen there. A file of the host's that is replaced
//! by renaming another one takes every mount on it along (Linux does so since 3.18, 8ed936b5671b), and a link that
//! leads elsewhere leaves it behind: so whoever waits for the command to end keeps its files in their places, see
//! [`keep`].

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat2, statx},
    mount::{
        MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_bind, mount_change, move_mount,
        open_tree,
    },
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep,
};

/// How often it is looked whether a path leads elsewhere: mounts that go are told.
const LOOK: Duration = Duration::from_secs(2);
/// The same while there is nothing to mount on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is mounted over what.
#[derive(Debug, Default)]
pub(super) struct Etc(Vec<(CString, CString)>);

impl Etc {
    /// The files of some directories; of two of one name the later one is on top. A file that `/etc` does not
    /// have is left out, as nothing can be mounted over it.
    pub(super) fn of(directories: &[PathBuf]) -> Self {
        let mut mounts = Vec::new();
        for (from, target) in files(directories) {
            let paths = [from, target.clone()];
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

/// What belongs over what: of two files of one name the later one.
fn files(directories: &[PathBuf]) -> Vec<(PathBuf, PathBuf)> {
    let entries = directories.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    for entry in entries {
        let target = Path::new("/etc").join(entry.file_name());
        files.retain(|(_, earlier)| *earlier != target);
        files.push((entry.path(), target));
    }
    files
}

/// Keeps the files of some directories where a command that runs has them, for as long as this is polled. What it
/// mounted there itself stays.
pub(crate) async fn keep(pid: u32, directories: &[PathBuf]) {
    let Some(command) = Mounts::of(pid) else { return std::future::pending().await };
    loop {
        let wait = if command.restore(directories) { LOOK } else { LOOK_AGAIN };
        tokio::select! {
            () = command.changed() => {}
            () = sleep(wait) => {}
        }
    }
}

/// The mounts of a command.
struct Mounts {
    namespace: OwnedFd,
    root: OwnedFd,
    /// It is ready when they change.
    list: Option<AsyncFd<fs::File>>,
}

impl Mounts {
    /// None where they are nobody's but ours, or of a tree of files that is another one: a container's.
    fn of(pid: u32) -> Option<Self> {
        let of_process = |what: &str| PathBuf::from(format!("/proc/{pid}/{what}"));
        let same = |one: &Path, other: &Path| {
            let [one, other] = [one, other].map(|path| fs::metadata(path).ok());
            Some((one.as_ref()?.dev(), one?.ino()) == (other.as_ref()?.dev(), other?.ino()))
        };
        let namespace = of_process("ns/mnt");
        if same(&namespace, Path::new("/proc/self/ns/mnt"))?
            || !same(&of_process("root"), Path::new("/"))?
        {
            return None;
        }
        let open =
            |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let list = fs::File::open(of_process("mountinfo")).ok()?;
        Some(Self {
            namespace: open(&namespace, OFlags::RDONLY).ok()?,
            root: open(&of_process("root"), OFlags::PATH | OFlags::DIRECTORY).ok()?,
            // SAFETY: an owned descriptor is the same one as long as it lives.
            list: unsafe { AsyncFd::register_with_interest(list, Interest::PRIORITY) }.ok(),
        })
    }

    async fn changed(&self) {
        let Some(list) = &self.list else { return std::future::pending().await };
        match list.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is going down.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether all is in its place now.
    fn restore(&self, directories: &[PathBuf]) -> bool {
        let lost = files(directories).into_iter().filter(|(from, to)| self.lacks(from, to));
        let mut all = true;
        for (from, to) in lost {
            if let Err(error) = self.mount(&from, &to) {
                tracing::debug!("{}: {error}", to.display());
                all = false;
            }
        }
        all
    }

    /// Whether a file is not in its place, and nothing else that was mounted.
    fn lacks(&self, from: &Path, to: &Path) -> bool {
        let Ok(wanted) = fs::metadata(from) else { return false };
        let (flags, resolve) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT);
        let Ok(there) = openat2(&self.root, to, flags, Mode::empty(), resolve) else { return true };
        let mask = StatxFlags::INO;
        let Ok(there) = statx(&there, "", AtFlags::EMPTY_PATH, mask) else { return true };
        let device = rustix::fs::makedev(there.stx_dev_major, there.stx_dev_minor);
        (device, there.stx_ino) != (wanted.dev(), wanted.ino())
            && !there.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    }

    /// Mounts a file of ours over what is in its place there.
    fn mount(&self, from: &Path, to: &Path) -> io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let file = open_tree(CWD, from, flags)?;
        let mount = || {
            // SAFETY: this thread ends here; what it shares with others but its directory stays shared.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            let flags =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            Ok(move_mount(&file, "", CWD, to, flags)?)
        };
        // No thread of the runtime ever leaves its namespaces.
        std::thread::scope(|scope| scope.spawn(mount).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that mounts panicked")))
    }
}
