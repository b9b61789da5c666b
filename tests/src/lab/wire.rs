//! Raw frames in and out of an interface (AF_PACKET), and sniffers that watch one all the time.

use super::{Ns, family::is_private, frame::Seen};
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How many bytes of a frame are kept: enough for an ICMPv6 error and what it quotes.
const KEPT: usize = 192;
/// How many frames a sniffer keeps: the last ones, and as many that tell a private address.
const MOST: usize = 20_000;

/// A raw socket on one interface.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    index: u32,
}

impl Wire {
    /// Opens one.
    pub fn open(ns: &Ns, interface: &str) -> Self {
        let index =
            ns.ifindex(interface).unwrap_or_else(|| panic!("{}: no {interface}", ns.name()));
        let all = (libc::ETH_P_ALL as u16).to_be();
        let open = || -> io::Result<OwnedFd> {
            // SAFETY: plain system calls; the address is a whole `sockaddr_ll` that outlives them.
            unsafe {
                let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
                let fd = libc::socket(libc::AF_PACKET, kind, i32::from(all));
                if fd < 0 {
                    return Err(io::Error::last_os_error());
                }
                let socket = OwnedFd::from_raw_fd(fd);
                let room: libc::c_int = 64 << 20;
                set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room)?;
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = all;
                address.sll_ifindex = index as i32;
                let length = size_of_val(&address) as libc::socklen_t;
                if libc::bind(fd, (&raw const address).cast(), length) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(socket)
            }
        };
        let socket =
            ns.run(open).unwrap_or_else(|error| panic!("raw socket on {interface}: {error}"));
        Self { socket, index }
    }

    /// Sends a frame, Ethernet header and all. Whom a netkit device refuses one is told that there is no room.
    pub fn send(&self, frame: &[u8]) {
        self.send_as(libc::ETH_P_ALL as u16, frame);
    }

    /// The same, with another protocol than the frame's as what the kernel shall take it for.
    pub fn send_as(&self, protocol: u16, frame: &[u8]) {
        // SAFETY: a plain system call; frame and address are whole and outlive it.
        let sent = unsafe {
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol.to_be();
            address.sll_ifindex = self.index as i32;
            let length = size_of_val(&address) as libc::socklen_t;
            let (fd, bytes) = (self.socket.as_raw_fd(), frame.as_ptr().cast());
            libc::sendto(fd, bytes, frame.len(), 0, (&raw const address).cast(), length)
        };
        let error = io::Error::last_os_error();
        if sent < 0 && error.raw_os_error() != Some(libc::ENOBUFS) {
            panic!("sending a frame of {} bytes: {error}", frame.len());
        }
    }

    /// Sends many frames, as fast as it goes: one that there is no room for is lost.
    pub fn flood(&self, frames: impl Iterator<Item = Vec<u8>>) {
        for frame in frames {
            match rustix::net::send(&self.socket, &frame, rustix::net::SendFlags::empty()) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => {}
                Err(error) => panic!("sending one of many frames: {error}"),
            }
        }
    }

    /// The next frame that comes in, or goes out by somebody else's hand, within a while.
    pub fn receive(&self, wait: Duration) -> Option<Seen> {
        let mut wanted = [rustix::event::PollFd::new(&self.socket, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec::try_from(wait).ok();
        if rustix::event::poll(&mut wanted, wait.as_ref()).ok()? == 0 {
            return None;
        }
        let mut bytes = [0u8; KEPT];
        // SAFETY: the buffer's own length is given; MSG_TRUNC only makes the return value the frame's.
        let length = unsafe {
            let fd = self.socket.as_raw_fd();
            libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_TRUNC)
        };
        let length = usize::try_from(length).ok()?;
        Seen::parse(&bytes[..length.min(KEPT)], length)
    }
}

/// Sets a socket option that is a plain value.
pub(super) fn set_option<T>(
    socket: &impl AsRawFd,
    level: i32,
    name: i32,
    value: T,
) -> io::Result<()> {
    // SAFETY: the value is whole, its own size is given, and it outlives the call.
    let result = unsafe {
        let length = size_of::<T>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a sniffer has seen.
#[derive(Debug, Default)]
struct Book {
    last: VecDeque<Seen>,
    private: VecDeque<Seen>,
}

impl Book {
    fn note(&mut self, frame: Seen) {
        let is_private = |pair: &(_, _)| is_private(pair.0) || is_private(pair.1);
        if frame.addresses.iter().chain(&frame.quoted).any(is_private) {
            push(&mut self.private, frame.clone());
        }
        push(&mut self.last, frame);
    }
}

fn push(list: &mut VecDeque<Seen>, frame: Seen) {
    if list.len() == MOST {
        list.pop_front();
    }
    list.push_back(frame);
}

/// Watches an interface from the moment that it is made.
#[derive(Debug)]
pub struct Sniffer {
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Starts one.
    pub fn start(ns: &Ns, interface: &str) -> Self {
        let wire = Wire::open(ns, interface);
        let book = Arc::new(Mutex::new(Book::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (notes, stopped) = (Arc::clone(&book), Arc::clone(&stop));
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(frame) = wire.receive(Duration::from_millis(50)) {
                    notes.lock().expect("nobody panics with it").note(frame);
                }
            }
        };
        Self { book, stop, thread: Some(thread::spawn(watch)) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics with it")
    }

    /// The last frames up to now.
    pub fn frames(&self) -> Vec<Seen> {
        self.book().last.iter().cloned().collect()
    }

    /// Every frame up to now that tells a private address.
    pub fn private(&self) -> Vec<Seen> {
        self.book().private.iter().cloned().collect()
    }

    /// Whether such a frame was seen lately.
    pub fn saw(&self, wanted: impl Fn(&Seen) -> bool) -> bool {
        self.book().last.iter().any(wanted)
    }

    /// Waits for such a frame, which must come.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        super::eventually(what, || self.saw(&wanted));
    }

    /// Forgets the last frames.
    pub fn clear(&self) {
        self.book().last.clear();
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
