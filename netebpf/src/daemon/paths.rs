//! Being told when a path leads elsewhere: a file replaced or written to, a link changed, a directory that appears.
//!
//! **Invariant**: who follows a path, and looks then, misses nothing that happens in a directory on the way to it, by
//! links too. Mounts over such a directory, and writes by another name of the same file, are not told. There is one
//! inotify instance for all who follow: a user may have 128 of them.

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// See the module. Without an inotify instance nothing is told.
#[derive(Clone, Debug)]
pub(crate) struct Paths(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    inotify: AsyncFd<OwnedFd>,
    waiting: Mutex<BTreeMap<i32, Vec<Waiting>>>,
}

/// A directory, and the name in it that counts; any where there is none.
type Step = (PathBuf, Option<OsString>);

/// Who is told of a name in a directory, or of every one.
#[derive(Debug)]
struct Waiting {
    name: Option<OsString>,
    who: Weak<Notify>,
}

impl Paths {
    /// Nothing is followed yet. Needs the runtime.
    pub(crate) fn new() -> Self {
        let inotify = || {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            // SAFETY: an owned descriptor is the same one as long as it lives.
            Ok::<_, io::Error>(unsafe {
                AsyncFd::register_with_interest(inotify, Interest::READABLE)
            }?)
        };
        match inotify() {
            Ok(inotify) => {
                let inner = Arc::new(Inner { inotify, waiting: Mutex::default() });
                tokio::spawn(read(Arc::clone(&inner)));
                Self(Some(inner))
            }
            Err(error) => {
                tracing::debug!("inotify: {error}");
                Self(None)
            }
        }
    }

    /// For one who will follow some.
    pub(crate) fn follower(&self) -> Follower {
        Follower { paths: self.clone(), told: Arc::default() }
    }
}

/// One who follows some paths.
#[derive(Debug)]
pub(crate) struct Follower {
    paths: Paths,
    told: Arc<Notify>,
}

impl Follower {
    /// Follows these from now on, and in those that are directories each name; what was followed before is not any
    /// more. Whether all that happens will be told.
    pub(crate) fn follow<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) -> bool {
        self.told = Arc::default();
        let Some(inner) = &self.paths.0 else { return false };
        let mut all = true;
        for path in paths {
            // Not ended at the first that cannot be.
            way(path, |step| all &= inner.add(&step, &self.told));
        }
        all
    }

    /// Waits until something happened there since [`Follower::follow`].
    pub(crate) async fn changed(&self) {
        self.told.notified().await;
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn add(&self, (directory, name): &Step, who: &Arc<Notify>) -> bool {
        let mut waiting = self.lock();
        let told = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(self.inotify.get_ref(), directory, told) {
            Ok(watch) => {
                let waiting = waiting.entry(watch).or_default();
                waiting.retain(|waiting| waiting.who.strong_count() > 0);
                waiting.push(Waiting { name: name.clone(), who: Arc::downgrade(who) });
                true
            }
            // It is told of by the directory before it when it appears.
            Err(Errno::NOENT | Errno::NOTDIR) => true,
            Err(error) => {
                tracing::debug!("{}: {error}", directory.display());
                false
            }
        }
    }

    /// Tells who waits for a name in a directory; all, where it is not known which happened.
    fn tell(&self, watch: i32, name: Option<&OsStr>, flags: ReadFlags) {
        let mut waiting = self.lock();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            waiting.values().flatten().filter_map(|w| w.who.upgrade()).for_each(|w| w.notify_one());
            return;
        }
        for waiting in waiting.get(&watch).into_iter().flatten() {
            if waiting.name.is_none() || waiting.name.as_deref() == name {
                waiting.who.upgrade().inspect(|who| who.notify_one());
            }
        }
        if flags.contains(ReadFlags::IGNORED) {
            waiting.remove(&watch);
        }
    }
}

async fn read(inner: Arc<Inner>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    // An error says that the runtime is going down.
    while let Ok(mut ready) = inner.inotify.readable().await {
        let mut events = inotify::Reader::new(inner.inotify.get_ref(), &mut buffer);
        while let Ok(event) = events.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            inner.tell(event.wd(), name, event.events());
        }
        ready.clear_ready();
    }
}

