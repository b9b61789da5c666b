//! What netebpf promises, tried on a real kernel.
//!
//! | layer | where | what |
//! |---|---|---|
//! | 1 | `cases/`, `properties/`, `fuzz_replay/` | the packet logic over tables in memory |
//! | 2 | `prog_run/` | the packet cases through `BPF_PROG_TEST_RUN` |
//! | 3 | `netns/` | real sockets between namespaces, and every command from outside |
//!
//! Layer 3 runs the binary that `NETEBPF_BIN` names, or the one that stands beside the tests:
//!
//! ```text
//! cargo build -p netebpf
//! cargo test -p netebpf-tests --test netns              # as root; else every test is skipped
//! cargo test -p netebpf-tests --test netns -- peers     # those with `peers` in their name
//! ```
//!
//! **Invariant**: all traffic and all interfaces are in namespaces that a test made itself, and every
//! test leaves the machine as it found it.

pub mod fuzzing;
pub mod lab;
pub mod runner;
