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
    /// An uplink, in the driver or before the stack.
    UplinkXdp,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::EndpointIngress,
        Self::GatewayEgress,
        Self::UplinkIngress,
        Self::UplinkEgress,
        Self::UplinkXdp,
    ];

    /// The program's name in the kernel object.
    pub const fn program(self) -> &'static str {
        match self {
            Self::EndpointIngress => program::ENDPOINT_INGRESS,
            Self::GatewayEgress => program::GATEWAY_EGRESS,
            Self::UplinkIngress => program::UPLINK_INGRESS,
            Self::UplinkEgress => program::UPLINK_EGRESS,
            Self::UplinkXdp => program::UPLINK_XDP,
        }
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
