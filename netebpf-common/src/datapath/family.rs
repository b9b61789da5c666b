//! IPv4 and IPv6: the little that differs.

use super::{
    datagram::{Fault, Layer3, Part},
    packet::Packet,
};
use crate::{
    abi::Address,
    wire::{checksum::Change, icmp, ipv4, ipv6, protocol},
};

/// The family of a packet, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FamilyId {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::V4 {}
    impl Sealed for super::V6 {}
}

/// A family, as a type.
pub trait Family: sealed::Sealed {
    /// As a value.
    const ID: FamilyId;
    /// The number of its ICMP.
    const ICMP: u8;
    /// Whether its ICMP's checksum covers a pseudo-header.
    const ICMP_PSEUDO_HEADER: bool;

    /// Reads the header at `at`, but for its addresses. `quoted` packets, in ICMP errors, may be longer than
    /// what is there.
    fn read<P: Packet + ?Sized>(packet: &mut P, at: usize, quoted: bool) -> Result<Layer3, Fault>;

    /// The source and the destination address of the header at `at`. They are read last, and go from the
    /// packet to where they are kept: across the walk through IPv6's headers a program's stack has no room
    /// for them.
    fn addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
    ) -> Result<(Address, Address), Fault>;

    /// The source address and the protocol (or first extension header) of the header at `at`: the little
    /// that tells the host's own packets from all others.
    fn source<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<(Address, u8)>;

    /// What an ICMP message is.
    fn message(kind: u8) -> icmp::Message;

    /// Writes both addresses into the header at `at`, its own checksum included.
    fn write_addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
        source: &Address,
        destination: &Address,
        change: Change,
    ) -> Option<()>;

    /// Lowers the hop limit of the header at `at` by one.
    fn lower_hop_limit<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<()>;

    /// Adds to the identification at `field`, in a packet whose header stands at `at`.
    fn add_to_identification<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
        field: usize,
        number: u32,
    ) -> Option<()>;
}

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub enum V4 {}

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub enum V6 {}

impl Family for V4 {
    const ID: FamilyId = FamilyId::V4;
    const ICMP: u8 = protocol::ICMP;
    const ICMP_PSEUDO_HEADER: bool = false;

    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &mut P, at: usize, quoted: bool) -> Result<Layer3, Fault> {
        let room = (packet.length() as usize).saturating_sub(at);
        let segmented = packet.segment_size() != 0;
        let header = ipv4::Ipv4(packet.window::<{ ipv4::MINIMUM }>(at).ok_or(Fault::Malformed)?);
        let header_length = header.header_length();
        let total = header.total_length() as usize;
        // BIG TCP leaves the total length 0: the frame's own length counts (kernel b1a78b9b9886).
        let big = total == 0 && (quoted || segmented);
        let fits = big || (total >= header_length && (quoted || total <= room));
        if header.version() != 4 || header_length < ipv4::MINIMUM || !fits {
            return Err(Fault::Malformed);
        }
        let [high, low] = header.identification();
        Ok(Layer3 {
            protocol: header.protocol(),
            hop_limit: header.hop_limit(),
            traffic_class: header.traffic_class(),
            part: match header.fragment() {
                (0, false) => Part::Whole,
                (0, true) => Part::First,
                _ => Part::Later,
            },
            identification: [high, low, 0, 0],
            // One that may not be cut means nothing (RFC 6864 §4).
            identification_at: if header.may_be_cut() { at + ipv4::IDENTIFICATION } else { 0 },
            extended: false,
            routed: false,
            length: if total == 0 { room } else { total } as u32,
            payload: at + header_length,
        })
    }

    #[inline(always)]
    fn addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
    ) -> Result<(Address, Address), Fault> {
        let header = ipv4::Ipv4(packet.window::<{ ipv4::MINIMUM }>(at).ok_or(Fault::Malformed)?);
        Ok((Address::v4(header.source()), Address::v4(header.destination())))
    }

    #[inline(always)]
    fn source<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<(Address, u8)> {
        let header = ipv4::Ipv4(packet.window::<{ ipv4::MINIMUM }>(at)?);
        Some((Address::v4(header.source()), header.protocol()))
    }

    #[inline(always)]
    fn message(kind: u8) -> icmp::Message {
        icmp::message_v4(kind)
    }

    #[inline(always)]
    fn write_addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
        source: &Address,
        destination: &Address,
        change: Change,
    ) -> Option<()> {
        use crate::wire::checksum;
        let [s0, s1, s2, s3] = source.last_four();
        let [d0, d1, d2, d3] = destination.last_four();
        let bytes = packet.window::<10>(at + ipv4::CHECKSUM)?;
        let [c0, c1] = checksum::updated([bytes[0], bytes[1]], change);
        *bytes = [c0, c1, s0, s1, s2, s3, d0, d1, d2, d3];
        Some(())
    }

    #[inline(always)]
    fn lower_hop_limit<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<()> {
        use crate::wire::checksum;
        let bytes = packet.window::<4>(at + ipv4::HOP_LIMIT)?;
        let [limit, protocol, c0, c1] = *bytes;
        let lower = limit.wrapping_sub(1);
        let change = Change::NONE.word([limit, protocol], [lower, protocol]);
        let [c0, c1] = checksum::updated([c0, c1], change);
        *bytes = [lower, protocol, c0, c1];
        Some(())
    }

    #[inline(always)]
    fn add_to_identification<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
        field: usize,
        number: u32,
    ) -> Option<()> {
        use crate::wire::checksum;
        let bytes = packet.window::<2>(field)?;
        let old = *bytes;
        let new = u16::from_be_bytes(old).wrapping_add(number as u16).to_be_bytes();
        *bytes = new;
        let bytes = packet.window::<2>(at + ipv4::CHECKSUM)?;
        *bytes = checksum::updated(*bytes, Change::NONE.word(old, new));
        Some(())
    }
}

