//! The programs that frames need, in the kernel's own instructions: one that writes each frame as it arrives, one that
//! counts and takes those that come through, and one that forwards without a thought.
//!
//! **Invariant**: each is a handful of instructions and looks nothing up, so it costs little beside what is measured.

use super::{
    frame::{Frame, Varying},
    tally::{FIRST, LAST, STEP},
};

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    code: u8,
    /// The destination register in the low four bits, the source register in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// What XDP does with a frame that the stack shall have.
const XDP_PASS: i32 = 2;
/// What TC does with a packet that nobody shall have.
const TC_ACT_SHOT: i32 = 2;
/// What it does with one that is none of our business.
const TC_ACT_UNSPEC: i32 = -1;
/// An addition to memory that answers with what stood there.
const FETCH: i32 = 1;
/// `bpf_ktime_get_ns`.
const CLOCK: i32 = 5;
/// `bpf_get_prandom_u32`.
const RANDOM: i32 = 7;
/// `bpf_redirect`.
const REDIRECT: i32 = 23;
/// The immediate of a two-instruction load is a map, and what is loaded the address of its value.
const MAP_VALUE: u8 = 2;

const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    // A little-endian machine has `dst_reg` in the low bits of its byte, a big-endian one in the high ones.
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    Instruction { code, registers, offset, immediate }
}
/// `to = immediate`
const fn set(to: u8, immediate: i32) -> Instruction {
    new(0xb7, to, 0, 0, immediate)
}
/// `to = from`
const fn copy(to: u8, from: u8) -> Instruction {
    new(0xbf, to, from, 0, 0)
}
/// `to += immediate`
const fn add(to: u8, immediate: i32) -> Instruction {
    new(0x07, to, 0, 0, immediate)
}
/// `to &= immediate`
const fn and(to: u8, immediate: i32) -> Instruction {
    new(0x57, to, 0, 0, immediate)
}
/// `to ^= immediate`
const fn xor(to: u8, immediate: i32) -> Instruction {
    new(0xa7, to, 0, 0, immediate)
}
/// `to = htons(to)`
const fn network_order(to: u8) -> Instruction {
    new(0xdc, to, 0, 0, 16)
}
/// `to = *(u32 *)(from + offset)`
const fn load(to: u8, from: u8, offset: i16) -> Instruction {
    new(0x61, to, from, offset, 0)
}
/// `*(u16 *)(to + offset) = from`
const fn store(to: u8, offset: i16, from: u8) -> Instruction {
    new(0x6b, to, from, offset, 0)
}
/// `*(u8 *)(to + offset) = byte`
const fn put(to: u8, offset: i16, byte: u8) -> Instruction {
    new(0x72, to, 0, offset, byte as i32)
}
/// `if register != immediate goto skipped instructions further on`
const fn unless(register: u8, immediate: i32, skipped: i16) -> Instruction {
    new(0x55, register, 0, skipped, immediate)
}
/// `to = *(u64 *)(from + offset)`
const fn load_long(to: u8, from: u8, offset: i16) -> Instruction {
    new(0x79, to, from, offset, 0)
}
/// `*(u64 *)(to + offset) = from`
const fn store_long(to: u8, offset: i16, from: u8) -> Instruction {
    new(0x7b, to, from, offset, 0)
}
/// `to = the 64-bit immediate of two halves`
const fn set_long(to: u8, low: i32, high: i32) -> [Instruction; 2] {
    [new(0x18, to, 0, 0, low), new(0, 0, 0, 0, high)]
}
/// `to = the address of the only value of a map`
const fn set_to_value(to: u8, map: i32) -> [Instruction; 2] {
    [new(0x18, to, MAP_VALUE, 0, map), new(0, 0, 0, 0, 0)]
}
/// `r0 = function(r1, ...)`, which forgets r1 to r5
const fn call(function: i32) -> Instruction {
    new(0x85, 0, 0, 0, function)
}
const EXIT: Instruction = new(0x95, 0, 0, 0, 0);

