//! Frames: a socket buffer at TC, a raw buffer at XDP.

use aya_ebpf::{
    Global,
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, xdp_md},
    helpers::generated::{
        bpf_csum_update, bpf_l4_csum_replace, bpf_probe_read_kernel, bpf_skb_pull_data,
    },
};
use core::arch::asm;
use netebpf_common::{
    datapath::{ChecksumStyle, Packet},
    wire::{
        checksum::{self, Change},
        ethernet,
    },
};

/// Says that the addresses are IPv6's: their change does not alter a sum over the whole packet, since
/// IPv6 has no header checksum to make up for it (kernel ead7f9b8de65, 6.16; older kernels answer EINVAL).
const BPF_F_IPV6: u64 = 1 << 7;

/// No offset of a header that is used has more bits; see `FARTHEST` in the packet logic. The verifier wants
/// to see a bound on the very register that it adds, which a mask gives and a comparison, made on a copy,
/// does not.
const OFFSET_MASK: usize = 0x3fff;

/// An offset with [`OFFSET_MASK`]. LLVM must not see what is done: where it has found out by itself that an
/// offset is small enough it leaves the mask out, and the verifier of Linux 6.1 has found out nothing.
#[inline(always)]
fn masked(mut offset: usize) -> usize {
    // SAFETY: one instruction on one register.
    unsafe {
        asm!("{0} &= {mask}", inlateout(reg) offset, mask = const OFFSET_MASK,
            options(pure, nomem, nostack, preserves_flags));
    }
    offset
}

/// How many bytes of a frame are copied, in bounds that the verifier sees and LLVM does not: it knows that there are some,
/// and not more than `MOST`, which is a power of two.
#[inline(always)]
pub fn bounded<const MOST: usize>(length: u32) -> u32 {
    let mut bounded = u64::from(length - 1);
    // SAFETY: one instruction on one register.
    unsafe {
        asm!("{0} &= {mask}", inlateout(reg) bounded, mask = const MOST - 1,
            options(pure, nomem, nostack, preserves_flags));
    }
    bounded as u32 + 1
}

/// The window of `N` bytes at `offset`, when it ends before `end`. `N` is 2 at least: of `at + 1 > end` LLVM makes
/// `at >= end`, from which the verifier learns nothing.
#[inline(always)]
fn window<'a, const N: usize>(start: usize, end: usize, offset: usize) -> Option<&'a mut [u8; N]> {
    let at = start + masked(offset);
    if at + N > end {
        return None;
    }
    // SAFETY: `start..end` is the packet, and the comparison above is the one that the verifier
    // demands before it allows an access to `at..at + N`. A byte array has no alignment and no invalid
    // value. The borrow of the packet ends before any helper could move it, since both need `&mut`.
    Some(unsafe { &mut *(at as *mut [u8; N]) })
}

/// See [`netebpf_common::abi::constant::IP_SUMMED`].
#[unsafe(no_mangle)]
static IP_SUMMED: Global<u32> = Global::new(0);
/// See [`netebpf_common::abi::constant::ENCAPSULATION`].
#[unsafe(no_mangle)]
static ENCAPSULATION: Global<u32> = Global::new(0);

/// A socket buffer.
pub struct TcPacket {
    skb: *mut __sk_buff,
}

impl TcPacket {
    #[inline(always)]
    pub fn new(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    /// Whether the kernel takes the frame for what it says to be. It does where it reads what comes in
    /// (`eth_type_trans`); what is being sent has the protocol that its sender names, which a packet socket may choose apart
    /// from the frame's, and by which Linux goes on (`netkit_xmit`, `__bpf_redirect_neigh`).
    ///
    /// A function of its own in the programs: else the verifier goes through all that follows twice, with a packet of which it
    /// knows something and with one of which it does not.
    #[inline(never)]
    pub fn is_what_it_says(&mut self) -> bool {
        // SAFETY: as below.
        let taken_for = u16::from_be(unsafe { (*self.skb).protocol } as u16);
        let Some(says) = self.window(ethernet::ETHER_TYPE).copied().map(u16::from_be_bytes) else {
            return false;
        };
        taken_for == says || taken_for.max(says) < ethernet::LEAST_TYPE
    }
}

impl Packet for TcPacket {
    #[inline(always)]
    fn window<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        // SAFETY: the context is valid as long as the program runs.
        let (start, end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        window(start, end, offset)
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn segment_size(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb).gso_size }
    }

    #[inline(always)]
    fn tag(&self) -> Option<u16> {
        // SAFETY: as above.
        let (present, tag) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        (present != 0).then_some(tag as u16 & 0xfff)
    }

