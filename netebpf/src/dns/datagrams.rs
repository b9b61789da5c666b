//! Many datagrams by one system call: recvmmsg(2) and sendmmsg(2).
//!
//! **Invariant**: nothing here waits, and nothing is allocated but once, in [`Exchange::room`]. A datagram's bytes, its
//! sender and the answer to it stay together, so nobody gets another's answer. The sockets are of IPv4. A datagram that
//! is longer than there is room for is read as far as that goes, as with recvfrom(2).

use super::answer::LARGEST_DATAGRAM;
use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

/// How many are read and answered at once.
pub(super) const MOST: usize = 32;

/// A datagram that came, and the answer that goes back; an empty one does not.
pub(super) struct Exchange {
    query: [u8; LARGEST_DATAGRAM as usize],
    length: usize,
    from: libc::sockaddr_in,
    pub(super) answer: Vec<u8>,
}

impl Exchange {
    /// Room for [`MOST`] of them.
    pub(super) fn room() -> Box<[Self]> {
        let empty = || Self {
            query: [0; LARGEST_DATAGRAM as usize],
            length: 0,
            // SAFETY: all zero is a valid address.
            from: unsafe { mem::zeroed() },
            answer: Vec::with_capacity(LARGEST_DATAGRAM.into()),
        };
        (0..MOST).map(|_| empty()).collect()
    }

    /// What came, where it is to be read, and where its answer is to be written.
    pub(super) fn parts(&mut self) -> (&[u8], SocketAddr, &mut Vec<u8>) {
        let address = Ipv4Addr::from_bits(u32::from_be(self.from.sin_addr.s_addr));
        let from = SocketAddrV4::new(address, u16::from_be(self.from.sin_port));
        (&self.query[..self.length], from.into(), &mut self.answer)
    }
}

/// Reads what is there into the first places, and answers with how many are filled. Fewer than there are places:
/// nothing more was there.
pub(super) fn receive(socket: BorrowedFd<'_>, places: &mut [Exchange]) -> io::Result<usize> {
    let mut parts = [EMPTY_PART; MOST];
    let mut messages = [EMPTY_MESSAGE; MOST];
    let count = places.len().min(MOST);
    for ((place, part), message) in places.iter_mut().zip(&mut parts).zip(&mut messages) {
        *part =
            libc::iovec { iov_base: place.query.as_mut_ptr().cast(), iov_len: place.query.len() };
        address(message, &raw mut place.from, part);
    }
    // SAFETY: there are at least so many messages, and each points to memory of the length beside it, that is nobody
    // else's and outlives the call: to a place, which is borrowed, and to a part.
    let received = unsafe {
        let flags = libc::MSG_DONTWAIT;
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            flags as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (place, message) in places.iter_mut().zip(&messages[..received]) {
        place.length = message.msg_len as usize;
    }
    Ok(received)
}

/// Sends the answers that there are. One that finds no room, or is refused, is lost, as datagrams are.
pub(super) fn send(socket: BorrowedFd<'_>, exchanges: &mut [Exchange]) {
    let mut parts = [EMPTY_PART; MOST];
    let mut messages = [EMPTY_MESSAGE; MOST];
    let mut count = 0;
    let answered = exchanges.iter_mut().filter(|exchange| !exchange.answer.is_empty());
    for ((exchange, part), message) in answered.zip(&mut parts).zip(&mut messages) {
        *part = libc::iovec {
            iov_base: exchange.answer.as_mut_ptr().cast(),
            iov_len: exchange.answer.len(),
        };
        address(message, &raw mut exchange.from, part);
        count += 1;
    }
    let mut rest = &mut messages[..count];
    while !rest.is_empty() {
        // SAFETY: there are so many messages, and each points to memory of the length beside it, which is only read
        // and outlives the call: to an answer and its receiver, which are borrowed, and to a part.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                flags as _,
            )
        };
        // An error is about the first one.
        let done = usize::try_from(sent).unwrap_or(0).max(1);
        rest = &mut rest[done..];
    }
}

/// Lets a message say where it comes from or goes to, and which part of memory it is.
fn address(message: &mut libc::mmsghdr, peer: *mut libc::sockaddr_in, part: &mut libc::iovec) {
    let header = &mut message.msg_hdr;
    header.msg_name = peer.cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
    header.msg_iov = part;
    header.msg_iovlen = 1;
}

const EMPTY_PART: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
// SAFETY: all zero is a message without anything.
const EMPTY_MESSAGE: libc::mmsghdr = unsafe { mem::zeroed() };
