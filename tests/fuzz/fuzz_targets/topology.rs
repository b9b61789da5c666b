//! Any text as a topology file: see `netebpf_tests::fuzzing::topology`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| netebpf_tests::fuzzing::topology(input));
