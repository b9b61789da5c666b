//! Connections between endpoints of one network whose data take the socket shortcut.

use super::{Address, Endpoint, assert_layout};

/// Who has an endpoint's place: an address is somebody else's one day.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Owner {
    /// [`Endpoint::slot`].
    pub slot: u32,
    /// [`Endpoint::generation`].
    pub generation: u32,
}
assert_layout!(Owner, size 8, align 4);

impl Owner {
    /// Not known yet.
    pub const NONE: Self = Self { slot: 0, generation: 0 };

    /// Of an endpoint.
    #[inline(always)]
    pub const fn of(endpoint: &Endpoint) -> Self {
        Self { slot: endpoint.slot, generation: endpoint.generation }
    }
}

/// A TCP connection, as one of its sockets sees it: the key of the table of sockets. Who has the addresses is part of it, so
/// that a socket of an endpoint which is gone is found by nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct SocketPair {
    /// The socket's own address.
    pub near: Address,
    /// The other end's.
    pub far: Address,
    /// The socket's own port. A whole half word: of fields that are not aligned to each other several are written at once,
    /// which the verifier refuses on the stack.
    pub near_port: u32,
    /// The other end's.
    pub far_port: u32,
    /// Who has the socket's own address.
    pub near_owner: Owner,
    /// Who has the other one.
    pub far_owner: Owner,
}
assert_layout!(SocketPair, size 56, align 8);

impl SocketPair {
    /// From addresses and ports, without owners.
    #[inline(always)]
    pub const fn new(near: Address, near_port: u16, far: Address, far_port: u16) -> Self {
        let (near_port, far_port) = (near_port as u32, far_port as u32);
        let (near_owner, far_owner) = (Owner::NONE, Owner::NONE);
        Self { near, far, near_port, far_port, near_owner, far_owner }
    }

    /// The connection as the other end sees it.
    #[inline(always)]
    pub const fn turned(&self) -> Self {
        Self {
            near: self.far,
            far: self.near,
            near_port: self.far_port,
            far_port: self.near_port,
            near_owner: self.far_owner,
            far_owner: self.near_owner,
        }
    }
}

/// What is kept with a socket: how its own direction of the connection goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Sender {
    /// The other end, by its own key.
    pub to: SocketPair,
    /// One of [`Self::UNDECIDED`], [`Self::SHORT`] and [`Self::BY_TCP`].
    pub way: u32,
    /// Bytes of memory that what was sent takes since the other end was last seen to have read everything.
    pub unread: u32,
}
assert_layout!(Sender, size 64, align 8);

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
