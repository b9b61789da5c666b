//! Sysctls, by their path below `/proc/sys`: `net/ipv4/conf/eth0.5/forwarding` leaves no doubt which
//! dot is which.
//!
//! **Invariant**: whoever changes one of the host's writes its value down first (see `apply::Journal`).
//! `/proc/sys/net` shows the namespace of the calling thread.

use super::netns::{self, NetnsError};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

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

/// Writes some in another namespace; those that the kernel has none of are left out.
pub fn write_in(namespace: &Path, values: Vec<(String, &'static str)>) -> Result<(), SysctlError> {
    let name = namespace.display().to_string();
    let entered = netns::run_in(namespace, move || {
        for (name, value) in &values {
            if read(name)?.is_some_and(|now| now != *value) {
                write(name, value)?;
            }
        }
        Ok(())
    });
    entered.unwrap_or_else(|error: NetnsError| {
        Err(SysctlError { operation: "write in", name, source: io::Error::other(error) })
    })
}

/// Writes some in another namespace; one that the kernel does not have is an error.
pub fn write_all_in(namespace: &Path, values: BTreeMap<String, String>) -> Result<(), SysctlError> {
    if values.is_empty() {
        return Ok(());
    }
    let name = namespace.display().to_string();
    let write_all = move || values.iter().try_for_each(|(name, value)| write(name, value));
    netns::run_in(namespace, write_all).unwrap_or_else(|error: NetnsError| {
        Err(SysctlError { operation: "write in", name, source: io::Error::other(error) })
    })
}
