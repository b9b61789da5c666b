//! What the linker is told, because it generates the code.
//!
//! Small copies and fills are made of loads and stores. By its default the linker asks LLVM for copies in
//! ascending order, and then every fill, and every copy whose sides might overlap, is a call of a loop
//! over bytes: a handful of them for each packet, and more turns than the verifier of Linux 6.1 will walk.
//!
//! Memory that is not aligned, such as a packet's, is accessed by whole words nevertheless: the verifier
//! allows it where the processor does. On the stack it does not, so what is built there is aligned to eight
//! bytes: [`netebpf_common::abi::Address`], the Ethernet header, the verdict.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
}
