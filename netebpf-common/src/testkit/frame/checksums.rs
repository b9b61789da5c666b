//! Every checksum in a frame, computed anew: what an incremental change must come to.

use crate::{
    datapath::FamilyId,
    wire::{protocol, tcp, udp},
};
use etherparse::{Ipv4Header, checksum::Sum16BitWords};
use std::ops::Range;

/// The network header's and the transport's fields of one packet in a frame.
struct Fields {
    ipv4: Option<Range<usize>>,
    transport: Option<(usize, usize, u8)>,
    addresses: Range<usize>,
}

/// Whether each checksum of a frame is what its bytes give. A UDP checksum of 0 on IPv4 is right, and
/// so is either zero of one's complement. Of a quoted packet only the network header's counts: the rest
/// may not be there.
pub fn checksums_are_right(frame: &[u8]) -> bool {
    let mut again = frame.to_vec();
    recompute_checksums(&mut again);
    again.len() == frame.len()
        && again
            .iter()
            .zip(frame)
            .enumerate()
            .all(|(n, (new, old))| new == old || same_zero(&again, frame, n))
}

/// 0x0000 and 0xffff are one number to a receiver, but where 0 says that there is no checksum.
fn same_zero(again: &[u8], frame: &[u8], n: usize) -> bool {
    let family = if frame[12] == 0x08 { FamilyId::V4 } else { FamilyId::V6 };
    if let Some((at, _, protocol::UDP)) = fields(frame, 14, family).and_then(|f| f.transport)
        && (at + 6..at + 8).contains(&n)
    {
        return false;
    }
    [n.saturating_sub(1), n].into_iter().any(|at| {
        let word = |bytes: &[u8]| bytes.get(at..at + 2).map(|word| [word[0], word[1]]);
        matches!(
            (word(again), word(frame)),
            (Some([0, 0]), Some([0xff, 0xff])) | (Some([0xff, 0xff]), Some([0, 0]))
        )
    })
}

/// Writes every checksum of a frame anew, the ones of a quoted packet's network header too. Frames that
/// are not understood stay as they are.
pub fn recompute_checksums(frame: &mut [u8]) {
    let family = match frame.get(12..14) {
        Some([0x08, 0x00]) => FamilyId::V4,
        Some([0x86, 0xdd]) => FamilyId::V6,
        _ => return,
    };
    packet(frame, 14, family, false);
}

fn packet(frame: &mut [u8], at: usize, family: FamilyId, quoted: bool) {
    let Some(fields) = fields(frame, at, family) else { return };
    if let Some((transport, end, number)) = fields.transport {
        let error = match family {
            FamilyId::V4 => number == protocol::ICMP && matches!(frame[transport], 3 | 11 | 12),
            FamilyId::V6 => number == protocol::ICMPV6 && matches!(frame[transport], 1..=4),
        };
        if error && !quoted {
            packet(frame, transport + 8, family, true);
        }
        if !quoted {
            write_transport(frame, &fields.addresses, transport..end, number);
        }
    }
    if let Some(header) = fields.ipv4
        && let Ok((mut parsed, _)) = Ipv4Header::from_slice(&frame[header.clone()])
    {
        parsed.header_checksum = parsed.calc_header_checksum();
        frame[header].copy_from_slice(&parsed.to_bytes());
    }
}

fn fields(frame: &[u8], at: usize, family: FamilyId) -> Option<Fields> {
    match family {
        FamilyId::V4 => {
            let header = 4 * usize::from(frame.get(at)? & 0xf);
            let fixed = frame.get(at..at + 20)?;
            let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
            let end = if total == 0 { frame.len() } else { (at + total).min(frame.len()) };
            let fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0;
            let whole = !fragment && header >= 20 && at + header + 8 <= end;
            Some(Fields {
                ipv4: (header >= 20 && at + header <= frame.len()).then(|| at..at + header),
                transport: whole.then_some((at + header, end, fixed[9])),
                addresses: at + 12..at + 20,
            })
        }
        FamilyId::V6 => {
            let fixed = frame.get(at..at + 40)?;
            let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
            let end = if length == 0 { frame.len() } else { (at + 40 + length).min(frame.len()) };
            let (mut next, mut here) = (fixed[6], at + 40);
            while matches!(next, 0 | 43 | 44 | 60) {
                let header = frame.get(here..here + 4)?;
                let fragment = next == 44;
                if fragment && u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0 {
                    return Some(Fields {
                        ipv4: None,
                        transport: None,
                        addresses: at + 8..at + 40,
                    });
                }
                next = header[0];
                here += if fragment { 8 } else { 8 * (usize::from(header[1]) + 1) };
            }
            let transport = (here + 8 <= end).then_some((here, end, next));
            Some(Fields { ipv4: None, transport, addresses: at + 8..at + 40 })
        }
    }
}

fn write_transport(frame: &mut [u8], addresses: &Range<usize>, segment: Range<usize>, number: u8) {
    let (field, pseudo) = match number {
        protocol::TCP => (tcp::CHECKSUM, true),
        protocol::UDP => (udp::CHECKSUM, true),
        protocol::ICMPV6 => (2, true),
        protocol::ICMP => (2, false),
        _ => return,
    };
    let at = segment.start + field;
    if at + 2 > segment.end {
        return;
    }
    let v4 = addresses.len() == 8;
    if number == protocol::UDP && v4 && frame[at..at + 2] == [0, 0] {
        return;
    }
    frame[at..at + 2].fill(0);
    let mut sum = Sum16BitWords::new();
    if pseudo {
        let length = (segment.len() as u32).to_be_bytes();
        sum = sum.add_slice(&frame[addresses.clone()]).add_2bytes([0, number]);
        sum = sum.add_4bytes(length);
    }
    sum = sum.add_slice(&frame[segment]);
    let udp = number == protocol::UDP;
    let value = if udp { sum.to_ones_complement_with_no_zero() } else { sum.ones_complement() };
    frame[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}
