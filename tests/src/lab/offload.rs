//! Switches of an interface's offloads, as `ethtool -K` has them (ethtool.h), which may not be there.

use super::Ns;
use futures_util::TryStreamExt as _;
use rtnetlink::{LinkUnspec, packet_route::link::LinkAttribute};
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

    /// The longest packets that an interface takes to cut them, both families. An error where the kernel has no such
    /// switch: what it does not know it leaves.
    pub fn longest_packets(&self, interface: &str, bytes: u32) -> io::Result<()> {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(set_longest(interface, bytes))
        })
    }

    fn set_offloads(&self, interface: &str, commands: &[u32], on: bool) {
        let set = |command| self.run(|| set(interface, command, on));
        for &command in commands {
            set(command).unwrap_or_else(|e| panic!("offload {command:#x} of {interface}: {e}"));
        }
    }
}

async fn set_longest(interface: &str, bytes: u32) -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    let message = LinkUnspec::new_with_name(interface)
        .append_extra_attribute(LinkAttribute::GsoMaxSize(bytes))
        .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(bytes))
        .build();
    handle.link().set(message).execute().await.map_err(io::Error::other)?;
    let mut links = handle.link().get().match_name(interface.to_owned()).execute();
    let link = links.try_next().await.map_err(io::Error::other)?;
    let v4 = LinkAttribute::GsoIpv4MaxSize(bytes);
    match link.is_some_and(|link| link.attributes.contains(&v4)) {
        true => Ok(()),
        false => Err(io::Error::other("the kernel has no BIG TCP for IPv4")),
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
