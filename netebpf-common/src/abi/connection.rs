//! Connections between endpoints of one network whose data take the socket shortcut.

use super::{Address, assert_layout};

/// A TCP connection, as one of its sockets sees it: the key of the table of sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct SocketPair {
    /// The socket's own address.
    pub near: Address,
    /// The other end's.
    pub far: Address,
    /// The socket's own port, network byte order.
    pub near_port: [u8; 2],
    /// The other end's.
    pub far_port: [u8; 2],
    /// Zero.
    pub padding: [u8; 4],
}
assert_layout!(SocketPair, size 40, align 8);

impl SocketPair {
    /// From addresses and ports.
    #[inline(always)]
    pub const fn new(near: Address, near_port: u16, far: Address, far_port: u16) -> Self {
        let (near_port, far_port) = (near_port.to_be_bytes(), far_port.to_be_bytes());
        Self { near, far, near_port, far_port, padding: [0; 4] }
    }

    /// The connection as the other end sees it.
    #[inline(always)]
    pub const fn turned(&self) -> Self {
        let Self { near, far, near_port, far_port, padding } = *self;
        Self { near: far, far: near, near_port: far_port, far_port: near_port, padding }
    }
}

/// What is kept with a socket: how its own direction of the connection goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Sender {
    /// The other end, by its own key.
    pub to: SocketPair,
    /// [`super::Endpoint::generation`] of the socket's own endpoint.
    pub near_generation: u32,
    /// Likewise of the other end's.
    pub far_generation: u32,
    /// One of [`Self::UNDECIDED`], [`Self::SHORT`] and [`Self::BY_TCP`].
    pub way: u32,
    /// Bytes sent since the other end was last seen to have read everything.
    pub unread: u32,
}
assert_layout!(Sender, size 56, align 8);

impl Sender {
    /// Nothing was sent yet.
    pub const UNDECIDED: u32 = 0;
    /// By the shortcut.
    pub const SHORT: u32 = 1;
    /// By TCP, for good.
    pub const BY_TCP: u32 = 2;
}

/// Where the running kernel keeps what is asked of sockets, in bytes from the beginning of each structure.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct SocketFields {
    /// `sk_msg.sk`: the socket that sends.
    pub message_socket: u32,
    /// `sk_msg.sk_redir`: the one that the data are handed to.
    pub message_target: u32,
    /// `sock.sk_user_data`: with its lowest three bits off, what sockets of such tables have in addition.
    pub user_data: u32,
    /// `sk_psock.ingress_msg`: the list of data that were not read.
    pub unread: u32,
    /// `tcp_sock.bytes_sent`.
    pub bytes_sent: u32,
    /// `tcp_sock.write_seq`: the number of the byte that a program gives to TCP next.
    pub write_seq: u32,
    /// `tcp_sock.snd_nxt`: and of the one that is sent next.
    pub snd_nxt: u32,
}
assert_layout!(SocketFields, size 28, align 4);

impl SocketFields {
    /// Whether they are known.
    #[inline(always)]
    pub const fn is_known(&self) -> bool {
        self.message_target != 0
    }
}
