//! The programs and maps in the kernel: loading, pinning, taking over.
//!
//! **Invariant**: what runs is what is pinned. Every handle here is opened from a pin, so that a process
//! that starts, one that takes over and one that just loaded everything are in the same state, and
//! nothing that this process drops takes a program off an interface.
//!
//! ```text
//! /sys/fs/bpf/netebpf/INSTANCE/vABI/
//!     maps/NAME                        shared by every version of the programs with this layout
//!     programs-HASH/NAME               of the object with this hash
//!     links/IFINDEX-PROGRAM[-MODE]     what hangs on an interface; 0 is the root of the control groups
//! ```

mod attach;
mod btf;
pub(crate) mod cgroup;
mod layout;
mod mapping;
mod maps;
pub(crate) mod shortcut;
mod sys;

pub(crate) use attach::{AttachError, remove_pin};
pub(crate) use maps::{Maps, Shared, gone};
pub(crate) use sys::{bpf as bpf_call, namespace_cookie};

use super::Hook;
use crate::state::Instance;
use aya::{
    EbpfLoader,
    maps::MapError,
    pin::PinError,
    programs::{
        CgroupSockAddr, ProgramError, ProgramType, SchedClassifier, SockOps, TcAttachType, Xdp,
        links::LinkError,
    },
    sys::{BpfHelper, is_helper_supported},
};
use aya_obj::programs::XdpAttachType;
use btf::BitField;
use maps::Unusable;
use netebpf_common::abi::{self, constant, map};
use rustix::{
    io::Errno,
    mount::{MountFlags, mount},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The kernel object, built by `build.rs`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netebpf-ebpf"));

/// Where the BPF file system belongs.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Something of BPF failed.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The object was refused: by aya or by the kernel's verifier.
    #[error("load the programs: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// The object lacks a program: the build and the user side disagree.
    #[error("the kernel object has no program {0}")]
    NoProgram(&'static str),
    /// A program was refused, or could not be attached.
    #[error("{operation} {object}: {}", reason(.source))]
    Program {
        /// What was tried.
        operation: &'static str,
        /// With which program, on what.
        object: String,
        /// Why not.
        source: Box<ProgramError>,
    },
    /// A link could not be taken over.
    #[error("{operation} {object}: {source}")]
    Link {
        /// What was tried.
        operation: &'static str,
        /// Which link.
        object: String,
        /// Why not.
        source: LinkError,
    },
    /// A pin could not be made.
    #[error("pin {path}: {source}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: PinError,
    },
    /// A map could not be read or written.
    #[error("{operation} {map}: {source}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// Which map.
        map: &'static str,
        /// Why not.
        source: MapError,
    },
    /// A pin is not the map that it should be.
    #[error("foreign pin: {0}; `netebpf down --all` removes it, and the next `up` makes it new")]
    ForeignPin(String),
    /// The place of programs that see sockets could not be opened this time.
    #[error("open the root of the control groups: {0}")]
    Cgroups(#[source] io::Error),
    /// There is none.
    #[error("the root of the control groups: {0}")]
    NoGroups(String),
    /// The kernel refused the programs of the socket shortcut.
    #[error("no socket shortcut: {0}; without netebpf.socket_shortcut networks work as always")]
    NoShortcut(String),
    /// Nothing is loaded.
    #[error("the programs are not loaded")]
    NotLoaded,
    /// A file operation below the BPF file system failed.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl BpfError {
    /// Why it failed, without what was tried.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Program { source, .. } => reason(source),
            other => other.to_string(),
        }
    }

    /// Whether it may well not happen again.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Program { source, .. } => system_error(source).is_some_and(is_passing),
            Self::Cgroups(_) => true,
            _ => false,
        }
    }

    /// Whether a hook refuses a program, and would again. A driver with too few queues for XDP says that there is no memory.
    pub(crate) fn is_refusal(&self, hook: Hook) -> bool {
        let no_memory = |error: &io::Error| error.raw_os_error() == Some(libc::ENOMEM);
        match self {
            Self::Program { source, .. } if hook == Hook::UplinkXdp => {
                !self.is_passing() || system_error(source).is_some_and(no_memory)
            }
            _ => hook != Hook::UplinkXdp && !self.is_passing(),
        }
    }

    pub(crate) fn map(operation: &'static str, map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map { operation, map, source }
    }

    fn file(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File {
            operation,
            path: path.clone(),
            source: io::Error::new(error.kind(), error.to_string()),
        }
    }
}