    #[inline(always)]
    fn ensure(&mut self, length: usize) {
        // SAFETY: as above; pulling invalidates no pointer of ours, windows are borrowed anew.
        unsafe {
            let linear = (*self.skb).data_end as usize - (*self.skb).data as usize;
            if linear < length && linear < (*self.skb).len as usize {
                // Failure leaves the packet as it was, and the next window is `None`.
                let all = (*self.skb).len;
                bpf_skb_pull_data(
                    self.skb,
                    if (length as u32) < all { length as u32 } else { all },
                );
            }
        }
    }

    #[inline(always)]
    fn update_checksum(
        &mut self,
        offset: usize,
        addresses: Change,
        content: Change,
        style: ChecksumStyle,
    ) {
        match self.summed() {
            Summed::Whole => {
                if let Some(field) = self.window::<2>(offset) {
                    style.update(field, addresses.then(content));
                }
            }
            Summed::Partial => {
                // In a tunnel it is the inner packet's that the hardware finishes. UDP's own, outside it, is
                // whole then or absent; of segments that are still to be cut it is partial, too.
                let whole = style.optional && self.segment_size() == 0 && self.is_tunnelled();
                let Some(field) = self.window::<2>(offset) else { return };
                if whole {
                    style.update(field, addresses.then(content));
                } else if !(style.optional && *field == [0, 0]) {
                    *field = checksum::updated_partial(*field, addresses);
                }
            }
            Summed::Other => self.replace_checksum(offset, addresses, content, style),
        }
    }

    #[inline(always)]
    fn changed_outside_checksums(&mut self, change: Change) {
        // SAFETY: refused by the kernel where there is no sum over the packet to follow.
        unsafe { bpf_csum_update(self.skb, change.to_word()) };
    }
}

/// Who has computed the transport checksum, and who will.
enum Summed {
    /// It is as it will be on the wire.
    Whole,
    /// The hardware will finish it.
    Partial,
    /// The kernel has a sum over the packet that has to follow each change, or it is not known where the
    /// kernel says all this.
    Other,
}

impl TcPacket {
    /// `ip_summed` of the kernel's own structure. A context is that structure's address as soon as the
    /// verifier does not look: it translates what a program reads by it, and nothing that a helper reads.
    #[inline(always)]
    fn summed(&self) -> Summed {
        const NONE: u8 = 0;
        const UNNECESSARY: u8 = 1;
        const PARTIAL: u8 = 3;
        match self.bits(IP_SUMMED.load()) {
            Some(bits) if matches!(bits & 3, NONE | UNNECESSARY) => Summed::Whole,
            Some(bits) if bits & 3 == PARTIAL => Summed::Partial,
            _ => Summed::Other,
        }
    }

    /// `encapsulation`: whether the headers of the packet inside a tunnel are set.
    #[inline(always)]
    fn is_tunnelled(&self) -> bool {
        self.bits(ENCAPSULATION.load()).is_some_and(|bits| bits & 1 == 1)
    }

    /// The bits of the kernel's own structure from `at` on, to the end of their byte; `None` when it is not
    /// known where they are.
    #[inline(always)]
    fn bits(&self, at: u32) -> Option<u8> {
        if at == 0 {
            return None;
        }
        let mut byte = 0_u8;
        // SAFETY: one byte is read into one byte; an address that cannot be read is an error.
        let failed = unsafe {
            let address = self.skb.cast::<u8>().add(at as usize / 8);
            bpf_probe_read_kernel((&raw mut byte).cast(), 1, address.cast())
        };
        (failed == 0).then_some(byte >> (at % 8))
    }

    /// By the kernel's helper, which is right in every case and costs 50 ns or more a call.
    #[inline(always)]
    fn replace_checksum(
        &mut self,
        offset: usize,
        addresses: Change,
        content: Change,
        style: ChecksumStyle,
    ) {
        let optional = if style.optional { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let at = offset as u32;
        // SAFETY: the helper checks the offset; size 0 in the flags makes its last-but-one argument a
        // difference. A checksum still to be finished by hardware takes the pseudo-header's change only,
        // which the helper knows and a direct write could not.
        unsafe {
            if !addresses.is_none() {
                let flags = u64::from(BPF_F_PSEUDO_HDR) | optional;
                let change = u64::from(addresses.to_word());
                if !style.v6
                    || bpf_l4_csum_replace(self.skb, at, 0, change, flags | BPF_F_IPV6) != 0
                {
                    bpf_l4_csum_replace(self.skb, at, 0, change, flags);
                }
            }
            if !content.is_none() {
                bpf_l4_csum_replace(self.skb, at, 0, u64::from(content.to_word()), optional);
            }
        }
    }
}

/// A raw buffer, before the kernel made a socket buffer of it.
pub struct XdpPacket {
    context: *mut xdp_md,
}

impl XdpPacket {
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        Self { context }
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn window<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        // SAFETY: the context is valid as long as the program runs.
        let (start, end) =
            unsafe { ((*self.context).data as usize, (*self.context).data_end as usize) };
        window(start, end, offset)
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.context).data_end - (*self.context).data }
    }
}
