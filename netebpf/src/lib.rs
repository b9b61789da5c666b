//! The user side of netebpf: reads what the user wants, compares it with what the kernel has, and makes
//! the difference; the packets themselves never come here.
//!
//! **Invariant**: `model`, `config`, `ipam` and `plan` do no I/O (but for reading the file of settings);
//! `kernel` is the only room that reads or changes links, programs, maps, sysctls and namespaces, while
//! `state` has its files, `dns` resolvers with their sockets and files, and `daemon` sockets, processes and
//! signals; dependence goes cli → daemon →
//! plan, apply → model.

pub mod apply;
pub mod bench;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dns;
pub mod drivers;
pub mod ipam;
pub mod kernel;
pub mod model;
pub mod observe;
pub mod plan;
pub mod state;
