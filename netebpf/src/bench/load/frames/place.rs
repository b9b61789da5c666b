//! Interfaces, by the namespace that they are in.

use super::{FramesError, Mac};
use crate::kernel::{interface, netns};
use std::{
    ffi::CString,
    fmt, io,
    path::{Path, PathBuf},
};

/// An interface in a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The namespace, by its name below `/run/netns`.
    pub namespace: String,
    /// The interface's name there.
    pub name: String,
}

impl Interface {
    /// Names one.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn path(&self) -> PathBuf {
        path(&self.namespace)
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> Result<Mac, FramesError> {
        let name = self.name.clone();
        let mac = netns::run_in(&self.path(), move || mac(&name))?;
        mac.map_err(|source| self.failed(source))
    }

    pub(super) fn index(&self) -> Result<u32, FramesError> {
        let name = CString::new(self.name.as_str());
        let name = name.map_err(|_| self.failed(io::ErrorKind::InvalidInput.into()))?;
        let index = move || {
            // SAFETY: a NUL-terminated string that outlives the call.
            match unsafe { libc::if_nametoindex(name.as_ptr()) } {
                0 => Err(io::Error::last_os_error()),
                index => Ok(index),
            }
        };
        netns::run_in(&self.path(), index)?.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> FramesError {
        match source.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => FramesError::NoInterface(self.clone()),
            _ => FramesError::system(format!("look at {self}"))(source),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in namespace {}", self.name, self.namespace)
    }
}

/// Where a namespace is.
pub(super) fn path(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// The Ethernet address of an interface of this thread's namespace.
fn mac(name: &str) -> io::Result<Mac> {
    // SAFETY: it is all integers and unions of them.
    let nothing: libc::__c_anonymous_ifr_ifru = unsafe { std::mem::zeroed() };
    // SAFETY: this question needs no more than the name.
    let answer = unsafe { interface::ask(name, libc::SIOCGIFHWADDR as libc::Ioctl, nothing) }?;
    // SAFETY: it fills that member.
    let address = unsafe { answer.ifru_hwaddr };
    Ok(std::array::from_fn(|n| address.sa_data[n] as u8))
}
