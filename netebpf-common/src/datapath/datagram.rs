//! A packet, understood: addresses, ports, what kind it is.
//!
//! **Invariant**: reading changes nothing. What is not translated by us is [`Kind::NotUnderstood`], a
//! value and not an error; only a header that contradicts itself is a [`Fault`].

use super::{
    family::{Family, FamilyId, V4, V6},
    packet::Packet,
};
use crate::{
    abi::{Address, FlowKey, Protocol},
    wire::{
        ethernet::{self, Ethernet, ether_type},
        icmp, ipv6, protocol, tcp, udp,
    },
};

/// No header that is translated begins farther into the frame, so that a program can bound every offset
/// by a mask of 14 bits: behind that, two chains of the longest extension headers could lead.
const FARTHEST: usize = 0x3f00;

/// What is wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A header contradicts itself, or ends before it should.
    Malformed,
}

/// The network layer's header, of either family, but for its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Layer3 {
    /// The transport protocol's number, behind extension headers.
    pub protocol: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Whether this is one fragment of several.
    pub part: Part,
    /// What fragments of one packet have in common; IPv4's has two bytes, and two that are 0.
    pub identification: [u8; 4],
    /// Offset of the identification, where it means something: in a packet that is cut, or may be; else 0.
    pub identification_at: usize,
    /// Whether there are IPv6 extension headers.
    pub extended: bool,
    /// Whether one of them is a routing header: the destination may not be the last.
    pub routed: bool,
    /// Bytes of the IP packet.
    pub length: u32,
    /// Offset of the transport header.
    pub payload: usize,
}

/// What part of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment, which has the transport header.
    First,
    /// A later one, which has none.
    Later,
}

/// What a packet is to a translator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP, UDP or ICMP echo: `key` is its own tuple.
    Transport(Protocol),
    /// An ICMP error: `key` is the tuple of the flow's direction that it goes along, which is the
    /// inverse of the quoted packet's.
    Error {
        /// The quoted packet's protocol.
        protocol: Protocol,
        /// Offset of the quoted network header.
        quoted: u16,
        /// Offset of the quoted transport header.
        quoted_payload: u16,
    },
    /// A later fragment: `key` is what its first one is remembered by, see [`FlowKey::FRAGMENT`].
    LaterFragment,
    /// Anything else.
    NotUnderstood,
}

/// Where a TCP segment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The number of its first byte.
    pub sequence: u32,
    /// The number that it acknowledges, if it has the flag.
    pub acknowledged: u32,
    /// How far it goes: bytes, and one for SYN and FIN each.
    pub length: u32,
}

/// A packet, understood.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// IPv4 or IPv6.
    pub family: FamilyId,
    /// What it is.
    pub kind: Kind,
    /// The tuple to look a flow up by; see [`Kind`]. Only its addresses mean something when the packet
    /// was not understood.
    pub key: FlowKey,
    /// Source address of the packet itself.
    pub source: Address,
    /// Destination address of the packet itself.
    pub destination: Address,
    /// Offset of the network header.
    pub network: u16,
    /// Offset of the transport header.
    pub transport: u16,
    /// The longest IP packet that it will be on the wire, in bytes: of a packet that is still to be cut,
    /// one segment's.
    pub length: u32,
    /// The transport protocol's number.
    pub protocol: u8,
    /// Time to live.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// TCP flags, ICMP type, or 0.
    pub detail: u8,
    /// TCP: its numbers.
    pub segment: Segment,
    /// Whether this is one fragment of several.
    pub part: Part,
    /// What fragments of one packet have in common; see [`Layer3::identification`].
    pub identification: [u8; 4],
    /// See [`Layer3::identification_at`].
    pub identification_at: u16,
    /// Whether there are IPv6 extension headers.
    pub extended: bool,
    /// Whether one of them is a routing header.
    pub routed: bool,
}

impl Default for Datagram {
    fn default() -> Self {
        Self::new()
    }
}

impl Datagram {
    /// No packet yet.
    pub const fn new() -> Self {
        Self {
            family: FamilyId::V4,
            kind: Kind::NotUnderstood,
            key: FlowKey::NONE,
            source: Address::NONE,
            destination: Address::NONE,
            network: 0,
            transport: 0,
            length: 0,
            protocol: 0,
            hop_limit: 0,
            traffic_class: 0,
            detail: 0,
            segment: Segment { sequence: 0, acknowledged: 0, length: 0 },
            part: Part::Whole,
            identification: [0; 4],
            identification_at: 0,
            extended: false,
            routed: false,
        }
    }

    /// Whether it can begin a flow: not a reset, an echo reply or an error.
    #[inline(always)]
    pub fn can_open(&self) -> bool {
        match self.kind {
            Kind::Transport(Protocol::Tcp) => self.detail & tcp::flag::RST == 0,
            Kind::Transport(Protocol::Udp) => true,
            Kind::Transport(Protocol::Icmp) => !self.is_echo_reply(),
            Kind::Error { .. } | Kind::LaterFragment | Kind::NotUnderstood => false,
        }
    }

