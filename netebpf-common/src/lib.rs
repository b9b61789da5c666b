//! What the kernel side and the user side of netebpf both compile: the layout of every map
//! ([`abi`]), the header formats ([`wire`]), the outcome of a packet ([`verdict`]) and the packet
//! logic itself ([`datapath`]).
//!
//! **Invariant**: `no_std`, no `unsafe` (but for [`abi::SharedWord`] on BPF), no dependency on aya and no I/O. The packet logic is generic
//! over three traits (packet, table, host), so that tests, property tests and fuzzers on the host
//! run the very code that the kernel runs.
#![cfg_attr(not(feature = "testkit"), no_std)]
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod abi;
pub mod datapath;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod verdict;
pub mod wire;
