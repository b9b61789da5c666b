//! Frames, described once for both families.
//!
//! `tcp(WEB_1, 40_000, WORLD, 443).syn()` is a frame that WEB_1 sends: Ethernet addresses, lengths and
//! checksums follow from the stations, and from what the description adds to it. What exists in one
//! family only (ARP, IPv4 options, IPv6 extension headers) makes the frame one of that family.

mod build;
mod checksums;

pub use checksums::{checksums_are_right, recompute_checksums};

use super::{
    case::place_of,
    station::{EVERYBODY, HOST, Place, ROUTER, SiteName, Station},
};
use crate::{
    abi::Mac,
    datapath::{FamilyId, identification_of},
    wire::protocol,
};

/// A frame, described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Who sends it.
    pub from: Station,
    /// Whom it is for.
    pub to: Station,
    body: Body,
    payload: Vec<u8>,
    from_mac: Option<Mac>,
    to_mac: Option<Mac>,
    hop_limit: u8,
    traffic_class: u8,
    total_length: Option<u16>,
    options: Vec<u8>,
    extensions: Vec<Extension>,
    fragment: Option<(u16, bool)>,
    identification: u32,
    uncut: bool,
    tags: Vec<[u8; 4]>,
    ether_type: Option<u16>,
    patches: Vec<(Layer, usize, Vec<u8>)>,
    cut: Option<usize>,
    pub(super) segment_size: u32,
    only: Option<FamilyId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Body {
    Tcp { source: u16, destination: u16, flags: u8, numbers: (u32, u32) },
    Udp { source: u16, destination: u16, checksum: bool },
    Echo { request: bool, identifier: u16 },
    Error { kind: ErrorKind, about: Box<Frame>, quote: usize },
    Message { v4: u8, v6: u8 },
    Neighbour { kind: u8, flags: u8, target: Station, option: Option<(u8, [u8; 6])> },
    Arp { operation: u8, sender: (Mac, [u8; 4]), target: (Mac, [u8; 4]) },
    Raw { protocol: u8 },
}

/// An IPv6 extension header: its number and its bytes after the first two.
type Extension = (u8, Vec<u8>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Network,
    Transport,
}

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Nobody listens at the port.
    PortUnreachable,
    /// The packet is longer than the next link takes.
    TooBig(u16),
    /// The hop limit came to its end on the way.
    TimeExceeded,
    /// Something in the header is wrong.
    ParameterProblem,
}

/// Numbers of protocols that nobody translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocols {}

impl Protocols {
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// A TCP segment without flags.
pub fn tcp(from: Station, source: u16, to: Station, destination: u16) -> Frame {
    Frame::new(from, to, Body::Tcp { source, destination, flags: 0, numbers: (1, 0) })
}

/// A UDP datagram.
pub fn udp(from: Station, source: u16, to: Station, destination: u16) -> Frame {
    Frame::new(from, to, Body::Udp { source, destination, checksum: true })
}

/// An echo request.
pub fn echo_request(from: Station, to: Station, identifier: u16) -> Frame {
    Frame::new(from, to, Body::Echo { request: true, identifier })
}

/// An echo reply.
pub fn echo_reply(from: Station, to: Station, identifier: u16) -> Frame {
    Frame::new(from, to, Body::Echo { request: false, identifier })
}

/// An ICMP error about a packet, to its sender. It quotes the whole packet: see [`Frame::quoting`].
pub fn icmp_error(kind: ErrorKind, from: Station, about: Frame) -> Frame {
    let (to, only) = (about.from, about.only);
    let body = Body::Error { kind, about: Box::new(about), quote: usize::MAX };
    Frame { only, ..Frame::new(from, to, body) }
}

/// Another ICMP message, by its type in either family.
pub fn icmp_message(from: Station, to: Station, v4: u8, v6: u8) -> Frame {
    Frame::new(from, to, Body::Message { v4, v6 })
}

/// A packet of another protocol.
pub fn raw(from: Station, to: Station, protocol: u8) -> Frame {
    Frame::new(from, to, Body::Raw { protocol }).payload(&[7; 24])
}

/// An ARP request by `from` that says that an address is its own, for its gateway's.
pub fn arp(from: Station, own: Station) -> Frame {
    let target = from.site().map_or(ROUTER.v4, |site| site.gateway.v4);
    arp_message(1, from, EVERYBODY, [(from.mac, own.v4), (Mac([0; 6]), target)])
}

/// An ARP request by `from` for the address of `target`.
pub fn arp_request(from: Station, target: Station) -> Frame {
    arp_message(1, from, EVERYBODY, [(from.mac, from.v4), (Mac([0; 6]), target.v4)])
}

/// What `from` answers to the ARP request of `to`.
pub fn arp_reply(from: Station, to: Station) -> Frame {
    arp_message(2, from, to, [(from.mac, from.v4), (to.mac, to.v4)])
}

fn arp_message(
    operation: u8,
    from: Station,
    to: Station,
    [sender, target]: [(Mac, [u8; 4]); 2],
) -> Frame {
    let body = Body::Arp { operation, sender, target };
    Frame { only: Some(FamilyId::V4), ..Frame::new(from, to, body) }
}

/// A neighbour solicitation by `from` for the address of `target`.
pub fn neighbour_solicitation(from: Station, target: Station) -> Frame {
    neighbour(135, (from, EVERYBODY), target)
}

/// A neighbour advertisement by `from` that says that the address of `target` is its own.
pub fn neighbour_advertisement(from: Station, target: Station) -> Frame {
    neighbour(136, (from, EVERYBODY), target)
}

/// What `from` answers to the neighbour solicitation of `to`, or of somebody without an address to [`EVERYBODY`], with
/// these flags.
pub fn neighbour_answer(from: Station, to: Station, flags: u8) -> Frame {
    let frame = neighbour(136, (from, to), from);
    let Body::Neighbour { kind, target, option, .. } = frame.body else { return frame };
    Frame { body: Body::Neighbour { kind, flags, target, option }, ..frame }
}

fn neighbour(kind: u8, (from, to): (Station, Station), target: Station) -> Frame {
    let body = Body::Neighbour { kind, flags: 0, target, option: Some((kind - 134, from.mac.0)) };
    let frame = Frame::new(from, to, body);
    Frame { only: Some(FamilyId::V6), hop_limit: 255, ..frame }
}

impl Frame {
    fn new(from: Station, to: Station, body: Body) -> Self {
        Self {
            from,
            to,
            body,
            payload: Vec::new(),
            from_mac: None,
            to_mac: None,
            hop_limit: 64,
            traffic_class: 0,
            total_length: None,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            identification: 9,
            uncut: true,
            tags: Vec::new(),
            ether_type: None,
            patches: Vec::new(),
            cut: None,
            segment_size: 0,
            only: None,
        }
    }

