//! Layer 1: what the fuzz targets of `fuzz/` are fed, without a fuzzer: their corpus, file by file, and a
//! bounded number of inputs made from it by a generator that always begins the same way.

use netebpf_tests::fuzzing;

/// Inputs made from the corpus, for each target.
const MADE: usize = 6_000;

#[test]
fn pipeline() {
    replay("pipeline", fuzzing::pipeline, MADE);
}

#[test]
fn topology() {
    replay("topology", fuzzing::topology, MADE / 10);
}

#[test]
fn dns() {
    replay("dns", fuzzing::dns, MADE);
}

fn replay(target: &str, entry: fn(&[u8]), made: usize) {
    let corpus = fuzzing::corpus(target).expect("the sources");
    for (n, input) in fuzzing::inputs(&corpus, made).enumerate() {
        let run = std::panic::catch_unwind(|| entry(&input));
        assert!(run.is_ok(), "{target}, input {n}: {input:02x?}");
    }
}
