//! The file system of the machine in QEMU: busybox, modules, netebpf, the programs that it runs and the tools that these need.
//!
//! **Invariant**: the machine powers itself off when its programs are through, and announces each one's
//! exit code in a line that begins with [`MARKER`]. No program sees a terminal.

use super::{cards, kernel::Kernel};
use crate::run;
use anyhow::{Context as _, Result, ensure};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

/// What begins a line that is meant for [`super`], not for the reader.
pub(super) const MARKER: &str = "### netebpf-vm: ";

/// What begins a line of what a program left in a file, between its name and the line.
pub(super) const LEFT: &str = " left: ";

/// Loaded before any program, with what they depend on.
const MODULES: &[&str] = &[
    "veth",
    "bridge",
    "dummy",
    "tun",
    "vxlan",
    "sch_ingress",
    "cls_bpf",
    "sch_netem",
    "tcp_diag",
    "udp_diag",
];

/// Copied from this machine with their shared libraries where they are there. A test that wants another
/// is skipped, with its reason.
const TOOLS: &[&str] = &["ip", "ss", "ping", "iperf3", "bpftool"];

/// What a program needs in the machine, beside what every one has.
pub(super) struct Needs {
    /// Loaded in this order, with what they depend on; those that are built into a kernel are there anyway.
    pub(super) modules: &'static [&'static str],
    /// Copied from this machine with their shared libraries where they are there.
    pub(super) tools: &'static [&'static str],
    /// What tools load while they run: files of this machine, in the same directory there.
    pub(super) plugins: &'static [&'static str],
}

const OF_ALL: Needs = Needs { modules: MODULES, tools: TOOLS, plugins: &[] };
const OF_CARDS: Needs = Needs { modules: &cards::MODULES, tools: &[], plugins: &[] };

/// A program that the machine runs.
pub(super) struct Program {
    /// In its markers.
    pub(super) name: String,
    /// Itself and its arguments.
    pub(super) words: Vec<String>,
    /// The file that it leaves its results in.
    pub(super) leaves: Option<&'static str>,
}

/// What goes in beside the kernel.
pub(super) struct Contents {
    /// Ours: where each is in the machine, and where it is here.
    executables: Vec<(String, PathBuf)>,
    programs: Vec<Program>,
    needs: Vec<Needs>,
}

impl Contents {
    /// The least: that netebpf is there, and runs.
    pub(super) fn new(netebpf: &Path) -> Self {
        let version = Program {
            name: "netebpf".to_owned(),
            words: ["netebpf", "--version"].map(str::to_owned).into(),
            leaves: None,
        };
        Self {
            executables: vec![("usr/bin/netebpf".to_owned(), netebpf.to_owned())],
            programs: vec![version],
            needs: vec![OF_ALL, OF_CARDS],
        }
    }

    pub(super) fn add_test(&mut self, name: &str, executable: &Path, arguments: &[&str]) {
        let place = format!("tests/{name}");
        let program = format!("/{place}");
        let words = [&program, "--test-threads=1", "--show-output"]
            .into_iter()
            .chain(arguments.iter().copied());
        let words = words.map(str::to_owned).collect();
        self.executables.push((place, executable.to_owned()));
        self.programs.push(Program { name: name.to_owned(), words, leaves: None });
    }

    /// One more to run, after those that are there.
    pub(super) fn add(&mut self, program: Program, needs: Needs) {
        self.programs.push(program);
        self.needs.push(needs);
    }

    /// The programs that the machine runs, by the names in its markers.
    pub(super) fn programs(&self) -> Vec<String> {
        self.programs.iter().map(|program| program.name.clone()).collect()
    }

    /// Writes the image, uncompressed: emulated machines unpack slowly.
    pub(super) fn pack(&self, kernel: &Kernel) -> Result<PathBuf> {
        let root = tempfile::Builder::new()
            .prefix("initramfs-")
            .tempdir_in(run::target_dir().join("vm"))?;
        let root = root.path();
        for directory in [
            "bin", "usr/bin", "modules", "tests", "proc", "sys", "dev", "run", "tmp", "var", "etc",
            "root",
        ] {
            fs::create_dir_all(root.join(directory))?;
        }
        copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
        let all = |of: fn(&Needs) -> &'static [&'static str]| self.needs.iter().flat_map(of);
        for tool in all(|needs| needs.tools) {
            copy_tool(tool, root)?;
        }
        for directory in all(|needs| needs.plugins) {
            copy_directory(Path::new(directory), root)?;
        }
        copy_modules(kernel, all(|needs| needs.modules), &root.join("modules"))?;
        for (place, executable) in &self.executables {
            copy_stripped(executable, &root.join(place))?;
            copy_libraries(executable, root)?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\n")?;
        // nft asks for names of protocols.
        fs::write(root.join("etc/protocols"), "icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\n")?;
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(root.join("init"), self.init())?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        let image = run::target_dir().join("vm").join(format!("initramfs-{}.cpio", kernel.name));
        let files = run::output(run::command("find").arg(".").current_dir(root))?;
        let mut cpio = run::command("cpio");
        cpio.args(["--create", "--quiet", "--format=newc", "--owner=0:0"]).current_dir(root);
        let mut cpio = cpio.stdin(Stdio::piped()).stdout(fs::File::create(&image)?).spawn()?;
        std::io::Write::write_all(
            &mut cpio.stdin.take().context("cpio has no input")?,
            files.as_bytes(),
        )?;
        ensure!(cpio.wait()?.success(), "cpio failed");
        Ok(image)
    }

