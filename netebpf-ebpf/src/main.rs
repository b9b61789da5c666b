//! The kernel side.
#![no_std]
#![no_main]

mod maps;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

#[classifier]
pub fn endpoint_ingress(_ctx: TcContext) -> i32 {
    -1
}
#[classifier]
pub fn uplink_ingress(_ctx: TcContext) -> i32 {
    -1
}
#[classifier]
pub fn uplink_egress(_ctx: TcContext) -> i32 {
    -1
}
#[classifier]
pub fn gateway_egress(_ctx: TcContext) -> i32 {
    -1
}
#[xdp]
pub fn uplink_xdp(_ctx: XdpContext) -> u32 {
    2
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
