//! Which namespaces we made: a note for each in the instance's run directory, which like the namespaces
//! themselves does not outlive the machine.
//!
//! **Invariant**: the note is there before the namespace and goes after it, and holds the namespace's
//! identity, so that one that somebody else makes later at the same path is never removed.

use super::{Kernel, KernelError, netns};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> KernelError + use<> {
    let path = path.to_owned();
    move |error| KernelError::File {
        operation,
        path: path.clone(),
        source: io::Error::new(error.kind(), error.to_string()),
    }
}

impl Kernel {
    fn notes(&self) -> PathBuf {
        self.instance.run_dir().join("namespaces")
    }

    fn note(&self, path: &Path) -> PathBuf {
        self.notes().join(path.file_name().unwrap_or_default())
    }

    /// Makes a namespace of ours.
    pub(crate) fn create_namespace(&self, path: &Path) -> Result<(), KernelError> {
        let note = self.note(path);
        fs::create_dir_all(self.notes()).map_err(failed("create", &self.notes()))?;
        fs::write(&note, format!("{}\n", path.display())).map_err(failed("write", &note))?;
        if let Err(error) = netns::create(path) {
            // Somebody was faster: what is there is not ours.
            fs::remove_file(&note).map_err(failed("remove", &note))?;
            return Err(error.into());
        }
        let identity = netns::identity(path)?;
        let text = format!("{}\n{identity}\n", path.display());
        fs::write(&note, text).map_err(failed("write", &note))
    }

    /// Removes a namespace, if it is ours.
    pub(crate) fn remove_namespace(&self, path: &Path) -> Result<(), KernelError> {
        if !self.owns(path)? {
            return Ok(());
        }
        netns::remove(path)?;
        let note = self.note(path);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &note)(error));
            }
            _ => {}
        }
        // With the last note goes the directory; it stays while there are others.
        let _ = fs::remove_dir(self.notes());
        Ok(())
    }

    /// Whether the namespace at `path` was made by us, be it there or not.
    pub(crate) fn owns(&self, path: &Path) -> Result<bool, KernelError> {
        let note = self.note(path);
        Ok(note.exists() && noted(&note)?.is_some_and(|noted| noted == path))
    }

    /// The namespaces that we made, there or not.
    pub(crate) fn own_namespaces(&self) -> Result<BTreeSet<PathBuf>, KernelError> {
        let mut found = BTreeSet::new();
        let entries = match fs::read_dir(self.notes()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(failed("read", &self.notes())(error)),
        };
        for note in entries.flatten().map(|entry| entry.path()) {
            found.extend(noted(&note)?);
        }
        Ok(found)
    }
}

/// The namespace that a note is of. One that is somebody else's by now is none, and its note goes.
fn noted(note: &Path) -> Result<Option<PathBuf>, KernelError> {
    let text = fs::read_to_string(note).map_err(failed("read", note))?;
    let mut lines = text.lines();
    let Some(path) = lines.next().map(PathBuf::from) else { return Ok(None) };
    let noted: Option<u64> = lines.next().and_then(|line| line.parse().ok());
    // A note without an identity is of a namespace whose making was cut short.
    let somebody_elses = match (noted, netns::identity(&path)) {
        (Some(noted), Ok(now)) => noted != now,
        _ => false,
    };
    if somebody_elses {
        fs::remove_file(note).map_err(failed("remove", note))?;
        return Ok(None);
    }
    Ok(Some(path))
}
