//! From a description to bytes.

use super::{Body, ErrorKind, Frame, Layer};
use crate::{
    abi::Mac,
    datapath::FamilyId,
    wire::{protocol, tcp::flag},
};
use etherparse::{
    Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader,
    checksum::Sum16BitWords,
};

impl Frame {
    /// The frame, from its Ethernet header on.
    pub fn bytes(&self, family: FamilyId) -> Vec<u8> {
        let (Mac(destination), Mac(source)) = self.macs();
        let of_packet = match (&self.body, family) {
            (Body::Arp { .. }, _) => 0x0806,
            (_, FamilyId::V4) => 0x0800,
            (_, FamilyId::V6) => 0x86dd,
        };
        let own = self.ether_type.unwrap_or(of_packet);
        let mut bytes =
            Ethernet2Header { source, destination, ether_type: own.into() }.to_bytes().to_vec();
        for tag in self.tags.iter().rev() {
            bytes.splice(12..12, *tag);
        }
        bytes.extend(match &self.body {
            Body::Arp { operation, sender, target } => arp(*operation, *sender, *target),
            _ => self.packet(family),
        });
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }

    /// The packet, from its network header on.
    fn packet(&self, family: FamilyId) -> Vec<u8> {
        let transport = match self.fragment {
            Some((1.., _)) => self.payload.clone(),
            _ => self.transport(family),
        };
        let (mut packet, header) = match family {
            FamilyId::V4 => self.ipv4(&transport),
            FamilyId::V6 => self.ipv6(&transport),
        };
        for (layer, at, bytes) in &self.patches {
            let at = match layer {
                Layer::Network => *at,
                Layer::Transport => header + at,
            };
            packet[at..at + bytes.len()].copy_from_slice(bytes);
        }
        packet
    }

    fn protocol(&self, family: FamilyId) -> u8 {
        match (&self.body, family) {
            (Body::Tcp { .. }, _) => protocol::TCP,
            (Body::Udp { .. }, _) => protocol::UDP,
            (Body::Raw { protocol }, _) => *protocol,
            (_, FamilyId::V4) => protocol::ICMP,
            (_, FamilyId::V6) => protocol::ICMPV6,
        }
    }

    fn ipv4(&self, transport: &[u8]) -> (Vec<u8>, usize) {
        let number = IpNumber(self.protocol(FamilyId::V4));
        let length = u16::try_from(transport.len()).expect("a packet of less than 64 KiB");
        let mut header = Ipv4Header::new(length, self.hop_limit, number, self.from.v4, self.to.v4)
            .expect("a packet of less than 64 KiB");
        header.options = self.options[..].try_into().expect("whole words");
        header.set_payload_len(transport.len()).expect("a packet of less than 64 KiB");
        header.dscp = (self.traffic_class >> 2).try_into().expect("six bits");
        header.ecn = (self.traffic_class & 3).try_into().expect("two bits");
        header.dont_fragment = self.uncut && self.fragment.is_none();
        if !header.dont_fragment {
            header.identification = self.identification as u16;
        }
        if let Some((offset, more)) = self.fragment {
            header.fragment_offset = offset.try_into().expect("13 bits");
            header.more_fragments = more;
        }
        header.total_len = self.total_length.unwrap_or(header.total_len);
        header.header_checksum = header.calc_header_checksum();
        let mut packet = header.to_bytes().to_vec();
        let length = packet.len();
        packet.extend(transport);
        (packet, length)
    }

    fn ipv6(&self, transport: &[u8]) -> (Vec<u8>, usize) {
        let mut chain = self.extensions.clone();
        if let Some((offset, more)) = self.fragment {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            let contents = [&[high, low][..], &self.identification.to_be_bytes()].concat();
            chain.push((protocol::FRAGMENT, contents));
        }
        let mut rest = Vec::new();
        for (n, (number, contents)) in chain.iter().enumerate() {
            let next = chain.get(n + 1).map_or(self.protocol(FamilyId::V6), |(number, _)| *number);
            // A fragment header has no length, but a reserved byte.
            let units = (contents.len() + 2) / 8 - 1;
            rest.push(next);
            rest.push(if *number == protocol::FRAGMENT { 0 } else { units as u8 });
            rest.extend(contents);
        }
        let header = 40 + rest.len();
        rest.extend(transport);
        let first = chain.first().map_or(self.protocol(FamilyId::V6), |(number, _)| *number);
        let fixed = Ipv6Header {
            traffic_class: self.traffic_class,
            flow_label: Default::default(),
            payload_length: self
                .total_length
                .unwrap_or_else(|| rest.len().try_into().expect("less than 64 KiB")),
            next_header: IpNumber(first),
            hop_limit: self.hop_limit,
            source: self.from.v6,
            destination: self.to.v6,
        };
        ([&fixed.to_bytes()[..], &rest].concat(), header)
    }