impl Family for V6 {
    const ID: FamilyId = FamilyId::V6;
    const ICMP: u8 = protocol::ICMPV6;
    const ICMP_PSEUDO_HEADER: bool = true;

    #[inline(always)]
    fn read<P: Packet + ?Sized>(packet: &mut P, at: usize, quoted: bool) -> Result<Layer3, Fault> {
        let room = (packet.length() as usize).saturating_sub(at);
        let header = ipv6::Ipv6(packet.window::<{ ipv6::LENGTH }>(at).ok_or(Fault::Malformed)?);
        let payload_length = header.payload_length() as usize;
        let fits = quoted || payload_length + ipv6::LENGTH <= room;
        if header.version() != 6 || !fits {
            return Err(Fault::Malformed);
        }
        let next_header = header.next_header();
        let hop_limit = header.hop_limit();
        let traffic_class = header.0[0] << 4 | header.0[1] >> 4;
        let chain = extension_headers(packet, at + ipv6::LENGTH, next_header);
        Ok(Layer3 {
            protocol: chain.protocol,
            hop_limit,
            traffic_class,
            part: chain.part,
            identification: chain.identification,
            identification_at: chain.identification_at,
            extended: chain.extended,
            routed: chain.routed,
            length: if payload_length == 0 { room } else { payload_length + ipv6::LENGTH } as u32,
            payload: chain.payload,
        })
    }

