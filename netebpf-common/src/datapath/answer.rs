//! What an endpoint is told whose packet opens no flow because ports or flows are used up: ICMP "administratively
//! prohibited" (RFC 792, RFC 1812 §5.2.7.1; RFC 4443 §3.1), in its gateway's name. A connection fails at once then, and
//! does not wait.
//!
//! Ports are used up when some tries found none: with nine of ten taken to one destination that is one new flow in five.
//! Who has too many unconfirmed flows is not told: one may be about to make room.
//!
//! **Invariant**: no answer is made to an error, to several at once, or to anything but the first fragment of a packet
//! (RFC 1122 §3.2.2, RFC 4443 §2.4 e), and about one each [`INTERVAL`] to an endpoint (§2.4 f): only a packet that could
//! have opened a flow gets here.
//!
//! The packet is written over where it is, and if the endpoint left its checksum to be finished, the kernel goes on to
//! take the answer for such a packet: harmless as long as nothing between host and endpoint finishes checksums (a veth
//! does when its transmit offload is switched off, and the endpoint refuses such an answer then).

use super::{
    FamilyId,
    datagram::Datagram,
    host::Host,
    table::{Lookup as _, State},
};
use crate::{
    abi::Interface,
    verdict::{DropReason, Verdict},
    wire::{checksum, ethernet, icmp, protocol},
};

/// How long an endpoint is not told again, in nanoseconds.
const INTERVAL: u64 = 10_000_000;

/// Where the message of an answer begins, behind the longer of the two headers.
const MESSAGE: usize = ethernet::LENGTH + 40;

/// The longest part of a packet that is quoted, in bytes: its headers, and eight bytes more.
const MOST: usize = 128;

/// Room for an answer, which begins where [`write`] says.
pub type Frame = [u8; MESSAGE + icmp::LENGTH + MOST];

/// Where in it the packet is quoted, from its network header on.
pub const QUOTED: usize = MESSAGE + icmp::LENGTH;

/// What becomes of a packet for which there is no room.
#[inline(always)]
pub(super) fn or_drop<S: State, H: Host>(
    state: &S,
    host: &H,
    datagram: &Datagram,
    sender: &Interface,
    verdict: Verdict,
) -> Verdict {
    use DropReason::{FlowQuota, FlowTableFull, NoFreePort};
    let Verdict::Drop(reason @ (FlowQuota | FlowTableFull | NoFreePort)) = verdict else {
        return verdict;
    };
    let now = host.now();
    match state.usage().get(&sender.slot) {
        Some(usage)
            if quoted(datagram).is_some()
                && now.wrapping_sub(usage.answered.load()) >= INTERVAL =>
        {
            usage.answered.store(now);
            Verdict::Answer(reason)
        }
        _ => verdict,
    }
}

/// How many bytes of a packet are quoted; `None` when its headers are too long. They are a multiple of four.
#[inline(always)]
pub(super) fn quoted(datagram: &Datagram) -> Option<usize> {
    let headers = usize::from(datagram.transport).checked_sub(usize::from(datagram.network))?;
    (headers + 8 <= MOST).then_some((headers + 8) & !3)
}

/// Writes an answer around a quoted packet, behind which there are zeroes. Where the frame begins, and how long it is.
#[inline(always)]
pub(super) fn write(
    datagram: &Datagram,
    sender: &Interface,
    gateway: &Interface,
    frame: &mut Frame,
) -> Option<(usize, usize)> {
    let length = icmp::LENGTH + quoted(datagram)?;
    let (high, low) = ((length >> 8) as u8, length as u8);
    let (kind, code, header) = match datagram.family {
        FamilyId::V4 => (3, 13, 20),
        FamilyId::V6 => (1, 1, 40),
    };
    let start = MESSAGE - header - ethernet::LENGTH;
    frame[MESSAGE..QUOTED].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
    let pseudo_header = match datagram.family {
        FamilyId::V4 => {
            write_ethernet(frame, 20, sender, [0x08, 0x00]);
            let total = (length + header) as u16;
            let [total_high, total_low] = total.to_be_bytes();
            // Precedence "internetwork control" (RFC 1812 §4.3.2.5); not a fragment, and not to become one.
            let fixed = [0x45, 0xc0, total_high, total_low, 0, 0, 0x40, 0, 64, 1, 0, 0];
            frame[MESSAGE - 20..MESSAGE - 8].copy_from_slice(&fixed);
            frame[MESSAGE - 8..MESSAGE - 4].copy_from_slice(&gateway.v4.last_four());
            frame[MESSAGE - 4..MESSAGE].copy_from_slice(&datagram.source.last_four());
            let sum = checksum::sum::<20, _>(frame, MESSAGE - 20);
            frame[MESSAGE - 10..MESSAGE - 8].copy_from_slice(&(!checksum::fold(sum)).to_ne_bytes());
            0
        }
        FamilyId::V6 => {
            write_ethernet(frame, 0, sender, [0x86, 0xdd]);
            let fixed = [0x60, 0, 0, 0, high, low, protocol::ICMPV6, 64];
            frame[MESSAGE - 40..MESSAGE - 32].copy_from_slice(&fixed);
            frame[MESSAGE - 32..MESSAGE - 16].copy_from_slice(&gateway.v6.octets());
            frame[MESSAGE - 16..MESSAGE].copy_from_slice(&datagram.source.octets());
            let addresses = checksum::sum::<32, _>(frame, MESSAGE - 32);
            let rest = u16::from_ne_bytes([high, low]) as u32
                + u16::from_ne_bytes([0, protocol::ICMPV6]) as u32;
            addresses + rest
        }
    };
    let message = checksum::sum::<{ icmp::LENGTH + MOST }, _>(frame, MESSAGE);
    let sum = checksum::fold(message) as u32 + checksum::fold(pseudo_header) as u32;
    let at = MESSAGE + icmp::CHECKSUM;
    frame[at..at + 2].copy_from_slice(&(!checksum::fold(sum)).to_ne_bytes());
    Some((start, MESSAGE - start + length))
}

#[inline(always)]
fn write_ethernet(frame: &mut Frame, at: usize, sender: &Interface, ether_type: [u8; 2]) {
    frame[at..at + 6].copy_from_slice(&sender.mac.0);
    frame[at + 6..at + 12].copy_from_slice(&sender.gateway_mac.0);
    frame[at + 12..at + 14].copy_from_slice(&ether_type);
}
