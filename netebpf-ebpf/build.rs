//! Has small copies and fills made of loads and stores. By its default the linker asks LLVM for copies in
//! ascending order, and then every fill, and every copy whose sides might overlap, is a call of a loop
//! over bytes: a handful of them for each packet, and more turns than the verifier of Linux 6.1 will walk.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=--disable-expand-memcpy-in-order");
    println!("cargo:rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
}
