//! Switches of an interface's offloads, as `ethtool -K` has them (ethtool.h), which may not be there.

use super::Ns;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The commands that set receive and transmit checksums, scatter-gather, TSO, GSO and GRO.
const ALL: [u32; 6] = [0x15, 0x17, 0x19, 0x1f, 0x24, 0x2c];
/// Transmit checksums.
const TRANSMIT_CHECKSUM: [u32; 1] = [0x17];

const SIOCETHTOOL: libc::Ioctl = 0x8946;

#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

impl Ns {
    /// Switches every offload of an interface.
    pub fn offloads(&self, interface: &str, on: bool) {
        self.set_offloads(interface, &ALL, on);
    }

    /// Lets the sender fill in every checksum, as a frame from a real wire has it.
    pub fn no_transmit_checksum(&self, interface: &str) {
        self.set_offloads(interface, &TRANSMIT_CHECKSUM, false);
    }

    fn set_offloads(&self, interface: &str, commands: &[u32], on: bool) {
        let set = |command| self.run(|| set(interface, command, on));
        for &command in commands {
            set(command).unwrap_or_else(|e| panic!("offload {command:#x} of {interface}: {e}"));
        }
    }
}

fn set(interface: &str, command: u32, on: bool) -> io::Result<()> {
    let mut value = EthtoolValue { command, data: u32::from(on) };
    // SAFETY: the request is whole, its name shorter than the field and zero-terminated; both it and the
    // value that it points to outlive the call.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(15)) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        if libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
