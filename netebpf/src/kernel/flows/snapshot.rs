//! A flow as it was at one moment.

use super::super::bpf::Maps;
use netebpf_common::{
    abi::{Direction, FlowKey, FlowKind, Protocol, TcpSeen},
    datapath::{TcpPhase, lifetime},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// One direction, copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PlainWay {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) last_seen: u64,
    pub(super) tcp_seen: TcpSeen,
}

/// A live flow, copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PlainFlow {
    pub(super) generation: u64,
    pub(super) created: u64,
    pub(super) kind: u32,
    /// The slots of its endpoints, the owner first, and their generations when it was opened.
    pub(super) endpoints: [(u32, u32); 2],
    pub(super) original: FlowKey,
    pub(super) reply: FlowKey,
    pub(super) ways: [PlainWay; 2],
    /// The interface that it leaves by; none when it goes from endpoint to endpoint.
    pub(super) uplink: Option<u32>,
}

/// The tuple of one direction. An ICMP echo's identifier stands in the place of the requester's port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowTuple {
    /// Who sends.
    pub source: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To whom.
    pub destination: IpAddr,
    /// To which port.
    pub destination_port: u16,
}

impl fmt::Display for FlowTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = SocketAddr::new(self.source, self.source_port);
        let to = SocketAddr::new(self.destination, self.destination_port);
        write!(f, "{from} -> {to}")
    }
}

impl From<FlowKey> for FlowTuple {
    fn from(key: FlowKey) -> Self {
        Self {
            source: key.source.into(),
            source_port: u16::from_be_bytes(key.source_port),
            destination: key.destination.into(),
            destination_port: u16::from_be_bytes(key.destination_port),
        }
    }
}

/// The name of a tuple's protocol.
pub(super) const fn protocol_name(key: &FlowKey) -> &'static str {
    match Protocol::from_number(key.protocol) {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Icmp) => "icmp",
        None => "unknown",
    }
}

/// A live flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowSnapshot {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Why it exists: `masquerade`, `published` or `hairpin`.
    pub kind: String,
    /// TCP: `SYN_SENT`, `SYN_RECV`, `ESTABLISHED`, `CLOSING`, `TIME_WAIT`, `CLOSE`. Others:
    /// `UNREPLIED`, `REPLIED`.
    pub state: String,
    /// The endpoint that it is counted for, as long as it is there.
    pub endpoint: Option<String>,
    /// The endpoint at the other end of a hairpin, as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The tuple of what opened it.
    pub original: FlowTuple,
    /// The tuple that answers carry.
    pub reply: FlowTuple,
    /// Packets of the original and the reply direction.
    pub packets: [u64; 2],
    /// Bytes of those, Ethernet headers included.
    pub bytes: [u64; 2],
    /// Seconds since it was opened.
    pub age: u64,
    /// Seconds since its last packet; a second late at most.
    pub idle: u64,
    /// Seconds until it ends, if no packet comes.
    pub left: u64,
}

impl PlainFlow {
    /// The host's address that the outside sees: the client's target, or the endpoint's new source. None where the
    /// endpoint keeps its own.
    pub(super) fn outside(&self) -> Option<IpAddr> {
        let masquerade = self.kind == FlowKind::Masquerade as u32;
        let (inside, outside) = if masquerade {
            (self.original.source, self.reply.destination)
        } else {
            (self.reply.source, self.original.destination)
        };
        (inside != outside).then(|| outside.into())
    }

    /// The other end, outside.
    pub(super) fn other(&self) -> IpAddr {
        let masquerade = self.kind == FlowKind::Masquerade as u32;
        if masquerade { self.original.destination } else { self.original.source }.into()
    }

    /// Nanoseconds since the last packet.
    pub(super) fn idle(&self, now: u64) -> u64 {
        let last = self.ways.iter().map(|way| way.last_seen).fold(self.created, u64::max);
        now.saturating_sub(last)
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.original.protocol)
    }

    pub(super) fn phase(&self) -> TcpPhase {
        let [original, reply] = self.ways;
        TcpPhase::of(original.tcp_seen, reply.tcp_seen)
    }

    /// See [`lifetime`].
    pub(super) fn lifetime(&self, pressed: bool) -> u64 {
        lifetime(self.protocol(), self.ways.map(|way| way.tcp_seen), self.replied(), pressed)
    }

    pub(super) fn replied(&self) -> bool {
        let [_, reply] = self.ways;
        reply.packets > 0
    }

    /// The tuple of a direction.
    pub(super) const fn key(&self, direction: Direction) -> FlowKey {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// The slot of the endpoint that it is counted for.
    pub(super) const fn owner(&self) -> u32 {
        let [(owner, _), _] = self.endpoints;
        owner
    }

    /// Whether the endpoints that the flow was opened for are still the owners of their slots.
    pub(super) fn endpoints_are_there(&self, maps: &Maps) -> bool {
        self.endpoints.iter().all(|(slot, generation)| {
            let usage = maps.usage(*slot);
            usage.is_some_and(|usage| usage.generation.load() == u64::from(*generation))
        })
    }

    pub(super) fn snapshot(&self, now: u64, names: &BTreeMap<u32, String>) -> FlowSnapshot {
        const SECOND: u64 = 1_000_000_000;
        let state = match (self.protocol(), self.phase(), self.replied()) {
            (Some(Protocol::Tcp), TcpPhase::SynSent, _) => "SYN_SENT",
            (Some(Protocol::Tcp), TcpPhase::SynReceived, _) => "SYN_RECV",
            (Some(Protocol::Tcp), TcpPhase::Established, _) => "ESTABLISHED",
            (Some(Protocol::Tcp), TcpPhase::Closing, _) => "CLOSING",
            (Some(Protocol::Tcp), TcpPhase::TimeWait, _) => "TIME_WAIT",
            (Some(Protocol::Tcp), TcpPhase::Closed, _) => "CLOSE",
            (_, _, true) => "REPLIED",
            (_, _, false) => "UNREPLIED",
        };
        let kind = match self.kind {
            kind if kind == FlowKind::Published as u32 => "published",
            kind if kind == FlowKind::Hairpin as u32 => "hairpin",
            _ => "masquerade",
        };
        let [_, (peer, _)] = self.endpoints;
        FlowSnapshot {
            protocol: protocol_name(&self.original).to_owned(),
            kind: kind.to_owned(),
            state: state.to_owned(),
            endpoint: names.get(&self.owner()).cloned(),
            peer: names.get(&peer).filter(|_| kind == "hairpin").cloned(),
            original: self.original.into(),
            reply: self.reply.into(),
            packets: self.ways.map(|way| way.packets),
            bytes: self.ways.map(|way| way.bytes),
            age: now.saturating_sub(self.created) / SECOND,
            idle: self.idle(now) / SECOND,
            left: self.lifetime(false).saturating_sub(self.idle(now)) / SECOND,
        }
    }
}
