//! Raw frames in and out of an interface (AF_PACKET), and sniffers that watch one all the time.

use super::{Ns, frame::Seen};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How many bytes of a frame are kept: enough for an ICMPv6 error and what it quotes.
const KEPT: usize = 192;
/// How many frames a sniffer keeps.
const MOST: usize = 50_000;

/// A raw socket on one interface.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
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
        Self { socket }
    }

    /// Sends a frame, Ethernet header and all.
    pub fn send(&self, frame: &[u8]) {
        rustix::net::send(&self.socket, frame, rustix::net::SendFlags::empty())
            .unwrap_or_else(|error| panic!("sending a frame of {} bytes: {error}", frame.len()));
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

/// Watches an interface from the moment that it is made.
#[derive(Debug)]
pub struct Sniffer {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Starts one.
    pub fn start(ns: &Ns, interface: &str) -> Self {
        let wire = Wire::open(ns, interface);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (list, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(frame) = wire.receive(Duration::from_millis(50)) else { continue };
                let mut list = list.lock().expect("nobody panics with it");
                if list.len() < MOST {
                    list.push(frame);
                }
            }
        };
        Self { seen, stop, thread: Some(thread::spawn(watch)) }
    }

    /// What was seen up to now.
    pub fn frames(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics with it").clone()
    }

    /// Whether such a frame was seen.
    pub fn saw(&self, wanted: impl Fn(&Seen) -> bool) -> bool {
        self.seen.lock().expect("nobody panics with it").iter().any(wanted)
    }

    /// Waits for such a frame, which must come.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        super::eventually(what, || self.saw(&wanted));
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        self.seen.lock().expect("nobody panics with it").clear();
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
