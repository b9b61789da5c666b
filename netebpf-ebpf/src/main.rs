//! The kernel side: programs, thin around the packet logic of `netebpf_common::datapath`.
//!
//! **Invariant**: no decision about a packet is made here. `adapters` gives the packet logic a packet, the
//! maps and the host; `finish` makes its verdict a return code and counts it; `programs` puts the two
//! together for each hook.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod adapters;
mod answers;
mod finish;
mod maps;
mod opening;
mod pieces;
mod programs;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
