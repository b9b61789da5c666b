//! `/etc/netns/NAME/resolv.conf`, which `ip netns exec` shows a program as /etc/resolv.conf, and so do `run`,
//! `exec` and `command:`.
//!
//! **Invariant**: only a file whose first line says that this instance made it is ever changed or removed.
//! It is changed in place, so that whoever has it mounted sees the change.

use crate::{
    model::{Desired, Endpoint, Namespace},
    state::Instance,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Where iproute2 looks.
const ETC_NETNS: &str = "/etc/netns";
/// Where namespaces have the names that it looks for.
const RUN_NETNS: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// How often a file is tried to be made.
const ATTEMPTS: u32 = 10;
/// The file.
const NAME: &str = "resolv.conf";

/// The directories whose files a command of an endpoint sees in /etc; of two of one name the later one's.
/// In a namespace that is not ours nobody but its owner writes to /etc/netns.
pub fn etc_directories(
    instance: &Instance,
    desired: &Desired,
    endpoint: &Endpoint,
) -> Vec<PathBuf> {
    let of_namespace = |path: &Path| {
        let in_place =
            path.parent().is_some_and(|p| RUN_NETNS.iter().any(|dir| p == Path::new(dir)));
        path.file_name().filter(|_| in_place).map(|name| Path::new(ETC_NETNS).join(name))
    };
    // What the owner of the namespace sees, however many are between.
    let Some(owner) = owner(desired, endpoint) else {
        return of_namespace(endpoint.namespace.path()).into_iter().collect();
    };
    let ours = own_directory(instance).join(&owner.name);
    match &owner.namespace {
        Namespace::Own(path) => of_namespace(path).into_iter().collect(),
        Namespace::Existing(path) => std::iter::once(ours).chain(of_namespace(path)).collect(),
        Namespace::Host if owner.dns.is_empty() => Vec::new(),
        Namespace::Host | Namespace::Of(..) => vec![ours],
    }
}

/// Whose namespace an endpoint is in; none where that one is gone.
fn owner<'a>(desired: &'a Desired, endpoint: &'a Endpoint) -> Option<&'a Endpoint> {
    let next = |at: &&'a Endpoint| match &at.namespace {
        Namespace::Of(other, _) => desired.endpoints.get(other),
        _ => None,
    };
    let last = std::iter::successors(Some(endpoint), next).take(desired.endpoints.len() + 1).last();
    last.filter(|last| !matches!(last.namespace, Namespace::Of(..)))
}

/// Where the files for namespaces of others are.
fn own_directory(instance: &Instance) -> PathBuf {
    instance.run_dir().join("etc")
}

/// The file that we write for an endpoint; none in a namespace whose owner has one.
pub(super) fn path(instance: &Instance, desired: &Desired, endpoint: &Endpoint) -> Option<PathBuf> {
    if matches!(endpoint.namespace, Namespace::Of(..)) {
        return None;
    }
    let directories = etc_directories(instance, desired, endpoint);
    directories.first().map(|directory| directory.join(NAME))
}

/// The first line of an endpoint's file.
pub(super) fn mark(instance: &Instance, endpoint: &Endpoint) -> String {
    format!(
        "# {}{}: kept up to date, and removed with the endpoint",
        instance.mark(),
        endpoint.name
    )
}

/// The files that an instance has written.
#[derive(Debug)]
pub(super) struct Files {
    instance: Instance,
    /// Those that are there; nothing before it was looked for them.
    written: Option<BTreeSet<PathBuf>>,
}

impl Files {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, written: None }
    }

    /// Writes what is wanted, and removes what is not. Answers with what could not be done, by file.
    pub(super) fn sync(&mut self, wanted: &BTreeMap<PathBuf, String>) -> Vec<(PathBuf, String)> {
        let mut problems = Vec::new();
        let written = self.written.take().unwrap_or_else(|| found(&self.instance));
        let mut now = BTreeSet::new();
        for path in written {
            if wanted.contains_key(&path) {
                now.insert(path);
            } else if let Err(error) = remove(&self.instance, &path) {
                problems.push((path.clone(), format!("cannot be removed: {error}")));
                now.insert(path);
            }
        }
        for (path, text) in wanted {
            match write(&self.instance, path, text) {
                Ok(true) => drop(now.insert(path.clone())),
                Ok(false) => {
                    let why = "is there already and not ours: it stays as it is";
                    problems.push((path.clone(), why.to_owned()));
                }
                Err(error) => problems.push((path.clone(), format!("cannot be written: {error}"))),
            }
        }
        self.written = Some(now);
        problems
    }

    /// Those that nobody wants, wherever they come from.
    pub(super) fn orphans(&self, wanted: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        found(&self.instance).difference(wanted).cloned().collect()
    }

    /// Removes one of them.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if let Some(written) = &mut self.written {
            written.remove(path);
        }
        remove(&self.instance, path)
    }
}

/// The files that this instance, or one of its name before it, has written.
fn found(instance: &Instance) -> BTreeSet<PathBuf> {
    let directories = [PathBuf::from(ETC_NETNS), own_directory(instance)];
    let entries = directories.iter().flat_map(fs::read_dir).flatten().flatten();
    let files = entries.map(|entry| entry.path().join(NAME));
    files.filter(|path| matches!(is_ours(instance, path), Ok(Some(true)))).collect()
}

/// Whether a file begins with our mark; none where there is no file.
fn is_ours(instance: &Instance, path: &Path) -> io::Result<Option<bool>> {
    let mark = format!("# {}", instance.mark());
    let mut beginning = Vec::new();
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(mark.len() as u64).read_to_end(&mut beginning)?,
    };
    Ok(Some(beginning == mark.as_bytes()))
}

/// Writes a file; `false` where somebody else's is in its place.
fn write(instance: &Instance, path: &Path, text: &str) -> io::Result<bool> {
    match is_ours(instance, path)? {
        Some(false) => return Ok(false),
        Some(true) if fs::read(path)? == text.as_bytes() => return Ok(true),
        Some(true) => {}
        None => {}
    }
    let mut file = open(path)?;
    // Everybody's programs read it, whatever the daemon was started with.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    Ok(true)
}

/// Opens a file, and makes it and its directories where they are not there. Another instance may just
/// remove a directory that has become empty.
fn open(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(false).mode(0o644);
    let directory = path.parent().unwrap_or(Path::new("/"));
    for _ in 0..ATTEMPTS {
        match fs::create_dir_all(directory).and_then(|()| options.open(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
    options.open(path)
}

/// Removes a file of ours, and its directories where nothing else is in them.
fn remove(instance: &Instance, path: &Path) -> io::Result<()> {
    if is_ours(instance, path)? != Some(true) {
        return Ok(());
    }
    fs::remove_file(path)?;
    for directory in path.ancestors().skip(1).take(2) {
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(())
}