/// A loaded program.
enum Loaded {
    Tc(SchedClassifier),
    Xdp(Xdp),
    Socket(CgroupSockAddr),
    Shortcut(SockOps),
}

/// A loaded program and its id in the kernel.
struct Program {
    loaded: Loaded,
    id: u32,
}

/// What is in the kernel.
pub(crate) struct Bpf {
    pins: PathBuf,
    root: PathBuf,
    maps: Option<Maps>,
    programs: BTreeMap<Hook, Program>,
    foreign: Option<String>,
    tcx: bool,
    /// The root of the control groups, or why programs that see sockets cannot be had.
    groups: Result<cgroup::Root, String>,
    /// Why these were not loaded.
    sockets_refused: Option<String>,
    /// Why the programs of the socket shortcut were not.
    shortcut_refused: Option<String>,
    /// The cookie of the host's network namespace; 0 where the kernel does not tell.
    host_cookie: u64,
}

impl Bpf {
    /// Takes over what is pinned.
    pub(crate) fn open(instance: &Instance) -> Result<Self, BpfError> {
        let mut bpf = Self {
            pins: instance.pin_dir(),
            root: instance.pin_root(),
            maps: None,
            programs: BTreeMap::new(),
            foreign: None,
            tcx: tcx_supported(),
            groups: cgroup::root()?,
            sockets_refused: None,
            shortcut_refused: None,
            host_cookie: sys::namespace_cookie().unwrap_or(0),
        };
        bpf.adopt()?;
        Ok(bpf)
    }

    fn adopt(&mut self) -> Result<(), BpfError> {
        match Maps::open(&self.pins.join("maps")) {
            Ok(maps) => self.maps = maps,
            Err(Unusable::Foreign(what)) => self.foreign = Some(what),
            Err(Unusable::Kernel(source)) => {
                return Err(BpfError::Map { operation: "open", map: "pins", source });
            }
        }
        let directory = self.program_dir();
        if self.maps.is_none()
            || !Hook::ALL
                .iter()
                .all(|hook| hook.is_of_host() || directory.join(hook.program()).exists())
        {
            return Ok(());
        }
        for hook in Hook::ALL {
            if hook.is_of_host() && !directory.join(hook.program()).exists() {
                continue;
            }
            let program = open_program(&directory, hook).map_err(program_error("open", hook))?;
            self.programs.insert(hook, program);
        }
        Ok(())
    }

    /// Whether the programs of this version are in the kernel.
    pub(crate) fn is_loaded(&self) -> bool {
        self.maps().is_ok() && !self.programs.is_empty() && self.program_dir().exists()
    }

    /// Whether anything is pinned, of this layout or another.
    pub(crate) fn is_pinned(&self) -> bool {
        self.root.exists()
    }

    /// What is wrong with the pinned maps.
    pub(crate) fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// Whether TC programs are attached as TCX links.
    pub(crate) fn has_tcx(&self) -> bool {
        self.tcx
    }

    /// Why programs that see sockets cannot be had, where that is known.
    pub(crate) fn no_socket_hooks(&self) -> Option<String> {
        if self.host_cookie == 0 {
            return Some(
                "the kernel does not tell network namespaces apart (SO_NETNS_COOKIE)".to_owned(),
            );
        }
        if self.is_loaded() && !self.has_socket_programs() {
            let reason = self.sockets_refused.clone();
            return reason.or_else(|| Some("the kernel refused the programs".to_owned()));
        }
        self.groups.as_ref().err().cloned()
    }

