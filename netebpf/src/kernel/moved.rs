//! Which namespaces may be others than they were: of a thousand, each would have to be looked at with every change.
//!
//! **Invariant**: whoever asks, and looks at all that may have moved, misses nothing that `ip netns` did: a name that came
//! or went in `/run/netns` was told by the kernel before it answered whoever did it. Anywhere else, and where nothing
//! is told, everything may have moved. A namespace that is unmounted while its file stays, or is mounted over, is not
//! told; `up` looks at all. Where a name there is a link to somewhere else, as people make them to see containers' namespaces,
//! it is looked at always: what it leads to may change untold.

use super::netns::DIRECTORY;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    mem::{MaybeUninit, take},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

/// What it is asked for; each is told everything.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Plans,
    Resolvers,
}

/// What happened meanwhile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved {
    directory: PathBuf,
    anything: bool,
    names: BTreeSet<OsString>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// Where names lead to namespaces.
    directory: PathBuf,
    inotify: Option<OwnedFd>,
    /// Names that lead somewhere else.
    links: BTreeSet<OsString>,
    moved: [Moved; 2],
}

impl Moved {
    /// Whether the namespace at a path may be another one, or gone.
    pub(crate) fn may_be(&self, path: &Path) -> bool {
        // Asked about each of a thousand endpoints: bytes, and not the components of paths.
        let below = path.as_os_str().as_bytes().strip_prefix(self.directory.as_os_str().as_bytes());
        let name =
            below.and_then(|rest| rest.strip_prefix(b"/")).filter(|name| !name.contains(&b'/'));
        self.anything || name.is_none_or(|name| self.names.contains(OsStr::from_bytes(name)))
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::at(Path::new(DIRECTORY))
    }
}

impl Namespaces {
    fn at(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, inotify: None, links: BTreeSet::new(), moved: Default::default() }
    }

    /// What happened since it was asked for the same the last time.
    pub(super) fn moved(&mut self, purpose: Purpose) -> Moved {
        if !self.hear() {
            self.look_again();
            // From here on it is told; this time everything is looked at.
            let watched = watch(&self.directory);
            self.inotify = watched.inspect_err(|error| tracing::debug!("inotify: {error}")).ok();
            self.links = links(&self.directory).into_iter().flatten().collect();
        }
        let mut moved = take(&mut self.moved[purpose as usize]);
        moved.directory.clone_from(&self.directory);
        moved.names.extend(self.links.iter().cloned());
        moved
    }

    /// Everything may have moved, whatever was told.
    pub(super) fn look_again(&mut self) {
        self.moved.iter_mut().for_each(|moved| moved.anything = true);
    }

    /// Empties the queue; `false` where something may have been missed.
    fn hear(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            };
            let missed = ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            let (false, Some(name)) = (event.events().intersects(missed), event.file_name()) else {
                return false;
            };
            let name = OsStr::from_bytes(name.to_bytes());
            if self.directory.join(name).is_symlink() {
                self.links.insert(name.to_owned());
            } else {
                self.links.remove(name);
            }
            for moved in &mut self.moved {
                moved.names.insert(name.to_owned());
            }
        }
    }
}

fn links(directory: &Path) -> io::Result<impl Iterator<Item = OsString> + use<>> {
    let entries = fs::read_dir(directory)?.flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    Ok(links.map(|entry| entry.file_name()))
}

fn watch(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let told = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::MOVE_SELF;
    inotify::add_watch(&inotify, directory, told | WatchFlags::ONLYDIR)?;
    Ok(inotify)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Of each name, whether its namespace may have moved; told once to each who asks.
    #[test]
    fn who_asks_is_told_of_names() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut namespaces = Namespaces::at(directory.path());
        fs::write(at("web"), "").unwrap();
        symlink("/proc/self/ns/net", at("linked")).unwrap();
        let mut told = |purpose| {
            let moved = namespaces.moved(purpose);
            ["web", "app", "linked"].map(|name| moved.may_be(&at(name)))
        };
        assert_eq!(told(Purpose::Plans), [true; 3], "nobody watched before");
        assert_eq!(told(Purpose::Plans), [false, false, true]);
        fs::write(at("app"), "").unwrap();
        assert_eq!(told(Purpose::Plans), [false, true, true]);
        assert_eq!(told(Purpose::Plans), [false, false, true]);
        assert_eq!(told(Purpose::Resolvers), [true; 3], "it never asked");
        fs::remove_file(at("web")).unwrap();
        fs::remove_file(at("linked")).unwrap();
        assert_eq!(told(Purpose::Resolvers), [true, false, true]);
        assert_eq!(told(Purpose::Plans), [true, false, true]);
        assert_eq!(told(Purpose::Plans), [false; 3], "the link is gone");
        fs::rename(at("app"), at("web")).unwrap();
        assert_eq!(told(Purpose::Plans), [true, true, false]);
        assert!(namespaces.moved(Purpose::Plans).may_be(Path::new("/proc/1/ns/net")), "elsewhere");
    }

    #[test]
    fn where_nothing_is_told_everything_may_have_moved() {
        let directory = tempfile::tempdir().unwrap();
        let mut namespaces = Namespaces::at(&directory.path().join("netns"));
        let web = directory.path().join("netns/web");
        for _ in 0..2 {
            assert!(namespaces.moved(Purpose::Plans).may_be(&web));
        }
        fs::create_dir(directory.path().join("netns")).unwrap();
        assert!(namespaces.moved(Purpose::Plans).may_be(&web));
        assert!(!namespaces.moved(Purpose::Plans).may_be(&web), "now it is watched");
        fs::remove_dir(directory.path().join("netns")).unwrap();
        assert!(namespaces.moved(Purpose::Plans).may_be(&web), "and now it is not");
    }
}
