//! What aya does not ask of bpf(2): what a pinned link hangs on, and to take it off there; a hash, many entries at
//! a time.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{ffi::CString, io, mem::size_of, os::unix::ffi::OsStrExt, path::Path, ptr};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_DETACH: libc::c_long = 34;

/// How many entries of a hash are read at once: more than fall into one of its buckets.
const BATCH: usize = 4096;

/// # Safety
///
/// `attributes` must be the members of `union bpf_attr` that `command` reads, and every address in it
/// valid for what the kernel does there.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: `attributes` is `size` bytes long; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value as i32),
    }
}

/// What a link hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkFacts {
    /// The interface, 0 when it is gone.
    pub(super) ifindex: u32,
    /// The program's id.
    pub(super) program: u32,
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Get {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = Get { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut get) }?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a pinned link off its interface and removes the pin; done already is done. The pin's removal alone would
/// do, but later: the kernel lets go of a link when every reader of the file is done (RCU), and until then the
/// place is taken.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Detach {
        link: u32,
        flags: u32,
    }
    let link = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        link => link?,
    };
    let mut detach = Detach { link: link.as_raw_fd() as u32, flags: 0 };
    // SAFETY: there are no addresses in it. A link whose interface is gone is off already, and says so.
    let _ = unsafe { bpf(BPF_LINK_DETACH, &mut detach) };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads a pinned link of a kind whose first fact is an interface: TCX or XDP.
pub(super) fn pinned_link(path: &Path) -> io::Result<LinkFacts> {
    let link = open(path)?;
    // struct bpf_link_info of TCX and XDP links, as long as we read it.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        ifindex: u32,
        attach_type: u32,
    }
    #[repr(C)]
    struct GetInfo {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut info = Info::default();
    let mut get = GetInfo {
        fd: link.as_raw_fd() as u32,
        length: size_of::<Info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: the kernel writes `length` bytes at most, all of them in `info`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut get) }?;
    Ok(LinkFacts { ifindex: info.ifindex, program: info.program })
}

/// Hands over every entry of a hash with keys and values of these types. The kernel goes from bucket to bucket, so
/// what is there all the while is seen once, whatever comes and goes; key after key, the walk would begin anew
/// wherever the last key was removed.
///
/// # Safety
///
/// Of both types every bit pattern must be a value, and their sizes must be those of the map.
pub(super) unsafe fn each_entry<K: Copy, V: Copy>(
    map: BorrowedFd<'_>,
    mut each: impl FnMut(K, V),
) -> io::Result<()> {
    #[repr(C)]
    struct Batch {
        from: u64,
        to: u64,
        keys: u64,
        values: u64,
        count: u32,
        map: u32,
        flags: [u64; 2],
    }
    let (mut keys, mut values) = (Vec::<K>::with_capacity(BATCH), Vec::<V>::with_capacity(BATCH));
    let (mut from, mut to) = (ptr::null::<u32>(), 0_u32);
    loop {
        let mut batch = Batch {
            from: from as u64,
            to: &raw mut to as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: BATCH as u32,
            map: map.as_raw_fd() as u32,
            flags: [0; 2],
        };
        // SAFETY: both vectors have room for `count` of what the map holds, and the place where the walk stands is
        // a word for hashes.
        let read = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut batch) };
        let last = match read {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        let count = batch.count as usize;
        // SAFETY: the kernel wrote so many of each; every bit pattern is a value.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        keys.iter().zip(&values).for_each(|(key, value)| each(*key, *value));
        if last {
            return Ok(());
        }
        from = &raw const to;
    }
}