    /// Attaches by clsact although the kernel may have TCX.
    pub(crate) fn avoid_tcx(&mut self) {
        self.tcx = false;
    }

    /// The maps. Those whose pins somebody removed are no longer the ones that count: the next process
    /// would not find them.
    pub(crate) fn maps(&self) -> Result<&Maps, BpfError> {
        let pinned = self.pins.join("maps").exists();
        self.maps.as_ref().filter(|_| pinned).ok_or(BpfError::NotLoaded)
    }

    /// The maps, to write.
    pub(crate) fn maps_mut(&mut self) -> Result<&mut Maps, BpfError> {
        self.maps()?;
        self.maps.as_mut().ok_or(BpfError::NotLoaded)
    }

    fn program_dir(&self) -> PathBuf {
        static HASH: LazyLock<String> = LazyLock::new(|| {
            let hash = Sha256::digest(OBJECT);
            hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
        });
        self.pins.join(format!("programs-{}", *HASH))
    }

    /// Loads and pins the programs of this version, with the maps that are pinned already or new ones.
    /// What hangs on interfaces stays until each link is replaced (see [`Bpf::attach`]).
    pub(crate) fn load(&mut self, settings: abi::Settings) -> Result<(), BpfError> {
        if let Some(what) = &self.foreign {
            return Err(BpfError::ForeignPin(what.clone()));
        }
        mount_bpffs()?;
        let (maps, programs) = (self.pins.join("maps"), self.program_dir());
        for directory in [&maps, &programs, &self.links_dir()] {
            fs::create_dir_all(directory).map_err(BpfError::file("create", directory))?;
        }
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(map::FLOWS, settings.flow_capacity)
            .map_max_entries(map::FREE_FLOWS, settings.flow_capacity)
            .map_max_entries(map::EMBRYONIC, settings.flow_capacity)
            .map_max_entries(map::FLOW_INDEX, abi::index_entries(settings.flow_capacity));
        let cpus = aya::util::nr_cpus()
            .map_err(|(file, error)| BpfError::file("read", Path::new(file))(error))?;
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        for (name, usual) in [
            (map::PEERS, abi::PEER_CAPACITY),
            (map::FRAGMENTS, abi::FRAGMENT_CAPACITY),
            (map::MAPPINGS, abi::MAPPING_CAPACITY),
        ] {
            loader.map_max_entries(name, abi::in_proportion(usual, settings.flow_capacity, cpus));
        }
        let Summed { ip_summed, encapsulation } = summed();
        loader.override_global(constant::IP_SUMMED, &ip_summed, true);
        loader.override_global(constant::ENCAPSULATION, &encapsulation, true);
        let fields = maps::Shared(shortcut::fields().unwrap_or_default());
        loader.override_global(constant::SOCKET_FIELDS, &fields, true);
        for name in Maps::names() {
            loader.map_pin_path(name, maps.join(name));
        }
        let new = self.start_afresh()?;
        let mut object = loader.load(OBJECT).map_err(|error| BpfError::Load(Box::new(error)))?;
        if new {
            let filled = match Maps::open(&maps) {
                Ok(Some(mut maps)) => maps.free_all_flows(),
                Ok(None) => return Err(BpfError::NotLoaded),
                Err(Unusable::Foreign(what)) => return Err(BpfError::ForeignPin(what)),
                Err(Unusable::Kernel(error)) => Err(error),
            };
            filled.map_err(BpfError::map("fill", map::FREE_FLOWS))?;
        }
        let sent = self.load_shortcut(&mut object, &maps)?;
        for hook in Hook::ALL {
            if hook == Hook::ShortcutOpened && !sent {
                continue;
            }
            let program =
                object.program_mut(hook.program()).ok_or(BpfError::NoProgram(hook.program()))?;
            let path = programs.join(hook.program());
            // Left by a load that broke off.
            if path.exists() {
                fs::remove_file(&path).map_err(BpfError::file("remove", &path))?;
            }
            match load_program(program).map_err(program_error("load", hook)) {
                // The rest is worth having.
                Err(error) if hook.is_of_sockets() && !error.is_passing() => {
                    self.sockets_refused = Some(error.to_string());
                    continue;
                }
                Err(error) if hook == Hook::ShortcutOpened && !error.is_passing() => {
                    self.shortcut_refused = Some(error.to_string());
                    continue;
                }
                loaded => loaded?,
            }
            program.pin(&path).map_err(|source| BpfError::Pin { path, source })?;
        }
        self.adopt()?;
        if let Some(what) = &self.foreign {
            return Err(BpfError::ForeignPin(what.clone()));
        }
        self.configure(settings)
    }

