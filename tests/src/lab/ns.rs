//! A network namespace: work and programs in it.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    ffi::CString,
    fs::{self, File},
    os::{fd::AsFd, unix::process::CommandExt},
    panic,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// A namespace under `/run/netns`. Dropping it removes nothing: the laboratory does.
#[derive(Clone, Debug)]
pub struct Ns {
    name: String,
}

impl Ns {
    /// Makes one, with loopback up and without limits on ICMP errors: tests ask for many in a row.
    pub fn create(name: String) -> Self {
        ip(&["netns", "add", &name]);
        let ns = Self { name };
        ns.ip("link set lo up");
        ns.unlimited_errors();
        ns
    }

    /// One that exists already.
    pub fn existing(name: String) -> Self {
        let ns = Self { name };
        assert!(ns.path().exists(), "no namespace {}", ns.path().display());
        ns
    }

    /// Its name below `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Lifts the limits on ICMP errors.
    pub fn unlimited_errors(&self) {
        self.sysctl("net/ipv4/icmp_ratelimit", "0");
        self.sysctl("net/ipv6/icmp/ratelimit", "0");
    }

    /// Does some work inside, on a thread of its own. Sockets made there stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let file = File::open(self.path()).expect("the namespace exists");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root enters namespaces");
            work()
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        joined.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// A program that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.enter(&mut command);
        command
    }

    /// Lets a program run inside.
    pub fn enter(&self, command: &mut Command) {
        let path = CString::new(self.path().into_os_string().into_encoded_bytes()).expect("no NUL");
        let enter = move || {
            // SAFETY: system calls only, on a NUL-terminated path that the closure owns.
            unsafe {
                let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
                if fd < 0 || libc::setns(fd, libc::CLONE_NEWNET) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(enter) };
    }

    /// `ip` inside, which must succeed; what it prints.
    pub fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.split_whitespace();
        let all: Vec<&str> = ["-n", &self.name].into_iter().chain(arguments).collect();
        ip(&all)
    }

    /// What `ip -j` prints.
    pub fn ip_json(&self, arguments: &str) -> serde_json::Value {
        let text = self.ip(&format!("-j {arguments}"));
        serde_json::from_str(&text).unwrap_or(serde_json::Value::Array(Vec::new()))
    }

    /// Writes a sysctl, by its path below `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: &str) {
        let file = Path::new("/proc/sys").join(path);
        self.run(|| fs::write(&file, value))
            .unwrap_or_else(|error| panic!("{} in {}: {error}", file.display(), self.name));
    }

    /// The index of an interface, when there is one of this name.
    pub fn ifindex(&self, interface: &str) -> Option<u32> {
        let name = CString::new(interface).expect("no NUL");
        // SAFETY: a NUL-terminated string that outlives the call.
        let index = self.run(|| unsafe { libc::if_nametoindex(name.as_ptr()) });
        (index != 0).then_some(index)
    }

    /// The names of its interfaces, and their indices.
    pub fn links(&self) -> Vec<(String, u64)> {
        let links = self.ip_json("link show");
        let all = links.as_array().into_iter().flatten();
        all.map(|link| {
            let name = link["ifname"].as_str().expect("a name").to_owned();
            (name, link["ifindex"].as_u64().expect("an index"))
        })
        .collect()
    }

    /// The Ethernet address of an interface.
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let links = self.ip_json(&format!("link show dev {interface}"));
        let text = links[0]["address"].as_str().expect("an Ethernet address").to_owned();
        let mut bytes =
            text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"));
        std::array::from_fn(|_| bytes.next().expect("six bytes"))
    }

    /// The kernel's counters of wrong checksums that are not zero, by name.
    pub fn checksum_errors(&self) -> Vec<String> {
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let (snmp, snmp6, netstat) = self.run(|| (read("snmp"), read("snmp6"), read("netstat")));
        let mut bad = Vec::new();
        for text in [snmp, netstat].into_iter().flatten() {
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.chunks_exact(2) {
                let columns = pair[0].split_whitespace().zip(pair[1].split_whitespace());
                let wrong = columns.filter(|(key, n)| key.ends_with("CsumErrors") && *n != "0");
                let protocol = pair[0].split(':').next().unwrap_or_default();
                bad.extend(wrong.map(|(key, n)| format!("{protocol}{key} = {n}")));
            }
        }
        let v6 = snmp6.unwrap_or_default();
        let v6 = v6.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let v6 = v6.map(|(key, n)| (key, n.trim()));
        let wrong = v6.filter(|(key, n)| key.ends_with("CsumErrors") && *n != "0");
        bad.extend(wrong.map(|(key, n)| format!("{key} = {n}")));
        bad
    }

    /// The processes inside.
    pub fn processes(&self) -> Vec<u32> {
        use std::os::unix::fs::MetadataExt;
        let Ok(own) = fs::metadata(self.path()) else { return Vec::new() };
        let all = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let theirs = fs::metadata(format!("/proc/{pid}/ns/net"));
            theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (own.dev(), own.ino()))
        })
        .collect()
    }
}

/// Lets a program see a directory in the place of `/etc`. What it mounts in `/run/netns` is mounted for all: those
/// mounts are shared.
pub(super) fn instead_of_etc(command: &mut Command, directory: &Path) {
    let directory = CString::new(directory.as_os_str().as_encoded_bytes()).expect("no NUL");
    let mount = move || {
        let none = std::ptr::null();
        // SAFETY: system calls only, on NUL-terminated paths that live as long.
        unsafe {
            if libc::unshare(libc::CLONE_NEWNS) < 0
                || libc::mount(none, c"/".as_ptr(), none, libc::MS_PRIVATE, none.cast()) < 0
                || libc::mount(
                    directory.as_ptr(),
                    c"/etc".as_ptr(),
                    none,
                    libc::MS_BIND,
                    none.cast(),
                ) < 0
            {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(mount) };
}

/// Runs `ip`, which must succeed; what it prints.
pub(super) fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("iproute2 is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