/// An XDP program that writes a frame and hands it to the stack, and writes down when the first one came.
///
/// It has to be written each time: the kernel takes the pages of frames that are done with for new ones, with whatever
/// stands in them by then (`xdp_test_run_init_page` is for fresh pages alone), and the one before was translated in place.
pub(super) fn writer(frame: &Frame, bytes: &[u8], tally: i32) -> Vec<Instruction> {
    // r6 = data; r8 = data_end; r7 = the tally
    let mut code = vec![load(6, 1, 0), load(8, 1, 4)];
    code.extend(set_to_value(7, tally));
    code.extend([load_long(3, 7, FIRST), unless(3, 0, 2), call(CLOCK), store_long(7, FIRST, 0)]);
    // if r6 + length > r8, give up: its target is written when it is known.
    code.extend([copy(4, 6), add(4, bytes.len() as i32)]);
    let check = code.len();
    code.push(EXIT);
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let [a, b, c, d, e, f, g, h] = *word;
        let (low, high) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
        code.extend(set_long(5, low, high));
        code.push(store_long(6, 8 * n as i16, 5));
    }
    let written = 8 * words.len();
    code.extend(rest.iter().enumerate().map(|(n, byte)| put(6, (written + n) as i16, *byte)));
    if frame.flows > 1 {
        let Varying { port, balance } = frame.varying();
        let others = i32::from(frame.flows.checked_next_power_of_two().unwrap_or(1 << 15)) - 1;
        let first = i32::from(frame.from.port());
        // r0 = a random one of the ports, and its complement
        code.extend([call(RANDOM), and(0, others), add(0, first), network_order(0)]);
        code.extend([store(6, port as i16, 0), xor(0, 0xffff), store(6, balance as i16, 0)]);
    }
    code[check] = new(0x2d, 4, 8, (code.len() - check - 1) as i16, 0);
    code.extend([set(0, XDP_PASS), EXIT]);
    code
}

/// An XDP program that drops what comes.
pub(super) fn nothing() -> Vec<Instruction> {
    const XDP_DROP: i32 = 1;
    vec![set(0, XDP_DROP), EXIT]
}

/// A TC program that leaves everything alone.
pub(super) fn idle() -> Vec<Instruction> {
    vec![set(0, TC_ACT_UNSPEC), EXIT]
}

/// A TC program that counts the frames that come through and takes them: nobody answers them, and what they cost here is
/// little and the same whoever forwarded them. Each [`STEP`]th time it writes down when that was: the clock is not read
/// for every one.
pub(super) fn sink(kind: u16, length: usize, tally: i32) -> Vec<Instruction> {
    let [low, high] = set_to_value(6, tally);
    let count = [
        low,
        high,
        // r2 = *(u64 *)r6; *(u64 *)r6 += 1, at once; r2 = the number of this one
        set(2, 1),
        new(0xdb, 6, 2, 0, FETCH),
        add(2, 1),
        and(2, STEP as i32 - 1),
        unless(2, 0, 2),
        call(CLOCK),
        store_long(6, LAST, 0),
        set(0, TC_ACT_SHOT),
        EXIT,
    ];
    with_frames(kind, length, &count)
}

/// A TC program that sends the frames out of an interface.
pub(super) fn reflector(kind: u16, length: usize, interface: u32) -> Vec<Instruction> {
    let send = [set(1, interface as i32), set(2, 0), call(REDIRECT), EXIT];
    with_frames(kind, length, &send)
}

/// Does something with the frames, which are known by family and length; all else goes its way, so that neighbours still
/// find each other.
fn with_frames(kind: u16, length: usize, then: &[Instruction]) -> Vec<Instruction> {
    /// Where `struct __sk_buff` has the length, and the EtherType in network order.
    const LENGTH: i16 = 0;
    const PROTOCOL: i16 = 16;
    let (kind, skipped) = (i32::from(kind.to_be()), then.len() as i16);
    let known = [
        load(2, 1, LENGTH),
        unless(2, length as i32, skipped + 2),
        load(2, 1, PROTOCOL),
        unless(2, kind, skipped),
    ];
    [&known, then, &[set(0, TC_ACT_UNSPEC), EXIT]].concat()
}