    /// See [`FlowKey::set_fragment`].
    #[inline(always)]
    pub const fn fragment_protocol(&self) -> u8 {
        match self.family {
            FamilyId::V4 => self.protocol,
            FamilyId::V6 => 0,
        }
    }

    /// Whether it is UDP from a port, as far as can be told.
    #[inline(always)]
    pub fn is_udp_from(&self, port: u16) -> bool {
        self.protocol == protocol::UDP
            && !matches!(self.part, Part::Later)
            && self.key.source_port == port.to_be_bytes()
    }

    #[inline(always)]
    fn is_echo_reply(&self) -> bool {
        matches!((self.family, self.detail), (FamilyId::V4, 0) | (FamilyId::V6, 129))
    }
}

/// Reads the packet of an IPv4 or IPv6 frame.
#[inline(always)]
pub(super) fn understand<P: Packet + ?Sized>(
    packet: &mut P,
    frame: &Ethernet,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    understand_network(packet, frame, datagram)?;
    understand_transport(packet, datagram)
}

/// The same, but for what [`understand_transport`] reads.
#[inline(always)]
pub(super) fn understand_network<P: Packet + ?Sized>(
    packet: &mut P,
    frame: &Ethernet,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    match frame.ether_type {
        ether_type::IPV4 => read_network::<V4, P>(packet, ethernet::LENGTH, datagram),
        ether_type::IPV6 => read_network::<V6, P>(packet, ethernet::LENGTH, datagram),
        _ => Err(Fault::Malformed),
    }
}

/// Reads the transport header, or what stands in its place.
#[inline(always)]
pub(super) fn understand_transport<P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    match datagram.family {
        FamilyId::V4 => read_transport::<V4, P>(packet, datagram),
        FamilyId::V6 => read_transport::<V6, P>(packet, datagram),
    }
}

/// The source address, and the protocol or first extension header, of the packet of an IPv4 or IPv6 frame.
#[inline(always)]
pub(super) fn source<P: Packet + ?Sized>(
    packet: &mut P,
    frame: &Ethernet,
) -> Option<(Address, u8)> {
    match frame.ether_type {
        ether_type::IPV4 => V4::source(packet, ethernet::LENGTH),
        _ => V6::source(packet, ethernet::LENGTH),
    }
}

/// Reads the packet whose network header stands at `at`, but for what [`read_transport`] reads.
#[inline(always)]
fn read_network<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    at: usize,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    packet.ensure(at + 40);
    let layer3 = F::read(packet, at, false)?;
    datagram.family = F::ID;
    datagram.kind = Kind::NotUnderstood;
    datagram.key.source_port = [0; 2];
    datagram.key.destination_port = [0; 2];
    datagram.key.protocol = u32::from(layer3.protocol);
    datagram.network = at as u16;
    datagram.transport = layer3.payload as u16;
    datagram.length = layer3.length;
    datagram.protocol = layer3.protocol;
    datagram.hop_limit = layer3.hop_limit;
    datagram.traffic_class = layer3.traffic_class;
    datagram.detail = 0;
    datagram.part = layer3.part;
    datagram.identification = layer3.identification;
    datagram.identification_at = layer3.identification_at as u16;
    datagram.extended = layer3.extended;
    datagram.routed = layer3.routed;
    let (source, destination) = F::addresses(packet, at)?;
    datagram.key.source = source;
    datagram.key.destination = destination;
    datagram.source = source;
    datagram.destination = destination;
    Ok(())
}

/// Reads the transport header: ports, what kind of packet it is, and how long its segments will be.
#[inline(always)]
fn read_transport<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    if matches!(datagram.part, Part::Later) {
        datagram.kind = Kind::LaterFragment;
        let protocol = datagram.fragment_protocol();
        datagram.key.set_fragment(protocol, datagram.identification);
    } else {
        transport::<F, P>(packet, datagram)?;
    }
    if datagram.routed {
        datagram.kind = Kind::NotUnderstood;
    }
    let segment = packet.segment_size();
    if segment != 0 {
        let at = datagram.transport as usize;
        let header = match datagram.kind {
            Kind::Transport(Protocol::Tcp) => {
                packet.window::<2>(at + 12).map_or(tcp::MINIMUM, |byte| tcp::header_length(byte[0]))
            }
            _ => udp::LENGTH,
        };
        // The option by which the kernel says how long an IPv6 packet of BIG TCP is; no segment has it (until Linux 7.0,
        // `ipv6_hopopt_jumbo_remove`). The kernel's own stack counts it, and takes the segments for too long. Linux 7.0 has
        // none: there a packet with another header counts 8 bytes too few, and its sender's MTU holds all the same.
        let jumbo = match F::ID {
            FamilyId::V6 if datagram.extended && datagram.length > ipv6::LONGEST => {
                ipv6::JUMBO_HEADER
            }
            _ => 0,
        };
        datagram.length = segment + (at + header - datagram.network as usize) as u32 - jumbo;
    }
    Ok(())
}