    /// Whether the maps are to be made new. They are complete when programs are pinned beside them,
    /// which comes last; maps without programs were left by a load that broke off. Where one is gone,
    /// the others do not fit a new one.
    fn start_afresh(&self) -> Result<bool, BpfError> {
        let entries = fs::read_dir(&self.pins).map_err(BpfError::file("read", &self.pins))?;
        let complete = entries.flatten().any(|entry| {
            let name = entry.file_name();
            let last = entry.path().join(Hook::UplinkXdp.program());
            name.to_string_lossy().starts_with("programs-") && last.exists()
        });
        let pins: Vec<_> = Maps::names().map(|name| self.pins.join("maps").join(name)).collect();
        if complete && pins.iter().all(|pin| pin.exists()) {
            return Ok(false);
        }
        for path in pins {
            attach::remove_pin(&path)?;
        }
        Ok(true)
    }

    /// Tells the programs their settings. The table of flows keeps the size that it was made with.
    pub(crate) fn configure(&mut self, settings: abi::Settings) -> Result<(), BpfError> {
        let host_cookie = self.host_cookie;
        let maps = self.maps_mut()?;
        let flow_capacity = maps.flows.len();
        let settings = abi::Settings { flow_capacity, host_cookie, ..settings };
        let error = BpfError::map("write", map::SETTINGS);
        if maps.settings().map_err(&error)? == settings {
            return Ok(());
        }
        maps.set_settings(settings).map_err(error)
    }

    /// Takes programs off their TCX and XDP links and unpins everything, of every layout.
    pub(crate) fn unload(&mut self) -> Result<(), BpfError> {
        // What cannot be taken off comes off with its pin, a little later.
        for path in self.links_of_all_layouts() {
            let _ = attach::take_off(&path);
        }
        self.programs.clear();
        self.maps = None;
        self.foreign = None;
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BpfError::file("remove", &self.root)(error));
            }
            _ => {}
        }
        // The last instance takes the common directory with it; it stays while there are others.
        if let Some(common) = self.root.parent() {
            let _ = fs::remove_dir(common);
        }
        Ok(())
    }

    /// Unpins the programs of earlier versions, when nothing runs them any more, and everything of
    /// other layouts: their links too, which have run beside the new ones until now.
    pub(crate) fn forget_old_programs(&self) -> Result<(), BpfError> {
        let mut old = self.old_programs();
        old.try_for_each(|path| fs::remove_dir_all(&path).map_err(BpfError::file("remove", &path)))
    }

    /// Where the programs of earlier versions are pinned, and everything of other layouts.
    fn old_programs(&self) -> impl Iterator<Item = PathBuf> {
        let current = self.program_dir();
        let children = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten();
            let directories = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            directories.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let is_programs = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("programs-"))
        };
        let versions = children(&self.pins).into_iter().filter(is_programs);
        let layouts = children(&self.root).into_iter().filter(|path| *path != self.pins);
        versions.filter(move |path| *path != current).chain(layouts)
    }

    /// Whether there are any.
    pub(crate) fn has_old_programs(&self) -> bool {
        self.old_programs().next().is_some()
    }
}

fn program_error(operation: &'static str, hook: Hook) -> impl Fn(ProgramError) -> BpfError {
    move |source| BpfError::Program {
        operation,
        object: format!("program {hook}"),
        source: Box::new(source),
    }
}

