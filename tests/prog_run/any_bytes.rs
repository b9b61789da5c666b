//! What fuzzers feed, through the real object: every frame has one named verdict, and it is the packet logic's.

use crate::{
    in_kernel,
    machine::{Checksums, Kernel, Outside},
};
use netebpf_common::testkit::Machine as _;
use netebpf_tests::fuzzing;

/// Inputs made from the corpus.
const MADE: usize = 1_000;

/// Whether the kernel takes a frame for a test run: one with a network header, as far as it has one.
fn is_taken(frame: &[u8]) -> bool {
    let least = match frame.get(12..14) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        _ => 1,
    };
    frame.len() >= 14 + least
}

#[test]
fn any_bytes_at_tc() {
    replay(Outside::Tc);
}

#[test]
fn any_bytes_at_xdp() {
    replay(Outside::Xdp);
}

fn replay(outside: Outside) {
    let Some(corpus) = fuzzing::corpus("pipeline") else {
        println!("skipped: the sources are not on this machine");
        return;
    };
    in_kernel(outside, Checksums::Direct, |kernel| {
        let mut frames = 0;
        for (n, input) in fuzzing::inputs(&corpus, MADE).enumerate() {
            frames += agrees(kernel, &input)
                .unwrap_or_else(|error| panic!("input {n}: {error}: {input:02x?}"));
        }
        println!("{frames} frames");
    });
}

/// Sends the frames of an input to both machines; how many they are. Ports that are chosen by chance are not the same
/// on both, so it is verdicts that are compared.
fn agrees(kernel: &mut Kernel, input: &[u8]) -> Result<usize, String> {
    kernel.reset()?;
    kernel.arrange(&fuzzing::busy())?;
    let mut memory = fuzzing::busy_machine();
    let mut frames = 0;
    let rest = input.get(1..).unwrap_or_default();
    for (hook, frame) in fuzzing::frames(rest).filter(|(_, frame)| is_taken(frame)) {
        let real = kernel.send(hook, frame, 0)?;
        let wanted = memory.send(hook, frame, 0)?;
        if real.counter != wanted.counter {
            return Err(format!("frame {frames}: {:?}, not {:?}", real.counter, wanted.counter));
        }
        frames += 1;
    }
    Ok(frames)
}
