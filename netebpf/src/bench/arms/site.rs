//! A host's name, and what is published there.

use super::{
    super::{
        host::{PUBLISHED, SERVED, STREAMS},
        load::Workload,
        measure::Cell,
        rules::Published,
        sweep::PREFIX,
    },
    Kind, Way,
};
use crate::model::Transport;
use std::fmt;

/// Who forwards, with how many published ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) struct Site {
    pub(in crate::bench) kind: Kind,
    pub(in crate::bench) ports: u16,
}

impl Site {
    /// What its host's namespace is called, and the instance of netebpf there.
    pub(in crate::bench) fn name(self) -> String {
        let part = match self.kind {
            Kind::Netebpf => "",
            Kind::NetebpfShortcut => "-shortcut",
            Kind::NetebpfNetkit => "-netkit",
            Kind::BareVeth => "-bare",
            Kind::IptablesLegacy => "-legacy",
            Kind::IptablesNft => "-nft",
            Kind::Netavark => "-netavark",
            Kind::NetavarkFlowtable => "-flowtable",
        };
        match self.ports {
            1 => format!("{PREFIX}{part}"),
            ports => format!("{PREFIX}{part}-{ports}"),
        }
    }

    /// An endpoint's namespace.
    pub(in crate::bench) fn endpoint(self, name: &str) -> String {
        match self.kind {
            Kind::Netebpf | Kind::NetebpfShortcut | Kind::NetebpfNetkit => {
                format!("{}.{name}", self.name())
            }
            _ => format!("{}-{name}", self.name()),
        }
    }

    /// Whether that is measured here. A bare veth has no published ports, and is the limit of all; the socket shortcut is
    /// for request and response between endpoints.
    pub(in crate::bench) fn measures(self, cell: &Cell) -> bool {
        match self.kind {
            Kind::BareVeth => true,
            Kind::NetebpfShortcut => {
                (cell.way, cell.workload) == (Way::EndpointToEndpoint, Workload::RoundTrips)
            }
            _ => self.ports == cell.ports,
        }
    }

    /// Whether there is one for each number of published ports.
    pub(in crate::bench) fn has_ports(self) -> bool {
        !matches!(self.kind, Kind::BareVeth | Kind::NetebpfShortcut)
    }

    /// Further ports stand on both sides of the one that is measured: rules that are gone through one after the other
    /// find it half-way.
    pub(super) fn published(self) -> Vec<Published> {
        let further = (FURTHER..).take(usize::from(self.ports) - 1);
        let tcp = |host, endpoint| Published { host, endpoint, transport: Transport::Tcp };
        let mut all: Vec<_> = further.map(|port| tcp(port, port)).collect();
        let measured = tcp(PUBLISHED, SERVED);
        let udp = Published { transport: Transport::Udp, ..measured };
        let middle = all.len() / 2;
        all.splice(middle..middle, [measured, udp, tcp(STREAMS, STREAMS)]);
        all
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ports {
            1 => write!(f, "{}", self.kind),
            ports => write!(f, "{} with {ports} ports", self.kind),
        }
    }
}

/// The first of the published ports that are not measured. They are measured in IPv4, and netebpf has them there alone: it
/// holds each with a socket, and those of both families are more files than some machines allow.
const FURTHER: u16 = 20_000;
