//! Network namespaces as `ip netns` keeps them: nsfs mounts under `/run/netns`.
//!
//! **Invariant**: no thread of the runtime ever changes its namespace. Whatever has to happen inside
//! one happens on a thread of its own that enters it, does one synchronous thing and ends.

use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    fs,
    io::{self, ErrorKind},
    mem,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    thread,
};

/// Where `ip netns` keeps them.
pub(super) const DIRECTORY: &str = "/run/netns";

/// The first interface of every namespace (`LOOPBACK_IFINDEX`).
pub(crate) const LOOPBACK: u32 = 1;

/// A namespace could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is none at this path.
    #[error("there is no network namespace at {0}: `ip netns add` makes one under /run/netns")]
    Missing(PathBuf),
    /// There is something else.
    #[error("{0} is not a network namespace")]
    NotANamespace(PathBuf),
    /// Where the instance itself is.
    #[error(
        "namespace {0} is the host's own, where an endpoint's interfaces and routes would be in the way of the host's: \
         one made with `ip netns add`, or the network \"host\", would be right"
    )]
    OfHost(PathBuf),
    /// Another endpoint is in it.
    #[error("namespace {path} is that of endpoint {endpoint:?} already")]
    Taken {
        /// The namespace.
        path: PathBuf,
        /// Whose it is.
        endpoint: String,
    },
    /// One of that name is there already, and not ours.
    #[error(
        "{0} is there already and was not made by this instance; \
         `ip netns delete` removes it, or give the endpoint another name"
    )]
    Exists(PathBuf),
    /// A system call failed.
    #[error("network namespace {path}: {operation}: {source}")]
    System {
        /// Which namespace.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Names the namespace and the operation of a failed system call.
fn system(
    path: &Path,
    operation: &'static str,
) -> impl Fn(rustix::io::Errno) -> NetnsError + use<> {
    let path = path.to_owned();
    move |errno| NetnsError::System { path: path.clone(), operation, source: errno.into() }
}

fn system_io(path: &Path, operation: &'static str) -> impl Fn(io::Error) -> NetnsError + use<> {
    let path = path.to_owned();
    move |error| NetnsError::System {
        path: path.clone(),
        operation,
        source: io::Error::new(error.kind(), error.to_string()),
    }
}

/// Whether a network namespace is mounted at `path`.
pub fn exists(path: &Path) -> bool {
    matches!(open_namespace(path), Ok(Some(_)))
}

/// Opens the namespace; `None` where nothing is.
fn open_namespace(path: &Path) -> Result<Option<OwnedFd>, NetnsError> {
    let file = match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(system(path, "open")(errno)),
    };
    // A file that was left by an unmounted namespace, or that is something else, is on another
    // filesystem than nsfs (its magic number is from linux/magic.h).
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    let filesystem = rustix::fs::fstatfs(&file).map_err(system(path, "fstatfs"))?;
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
    if filesystem.f_type as i64 != NSFS_MAGIC {
        return Ok(None);
    }
    Ok(Some(file))
}

/// Opens the namespace at `path`.
pub fn open(path: &Path) -> Result<OwnedFd, NetnsError> {
    open_namespace(path)?.ok_or_else(|| NetnsError::Missing(path.to_owned()))
}

/// Whether two paths lead to one namespace, such as `/run/netns/a` and `/var/run/netns/a`, or `/proc/1/ns/net` and
/// `/proc/self/ns/net`.
pub(crate) fn is_same(path: &Path, other: &Path) -> bool {
    let place = |path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    place(path).is_some_and(|of| place(other) == Some(of))
}

/// What tells one namespace from another that is made later at the same path: the inode of nsfs.
pub fn identity(path: &Path) -> Result<u64, NetnsError> {
    let stamp = stamp(path)?.ok_or_else(|| NetnsError::Missing(path.to_owned()))?;
    Ok(stamp.identity)
}

/// What tells a namespace from every other that is or was at its path, as long as it stays mounted there: the number
/// alone is given again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stamp {
    identity: u64,
    seen_first: (i64, i64),
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self { identity: file.ino(), seen_first: (file.ctime(), file.ctime_nsec()) }
    }

    /// Whether it is still the namespace at `path`.
    pub(crate) fn is_still_at(self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|file| Self::of(&file) == self)
    }
}