#[inline(always)]
fn transport<F: Family, P: Packet + ?Sized>(
    packet: &mut P,
    datagram: &mut Datagram,
) -> Result<(), Fault> {
    let at = datagram.transport as usize;
    // A header that the packet is too short for would be read from what follows it in the frame (RFC 7112).
    let room = (u32::from(datagram.network) + datagram.length).saturating_sub(at as u32) as usize;
    if datagram.protocol == protocol::TCP {
        if room < tcp::MINIMUM {
            return Err(Fault::Malformed);
        }
        packet.ensure(at + tcp::MINIMUM);
        let bytes = packet.window::<{ tcp::MINIMUM }>(at).ok_or(Fault::Malformed)?;
        let header = tcp::header_length(bytes[12]);
        if header < tcp::MINIMUM {
            return Err(Fault::Malformed);
        }
        let (sequence, acknowledged) = tcp::numbers(bytes);
        let length = room.saturating_sub(header) as u32 + tcp::numbered_flags(bytes[13]);
        datagram.segment = Segment { sequence, acknowledged, length };
        datagram.key.source_port = [bytes[0], bytes[1]];
        datagram.key.destination_port = [bytes[2], bytes[3]];
        datagram.detail = bytes[13];
        datagram.kind = Kind::Transport(Protocol::Tcp);
    } else if datagram.protocol == protocol::UDP {
        if room < udp::LENGTH {
            return Err(Fault::Malformed);
        }
        packet.ensure(at + udp::LENGTH);
        let bytes = packet.window::<{ udp::LENGTH }>(at).ok_or(Fault::Malformed)?;
        datagram.key.source_port = [bytes[0], bytes[1]];
        datagram.key.destination_port = [bytes[2], bytes[3]];
        datagram.kind = Kind::Transport(Protocol::Udp);
    } else if datagram.protocol == F::ICMP {
        if room < icmp::LENGTH {
            return Err(Fault::Malformed);
        }
        packet.ensure(at + icmp::LENGTH);
        let bytes = packet.window::<{ icmp::LENGTH }>(at).ok_or(Fault::Malformed)?;
        datagram.detail = bytes[0];
        datagram.key.protocol = Protocol::Icmp as u32;
        match F::message(bytes[0]) {
            icmp::Message::EchoRequest => {
                datagram.key.source_port = [bytes[4], bytes[5]];
                datagram.kind = Kind::Transport(Protocol::Icmp);
            }
            icmp::Message::EchoReply => {
                datagram.key.destination_port = [bytes[4], bytes[5]];
                datagram.kind = Kind::Transport(Protocol::Icmp);
            }
            icmp::Message::Error => quoted::<F, P>(packet, at + icmp::LENGTH, datagram),
            icmp::Message::Redirect | icmp::Message::Other => {}
        }
    }
    Ok(())
}

/// Reads the packet that an ICMP error quotes: its header and at least 8 bytes after it (RFC 792). What
/// cannot be read leaves the error not understood.
#[inline(always)]
fn quoted<F: Family, P: Packet + ?Sized>(packet: &mut P, at: usize, datagram: &mut Datagram) {
    packet.ensure(at + 68);
    let Ok(inner) = F::read(packet, at, true) else { return };
    if matches!(inner.part, Part::Later) || inner.routed || inner.payload > FARTHEST {
        return;
    }
    let Some(bytes) = packet.window::<8>(inner.payload) else { return };
    // Written as the inverse, and only once it is known to be an error that can be followed.
    let (source_port, destination_port, protocol) = match inner.protocol {
        protocol::TCP => ([bytes[0], bytes[1]], [bytes[2], bytes[3]], Protocol::Tcp),
        protocol::UDP => ([bytes[0], bytes[1]], [bytes[2], bytes[3]], Protocol::Udp),
        number if number == F::ICMP => match F::message(bytes[0]) {
            icmp::Message::EchoRequest => ([bytes[4], bytes[5]], [0; 2], Protocol::Icmp),
            icmp::Message::EchoReply => ([0; 2], [bytes[4], bytes[5]], Protocol::Icmp),
            _ => return,
        },
        _ => return,
    };
    let Ok((source, destination)) = F::addresses(packet, at) else { return };
    datagram.key.source = destination;
    datagram.key.destination = source;
    datagram.key.source_port = destination_port;
    datagram.key.destination_port = source_port;
    datagram.key.protocol = protocol as u32;
    datagram.kind =
        Kind::Error { protocol, quoted: at as u16, quoted_payload: inner.payload as u16 };
}
