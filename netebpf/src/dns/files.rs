//! `/etc/netns/NAME/resolv.conf`, which `ip netns exec` shows a program as /etc/resolv.conf, and so do `run`,
//! `exec` and `command:`.
//!
//! **Invariant**: what is desired is compared with what was written, and only what differs is written, by
//! [`place`]; nothing is removed but what this instance wrote.

use super::place;
use crate::{
    model::{Desired, Endpoint, Namespace},
    state::Instance,
};
use imbl::{OrdMap, ordmap::DiffItem};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Where iproute2 looks.
pub(super) const ETC_NETNS: &str = "/etc/netns";
/// Where namespaces have the names that it looks for.
const RUN_NETNS: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// The file.
pub(super) const NAME: &str = "resolv.conf";

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
        Namespace::Of(other, _) => desired.endpoint(other),
        _ => None,
    };
    let last = std::iter::successors(Some(endpoint), next).take(desired.endpoints.len() + 1).last();
    last.filter(|last| !matches!(last.namespace, Namespace::Of(..)))
}

/// Where the files for namespaces of others are.
pub(super) fn own_directory(instance: &Instance) -> PathBuf {
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
    /// What is there; nothing before it was looked for.
    written: Option<Written>,
}

/// Files and their text.
pub(super) type Texts = OrdMap<PathBuf, String>;

#[derive(Debug, Default)]
struct Written {
    /// What was written, and not changed since.
    right: Texts,
    /// Those whose text nobody knows, and who has them: they are looked at each time.
    doubted: BTreeSet<PathBuf>,
}

impl Files {
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, written: None }
    }

    /// Each file is looked at with the next change.
    pub(super) fn look_again(&mut self) {
        self.written = None;
    }

    /// Writes what is wanted, and removes what is not; what was written before is not looked at again. Answers with
    /// what could not be done, by file.
    pub(super) fn sync(&mut self, wanted: &Texts) -> Vec<(PathBuf, String)> {
        let mut problems = Vec::new();
        let Written { right, doubted } = self
            .written
            .take()
            .unwrap_or_else(|| Written { doubted: found(&self.instance), ..Written::default() });
        let differing = right.diff(wanted).map(|item| match item {
            DiffItem::Add(path, _) | DiffItem::Remove(path, _) => path,
            DiffItem::Update { new: (path, _), .. } => path,
        });
        let look: BTreeSet<&PathBuf> = differing.chain(&doubted).collect();
        let mut now = Written { right: wanted.clone(), doubted: BTreeSet::new() };
        for path in look {
            let why = match wanted.get(path) {
                None => match place::remove(&self.instance, path) {
                    Ok(()) => continue,
                    Err(error) => format!("cannot be removed: {error}"),
                },
                Some(text) => match place::write(&self.instance, path, text) {
                    Ok(true) => continue,
                    Ok(false) => "is there already and not ours: it stays as it is".to_owned(),
                    Err(error) => format!("cannot be written: {error}"),
                },
            };
            // It may have been written in part.
            now.right.remove(path);
            now.doubted.insert(path.clone());
            problems.push((path.clone(), why));
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
            written.right.remove(path);
            written.doubted.remove(path);
        }
        place::remove(&self.instance, path)
    }
}

/// The files that this instance, or one of its name before it, has written.
fn found(instance: &Instance) -> BTreeSet<PathBuf> {
    let directories = [PathBuf::from(ETC_NETNS), own_directory(instance)];
    let entries = directories.iter().flat_map(fs::read_dir).flatten().flatten();
    // By a link one file would be found twice.
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let files = entries.map(|entry| entry.path().join(NAME));
    files.filter(|path| place::is_ours(instance, path)).collect()
}
