//! Sysctls, by their path below `/proc/sys`: `net/ipv4/conf/eth0.5/forwarding` leaves no doubt which
//! dot is which.
//!
//! **Invariant**: whoever changes one of the host's writes its value down first (see `apply::Journal`).
//! `/proc/sys/net` shows the namespace of the calling thread.

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};
use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

const V4: &str = "net/ipv4/conf";
const V6: &str = "net/ipv6/conf";

/// A sysctl could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} sysctl {name}: {source}")]
pub struct SysctlError {
    operation: &'static str,
    name: String,
    source: io::Error,
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// The sysctls of interfaces in the namespace of the thread that opened this. Each namespace has directories of its own
/// below `/proc/sys/net`, all of the same names, and the kernel goes through those of a thousand namespaces to find one's: so
/// they are looked for once.
#[derive(Debug)]
pub struct Interfaces {
    v4: Option<OwnedFd>,
    /// `None` where the kernel has no IPv6.
    v6: Option<OwnedFd>,
}

impl Interfaces {
    /// With the namespace of the calling thread.
    pub fn here() -> Result<Self, SysctlError> {
        let open = |directory: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::open(path(directory), flags, Mode::empty()) {
                Err(Errno::NOENT) => Ok(None),
                opened => opened.map(Some).map_err(failed("open", directory)),
            }
        };
        Ok(Self { v4: open(V4)?, v6: open(V6)? })
    }

    /// Reads one; `None` where the kernel has none of that name.
    pub fn read(&self, name: &str) -> Result<Option<String>, SysctlError> {
        let Some(mut file) = self.open(name, OFlags::RDONLY)? else { return Ok(None) };
        let mut value = String::new();
        file.read_to_string(&mut value).map_err(failed("read", name))?;
        value.truncate(value.trim_end().len());
        Ok(Some(value))
    }

    /// Makes one what it should be, where the kernel has one of that name.
    pub fn adjust(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        let Some(mut file) = self.open(name, OFlags::RDWR)? else { return Ok(()) };
        let mut now = String::new();
        file.read_to_string(&mut now).map_err(failed("read", name))?;
        if now.trim_end() == value {
            return Ok(());
        }
        // What is written begins anew, wherever the file was read to (`sysctl_writes_strict`).
        file.rewind().and_then(|()| file.write_all(value.as_bytes())).map_err(failed("write", name))
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<Option<fs::File>, SysctlError> {
        let beside = |directory, opened| {
            let rest = name.strip_prefix(directory)?.strip_prefix('/')?;
            Some((opened, rest))
        };
        let flags = flags | OFlags::CLOEXEC;
        let opened = match beside(V4, &self.v4).or_else(|| beside(V6, &self.v6)) {
            Some((Some(directory), rest)) => openat(directory, rest, flags, Mode::empty()),
            // A module may have brought it since.
            Some((None, _)) | None => rustix::fs::open(path(name), flags, Mode::empty()),
        };
        match opened {
            Err(Errno::NOENT) => Ok(None),
            opened => opened.map(|file| Some(file.into())).map_err(failed("open", name)),
        }
    }
}

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    name: &str,
) -> impl FnOnce(E) -> SysctlError + use<E> {
    let name = name.to_owned();
    move |error| SysctlError { operation, name, source: error.into() }
}

/// Reads one; `None` where the kernel has none of that name.
pub fn read(name: &str) -> Result<Option<String>, SysctlError> {
    match fs::read_to_string(path(name)) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError { operation: "read", name: name.to_owned(), source }),
    }
}

/// Writes one.
pub fn write(name: &str, value: &str) -> Result<(), SysctlError> {
    fs::write(path(name), value).map_err(|source| SysctlError {
        operation: "write",
        name: name.to_owned(),
        source,
    })
}
