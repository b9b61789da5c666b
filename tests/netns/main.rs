//! Layer 3: netebpf from outside, with real sockets between throw-away namespaces.

use netebpf_tests::runner;

mod laboratory;

fn main() -> std::process::ExitCode {
    runner::main(&[laboratory::TESTS].concat())
}
