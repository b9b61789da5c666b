//! Frames: those that a test sends by hand, and what a sniffer reads out of those that it sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// EtherTypes.
pub mod ether {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// The outer one of two VLAN tags.
    pub const QINQ: u16 = 0x88a8;
    /// Local experiments: the laboratory's own marks.
    pub const MARK: u16 = 0x88b5;
}

/// IP protocols.
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6's fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ESP.
    pub const ESP: u8 = 50;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// Local experiments.
    pub const EXPERIMENT: u8 = 253;
}

/// An Ethernet frame.
pub fn ethernet(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 or IPv6 packet, whole, with a hop limit of 64.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ip_with(from, to, protocol, 64, &[], payload)
}

/// An IP packet with a hop limit and, in IPv4, options (a multiple of four bytes).
pub fn ip_with(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    hops: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = 20 + options.len();
            let length = (header + payload.len()) as u16;
            let mut packet = vec![0x40 | (header / 4) as u8, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0x12, 0x34, 0, 0, hops, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(options);
            fill_header_checksum(&mut packet);
            packet.extend(payload);
            packet
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, hops]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            packet
        }
        _ => panic!("{from} and {to} are not of one family"),
    }
}

/// The same frame with VLAN tags, the outer one first: each an EtherType and what follows it.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    let tags = tags.iter().flat_map(|(kind, tag)| [kind.to_be_bytes(), tag.to_be_bytes()].concat());
    [addresses, &tags.collect::<Vec<_>>(), rest].concat()
}

/// The same packet with a type of service, or traffic class.
pub fn with_class(mut packet: Vec<u8>, class: u8) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        packet[1] = class;
        fill_header_checksum(&mut packet);
    } else {
        packet[0] = 0x60 | class >> 4;
        packet[1] = packet[1] & 0x0f | class << 4;
    }
    packet
}

/// The same packet with a hop limit.
pub fn with_hops(mut packet: Vec<u8>, hops: u8) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        packet[8] = hops;
        fill_header_checksum(&mut packet);
    } else {
        packet[7] = hops;
    }
    packet
}

/// IPv4's.
fn fill_header_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..usize::from(packet[0] & 15) * 4]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A packet in fragments, each but the last with `cut` bytes of the payload, a multiple of eight.
pub fn in_pieces(
    from: IpAddr,
    to: IpAddr,
    (protocol, identification): (u8, u16),
    payload: &[u8],
    cut: usize,
) -> Vec<Vec<u8>> {
    let last = payload.len().div_ceil(cut) - 1;
    let id = identification.to_be_bytes();
    let piece = |(n, part): (usize, &[u8])| {
        let (offset, more) = ((n * cut / 8) as u16, n != last);
        if from.is_ipv4() {
            let mut packet = ip(from, to, protocol, part);
            let word = offset | if more { 0x2000 } else { 0 };
            packet[4..6].copy_from_slice(&id);
            packet[6..8].copy_from_slice(&word.to_be_bytes());
            fill_header_checksum(&mut packet);
            packet
        } else {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            let header = [protocol, 0, high, low, 0, 0, id[0], id[1]];
            ip(from, to, proto::FRAGMENT, &[&header, part].concat())
        }
    };
    payload.chunks(cut).enumerate().map(piece).collect()
}

/// A UDP packet.
pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    ip(from.0, to.0, proto::UDP, &udp_datagram(from, to, payload))
}

/// UDP's header and payload, for a packet that is built by hand.
pub fn udp_datagram(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut datagram = [from.1, to.1, length, 0].map(u16::to_be_bytes).concat();
    datagram.extend(payload);
    fill_checksum(&mut datagram, 6, from.0, to.0, proto::UDP);
    datagram
}

/// A TCP SYN.
pub fn syn(from: (IpAddr, u16), to: (IpAddr, u16)) -> Vec<u8> {
    segment(from, to, 1, 0x02)
}

/// A TCP reset.
pub fn reset(from: (IpAddr, u16), to: (IpAddr, u16), sequence: u32) -> Vec<u8> {
    segment(from, to, sequence, 0x04)
}

/// A TCP segment without data.
pub fn segment(from: (IpAddr, u16), to: (IpAddr, u16), sequence: u32, flags: u8) -> Vec<u8> {
    let mut segment = [from.1, to.1].map(u16::to_be_bytes).concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    fill_checksum(&mut segment, 16, from.0, to.0, proto::TCP);
    ip(from.0, to.0, proto::TCP, &segment)
}

/// An ICMP message of the addresses' family; `body` follows the checksum.
pub fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(body);
    let protocol = if from.is_ipv4() { proto::ICMP } else { proto::ICMPV6 };
    fill_checksum(&mut message, 2, from, to, protocol);
    // Neighbour discovery is believed only with a hop limit of 255 (RFC 4861 §6.1).
    ip_with(from, to, protocol, 255, &[], &message)
}

/// An ARP message: operation 1 asks, 2 answers.
pub fn arp(operation: u8, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
    message.extend(sender.0);
    message.extend(sender.1.octets());
    message.extend(target.0);
    message.extend(target.1.octets());
    message
}

