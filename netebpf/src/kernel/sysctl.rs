//! Sysctls, by their path below `/proc/sys`: `net/ipv4/conf/eth0.5/forwarding` leaves no doubt which
//! dot is which.
//!
//! **Invariant**: whoever changes one of the host's writes its value down first (see `apply::Journal`).
//! `/proc/sys/net` shows the namespace of the calling thread.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
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

/// Makes some what they should be; those that the kernel has none of are left out.
pub fn adjust(values: &[(String, &str)]) -> Result<(), SysctlError> {
    values.iter().try_for_each(|(name, value)| {
        let failed = |operation| {
            move |source| SysctlError { operation, name: name.clone(), source }
        };
        let mut file = match fs::File::options().read(true).write(true).open(path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(failed("open"))?,
        };
        let mut now = [0; 64];
        let length = file.read(&mut now).map_err(failed("read"))?;
        if now[..length].trim_ascii_end() == value.as_bytes() {
            return Ok(());
        }
        // What is written begins anew, wherever the file was read to (`sysctl_writes_strict`).
        file.rewind().and_then(|()| file.write_all(value.as_bytes())).map_err(failed("write"))
    })
}
