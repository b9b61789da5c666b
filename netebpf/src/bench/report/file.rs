//! A file that a report goes to.
//!
//! **Invariant**: it is written whole or not at all, and nothing but a file is ever replaced. Whether it can be written is
//! known before minutes of measuring.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// One that can be written.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
}

impl ReportFile {
    /// Tries whether a file could be written there.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(path: &Path) -> io::Result<Self> {
        let refuse = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
        if path == Path::new("-") {
            return refuse("standard output has what --format says: the name of a file is needed");
        }
        // A link stays, and what it leads to is replaced.
        let path = match fs::canonicalize(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
            found => found?,
        };
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return refuse("it is a directory"),
            // Root could replace /dev/null.
            Ok(there) if !there.is_file() => return refuse("it is there, and not a file"),
            _ => {}
        }
        let file = Self { path };
        file.temporary().map(|_| file)
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }

    /// Beside it: only within a file system can one file take another's place.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let directory = match self.path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        // Otherwise the error would have the temporary name in it.
        fs::metadata(directory)?;
        let mut temporary = tempfile::Builder::new();
        // As for any file: the user's umask says who may read it.
        temporary.prefix(".netebpf-bench.").permissions(Permissions::from_mode(0o666));
        temporary.tempfile_in(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_whole_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page.html");
        let file = ReportFile::check(&path).unwrap();
        assert!(!path.exists(), "a check writes nothing");
        file.write("old").unwrap();
        std::os::unix::fs::symlink(&path, directory.path().join("link")).unwrap();
        ReportFile::check(&directory.path().join("link")).unwrap().write("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["-", "/dev/null", "/no/such/directory/page.html"].map(Path::new) {
            assert!(ReportFile::check(path).is_err(), "{}", path.display());
        }
        assert!(ReportFile::check(directory.path()).is_err());
    }
}