    fn init(&self) -> String {
        let mut init = format!(
            "#!/bin/busybox sh\n\
             /bin/busybox --install -s /bin\n\
             export PATH=/usr/bin:/bin HOME=/root NETEBPF_VM=1 NETEBPF_BIN=/usr/bin/netebpf NETEBPF_TIMEOUT_SCALE=8\n\
             export NETEBPF_CARDS={cards}\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t devtmpfs devtmpfs /dev\n\
             mkdir -p /dev/pts /dev/shm\n\
             mount -t devpts devpts /dev/pts\n\
             mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
             mount -t bpf bpf /sys/fs/bpf\n\
             for place in /run /tmp /var; do mount -t tmpfs tmpfs $place; done\n\
             mkdir -p /run/netns /run/lock /var/lib /var/log\n\
             dmesg -n 1\n\
             for module in /modules/*; do insmod $module || echo \"insmod $module failed\"; done\n\
             ip link set lo up\n\
             echo '{MARKER}up'\n\
             cd /tests\n",
            cards = cards::NAMES.join(","),
        );
        for Program { name, words, leaves } in &self.programs {
            let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
            let command = words.join(" ");
            // Writing to a String cannot fail.
            let _ = writeln!(init, "{{ {command} 2>&1; echo \"{MARKER}$? {name}\"; }} | cat");
            if let Some(file) = leaves {
                let _ = writeln!(init, "sed 's/^ */{MARKER}{name}{LEFT}/' {file}");
            }
        }
        init.push_str("poweroff -f\n");
        init
    }
}

/// As a shell reads one word.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Without symbols: a tenth of the size.
fn copy_stripped(from: &Path, to: &Path) -> Result<()> {
    run::output(run::command("strip").arg("-o").arg(to).arg(from)).map(drop)
}

/// A program of this machine, and what it needs.
fn copy_tool(tool: &str, root: &Path) -> Result<()> {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let Some(program) =
        places.iter().map(|place| Path::new(place).join(tool)).find(|path| path.exists())
    else {
        return Ok(());
    };
    copy(&program, &root.join("usr/bin").join(tool))?;
    copy_libraries(&program, root)
}

/// The libraries that `ldd` lists, each where the loader looks for it.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    for word in run::output(run::command("ldd").arg(program))?.split_whitespace() {
        let library = root.join(word.trim_start_matches('/'));
        if word.starts_with('/') && !library.exists() {
            fs::create_dir_all(library.parent().context("a library in no directory")?)?;
            copy(Path::new(word), &library)?;
        }
    }
    Ok(())
}

/// The files of a directory, if it is there.
fn copy_directory(directory: &Path, root: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let to = root.join(directory.strip_prefix("/")?);
    fs::create_dir_all(&to)?;
    for entry in entries {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies modules, unpacked, with names that sort in the order to load them.
fn copy_modules<'a>(
    kernel: &Kernel,
    modules: impl Iterator<Item = &'a &'a str>,
    to: &Path,
) -> Result<()> {
    let dependencies = fs::read_to_string(kernel.modules.join("modules.dep"))?;
    let mut order: Vec<&str> = Vec::new();
    for module in modules {
        let is_it = |path: &str| stem(path) == *module;
        let line = dependencies.lines().find(|line| line.split(':').next().is_some_and(is_it));
        // Not listed: built into this kernel.
        let Some((path, needs)) = line.and_then(|line| line.split_once(':')) else { continue };
        // The farthest dependency stands last and is loaded first.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    for (number, path) in order.iter().enumerate() {
        let packed = kernel.modules.join(path);
        let unpacked = to.join(format!("{number:03}-{}.ko", stem(path)));
        if path.ends_with(".xz") {
            let file = fs::File::create(&unpacked)?;
            let mut xz = run::command("xz");
            let done = xz.args(["--decompress", "--stdout"]).arg(packed).stdout(file).status()?;
            ensure!(done.success(), "xz cannot unpack {path}");
        } else {
            copy(&packed, &unpacked)?;
        }
    }
    Ok(())
}

/// The name of a module, from its path.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}
