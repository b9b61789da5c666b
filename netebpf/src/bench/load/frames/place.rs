//! Interfaces, by the namespace that they are in.

use super::{FramesError, Mac};
use crate::kernel::netns;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{
    ffi::CString,
    fmt, io,
    os::fd::AsRawFd as _,
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
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: it is all integers and unions of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays 0: the end of the name.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one `ifreq`.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request fills that member.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    Ok(std::array::from_fn(|n| address.sa_data[n] as u8))
}
