//! What is pinned below an instance's directory: identifiers that tell "the same" from "made again".

use super::Lab;
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

const BPF_OBJ_GET: libc::c_long = 7;

/// The attributes of `BPF_OBJ_GET` (bpf.h), and room for those that the kernel may look at.
#[repr(C, align(8))]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
    rest: [u64; 16],
}

impl Lab {
    /// Every pin and the kernel's identifier of what it holds: `map_id`, `prog_id` or `link_id`.
    pub fn pins(&self) -> BTreeMap<PathBuf, String> {
        let mut pins = BTreeMap::new();
        walk(&Path::new("/sys/fs/bpf/netebpf").join(self.instance()), &mut pins);
        pins
    }
}

fn walk(directory: &Path, pins: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, pins);
        } else {
            let id = identify(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            pins.insert(path, id);
        }
    }
}

fn identify(pin: &Path) -> io::Result<String> {
    let path = CString::new(pin.as_os_str().as_encoded_bytes())?;
    let get = ObjGet { path: path.as_ptr() as u64, fd: 0, flags: 0, rest: [0; 16] };
    // SAFETY: the attributes and the path that they point to outlive the call; their size is given. The
    // descriptor that comes back is ours alone.
    let object = unsafe {
        let size = size_of_val(&get);
        let fd = libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const get, size);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd()))?;
    let wanted = |line: &&str| line.starts_with("map_id") || line.starts_with("link_id");
    let line = info.lines().find(wanted).or(info.lines().find(|line| line.starts_with("prog_id")));
    Ok(line.unwrap_or("unknown").to_owned())
}
