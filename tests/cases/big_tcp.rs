//! IPv6 packets of more than 64 KiB: too long for a table of cases, which goes through the kernel's test runs, too.

use netebpf_common::{
    datapath::FamilyId,
    testkit::{Hook, Memory, WEB_1, WORLD, tcp},
    verdict::{PassReason, Verdict},
};

/// What a segment of a full-sized packet carries, without options of TCP.
const SEGMENT: u32 = 1500 - 40 - 20;

/// The verdict on a packet with a hop-by-hop header, of so many bytes, which will be cut into segments.
fn verdict(length: usize, segment: u32) -> Verdict {
    let frame = tcp(WEB_1, 40_000, WORLD, 443).syn().hop_by_hop().stated_length(0);
    let mut bytes = frame.bytes(FamilyId::V6);
    bytes.resize(length, 0);
    Memory::default().verdict(Hook::Veth(WEB_1), &mut bytes, segment)
}

/// The kernel takes the option that says how long it is away where it cuts it.
#[test]
fn a_jumbogram_is_as_long_as_its_segments_without_the_option() {
    assert!(matches!(verdict(70_000, SEGMENT), Verdict::Forward { .. }));
    assert_eq!(verdict(70_000, SEGMENT + 1), Verdict::Pass(PassReason::TooLong));
}

/// Any other extension header stays.
#[test]
fn an_option_of_its_own_counts() {
    assert!(matches!(verdict(60_000, SEGMENT - 8), Verdict::Forward { .. }));
    assert_eq!(verdict(60_000, SEGMENT - 7), Verdict::Pass(PassReason::TooLong));
}
