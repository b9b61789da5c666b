//! Frames at hooks, over tables in which entries vanish: see `netebpf_tests::fuzzing::pipeline`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| netebpf_tests::fuzzing::pipeline(input));