    fn transport(&self, family: FamilyId) -> Vec<u8> {
        let (from, to, payload) = (&self.from, &self.to, &self.payload);
        match &self.body {
            Body::Tcp { source, destination, flags, numbers: (sequence, acknowledgement) } => {
                let mut header = TcpHeader::new(*source, *destination, *sequence, 1024);
                header.acknowledgment_number = *acknowledgement;
                header.fin = flags & flag::FIN != 0;
                header.syn = flags & flag::SYN != 0;
                header.rst = flags & flag::RST != 0;
                header.ack = flags & flag::ACK != 0;
                header.checksum = match family {
                    FamilyId::V4 => header.calc_checksum_ipv4_raw(from.v4, to.v4, payload),
                    FamilyId::V6 => header.calc_checksum_ipv6_raw(from.v6, to.v6, payload),
                }
                .expect("a short segment");
                [header.to_bytes().as_slice(), payload].concat()
            }
            Body::Udp { source, destination, checksum } => {
                let length = (8 + payload.len()) as u16;
                let mut header = UdpHeader {
                    source_port: *source,
                    destination_port: *destination,
                    length,
                    checksum: 0,
                };
                if *checksum {
                    header.checksum = match family {
                        FamilyId::V4 => header.calc_checksum_ipv4_raw(from.v4, to.v4, payload),
                        FamilyId::V6 => header.calc_checksum_ipv6_raw(from.v6, to.v6, payload),
                    }
                    .expect("a short datagram");
                }
                [&header.to_bytes()[..], payload].concat()
            }
            Body::Echo { request, identifier } => {
                let kind = match (family, request) {
                    (FamilyId::V4, true) => 8,
                    (FamilyId::V4, false) => 0,
                    (FamilyId::V6, true) => 128,
                    (FamilyId::V6, false) => 129,
                };
                let [high, low] = identifier.to_be_bytes();
                self.icmp(family, [kind, 0], [high, low, 0, 1], payload)
            }
            Body::Error { kind, about, quote } => {
                let packet = about.packet(family);
                let header = match family {
                    FamilyId::V4 => 4 * usize::from(packet[0] & 0xf),
                    FamilyId::V6 => 40,
                };
                let end = header.saturating_add(*quote).min(packet.len());
                let (message, rest) = error_message(*kind, family);
                self.icmp(family, message, rest, &packet[..end])
            }
            Body::Message { v4, v6 } => {
                let kind = if family == FamilyId::V4 { *v4 } else { *v6 };
                self.icmp(family, [kind, 0], [0; 4], payload)
            }
            Body::Neighbour { kind, flags, target, option } => {
                let mut rest = target.v6.to_vec();
                if let Some((option, mac)) = option {
                    rest.extend([*option, 1]);
                    rest.extend(mac);
                }
                self.icmp(family, [*kind, 0], [*flags, 0, 0, 0], &rest)
            }
            Body::Raw { .. } | Body::Arp { .. } => payload.clone(),
        }
    }

    fn icmp(&self, family: FamilyId, message: [u8; 2], rest: [u8; 4], data: &[u8]) -> Vec<u8> {
        let length = (8 + data.len()) as u32;
        let pseudo = match family {
            FamilyId::V4 => Sum16BitWords::new(),
            FamilyId::V6 => Sum16BitWords::new()
                .add_16bytes(self.from.v6)
                .add_16bytes(self.to.v6)
                .add_4bytes(length.to_be_bytes())
                .add_2bytes([0, protocol::ICMPV6]),
        };
        let mut sum = pseudo;
        let sum = sum.add_4bytes(rest).add_2bytes(message).add_slice(data).ones_complement();
        let [high, low] = sum.to_ne_bytes();
        [&[message[0], message[1], high, low][..], &rest, data].concat()
    }
}

fn arp(
    operation: u8,
    (Mac(sender), own): (Mac, [u8; 4]),
    (Mac(target), asked): (Mac, [u8; 4]),
) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, operation][..], &sender, &own, &target, &asked].concat()
}

/// Type, code and the rest of the header.
fn error_message(kind: ErrorKind, family: FamilyId) -> ([u8; 2], [u8; 4]) {
    let mtu = |mtu: u16| [0, 0, mtu.to_be_bytes()[0], mtu.to_be_bytes()[1]];
    match (kind, family) {
        (ErrorKind::PortUnreachable, FamilyId::V4) => ([3, 3], [0; 4]),
        (ErrorKind::PortUnreachable, FamilyId::V6) => ([1, 4], [0; 4]),
        (ErrorKind::TooBig(size), FamilyId::V4) => ([3, 4], mtu(size)),
        (ErrorKind::TooBig(size), FamilyId::V6) => ([2, 0], mtu(size)),
        (ErrorKind::TimeExceeded, FamilyId::V4) => ([11, 0], [0; 4]),
        (ErrorKind::TimeExceeded, FamilyId::V6) => ([3, 0], [0; 4]),
        (ErrorKind::ParameterProblem, FamilyId::V4) => ([12, 0], [20, 0, 0, 0]),
        (ErrorKind::ParameterProblem, FamilyId::V6) => ([4, 0], [0, 0, 0, 40]),
    }
}
