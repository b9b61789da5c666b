//! Any bytes as a question for a name: see `netebpf_tests::fuzzing::dns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| netebpf_tests::fuzzing::dns(input));