    #[inline(always)]
    fn addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
    ) -> Result<(Address, Address), Fault> {
        let header = ipv6::Ipv6(packet.window::<{ ipv6::LENGTH }>(at).ok_or(Fault::Malformed)?);
        let (source, destination) =
            (Address::new(header.source()), Address::new(header.destination()));
        // IPv4-mapped addresses never stand in a header on the wire (RFC 4942 §2.2), and in our keys
        // they mean the other family.
        if source.is_mapped() || destination.is_mapped() {
            return Err(Fault::Malformed);
        }
        Ok((source, destination))
    }

    #[inline(always)]
    fn source<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<(Address, u8)> {
        let header = ipv6::Ipv6(packet.window::<{ ipv6::LENGTH }>(at)?);
        Some((Address::new(header.source()), header.next_header()))
    }

    #[inline(always)]
    fn message(kind: u8) -> icmp::Message {
        icmp::message_v6(kind)
    }

    #[inline(always)]
    fn write_addresses<P: Packet + ?Sized>(
        packet: &mut P,
        at: usize,
        source: &Address,
        destination: &Address,
        _change: Change,
    ) -> Option<()> {
        *packet.window::<16>(at + ipv6::ADDRESSES)? = source.octets();
        *packet.window::<16>(at + ipv6::ADDRESSES + 16)? = destination.octets();
        Some(())
    }

    #[inline(always)]
    fn lower_hop_limit<P: Packet + ?Sized>(packet: &mut P, at: usize) -> Option<()> {
        let bytes = packet.window::<2>(at + ipv6::HOP_LIMIT - 1)?;
        let [next_header, limit] = *bytes;
        let lower = limit.wrapping_sub(1);
        *bytes = [next_header, lower];
        packet.changed_outside_checksums(
            Change::NONE.word([next_header, limit], [next_header, lower]),
        );
        Some(())
    }

    #[inline(always)]
    fn add_to_identification<P: Packet + ?Sized>(
        packet: &mut P,
        _at: usize,
        field: usize,
        number: u32,
    ) -> Option<()> {
        let bytes = packet.window::<4>(field)?;
        let old = *bytes;
        let new = u32::from_be_bytes(old).wrapping_add(number).to_be_bytes();
        *bytes = new;
        let ([a, b, c, d], [e, f, g, h]) = (old, new);
        packet.changed_outside_checksums(Change::NONE.word([a, b], [e, f]).word([c, d], [g, h]));
        Some(())
    }
}

/// Where the chain of extension headers leads.
struct Chain {
    protocol: u8,
    payload: usize,
    part: Part,
    identification: [u8; 4],
    identification_at: usize,
    extended: bool,
    routed: bool,
}

/// Most packets have none, and neighbour discovery must not hide behind any (RFC 6980, RFC 7113), so
/// four headers are followed and a longer chain is not understood.
#[inline(always)]
fn extension_headers<P: Packet + ?Sized>(packet: &mut P, mut at: usize, mut next: u8) -> Chain {
    let mut part = Part::Whole;
    let mut identification = [0; 4];
    let mut identification_at = 0;
    let mut extended = false;
    let mut routed = false;
    // Whether it was followed to its end.
    let mut whole = false;
    let mut n = 0;
    while n < 4 {
        match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                packet.ensure(at + 8);
                let Some([following, length]) = packet.window::<2>(at) else { break };
                routed |= next == protocol::ROUTING;
                next = *following;
                at += (*length as usize + 1) << 3;
            }
            protocol::FRAGMENT => {
                packet.ensure(at + 8);
                let Some([following, _, high, low, id @ ..]) = packet.window::<8>(at) else {
                    break;
                };
                let offset = u16::from_be_bytes([*high, *low]);
                next = *following;
                at += 8;
                identification = *id;
                // An atomic fragment (RFC 6946), offset 0 and no more to come, is a whole packet.
                if offset & !6 != 0 {
                    identification_at = at - 4;
                    part = Part::First;
                }
                if offset & !7 != 0 {
                    part = Part::Later;
                    extended = true;
                    whole = true;
                    break;
                }
            }
            _ => {
                whole = true;
                break;
            }
        }
        extended = true;
        n += 1;
    }
    Chain {
        // Too long a chain, or one that is cut off: a protocol that nobody has.
        protocol: if whole { next } else { protocol::HOP_BY_HOP },
        payload: at,
        part,
        identification,
        identification_at,
        extended: extended || !whole,
        routed,
    }
}

/// Runs a generic function for the family of a datagram.
macro_rules! for_family {
    ($datagram:expr, $function:ident ( $($argument:expr),* )) => {
        match $datagram.family {
            $crate::datapath::family::FamilyId::V4 => $function::<$crate::datapath::family::V4, _>($($argument),*),
            $crate::datapath::family::FamilyId::V6 => $function::<$crate::datapath::family::V6, _>($($argument),*),
        }
    };
}
pub(crate) use for_family;