fn load_program(program: &mut aya::programs::Program) -> Result<(), ProgramError> {
    uninterrupted(|| match program {
        aya::programs::Program::SchedClassifier(program) => program.load(),
        aya::programs::Program::Xdp(program) => program.load(),
        aya::programs::Program::CgroupSockAddr(program) => program.load(),
        aya::programs::Program::SockOps(program) => program.load(),
        aya::programs::Program::SkMsg(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    })
}

/// How often a program is loaded before a signal that interrupts it is an error.
const ATTEMPTS: usize = 10;

/// Loads a program again when a signal came meanwhile: the verifier gives up then, with `EAGAIN`. A child that ends is
/// enough.
pub fn uninterrupted(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let interrupted = |error: &ProgramError| {
        system_error(error).is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if interrupted(&error) => {}
            done => return done,
        }
    }
    load()
}

/// All of it: of a call that failed aya itself says only which one.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(call) => format!("{call}: {}", call.io_error),
        other => other.to_string(),
    }
}

/// What the system said.
fn system_error(error: &ProgramError) -> Option<&io::Error> {
    match error {
        ProgramError::LoadError { io_error, .. } => Some(io_error),
        ProgramError::SyscallError(error) => Some(&error.io_error),
        _ => None,
    }
}

/// Whether an error is of this moment: no memory, no descriptor, a signal. It says nothing of what the kernel has.
fn is_passing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| {
        [Errno::INTR, Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE].contains(&errno)
    })
}

fn open_program(directory: &Path, hook: Hook) -> Result<Program, ProgramError> {
    let path = directory.join(hook.program());
    let (loaded, id) = if hook == Hook::UplinkXdp {
        let program = Xdp::from_pin(path, XdpAttachType::Interface)?;
        let id = program.info()?.id();
        (Loaded::Xdp(program), id)
    } else if hook == Hook::ShortcutOpened {
        let program = SockOps::from_pin(path)?;
        let id = program.info()?.id();
        (Loaded::Shortcut(program), id)
    } else if let Some(place) = cgroup::attach_type(hook) {
        let program = CgroupSockAddr::from_pin(path, place)?;
        let id = program.info()?.id();
        (Loaded::Socket(program), id)
    } else {
        let program = SchedClassifier::from_pin(path)?;
        let id = program.info()?.id();
        (Loaded::Tc(program), id)
    };
    Ok(Program { loaded, id })
}

/// The values of [`constant::IP_SUMMED`] and [`constant::ENCAPSULATION`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summed {
    /// Of the first.
    pub ip_summed: u32,
    /// Of the second.
    pub encapsulation: u32,
}

/// Where the kernel says who computes a checksum; both 0 without BTF, and where programs may not read the
/// kernel's memory (lockdown). BTF counts bits from the other end on big-endian machines.
pub fn summed() -> Summed {
    let read = BpfHelper::BPF_FUNC_probe_read_kernel;
    if cfg!(target_endian = "big")
        || !is_helper_supported(ProgramType::SchedClassifier, read).unwrap_or(false)
    {
        return Summed::default();
    }
    let field = |name, size| {
        let BitField { offset, size: found } = btf::kernel_bit_field("sk_buff", name)?;
        (found == size && offset % 8 + size <= 8).then_some(offset)
    };
    match (field("ip_summed", 2), field("encapsulation", 1)) {
        (Some(ip_summed), Some(encapsulation)) => Summed { ip_summed, encapsulation },
        _ => Summed::default(),
    }
}

/// Asks by trying: a kernel without TCX does not know the question.
pub(crate) fn tcx_supported() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

/// Whether the BPF file system is where it belongs.
pub(crate) fn bpffs_mounted() -> bool {
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between C libraries")]
    rustix::fs::statfs(BPFFS).is_ok_and(|facts| facts.f_type as u64 == BPF_FS_MAGIC)
}

fn mount_bpffs() -> Result<(), BpfError> {
    if bpffs_mounted() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", BPFFS, "bpf", flags, None).map_err(|errno| {
        BpfError::file("mount the BPF file system on", Path::new(BPFFS))(errno.into())
    })
}