/// The stamp of the namespace at `path`; `None` where nothing is.
pub(crate) fn stamp(path: &Path) -> Result<Option<Stamp>, NetnsError> {
    let Some(namespace) = open_namespace(path)? else { return Ok(None) };
    let file = fs::File::from(namespace).metadata().map_err(system_io(path, "stat"))?;
    Ok(Some(Stamp::of(&file)))
}

/// Makes a namespace and mounts it at `path`, as `ip netns add` does, with its loopback switched on: some have nothing
/// else.
pub fn create(path: &Path) -> Result<(), NetnsError> {
    if exists(path) {
        return Err(NetnsError::Exists(path.to_owned()));
    }
    let directory = path.parent().ok_or_else(|| NetnsError::Missing(path.to_owned()))?;
    share_directory(directory)?;
    fs::write(path, []).map_err(system_io(path, "create"))?;
    let mount = {
        let path = path.to_owned();
        move || {
            // SAFETY: only the network namespace of this thread changes, and the thread ends here; the
            // file descriptors and memory that it shares with others stay shared.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(system(&path, "unshare"))?;
            switch_loopback_on().map_err(system(&path, "switch the loopback on"))?;
            mount_bind("/proc/thread-self/ns/net", &path).map_err(system(&path, "mount"))
        }
    };
    let made = on_thread(path, mount).and_then(|result| result);
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// In the namespace of the calling thread, which was just made: nothing else is set on it.
fn switch_loopback_on() -> rustix::io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all zero is a valid request, and it outlives the call, which reads no more of it than its size.
    let done = unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    };
    if done == 0 { Ok(()) } else { Err(errno()) }
}

fn errno() -> rustix::io::Errno {
    let error = io::Error::last_os_error();
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}

/// Unmounts and removes the namespace at `path`; the namespace itself, and every interface in it, lives
/// until the last process in it ends. Done already is done.
pub fn remove(path: &Path) -> Result<(), NetnsError> {
    match unmount(path, UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(system(path, "unmount")(errno)),
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(system_io(path, "remove")(error)),
    }
}

/// Runs `work` in the namespace at `path`, on a thread of its own, and waits for it.
pub fn run_in<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NetnsError> {
    let namespace = open(path)?;
    let enter = {
        let path = path.to_owned();
        move || {
            enter_thread(&namespace).map_err(|errno| match errno {
                rustix::io::Errno::INVAL => NetnsError::NotANamespace(path.clone()),
                errno => system(&path, "setns")(errno),
            })?;
            Ok(work())
        }
    };
    on_thread(path, enter)?
}

/// Moves the calling thread into a namespace, for good: only for threads that are about to end, and
/// for a child before it runs its command.
pub fn enter_thread(namespace: impl AsFd) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

fn on_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NetnsError> {
    let handle = thread::Builder::new()
        .name("netns".to_owned())
        .spawn(work)
        .map_err(system_io(path, "start a thread"))?;
    handle.join().map_err(|_| NetnsError::System {
        path: path.to_owned(),
        operation: "run in it",
        source: io::Error::other("the thread in the namespace panicked"),
    })
}

/// Makes `/run/netns` a shared mount, so that a namespace mounted or removed here is mounted or removed
/// in every mount namespace (iproute2 does the same; without it a service with a private mount
/// namespace keeps removed network namespaces alive).
fn share_directory(directory: &Path) -> Result<(), NetnsError> {
    fs::create_dir_all(directory).map_err(system_io(directory, "create"))?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(directory, shared) {
        Ok(()) => Ok(()),
        // Not a mount point yet.
        Err(rustix::io::Errno::INVAL) => {
            rustix::mount::mount(
                directory,
                directory,
                "none",
                MountFlags::BIND | MountFlags::REC,
                None,
            )
            .map_err(system(directory, "mount"))?;
            mount_change(directory, shared).map_err(system(directory, "share"))
        }
        Err(errno) => Err(system(directory, "share")(errno)),
    }
}
