//! The places where a program of ours hangs.

use netebpf_common::abi::program;

/// Which program, and so where: ingress and egress of the interface that it is attached to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hook {
    /// An endpoint's host-side veth: what the endpoint sends.
    EndpointIngress,
    /// A network's bridge device: what the host's stack sends into the network.
    GatewayEgress,
    /// An uplink: what comes from outside.
    UplinkIngress,
    /// An uplink: what the host's stack sends out.
    UplinkEgress,
    /// The root of the control groups: a program of the machine connects a socket, IPv4.
    Connect4,
    /// Likewise, IPv6.
    Connect6,
    /// Likewise: it sends a datagram, IPv4.
    Sendmsg4,
    /// Likewise, IPv6.
    Sendmsg6,
    /// Likewise: it reads where a datagram came from, IPv4.
    Recvmsg4,
    /// Likewise, IPv6.
    Recvmsg6,
    /// Likewise: it asks for the other end of its socket, IPv4.
    Getpeername4,
    /// Likewise, IPv6.
    Getpeername6,
    /// Likewise: a connection is there, which may take the socket shortcut.
    ShortcutOpened,
    /// An uplink, in the driver or before the stack.
    UplinkXdp,
}

impl Hook {
    /// All of them. The last one is pinned last.
    pub const ALL: [Self; 14] = [
        Self::EndpointIngress,
        Self::GatewayEgress,
        Self::UplinkIngress,
        Self::UplinkEgress,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
        Self::ShortcutOpened,
        Self::UplinkXdp,
    ];

    /// What stands in the place of an interface's index for the hooks of [`Self::is_of_host`].
    pub const NO_INTERFACE: u32 = 0;

    /// Likewise of its name.
    pub const HOST_PROGRAMS: &'static str = "host programs";

    /// The program's name in the kernel object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::EndpointIngress => program::ENDPOINT_INGRESS,
            Self::GatewayEgress => program::GATEWAY_EGRESS,
            Self::UplinkIngress => program::UPLINK_INGRESS,
            Self::UplinkEgress => program::UPLINK_EGRESS,
            Self::UplinkXdp => program::UPLINK_XDP,
            Self::Connect4 => program::CONNECT4,
            Self::Connect6 => program::CONNECT6,
            Self::Sendmsg4 => program::SENDMSG4,
            Self::Sendmsg6 => program::SENDMSG6,
            Self::Recvmsg4 => program::RECVMSG4,
            Self::Recvmsg6 => program::RECVMSG6,
            Self::Getpeername4 => program::GETPEERNAME4,
            Self::Getpeername6 => program::GETPEERNAME6,
            Self::ShortcutOpened => program::SHORTCUT_OPENED,
        }
    }

    /// Whether it is TC's.
    pub const fn is_tc(self) -> bool {
        matches!(
            self,
            Self::EndpointIngress | Self::GatewayEgress | Self::UplinkIngress | Self::UplinkEgress
        )
    }

    /// Whether the program sees what programs of the machine do with their sockets, and no packets; not whether it is the socket
    /// shortcut's.
    pub const fn is_of_sockets(self) -> bool {
        self.is_of_host() && !matches!(self, Self::ShortcutOpened)
    }

    /// Whether the kernel, or a driver, may refuse the program: TC's are what nothing works without.
    pub const fn is_optional(self) -> bool {
        !self.is_tc()
    }

    /// Whether the program hangs on the root of the control groups, and not on an interface.
    pub const fn is_of_host(self) -> bool {
        !self.is_tc() && !matches!(self, Self::UplinkXdp)
    }

    /// Those of sockets.
    pub fn of_sockets() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|hook| hook.is_of_sockets())
    }

    /// The hook of a program.
    pub fn of_program(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.program() == name)
    }

    /// Whether the program sees what leaves the interface, not what arrives on it.
    pub const fn is_egress(self) -> bool {
        matches!(self, Self::GatewayEgress | Self::UplinkEgress)
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program())
    }
}
