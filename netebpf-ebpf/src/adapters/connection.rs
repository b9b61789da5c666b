//! Sockets that have a connection, and what is sent on them.

use super::socket::{v4, v6};
use crate::maps;
use aya_ebpf::{
    Global,
    bindings::{BPF_F_INGRESS, bpf_sock, bpf_sock_ops, sk_msg_md},
    helpers::generated::{
        bpf_get_netns_cookie, bpf_msg_redirect_hash, bpf_probe_read_kernel, bpf_sock_hash_update,
    },
};
use core::ptr::{addr_of, from_ref};
use netebpf_common::{
    abi::{Sender, SocketFields, SocketPair},
    datapath::connection::Sending,
};

const AF_INET: u32 = 2;

/// States in which a socket may send (`include/net/tcp_states.h`).
const TCP_ESTABLISHED: u32 = 1;
const TCP_CLOSE_WAIT: u32 = 8;

/// The kernel keeps marks of its own in these bits of `sk_user_data`.
const USER_DATA_MARKS: u64 = 7;

/// See [`netebpf_common::abi::constant::SOCKET_FIELDS`].
#[unsafe(no_mangle)]
static SOCKET_FIELDS: Global<SocketFields> = Global::new(SocketFields {
    message_socket: 0,
    message_target: 0,
    user_data: 0,
    unread: 0,
    bytes_sent: 0,
    write_seq: 0,
    snd_nxt: 0,
});

/// Reads a field of a context, whole.
macro_rules! read {
    ($place:expr) => {
        // SAFETY: contexts are valid as long as their programs run.
        unsafe { addr_of!($place).read_volatile() }
    };
}

/// A socket that has a connection now.
pub struct Opened {
    context: *mut bpf_sock_ops,
}

impl Opened {
    #[inline(always)]
    pub fn new(context: *mut bpf_sock_ops) -> Self {
        Self { context }
    }

    /// The cookie of its network namespace.
    #[inline(always)]
    pub fn namespace(&self) -> u64 {
        // SAFETY: the context is valid as long as the program runs.
        unsafe { bpf_get_netns_cookie(self.context.cast()) }
    }

    /// The connection. An IPv6 socket's with IPv4 has IPv4-mapped addresses, and so have keys.
    #[inline(always)]
    pub fn pair(&self) -> SocketPair {
        let context = self.context;
        // All of them first: of a field that is read in two branches LLVM makes one read by a changed context, which the
        // verifier refuses.
        let v4s = [read!((*context).local_ip4), read!((*context).remote_ip4)];
        let near6 = [
            read!((*context).local_ip6[0]),
            read!((*context).local_ip6[1]),
            read!((*context).local_ip6[2]),
            read!((*context).local_ip6[3]),
        ];
        let far6 = [
            read!((*context).remote_ip6[0]),
            read!((*context).remote_ip6[1]),
            read!((*context).remote_ip6[2]),
            read!((*context).remote_ip6[3]),
        ];
        let (near, far) = if read!((*context).family) == AF_INET {
            (v4(v4s[0]), v4(v4s[1]))
        } else {
            (v6(near6), v6(far6))
        };
        // The near one in the host's byte order, the far one in the network's, as a whole word.
        let ports = (read!((*context).local_port), read!((*context).remote_port));
        SocketPair::new(near, ports.0 as u16, far, u32::from_be(ports.1) as u16)
    }

    /// Puts the socket into the table, and what is kept with it beside it. Where there is no room for either all goes by TCP.
    #[inline(always)]
    pub fn join(&self, mut sender: Sender) {
        let mut pair = sender.to.turned();
        let socket = read!((*self.context).__bindgen_anon_2.sk);
        if socket.is_null() || !maps::keep_sender(socket, &mut sender) {
            return;
        }
        // SAFETY: context, map and key are what the helper wants.
        let _ = unsafe {
            let map = from_ref(&maps::SOCKETS).cast_mut().cast();
            bpf_sock_hash_update(self.context, map, (&raw mut pair).cast(), 0)
        };
    }
}

/// What a socket sends.
pub struct Message {
    context: *mut sk_msg_md,
}

impl Message {
    #[inline(always)]
    pub fn new(context: *mut sk_msg_md) -> Self {
        Self { context }
    }

    /// The socket.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        read!((*self.context).__bindgen_anon_3.sk)
    }

    /// A pointer in the kernel's own structure, whose address a context is as soon as the verifier does not look.
    #[inline(always)]
    fn pointer(&self, at: u32) -> Option<u64> {
        word(self.context as u64, at)
    }
}

impl Sending for Message {
    #[inline(always)]
    fn is_open(&self) -> bool {
        let socket = self.socket();
        matches!(read!((*socket).state), TCP_ESTABLISHED | TCP_CLOSE_WAIT)
    }

    #[inline(always)]
    fn is_fresh(&self) -> bool {
        let fields = SOCKET_FIELDS.load();
        if !fields.is_known() {
            return false;
        }
        let Some(socket) = self.pointer(fields.message_socket) else { return false };
        let sent = word(socket, fields.bytes_sent);
        let numbers = (half(socket, fields.write_seq), half(socket, fields.snd_nxt));
        sent == Some(0) && matches!(numbers, (Some(written), Some(next)) if written == next)
    }

    #[inline(always)]
    fn hand_to(&self, to: &SocketPair) -> bool {
        // SAFETY: context, map and key are what the helper wants.
        unsafe {
            let map = from_ref(&maps::SOCKETS).cast_mut().cast();
            let key = from_ref(to).cast_mut().cast();
            bpf_msg_redirect_hash(self.context, map, key, u64::from(BPF_F_INGRESS)) == 1
        }
    }

    #[inline(always)]
    fn is_read(&self) -> bool {
        let fields = SOCKET_FIELDS.load();
        let Some(socket) = self.pointer(fields.message_target) else { return false };
        let Some(data) = word(socket, fields.user_data) else { return false };
        let list = (data & !USER_DATA_MARKS) + u64::from(fields.unread);
        // An empty list leads to itself.
        data != 0 && word(list, 0) == Some(list)
    }
}

/// A word of the kernel's memory.
#[inline(always)]
fn word(base: u64, at: u32) -> Option<u64> {
    let mut word = 0_u64;
    // SAFETY: eight bytes are read into eight; an address that cannot be read is an error.
    let failed = unsafe {
        let address = (base + u64::from(at)) as *const core::ffi::c_void;
        bpf_probe_read_kernel((&raw mut word).cast(), 8, address)
    };
    (failed == 0).then_some(word)
}

/// Half a word of it.
#[inline(always)]
fn half(base: u64, at: u32) -> Option<u32> {
    let mut half = 0_u32;
    // SAFETY: as above, four bytes.
    let failed = unsafe {
        let address = (base + u64::from(at)) as *const core::ffi::c_void;
        bpf_probe_read_kernel((&raw mut half).cast(), 4, address)
    };
    (failed == 0).then_some(half)
}
