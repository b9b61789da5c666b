//! Keys and values of every map, as both sides see them.
//!
//! **Invariant**: every type is `#[repr(C)]` without hidden padding, its size is asserted at compile
//! time, and whatever stands in network byte order is a byte array. Counters and time stamps are
//! native integers, and the fields that the kernel side changes in place are [`SharedWord`]s: nothing else in
//! a value changes after it was inserted. A change of any layout, or of the meaning of a field, raises
//! [`ABI_VERSION`], which is part of the pin path: programs of two layouts never share a map.

mod address;
mod connection;
mod endpoint;
mod flow;
mod interface;
mod next_hop;
mod peer;
mod published;
mod settings;
mod word;

pub use address::{Address, Mac, Prefix};
pub use connection::{Owner, Sender, SocketFields, SocketPair};
pub use endpoint::Endpoint;
pub use flow::{
    Direction, FLOW_DEAD, FirstFragment, Flow, FlowKey, FlowKind, FlowRef, Mapping, Piece,
    PieceKey, Protocol, RecentFlow, SocketKey, TcpSeen, Way, WayKind, index_entries, is_live,
};
pub use interface::{Interface, InterfaceKind, InterfaceOptions, Usage};
pub use next_hop::NextHop;
pub use peer::{Peer, PeerKey, ResolverPorts};
pub use published::{Published, PublishedKey, PublishedPorts};
pub use settings::{
    FLOW_CAPACITY, FRAGMENT_CAPACITY, MAPPING_CAPACITY, NetworkRange, PEER_CAPACITY, Settings,
    Source, in_proportion,
};
pub use word::SharedWord;

/// The version of all layouts in this module; part of the pin path (`…/vABI/`).
pub const ABI_VERSION: u32 = 7;

/// How many interfaces the direct-mapped table of interfaces can hold: an interface stands at
/// `ifindex % INTERFACE_TABLE_SIZE`, so that finding it is an array read and not a look-up. A veth is
/// created with an index whose place is free.
pub const INTERFACE_TABLE_SIZE: u32 = 8192;

/// The largest number of interfaces (uplinks, gateways and endpoints) with counters of their own.
pub const MAX_SLOTS: u32 = 4096;

/// The names of the maps, as they are declared on the kernel side and pinned by the user side.
pub mod map {
    /// Array of [`super::Interface`], indexed by `ifindex % INTERFACE_TABLE_SIZE`.
    pub const INTERFACES: &str = "INTERFACES";
    /// Hash of [`super::Address`] to [`super::Endpoint`].
    pub const ENDPOINTS: &str = "ENDPOINTS";
    /// Longest-prefix trie of [`super::Prefix`] to [`super::NetworkRange`].
    pub const NETWORKS: &str = "NETWORKS";
    /// Longest-prefix trie of [`super::Source`] to 1: who may use published ports that are not for everybody.
    pub const SOURCES: &str = "SOURCES";
    /// Hash of [`super::PublishedKey`] to [`super::Published`].
    pub const PUBLISHED: &str = "PUBLISHED";
    /// Array of 64-bit words, a bitmap laid out by [`super::PublishedPorts`].
    pub const PUBLISHED_PORTS: &str = "PUBLISHED_PORTS";
    /// Hash of [`super::PublishedKey`] to [`super::Published`]: what the host itself and its endpoints reach. A key's
    /// address may be "every one of its family", `0.0.0.0` or `::`. What comes from outside is never looked up here.
    pub const LOCAL_PORTS: &str = "LOCAL_PORTS";
    /// Hash of [`super::Address`] to nothing of importance: the host's own addresses, but for loopback.
    pub const HOST_ADDRESSES: &str = "HOST_ADDRESSES";
    /// Least-recently-used hash of [`super::PeerKey`] to [`super::Peer`], the address that the socket's program used.
    pub const PEERS: &str = "PEERS";
    /// Hash of a network namespace's cookie to [`super::ResolverPorts`].
    pub const RESOLVERS: &str = "RESOLVERS";
    /// Hash of [`super::Address`], an endpoint's on a network with the socket shortcut, to the cookie of its network
    /// namespace.
    pub const HOMES: &str = "HOMES";
    /// Hash of [`super::SocketPair`] to sockets; the program that sends on them hangs on it.
    pub const SOCKETS: &str = "SOCKETS";
    /// Hash of [`super::FlowKey`] to [`super::FlowRef`]; two entries a flow.
    pub const FLOW_INDEX: &str = "FLOW_INDEX";
    /// Memory-mapped array of [`super::Flow`], indexed by [`super::FlowRef::slot`].
    pub const FLOWS: &str = "FLOWS";
    /// Queue of free places in [`FLOWS`]; filled with all of them when it is made.
    pub const FREE_FLOWS: &str = "FREE_FLOWS";
    /// Queue of [`super::FlowRef`], the direction 0: flows in the order in which they were opened, the oldest of which
    /// are forgotten when there are too many.
    pub const EMBRYONIC: &str = "EMBRYONIC";
    /// Least-recently-used hash of [`super::FlowKey`] (see [`super::FlowKey::FRAGMENT`]) to
    /// [`super::FirstFragment`].
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// Least-recently-used hash of [`super::PieceKey`] to [`super::Piece`]. The packet logic does not know it.
    pub const PIECES: &str = "PIECES";
    /// Least-recently-used hash of [`super::SocketKey`] to [`super::Mapping`].
    pub const MAPPINGS: &str = "MAPPINGS";
    /// Memory-mapped array of one [`super::Settings`].
    pub const SETTINGS: &str = "SETTINGS";
    /// Memory-mapped array of [`super::Usage`], indexed by [`super::Interface::slot`].
    pub const USAGE: &str = "USAGE";
    /// Per-CPU array of [`crate::verdict::Counters`], indexed by [`super::Interface::slot`].
    pub const COUNTERS: &str = "COUNTERS";

