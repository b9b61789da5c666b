//! The smallest datagrams that a benchmark sends: what a frame of them looks like.

use netebpf_common::wire::checksum::fold;
use std::net::{IpAddr, SocketAddr};

/// An Ethernet address.
pub type Mac = [u8; 6];

const ETHERNET: usize = 14;
const UDP: usize = 8;
/// So much that a frame of IPv4 is as long as Ethernet's shortest, 60 bytes.
const PAYLOAD: usize = 18;
const UDP_NUMBER: u8 = 17;
const HOP_LIMIT: u8 = 64;

/// A UDP datagram on Ethernet, as it arrives at the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Who sends it.
    pub from_mac: Mac,
    /// The endpoint, the gateway or the uplink that it is for.
    pub to_mac: Mac,
    /// Its source; with many flows, that of the first.
    pub from: SocketAddr,
    /// Its destination, of the same family.
    pub to: SocketAddr,
    /// How many flows there are, each from a port of its own: rounded up to a power of two.
    pub flows: u16,
}

/// Where a frame says what differs between flows.
pub(super) struct Varying {
    /// The source port.
    pub(super) port: usize,
    /// A word of the payload that is the port's complement, so that the checksum is the same for all of them.
    pub(super) balance: usize,
}

impl Frame {
    /// Its EtherType.
    pub(super) fn kind(&self) -> u16 {
        if self.from.is_ipv4() { 0x0800 } else { 0x86dd }
    }

    pub(super) fn varying(&self) -> Varying {
        let transport = ETHERNET + if self.from.is_ipv4() { 20 } else { 40 };
        Varying { port: transport, balance: transport + UDP }
    }

    /// The frame; `None` where its addresses are not of one family.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let length = (UDP + PAYLOAD) as u16;
        let (network, addresses) = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header =
                    [0x45, 0, 0, 0, 0, 0, 0x40, 0, HOP_LIMIT, UDP_NUMBER, 0, 0].to_vec();
                header[2..4].copy_from_slice(&(20 + length).to_be_bytes());
                let addresses = [from.octets(), to.octets()].concat();
                let checksum = checksum(&[&header, &addresses]);
                header[10..12].copy_from_slice(&checksum);
                (header, addresses)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut header = [0x60, 0, 0, 0, 0, 0, UDP_NUMBER, HOP_LIMIT].to_vec();
                header[4..6].copy_from_slice(&length.to_be_bytes());
                (header, [from.octets(), to.octets()].concat())
            }
            _ => return None,
        };
        let port = self.from.port();
        let mut datagram = vec![0; UDP + PAYLOAD];
        let words = [(0, port), (2, self.to.port()), (4, length), (UDP, !port)];
        for (at, word) in words {
            datagram[at..at + 2].copy_from_slice(&word.to_be_bytes());
        }
        let pseudo = [&[0, UDP_NUMBER], &length.to_be_bytes()[..]].concat();
        let checksum = match checksum(&[&addresses, &pseudo, &datagram]) {
            // That would be none (RFC 768).
            [0, 0] => [0xff; 2],
            checksum => checksum,
        };
        datagram[6..8].copy_from_slice(&checksum);
        let kind = self.kind().to_be_bytes();
        Some([&self.to_mac[..], &self.from_mac, &kind, &network, &addresses, &datagram].concat())
    }
}

/// The checksum of the parts, each of which has an even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let sum = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    (!fold(sum)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::Frame;

    fn frame(from: &str, to: &str) -> Frame {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        Frame { from_mac: [2, 0, 0, 0, 0, 1], to_mac: [2, 0, 0, 0, 0, 2], from, to, flows: 1 }
    }

    #[test]
    fn its_checksums_are_right_from_every_port() {
        for (from, to, length) in
            [("172.18.0.3:40000", "172.18.0.2:80", 60), ("[fd18::3]:40000", "[fd18::2]:80", 80)]
        {
            let mut frame = frame(from, to);
            let first = frame.bytes().unwrap();
            assert_eq!(first.len(), length);
            let network = first[14..length - 26].to_vec();
            if length == 60 {
                assert_eq!(super::checksum(&[&network]), [0, 0]);
            }
            for port in [0, 1, 40_001, u16::MAX] {
                frame.from.set_port(port);
                let bytes = frame.bytes().unwrap();
                let addresses = if length == 60 { &bytes[26..34] } else { &bytes[22..54] };
                let datagram = &bytes[length - 26..];
                assert_eq!(super::checksum(&[addresses, &[0, 17, 0, 26], datagram]), [0, 0]);
                assert_eq!(datagram[6..8], first[length - 20..length - 18]);
            }
        }
    }

    #[test]
    fn it_is_of_one_family() {
        assert_eq!(frame("172.18.0.3:1", "[fd18::2]:80").bytes(), None);
    }
}
