//! One daemon an instance: the lock is the file with its process id.

use super::Instance;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The right to change an instance. It ends with the process, however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("instance {instance:?}: a daemon runs already (process {pid})")]
    Held {
        /// The instance.
        instance: String,
        /// What stands in the file.
        pid: String,
    },
    /// The system refused.
    #[error("daemon: {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock and writes this process's id.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it.
    pub fn take(instance: &Instance) -> Result<Self, LockError> {
        let path = instance.pid_file();
        let error = |source| LockError::Io { path: path.clone(), source };
        loop {
            make_run_dir(instance).map_err(error)?;
            let opened = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .open(&path);
            let mut file = match opened {
                // The daemon before us removed the directory just now.
                Err(source) if source.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(error)?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                    return Err(LockError::Held { instance: instance.name().to_owned(), pid });
                }
                Err(errno) => return Err(error(errno.into())),
            }
            // The daemon before us may have removed the file between our opening and locking it:
            // then we hold a lock that nobody else will ever see.
            if !same_file(&file, &path).map_err(error)? {
                continue;
            }
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()))
                .map_err(error)?;
            return Ok(Self { _file: file, path });
        }
    }

    /// Removes the file, as the last thing that the daemon of an empty instance does.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the directory of socket, process id and logs.
fn make_run_dir(instance: &Instance) -> io::Result<()> {
    let directory = instance.run_dir();
    if let Some(parent) = directory.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match fs::DirBuilder::new().mode(0o750).create(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(theirs) => Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
