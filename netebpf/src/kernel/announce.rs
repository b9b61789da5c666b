//! Telling the neighbours of an address that has just appeared: a gratuitous ARP (RFC 5227 §3) and an unsolicited
//! neighbour advertisement (RFC 4861 §7.2.6), sent from inside the endpoint's namespace.
//!
//! The kernel sends them when an interface comes up (`arp_notify`, `ndisc_notify`), but then the bridge may not forward for
//! it yet, and frames may be lost. Docker sends three, too. Giving the interface its Ethernet address once more would have
//! the kernel send them again, but makes it forget its own neighbours, and packets that wait for one.

use ipnet::IpNet;
use netebpf_common::abi::Mac;
use std::{
    collections::BTreeSet,
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};
use tokio::time::sleep;

/// How long after the one before.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(1)];

/// Announces addresses of an interface a few times from now on, by a [`socket`] of its namespace. It may be gone by then:
/// then nobody is told anything.
pub(super) fn announce(socket: OwnedFd, index: u32, mac: Mac, addresses: &BTreeSet<IpNet>) {
    let frames: Vec<Vec<u8>> = addresses.iter().map(|net| frame(mac, net.addr())).collect();
    tokio::spawn(async move {
        for wait in AGAIN {
            sleep(wait).await;
            if let Err(error) = frames.iter().try_for_each(|frame| send(&socket, index, frame)) {
                return tracing::debug!("interface {index} is not announced: {error}");
            }
        }
    });
}

/// What frames are sent by, in the namespace of the calling thread.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a system call without pointers; the descriptor is new, and nobody else's.
    unsafe {
        // Protocol 0: nothing is received.
        match libc::socket(libc::AF_PACKET, kind, 0) {
            -1 => Err(io::Error::last_os_error()),
            socket => Ok(OwnedFd::from_raw_fd(socket)),
        }
    }
}

fn send(socket: &OwnedFd, index: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all zero is a valid address.
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let length = mem::size_of_val(&to) as libc::socklen_t;
    // SAFETY: both pointers are to memory of the lengths beside them, which outlives the call.
    let sent = unsafe {
        let to = (&raw const to).cast();
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, to, length)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn frame(Mac(mac): Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(mac, address),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address),
    }
}

fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let address = address.octets();
    let request = [0, 1, 8, 0, 6, 4, 0, 1];
    let ethernet = [&[0xff; 6][..], &mac, &[0x08, 0x06]].concat();
    [&ethernet[..], &request, &mac, &address, &[0; 6], &address].concat()
}

fn unsolicited_advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (address, all_nodes) = (address.octets(), ALL_NODES.octets());
    // Type 136, overriding what was known before; the target's Ethernet address is option 2.
    let head = [136, 0, 0, 0, 0x20, 0, 0, 0];
    let mut message = [&head[..], &address, &[2, 1], &mac].concat();
    let length = message.len() as u16;
    let pseudo_header =
        [&address[..], &all_nodes, &u32::from(length).to_be_bytes(), &[0, 0, 0, 58]];
    let checksum = checksum(&[&pseudo_header.concat()[..], &message].concat());
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let ethernet = [&[0x33, 0x33, 0, 0, 0, 1][..], &mac, &[0x86, 0xdd]].concat();
    // Hop limit 255: it came from a neighbour.
    let ip =
        [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[58, 255], &address, &all_nodes].concat();
    [ethernet, ip, message].concat()
}

/// Of an even number of bytes (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_neighbours_expect() {
        let mac = Mac([2, 0x42, 10, 10, 0, 9]);
        let arp = frame(mac, [10, 10, 0, 9].into());
        assert_eq!(arp.len(), 42);
        assert_eq!((&arp[..6], &arp[6..12]), (&[0xff; 6][..], &mac.0[..]));
        assert_eq!(arp[28..32], arp[38..42], "who asks is who is asked for");
        let advertisement = frame(mac, "fd10::9".parse().unwrap());
        assert_eq!(advertisement.len(), 14 + 40 + 32);
        let (ip, message) = advertisement[14..].split_at(40);
        let pseudo_header = [&ip[8..40], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
        assert_eq!(checksum(&[&pseudo_header[..], message].concat()), 0);
    }
}
