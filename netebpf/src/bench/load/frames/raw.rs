//! What frames need of bpf(2), without an object file: two programs of a few instructions, an array, and the run.

use super::program::Instruction;
use crate::kernel::bpf_call;
use std::{
    io,
    mem::size_of_val,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// How many frames the kernel lets arrive at once: what a driver does.
const BATCH: u32 = 64;

/// The kind of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    SchedCls = 3,
    Xdp = 6,
}

/// Loads a program.
pub(super) fn load(kind: Kind, name: &str, code: &[Instruction]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
    }
    let license = c"Dual MIT/GPL";
    let mut load = Load {
        kind: kind as u32,
        count: code.len() as u32,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
    };
    // The last one stays 0.
    load.name[..15].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: instructions and license outlive the call.
    owned(unsafe { bpf_call(BPF_PROG_LOAD, &mut load) })
}

/// The program's id, by which others find it.
pub(super) fn id(program: BorrowedFd<'_>) -> io::Result<u32> {
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    // The first two members of `struct bpf_prog_info`: kind and id.
    let mut info = [0_u32; 2];
    let length = size_of_val(&info) as u32;
    let mut get = GetInfo { fd: program.as_raw_fd() as u32, length, info: &raw mut info as u64 };
    // SAFETY: the kernel writes `length` bytes at most, all of them in `info`.
    unsafe { bpf_call(BPF_OBJ_GET_INFO_BY_FD, &mut get) }?;
    Ok(info[1])
}

/// Makes an array with one value of so many bytes.
pub(super) fn array(value_size: usize) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    }
    let value_size = value_size as u32;
    let mut create = Create { kind: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size, max_entries: 1 };
    // SAFETY: there are no addresses in it.
    owned(unsafe { bpf_call(BPF_MAP_CREATE, &mut create) })
}

/// Whether the value of such an array is read or written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Read = 1,
    Write = 2,
}

/// Reads the value of such an array, or writes it.
///
/// # Safety
///
/// The array has to be made for values of this type, of which every bit pattern must be one.
pub(super) unsafe fn value<T>(
    map: BorrowedFd<'_>,
    access: Access,
    value: &mut T,
) -> io::Result<()> {
    #[repr(C)]
    struct Element {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = 0_u32;
    let mut element = Element {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: &raw const key as u64,
        value: &raw mut *value as u64,
        flags: 0,
    };
    // SAFETY: key and value are as large as the map was made for (the caller says so), and outlive the call.
    unsafe { bpf_call(access as libc::c_long, &mut element) }.map(drop)
}

/// Lets so many frames arrive at an interface of this thread's namespace, each of which an XDP program hands to the
/// stack.
pub(super) fn run(
    program: BorrowedFd<'_>,
    interface: u32,
    frame: &[u8],
    frames: u32,
) -> io::Result<()> {
    /// `struct xdp_md`
    #[repr(C)]
    struct Context {
        data: u32,
        data_end: u32,
        data_meta: u32,
        ingress_ifindex: u32,
        rx_queue_index: u32,
        egress_ifindex: u32,
    }
    #[repr(C)]
    struct TestRun {
        program: u32,
        returned: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        context_size_in: u32,
        context_size_out: u32,
        context_in: u64,
        context_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }
    let context = Context {
        data: 0,
        data_end: frame.len() as u32,
        data_meta: 0,
        ingress_ifindex: interface,
        rx_queue_index: 0,
        egress_ifindex: 0,
    };
    let mut run = TestRun {
        program: program.as_raw_fd() as u32,
        returned: 0,
        data_size_in: frame.len() as u32,
        data_size_out: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat: frames,
        duration: 0,
        context_size_in: size_of_val(&context) as u32,
        context_size_out: 0,
        context_in: &raw const context as u64,
        context_out: 0,
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        cpu: 0,
        batch_size: BATCH,
        padding: 0,
    };
    // SAFETY: frame and context are as long as it says and outlive the call; the kernel reads them only.
    unsafe { bpf_call(BPF_PROG_TEST_RUN, &mut run) }.map(drop)
}

fn owned(fd: io::Result<i32>) -> io::Result<OwnedFd> {
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd?) })
}
