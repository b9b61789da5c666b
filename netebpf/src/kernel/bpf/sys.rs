//! What aya does not ask of bpf(2): what a pinned link hangs on, to put another program there, and to take it off; a
//! hash, many entries at a time. And of a socket: whose network namespace it is in.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{ffi::CString, io, mem::size_of, os::unix::ffi::OsStrExt, path::Path, ptr};

const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

const LINK_OF_CGROUP: u32 = 3;
const LINK_OF_NETKIT: u32 = 13;

const SO_NETNS_COOKIE: libc::c_int = 71;

/// How many entries of a hash are read at once: more than fall into one of its buckets.
const BATCH: usize = 4096;

/// # Safety
///
/// `attributes` must be the members of `union bpf_attr` that `command` reads, and every address in it
/// valid for what the kernel does there.
pub(crate) unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
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
pub(super) enum LinkTarget {
    /// An interface by its index, 0 when it is gone.
    Interface(u32),
    /// A control group by its number, 0 when it is gone.
    Cgroup(u64),
    /// The endpoint's side of a netkit pair, known there by an index of its own; whether it is still there.
    Netkit(bool),
}

/// A link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkFacts {
    /// What it hangs on.
    pub(super) target: LinkTarget,
    /// The program's id.
    pub(super) program: u32,
}

impl LinkFacts {
    /// Whether it hangs at the interface with this index. A link of a netkit device goes with its device for good, so one that
    /// is there is that of its pin.
    pub(super) fn hangs_at(&self, index: u32) -> bool {
        match self.target {
            LinkTarget::Interface(at) => at == index,
            LinkTarget::Netkit(there) => there,
            LinkTarget::Cgroup(_) => false,
        }
    }
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

/// Puts a program in the place of the one that a pinned link has, at once.
pub(super) fn replace_program(path: &Path, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        link: u32,
        program: u32,
        flags: u32,
        old_program: u32,
    }
    let link = open(path)?;
    let (link_fd, program) = (link.as_raw_fd() as u32, program.as_raw_fd() as u32);
    let mut update = Update { link: link_fd, program, flags: 0, old_program: 0 };
    // SAFETY: there are no addresses in it.
    unsafe { bpf(BPF_LINK_UPDATE, &mut update) }.map(drop)
}

/// Hangs a program on the way of what the endpoint's side of a netkit pair sends, before everybody else's, and pins the
/// link. `index` is that of the host's side.
pub(super) fn attach_to_netkit(index: u32, program: BorrowedFd<'_>, pin: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Create {
        program: u32,
        target: u32,
        kind: u32,
        flags: u32,
        relative: u32,
        padding: u32,
        revision: u64,
    }
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    const NETKIT_PEER: u32 = 55;
    const BEFORE: u32 = 1 << 3;
    let mut create = Create {
        program: program.as_raw_fd() as u32,
        target: index,
        kind: NETKIT_PEER,
        flags: BEFORE,
        relative: 0,
        padding: 0,
        revision: 0,
    };
    // SAFETY: there are no addresses in it.
    let link = unsafe { bpf(BPF_LINK_CREATE, &mut create) }?;
    // SAFETY: the kernel just made this descriptor for us.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    let name = CString::new(pin.as_os_str().as_bytes())?;
    let mut pin = Pin { path: name.as_ptr() as u64, fd: link.as_raw_fd() as u32, flags: 0 };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut pin) }.map(drop)
}

/// Hangs a program on a table of sockets, in the place of one that hangs there: it sees what these send.
pub(super) fn attach_to_sockets(table: i32, program: i32) -> io::Result<()> {
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    const SK_MSG_VERDICT: u32 = 7;
    let mut attach =
        Attach { target: table as u32, program: program as u32, kind: SK_MSG_VERDICT, flags: 0 };
    // SAFETY: there are no addresses in it.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attach) }.map(drop)
}

/// The cookie of the network namespace that this thread is in: no other ever has it.
pub(crate) fn namespace_cookie() -> io::Result<u64> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes `length` bytes at most, all of them in `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Reads a pinned link of a kind whose first fact is an interface, TCX, XDP or netkit, or a control group.
pub(super) fn pinned_link(path: &Path) -> io::Result<LinkFacts> {
    let link = open(path)?;
    // struct bpf_link_info of these links, as long as we read it.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        /// An interface and the kind of attachment, or a control group.
        target: [u32; 2],
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
    let [low, high] = info.target;
    let target = match info.kind {
        LINK_OF_NETKIT => LinkTarget::Netkit(low != 0),
        LINK_OF_CGROUP => LinkTarget::Cgroup(u64::from_ne_bytes(both(low, high))),
        _ => LinkTarget::Interface(low),
    };
    Ok(LinkFacts { target, program: info.program })
}

/// Two words as they lie in memory.
fn both(first: u32, second: u32) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
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