    /// All of them, in the order in which they are loaded.
    pub const ALL: [&str; 22] = [
        INTERFACES,
        ENDPOINTS,
        NETWORKS,
        SOURCES,
        PUBLISHED,
        PUBLISHED_PORTS,
        LOCAL_PORTS,
        HOST_ADDRESSES,
        PEERS,
        RESOLVERS,
        HOMES,
        SOCKETS,
        FLOW_INDEX,
        FLOWS,
        FREE_FLOWS,
        EMBRYONIC,
        FRAGMENTS,
        PIECES,
        MAPPINGS,
        SETTINGS,
        USAGE,
        COUNTERS,
    ];
}

/// The names of the constants that the user side sets before it loads the programs.
pub mod constant {
    /// `u32`: where the kernel keeps `ip_summed`, in bits from the beginning of `struct sk_buff`; 0 when that
    /// is not known.
    pub const IP_SUMMED: &str = "IP_SUMMED";
    /// `u32`: likewise of `encapsulation`.
    pub const ENCAPSULATION: &str = "ENCAPSULATION";
    /// [`super::SocketFields`]: where the kernel keeps what the shortcut asks of sockets; zeros when that is not known.
    pub const SOCKET_FIELDS: &str = "SOCKET_FIELDS";
}

/// The names of the programs in the kernel object.
pub mod program {
    /// TC, ingress of an endpoint's host-side veth: what the endpoint sends.
    pub const ENDPOINT_INGRESS: &str = "endpoint_ingress";
    /// TC, ingress of an uplink: what comes from outside.
    pub const UPLINK_INGRESS: &str = "uplink_ingress";
    /// TC, egress of an uplink: what the host's stack sends out.
    pub const UPLINK_EGRESS: &str = "uplink_egress";
    /// TC, egress of a network's bridge device: what the host's stack sends into the network.
    pub const GATEWAY_EGRESS: &str = "gateway_egress";
    /// XDP, an uplink: the same as [`UPLINK_INGRESS`], earlier.
    pub const UPLINK_XDP: &str = "uplink_xdp";

    /// Socket addresses: a program connects a socket, IPv4.
    pub const CONNECT4: &str = "connect4";
    /// Likewise, IPv6.
    pub const CONNECT6: &str = "connect6";
    /// A program sends a datagram to an address, IPv4.
    pub const SENDMSG4: &str = "sendmsg4";
    /// Likewise, IPv6.
    pub const SENDMSG6: &str = "sendmsg6";
    /// A program asks where a datagram came from, IPv4.
    pub const RECVMSG4: &str = "recvmsg4";
    /// Likewise, IPv6.
    pub const RECVMSG6: &str = "recvmsg6";
    /// A program asks who the other end of its socket is, IPv4.
    pub const GETPEERNAME4: &str = "getpeername4";
    /// Likewise, IPv6.
    pub const GETPEERNAME6: &str = "getpeername6";

    /// Socket operations: a connection is there.
    pub const SHORTCUT_OPENED: &str = "shortcut_opened";
    /// Messages of sockets: data are sent.
    pub const SHORTCUT_SENT: &str = "shortcut_sent";

    /// Those that see packets.
    pub const PACKETS: [&str; 5] =
        [ENDPOINT_INGRESS, UPLINK_INGRESS, UPLINK_EGRESS, GATEWAY_EGRESS, UPLINK_XDP];
    /// Those that see what programs of the machine do with their sockets.
    pub const SOCKETS: [&str; 8] =
        [CONNECT4, CONNECT6, SENDMSG4, SENDMSG6, RECVMSG4, RECVMSG6, GETPEERNAME4, GETPEERNAME6];
    /// Those of the socket shortcut.
    pub const SHORTCUT: [&str; 2] = [SHORTCUT_OPENED, SHORTCUT_SENT];
}

/// Asserts size and alignment of a type that both sides share.
macro_rules! assert_layout {
    ($type:ty, size $size:literal, align $align:literal) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            assert!(core::mem::align_of::<$type>() == $align);
        };
    };
}
use assert_layout;
