//! `netebpf`: see `netebpf help`.

fn main() {}
