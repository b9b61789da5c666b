//! A program's call that names the address of a socket's other end, as `struct bpf_sock_addr` shows it.
//!
//! Each field is read and written by itself and whole: the verifier knows no other access.

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_addr, sockaddr},
    helpers::generated::{bpf_bind, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval},
};
use core::ptr::{addr_of, addr_of_mut};
use netebpf_common::{
    abi::{Address, Peer},
    datapath::local::Socket,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// A call with an IPv4 address, or an IPv6 one.
pub struct SocketCall<const V6: bool> {
    context: *mut bpf_sock_addr,
}

/// Reads a field of the context, or of the socket in it.
macro_rules! read {
    ($place:expr) => {
        // SAFETY: context and socket are valid as long as the program runs, and the field is there for every program
        // that this is built into, or the verifier refuses it.
        unsafe { addr_of!($place).read_volatile() }
    };
}

/// Writes a field of the context.
macro_rules! write {
    ($place:expr, $value:expr) => {
        // SAFETY: as above.
        unsafe { addr_of_mut!($place).write_volatile($value) }
    };
}

impl<const V6: bool> SocketCall<V6> {
    #[inline(always)]
    pub fn new(context: *mut bpf_sock_addr) -> Self {
        Self { context }
    }

    /// The cookie of the socket's network namespace.
    #[inline(always)]
    pub fn namespace(&self) -> u64 {
        // SAFETY: the context is valid as long as the program runs.
        unsafe { bpf_get_netns_cookie(self.context.cast()) }
    }

    /// The number of the socket's protocol.
    #[inline(always)]
    pub fn protocol(&self) -> u32 {
        read!((*self.context).protocol)
    }

    /// The socket's cookie.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: as above.
        unsafe { bpf_get_socket_cookie(self.context.cast()) }
    }

    /// The socket of a call to connect: its source is what it was bound to.
    #[inline(always)]
    pub fn connecting(&self) -> Socket {
        let socket = self.socket();
        let source = if read!((*self.context).family) == AF_INET {
            v4(read!((*socket).src_ip4))
        } else {
            v6([
                read!((*socket).src_ip6[0]),
                read!((*socket).src_ip6[1]),
                read!((*socket).src_ip6[2]),
                read!((*socket).src_ip6[3]),
            ])
        };
        // In the host's byte order, and 0 for none.
        self.described(source, read!((*socket).src_port) != 0)
    }

    /// The socket of a call to send: its source is what it was bound to, or what the call says.
    #[inline(always)]
    pub fn sending(&self) -> Socket {
        let source = if V6 {
            v6([
                read!((*self.context).msg_src_ip6[0]),
                read!((*self.context).msg_src_ip6[1]),
                read!((*self.context).msg_src_ip6[2]),
                read!((*self.context).msg_src_ip6[3]),
            ])
        } else {
            v4(read!((*self.context).msg_src_ip4))
        };
        self.described(source, true)
    }

    #[inline(always)]
    fn socket(&self) -> *mut bpf_sock {
        let socket = read!((*self.context).__bindgen_anon_1);
        // SAFETY: every bit pattern is a pointer, and the verifier knows where this one leads.
        unsafe { socket.sk }
    }

    #[inline(always)]
    fn described(&self, source: Address, has_port: bool) -> Socket {
        Socket {
            cookie: self.cookie(),
            protocol: self.protocol(),
            source,
            has_port,
            interface: read!((*self.socket()).bound_dev_if),
        }
    }

    /// The address in the call; in an IPv6 one it may be an IPv4-mapped one.
    #[inline(always)]
    pub fn peer(&self) -> Peer {
        let address = if V6 {
            v6([
                read!((*self.context).user_ip6[0]),
                read!((*self.context).user_ip6[1]),
                read!((*self.context).user_ip6[2]),
                read!((*self.context).user_ip6[3]),
            ])
        } else {
            v4(read!((*self.context).user_ip4))
        };
        Peer::new(address, self.port())
    }

    /// Puts another into the call. One of IPv6 does not get into an IPv4 call.
    #[inline(always)]
    pub fn set_peer(&self, peer: &Peer) {
        if V6 {
            let [a, b, c, d] = peer.address.words();
            write!((*self.context).user_ip6[0], a);
            write!((*self.context).user_ip6[1], b);
            write!((*self.context).user_ip6[2], c);
            write!((*self.context).user_ip6[3], d);
        } else {
            write!((*self.context).user_ip4, u32::from_ne_bytes(peer.address.last_four()));
        }
        self.set_port(peer.port());
    }

    #[inline(always)]
    fn port(&self) -> [u8; 2] {
        // In network byte order, in the lower half of a word.
        (read!((*self.context).user_port) as u16).to_ne_bytes()
    }

    #[inline(always)]
    fn set_port(&self, port: [u8; 2]) {
        write!((*self.context).user_port, u32::from(u16::from_ne_bytes(port)));
    }

    /// Takes back what the socket was bound to; `false` where the kernel does not allow that. For programs that see sockets
    /// connect.
    #[inline(always)]
    pub fn release_source(&self) -> bool {
        // `struct sockaddr_in6`, or what is longer than `struct sockaddr_in`: every address, and no port.
        let family = if V6 { AF_INET6 } else { AF_INET };
        let [a, b] = (family as u16).to_ne_bytes();
        let mut anywhere = [u64::from_ne_bytes([a, b, 0, 0, 0, 0, 0, 0]), 0, 0, 0];
        // SAFETY: the context is valid as long as the program runs, and the address as long as the call.
        unsafe {
            let address = addr_of_mut!(anywhere).cast::<sockaddr>();
            bpf_bind(self.context, address, size_of_val(&anywhere) as i32) == 0
        }
    }

    /// What a program returns for a call that fails with this error.
    #[inline(always)]
    pub fn fail(&self, error: i32) -> i32 {
        // SAFETY: a number. Where it were not taken the call would fail too, as one that is not permitted.
        unsafe { bpf_set_retval(-error) };
        0
    }
}

#[inline(always)]
pub(super) fn v4(word: u32) -> Address {
    Address::v4(word.to_ne_bytes())
}

#[inline(always)]
pub(super) fn v6([a, b, c, d]: [u32; 4]) -> Address {
    let half = |first: u32, second: u32| {
        u64::from_le(u64::from(first.to_le()) | u64::from(second.to_le()) << 32)
    };
    Address::from_halves([half(a, b), half(c, d)])
}