/// The one's complement sum of RFC 1071, inverted.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn fill_checksum(message: &mut [u8], at: usize, from: IpAddr, to: IpAddr, protocol: u8) {
    let mut summed = Vec::new();
    if protocol != proto::ICMP {
        for address in [from, to] {
            match address {
                IpAddr::V4(v4) => summed.extend(v4.octets()),
                IpAddr::V6(v6) => summed.extend(v6.octets()),
            }
        }
        summed.extend((message.len() as u32).to_be_bytes());
        summed.extend([0, 0, 0, protocol]);
    }
    summed.extend(&*message);
    let sum = checksum(&summed);
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// What a sniffer tells of a frame.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Ethernet destination.
    pub to: Mac,
    /// Ethernet source.
    pub from: Mac,
    /// EtherType.
    pub kind: u16,
    /// The bytes after the Ethernet header, as many as were kept.
    pub payload: Vec<u8>,
    /// Length on the wire.
    pub length: usize,
    /// IP's source and destination, or ARP's sender and target.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Source and destination of the packet that an ICMP error quotes.
    pub quoted: Option<(IpAddr, IpAddr)>,
    /// IP protocol.
    pub protocol: u8,
    /// Ports, where there are any.
    pub ports: Option<(u16, u16)>,
}

impl std::fmt::Debug for Seen {
    /// One line, as tcpdump's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mac = netebpf_common::abi::Mac;
        write!(f, "{} > {} {:#06x}", mac(self.from), mac(self.to), self.kind)?;
        if let Some((from, to)) = self.addresses {
            write!(f, " {from} > {to} protocol {} ports {:?}", self.protocol, self.ports)?;
        }
        if let Some((from, to)) = self.quoted {
            write!(f, " about {from} > {to}")?;
        }
        write!(f, ", {} bytes:", self.length)?;
        self.payload.iter().take(64).try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

impl Seen {
    /// Reads a frame, of which only the first bytes may be there.
    pub fn parse(frame: &[u8], length: usize) -> Option<Self> {
        let mut seen = Self {
            to: array(frame, 0)?,
            from: array(frame, 6)?,
            kind: u16::from_be_bytes(array(frame, 12)?),
            payload: frame.get(14..)?.to_vec(),
            length,
            ..Self::default()
        };
        let payload = seen.payload.clone();
        if seen.kind == ether::ARP {
            let v4 = |at| array::<4>(&payload, at).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
            seen.addresses = v4(14).zip(v4(24));
        } else if let Some((addresses, protocol, rest)) = read_ip(&payload) {
            seen.addresses = Some(addresses);
            seen.protocol = protocol;
            if matches!(protocol, proto::TCP | proto::UDP) {
                let port = |at| array::<2>(rest, at).map(u16::from_be_bytes);
                seen.ports = port(0).zip(port(2));
            }
            let error = match protocol {
                proto::ICMP => rest.first().is_some_and(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
                proto::ICMPV6 => rest.first().is_some_and(|kind| *kind < 128),
                _ => false,
            };
            let quote = rest.get(8..).filter(|_| error).and_then(read_ip);
            seen.quoted = quote.map(|(addresses, ..)| addresses);
        }
        Some(seen)
    }

    /// Whether it is an IP packet of this protocol from there to there.
    pub fn is(&self, protocol: u8, from: IpAddr, to: IpAddr) -> bool {
        self.kind != ether::ARP && self.protocol == protocol && self.addresses == Some((from, to))
    }

    /// Whether it is IP.
    pub fn is_ip(&self) -> bool {
        matches!(self.kind, ether::IPV4 | ether::IPV6)
    }

    /// Its type of service, or traffic class.
    pub fn class(&self) -> u8 {
        match self.kind {
            ether::IPV4 => self.payload[1],
            _ => self.payload[0] << 4 | self.payload[1] >> 4,
        }
    }

    /// Whether these bytes are in it.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.payload.windows(bytes.len()).any(|window| window == bytes)
    }
}

fn read_ip(packet: &[u8]) -> Option<((IpAddr, IpAddr), u8, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let address =
                |at| array::<4>(packet, at).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
            let header = usize::from(packet[0] & 15) * 4;
            let addresses = address(12).zip(address(16))?;
            let first = packet[6] & 0x1f == 0 && packet[7] == 0;
            let rest = packet.get(header..).filter(|_| first).unwrap_or_default();
            Some((addresses, packet[9], rest))
        }
        6 => {
            let address =
                |at| array::<16>(packet, at).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)));
            let addresses = address(8).zip(address(24))?;
            Some((addresses, packet[6], packet.get(40..).unwrap_or_default()))
        }
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let inner = udp((to, 1), (from, 2), b"x");
            let kind = if from.is_ipv4() { 3 } else { 1 };
            let error = icmp(from, to, kind, 0, &[&[0; 4], &inner[..]].concat());
            let frame =
                ethernet(BROADCAST, [2; 6], if from.is_ipv4() { 0x800 } else { 0x86dd }, &error);
            let seen = Seen::parse(&frame, frame.len()).unwrap();
            assert_eq!(seen.addresses, Some((from, to)));
            assert_eq!(seen.quoted, Some((to, from)));
        }
    }

    #[test]
    fn the_checksum_of_rfc_1071() {
        assert_eq!(checksum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
