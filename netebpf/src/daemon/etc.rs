//! Files of `/etc` that a command of an endpoint sees instead of the host's, as with `ip netns exec`.
//!
//! **Invariant**: they are mounted in a mount namespace that is the command's alone; what is mounted there
//! later is seen nowhere else, and what the host mounts later is seen there. A file of the host's that is replaced
//! by renaming another one takes every mount on it along (Linux does so since 3.18, 8ed936b5671b), a link that
//! leads elsewhere leaves it behind, and a mount of a file that was itself replaced shows the old one: so whoever
//! waits for the command to end keeps its files in their places, see [`keep`].

use super::paths::Paths;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat2, statx},
    mount::{
        MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind,
        mount_change, move_mount, open_tree, unmount,
    },
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

/// How often it is looked again where not all that happens is told, and while something could not be mounted.
const LOOK: Duration = Duration::from_secs(2);

/// For a look that does not wait.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What tells one file from another.
type Identity = (u64, u64);

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

fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
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
pub(crate) async fn keep(pid: u32, pidfd: BorrowedFd<'_>, directories: &[PathBuf], paths: &Paths) {
    let Some(mut command) = Mounts::of(pid, pidfd, directories) else {
        return std::future::pending().await;
    };
    let mut follower = paths.follower();
    loop {
        let files = files(directories);
        let ways = files.iter().flat_map(|(from, to)| [from, to]).chain(directories);
        let told = follower.follow(ways.map(PathBuf::as_path));
        let all = command.restore(directories);
        let something = async {
            tokio::select! {
                () = command.changed() => {}
                () = follower.changed() => {}
            }
        };
        let wait = if all && told { Duration::MAX } else { LOOK };
        let _ = timeout(wait, something).await;
    }
}

/// What a command has in the place of a file.
enum There {
    /// The file.
    Right,
    /// What is there without a mount, if anything.
    Nothing,
    /// The file that ours was before, or one that is nowhere else any more.
    Replaced,
    /// What it mounted itself.
    Theirs,
}

/// The mounts of a command.
struct Mounts {
    namespace: OwnedFd,
    root: OwnedFd,
    /// It is ready when they change.
    list: Option<AsyncFd<fs::File>>,
    /// What was mounted over what.
    mounted: BTreeMap<PathBuf, Identity>,
}

impl Mounts {
    /// None where they are nobody's but ours, or of a tree of files that is another one: a container's.
    fn of(pid: u32, pidfd: BorrowedFd<'_>, directories: &[PathBuf]) -> Option<Self> {
        let of_process = |what: &str| PathBuf::from(format!("/proc/{pid}/{what}"));
        let same = |one: &Path, other: &Path| Some(identity(one)? == identity(other)?);
        let namespace = of_process("ns/mnt");
        if same(&namespace, Path::new("/proc/self/ns/mnt"))?
            || !same(&of_process("root"), Path::new("/"))?
        {
            return None;
        }
        let open =
            |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let list = fs::File::open(of_process("mountinfo")).ok()?;
        let namespace = open(&namespace, OFlags::RDONLY).ok()?;
        let root = open(&of_process("root"), OFlags::PATH | OFlags::DIRECTORY).ok()?;
        // Last: while it has not ended nobody else had its number.
        let ended =
            poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&NOW)) != Ok(0);
        let files = files(directories).into_iter();
        (!ended).then(|| Self {
            namespace,
            root,
            // SAFETY: an owned descriptor is the same one as long as it lives.
            list: unsafe { AsyncFd::register_with_interest(list, Interest::PRIORITY) }.ok(),
            mounted: files.filter_map(|(from, to)| Some((to, identity(&from)?))).collect(),
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
    fn restore(&mut self, directories: &[PathBuf]) -> bool {
        let mut all = true;
        for (from, to) in files(directories) {
            let Some(wanted) = identity(&from) else { continue };
            let done = match self.there(wanted, &to) {
                There::Right | There::Theirs => continue,
                There::Nothing => self.mount(&from, &to, false),
                There::Replaced => self.mount(&from, &to, true),
            };
            match done {
                Ok(()) => drop(self.mounted.insert(to, wanted)),
                Err(error) => {
                    tracing::debug!("{}: {error}", to.display());
                    all = false;
                }
            }
        }
        all
    }

    /// What is in the place of a file.
    fn there(&self, wanted: Identity, to: &Path) -> There {
        let (flags, resolve) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT);
        let there = openat2(&self.root, to, flags, Mode::empty(), resolve);
        let mask = StatxFlags::INO | StatxFlags::NLINK;
        let there = there.and_then(|there| statx(&there, "", AtFlags::EMPTY_PATH, mask));
        let Ok(there) = there else { return There::Nothing };
        let device = rustix::fs::makedev(there.stx_dev_major, there.stx_dev_minor);
        let found = (device, there.stx_ino);
        if found == wanted {
            There::Right
        } else if !there.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            There::Nothing
        } else if there.stx_nlink == 0 || self.mounted.get(to) == Some(&found) {
            There::Replaced
        } else {
            There::Theirs
        }
    }

    /// Mounts a file of ours over what is in its place there, or instead of the one that was.
    fn mount(&self, from: &Path, to: &Path, instead: bool) -> io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let file = open_tree(CWD, from, flags)?;
        let mount = || {
            // SAFETY: this thread ends here; what it shares with others but its directory stays shared.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            if instead {
                // Or each that somebody replaces would stay below the next.
                unmount(to, UnmountFlags::DETACH)?;
            }
            let flags =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            Ok(move_mount(&file, "", CWD, to, flags)?)
        };
        // No thread of the runtime ever leaves its namespaces.
        std::thread::scope(|scope| scope.spawn(mount).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread that mounts panicked")))
    }
}