/// Every directory in which something decides where a path leads, and the name that does: each is told before it is
/// looked there, so that who is told of a change from then on misses none.
fn way(path: &Path, mut tell: impl FnMut(Step)) {
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let names = |path: &Path| -> Vec<OsString> {
        path.components().map(|name| name.as_os_str().to_owned()).collect()
    };
    let mut rest = VecDeque::from(names(path));
    while let Some(name) = rest.pop_front() {
        match Path::new(&name).components().next() {
            Some(Component::RootDir) => at = "/".into(),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(_)) => {
                let next = at.join(&name);
                tell((at.clone(), Some(name)));
                match fs::read_link(&next) {
                    Ok(target) if links < MOST_LINKS => {
                        links += 1;
                        names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
                    }
                    _ => at = next,
                }
            }
            _ => {}
        }
    }
    if at.is_dir() {
        tell((at, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn steps(path: &Path, below: &Path) -> Vec<(String, String)> {
        let relative =
            |path: &Path| path.strip_prefix(below).ok()?.to_str().map(|path| format!("/{path}"));
        let mut steps = Vec::new();
        way(path, |step| steps.push(step));
        steps
            .into_iter()
            .filter_map(|(directory, name)| {
                let name = name.unwrap_or_else(|| "*".into());
                Some((relative(&directory)?, name.into_string().expect("plain")))
            })
            .collect()
    }

    #[test]
    fn a_way_leads_by_links() {
        let room = tempfile::tempdir().unwrap();
        let below = room.path().canonicalize().unwrap();
        let path = |name: &str| below.join(name);
        fs::create_dir_all(path("run/real")).unwrap();
        fs::create_dir(path("etc")).unwrap();
        symlink("../run/link/stub", path("etc/resolv.conf")).unwrap();
        symlink(path("run/real"), path("run/link")).unwrap();
        symlink("loop", path("etc/loop")).unwrap();
        let texts = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(at, name)| ((*at).to_owned(), (*name).to_owned())).collect()
        };
        let expected = texts(&[
            ("/", "etc"),
            ("/etc", "resolv.conf"),
            ("/", "run"),
            ("/run", "link"),
            ("/", "run"),
            ("/run", "real"),
            ("/run/real", "stub"),
        ]);
        assert_eq!(steps(&path("etc/resolv.conf"), &below), expected);
        assert_eq!(steps(&path("etc/loop"), &below).len(), MOST_LINKS + 2);
        assert_eq!(steps(&path("etc"), &below), texts(&[("/", "etc"), ("/etc", "*")]));
        assert_eq!(steps(&path("no/way"), &below), texts(&[("/", "no"), ("/no", "way")]));
    }

    /// Waits for it: a test that is told of nothing does not end.
    #[tokio::test]
    async fn what_happens_on_the_way_is_told() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::write(path("one"), "1").unwrap();
        fs::write(path("two"), "2").unwrap();
        symlink("one", path("link")).unwrap();
        let paths = Paths::new();
        let (mut follower, mut other) = (paths.follower(), paths.follower());
        let link = path("link");
        assert!(other.follow([path("nothing").as_path()]));
        for change in [
            &|| fs::write(path("one"), "new") as io::Result<()>,
            &|| fs::rename(path("two"), path("one")),
            &|| {
                symlink("far/away", path("new"))
                    .and_then(|()| fs::rename(path("new"), path("link")))
            },
            &|| fs::create_dir(path("far")),
            &|| fs::write(path("far/away"), ""),
            &|| fs::remove_dir_all(path("far")),
        ] as [&dyn Fn() -> io::Result<()>; 6]
        {
            assert!(follower.follow([link.as_path()]));
            change().unwrap();
            follower.changed().await;
        }
        // Nobody else is told.
        tokio::select! {
            biased;
            () = other.changed() => panic!("nothing happened there"),
            () = std::future::ready(()) => {}
        }
    }
}
