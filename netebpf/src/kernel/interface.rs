//! Questions about an interface of this thread's namespace (netdevice(7)).

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::{io, os::fd::AsRawFd as _};

/// Asks one, and answers with what the kernel filled in.
///
/// # Safety
///
/// `argument` must be what this question needs beside the name; what it points to must outlive the call.
pub(crate) unsafe fn ask(
    name: &str,
    question: libc::Ioctl,
    argument: libc::__c_anonymous_ifr_ifru,
) -> io::Result<libc::__c_anonymous_ifr_ifru> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: argument };
    // One byte stays 0: the end of the name.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one `ifreq`, and what it points to, by the caller's promise.
    match unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) } {
        0 => Ok(request.ifr_ifru),
        _ => Err(io::Error::last_os_error()),
    }
}