    /// The same frame from somebody else, to somebody else.
    #[must_use]
    pub fn between(mut self, from: Station, to: Station) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Whether it exists in a family.
    pub fn is_of(&self, family: FamilyId) -> bool {
        self.only.is_none_or(|only| only == family)
    }

    /// A frame of one family only.
    #[must_use]
    pub fn only(mut self, family: FamilyId) -> Self {
        self.only = Some(family);
        self
    }

    fn flag(mut self, flag: u8) -> Self {
        match &mut self.body {
            Body::Tcp { flags, .. } => *flags |= flag,
            other => panic!("no TCP flags in {other:?}"),
        }
        self
    }

    /// Sets SYN.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flag(crate::wire::tcp::flag::SYN)
    }

    /// Sets ACK.
    #[must_use]
    pub fn ack(self) -> Self {
        self.flag(crate::wire::tcp::flag::ACK)
    }

    /// Sets FIN.
    #[must_use]
    pub fn fin(self) -> Self {
        self.flag(crate::wire::tcp::flag::FIN)
    }

    /// Sets RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.flag(crate::wire::tcp::flag::RST)
    }

    /// Other sequence and acknowledgement numbers than 1 and 0.
    #[must_use]
    pub fn numbers(mut self, sequence: u32, acknowledgement: u32) -> Self {
        match &mut self.body {
            Body::Tcp { numbers, .. } => *numbers = (sequence, acknowledgement),
            other => panic!("no TCP numbers in {other:?}"),
        }
        self
    }

    /// Leaves the UDP checksum 0.
    #[must_use]
    pub fn no_checksum(mut self) -> Self {
        match &mut self.body {
            Body::Udp { checksum, .. } => *checksum = false,
            other => panic!("no UDP checksum in {other:?}"),
        }
        self
    }

    /// An ICMP error that quotes only so many bytes after the network header.
    #[must_use]
    pub fn quoting(mut self, bytes: usize) -> Self {
        match &mut self.body {
            Body::Error { quote, .. } => *quote = bytes,
            other => panic!("nothing quoted in {other:?}"),
        }
        self
    }

    /// An ARP or neighbour discovery message that says another Ethernet address.
    #[must_use]
    pub fn saying(mut self, mac: Mac) -> Self {
        match &mut self.body {
            Body::Arp { sender: (hardware, _), .. } => *hardware = mac,
            Body::Neighbour { option: Some((_, address)), .. } => *address = mac.0,
            other => panic!("no Ethernet address in {other:?}"),
        }
        self
    }

    /// A neighbour discovery message without options.
    #[must_use]
    pub fn saying_nothing(mut self) -> Self {
        match &mut self.body {
            Body::Neighbour { option, .. } => *option = None,
            other => panic!("no options in {other:?}"),
        }
        self
    }

    /// A neighbour discovery message with a nonce (RFC 3971 §5.3.2) and no Ethernet address.
    #[must_use]
    pub fn with_nonce(mut self) -> Self {
        match &mut self.body {
            Body::Neighbour { option, .. } => *option = Some((14, [1, 2, 3, 4, 5, 6])),
            other => panic!("no options in {other:?}"),
        }
        self
    }

    /// What it carries.
    #[must_use]
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        self.payload = bytes.to_vec();
        self
    }

    /// Another Ethernet source.
    #[must_use]
    pub fn from_mac(mut self, mac: Mac) -> Self {
        self.from_mac = Some(mac);
        self
    }

    /// Another Ethernet destination.
    #[must_use]
    pub fn to_mac(mut self, mac: Mac) -> Self {
        self.to_mac = Some(mac);
        self
    }

    /// Time to live; 64 unless said.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// As it is one hop later.
    #[must_use]
    pub fn one_hop_later(mut self) -> Self {
        self.hop_limit -= 1;
        self
    }

    /// DSCP and ECN.
    #[must_use]
    pub fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// The length that the network header says (IPv4: the total; IPv6: the payload's).
    #[must_use]
    pub fn stated_length(mut self, length: u16) -> Self {
        self.total_length = Some(length);
        self
    }

    /// A frame that will be cut into segments with so many bytes of payload.
    #[must_use]
    pub fn segments(mut self, size: u32) -> Self {
        self.segment_size = size;
        self
    }

    /// IPv4 options, a multiple of four bytes.
    #[must_use]
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.only(FamilyId::V4)
    }

    /// IPv6 hop-by-hop options.
    #[must_use]
    pub fn hop_by_hop(self) -> Self {
        self.extension(protocol::HOP_BY_HOP, &[1, 4, 0, 0, 0, 0])
    }

    /// IPv6 destination options, of twice the shortest length.
    #[must_use]
    pub fn destination_options(self) -> Self {
        self.extension(protocol::DESTINATION_OPTIONS, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// An IPv6 routing header with no segments left.
    #[must_use]
    pub fn routing(self) -> Self {
        self.extension(protocol::ROUTING, &[4, 0, 0, 0, 0, 0])
    }

    /// An IPv6 fragment header on a whole packet (RFC 6946).
    #[must_use]
    pub fn atomic(self) -> Self {
        self.extension(protocol::FRAGMENT, &[0, 0, 0, 0, 0, 9])
    }

    fn extension(mut self, number: u8, contents: &[u8]) -> Self {
        self.extensions.push((number, contents.to_vec()));
        self.only(FamilyId::V6)
    }

    /// A fragment, with its offset in units of eight bytes, and whether more follow. One with an offset
    /// has no transport header.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment = Some((offset, more));
        self
    }

    /// Whole, and routers may cut it.
    #[must_use]
    pub fn may_be_cut(mut self) -> Self {
        self.uncut = false;
        self
    }

    /// With the identification that it gets on its way from this endpoint.
    #[must_use]
    pub fn identified(mut self, sender: Station) -> Self {
        let (_, slot, _) = place_of(&sender);
        self.identification = self.identification.wrapping_add(identification_of(slot));
        self
    }

    /// An 802.1Q tag.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        self.tags.push([0x81, 0, high, low]);
        self
    }

    /// An 802.1ad service tag.
    #[must_use]
    pub fn service_tag(mut self, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        self.tags.push([0x88, 0xa8, high, low]);
        self
    }

    /// Another EtherType than the packet's.
    #[must_use]
    pub fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = Some(ether_type);
        self
    }

    /// Bytes of the network header overwritten after everything else; its checksum does not follow.
    #[must_use]
    pub fn network_bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((Layer::Network, at, bytes.to_vec()));
        self
    }

    /// Bytes of the transport header overwritten after everything else; its checksum does not follow.
    #[must_use]
    pub fn transport_bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((Layer::Transport, at, bytes.to_vec()));
        self
    }

    /// A frame of so many bytes, the rest lost.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    fn macs(&self) -> (Mac, Mac) {
        let (from, to) = self.link();
        (self.to_mac.unwrap_or(to), self.from_mac.unwrap_or(from))
    }

    /// Source and destination, as the topology has it.
    fn link(&self) -> (Mac, Mac) {
        let number = |station: &Station| station.site().map(|site| site.number);
        let to = match (self.from.site(), self.to.place) {
            _ if self.to.mac == EVERYBODY.mac => self.to.mac,
            (Some(site), _) if number(&self.to) != Some(site.number) => site.gateway.mac,
            (None, Place::Host | Place::Inside(_) | Place::Endpoint { .. })
                if self.from.place != Place::Host =>
            {
                HOST.mac
            }
            (_, Place::Beyond) => ROUTER.mac,
            _ => self.to.mac,
        };
        let from = match (self.from.place, self.to.place) {
            (Place::Beyond, _) => ROUTER.mac,
            (Place::Host, Place::Inside(site) | Place::Endpoint { site, .. }) => gateway(site),
            _ => self.from.mac,
        };
        (from, to)
    }
}

const fn gateway(site: SiteName) -> Mac {
    site.site().gateway.mac
}
