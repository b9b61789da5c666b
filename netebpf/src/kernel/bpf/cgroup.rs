//! The root of the control groups, where programs that see sockets hang: it is above every process.
//!
//! **Invariant**: nothing is mounted where others see it, and no hierarchy is begun that this machine does not use.

use super::{
    Bpf, BpfError, Loaded, attach::failed, attach::link_failed, is_passing, sys, uninterrupted,
};
use crate::{kernel::Hook, plan::Mechanism};
use aya::{
    programs::{CgroupAttachMode, CgroupSockAddrAttachType, ProgramType, links::FdLink},
    sys::is_program_supported,
};
use rustix::{
    fs::{Mode, OFlags, fstat, open, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

/// What is lost without the programs that see sockets.
pub(crate) const LOST: &str = "programs of this host reach published ports by the endpoints' own addresses only, not \
                               by 127.0.0.1, ::1 or an address of the host";

/// The root of the control groups of version 2, as far as this process sees them.
pub(crate) struct Root {
    directory: OwnedFd,
    number: u64,
}

impl Root {
    /// Opens it where it is mounted: anywhere. Within `ip netns exec` it is not, and yet there.
    fn open() -> io::Result<Self> {
        let directory = match mount_point()? {
            Some(path) => {
                open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?
            }
            None if in_use()? => mounted_nowhere()?,
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "this machine uses no control groups of version 2 (cgroup2 is not mounted)",
                ));
            }
        };
        let number = fstat(&directory)?.st_ino;
        Ok(Self { directory, number })
    }
}

/// The mount point of the whole hierarchy, or else of a part of it.
fn mount_point() -> io::Result<Option<String>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let all = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut words = place.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        // Blanks and the like are written as octal numbers.
        (kind.starts_with("cgroup2 ") && !point.contains('\\')).then_some((root, point))
    });
    Ok(all.min_by_key(|(root, _)| root.len()).map(|(_, point)| point.to_owned()))
}

/// Whether processes of this machine are in control groups of version 2.
fn in_use() -> io::Result<bool> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    Ok(groups.lines().any(|line| line.starts_with("0::")))
}

/// The hierarchy without a place in anybody's tree of files.
fn mounted_nowhere() -> io::Result<OwnedFd> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(mount.as_fd(), ".", flags, Mode::empty())?)
}

/// The root, or why programs that see sockets cannot be had here. An error says nothing of them: what hangs must not
/// be taken off for it.
pub(crate) fn root() -> Result<Result<Root, String>, BpfError> {
    let mut supported = false;
    uninterrupted(|| {
        supported = is_program_supported(ProgramType::CgroupSockAddr)?;
        Ok(())
    })
    .map_err(failed("probe", "programs for socket addresses"))?;
    if !supported {
        return Ok(Err(
            "the kernel has no programs for socket addresses (CONFIG_CGROUP_BPF)".to_owned()
        ));
    }
    match Root::open() {
        Err(error) if is_passing(&error) => Err(BpfError::Cgroups(error)),
        opened => Ok(opened.map_err(|error| error.to_string())),
    }
}

/// How the kernel calls the place of a hook; `None` for others than socket addresses'.
pub(super) fn attach_type(hook: Hook) -> Option<CgroupSockAddrAttachType> {
    Some(match hook {
        Hook::Connect4 => CgroupSockAddrAttachType::Connect4,
        Hook::Connect6 => CgroupSockAddrAttachType::Connect6,
        Hook::Sendmsg4 => CgroupSockAddrAttachType::UDPSendMsg4,
        Hook::Sendmsg6 => CgroupSockAddrAttachType::UDPSendMsg6,
        Hook::Recvmsg4 => CgroupSockAddrAttachType::UDPRecvMsg4,
        Hook::Recvmsg6 => CgroupSockAddrAttachType::UDPRecvMsg6,
        Hook::Getpeername4 => CgroupSockAddrAttachType::GetPeerName4,
        Hook::Getpeername6 => CgroupSockAddrAttachType::GetPeerName6,
        Hook::EndpointIngress
        | Hook::GatewayEgress
        | Hook::UplinkIngress
        | Hook::UplinkEgress
        | Hook::ShortcutOpened
        | Hook::UplinkXdp => return None,
    })
}

impl Bpf {
    /// Hangs a program on the root, beside those of others; one of ours that hangs there already is replaced without a
    /// call going past it.
    pub(super) fn attach_to_root(&mut self, hook: Hook) -> Result<(), BpfError> {
        let path = self.link_path(Hook::NO_INTERFACE, hook, Mechanism::Cgroup);
        let object = format!("program {hook} on the root of the control groups");
        if hook == Hook::ShortcutOpened
            && let Some(reason) = self.no_shortcut()
        {
            return Err(BpfError::NoShortcut(reason));
        }
        let root = self.groups.as_ref().map_err(|reason| BpfError::NoGroups(reason.clone()))?;
        let Some(program) = self.programs.get_mut(&hook).map(|program| &mut program.loaded) else {
            return Err(BpfError::NoProgram(hook.program()));
        };
        match sys::pinned_link(&path) {
            Ok(facts) if facts.target == sys::LinkTarget::Cgroup(root.number) => {
                let fd = match program {
                    Loaded::Socket(program) => program.fd(),
                    Loaded::Shortcut(program) => program.fd(),
                    Loaded::Tc(_) | Loaded::Xdp(_) => {
                        return Err(BpfError::NoProgram(hook.program()));
                    }
                };
                let fd = fd.map_err(failed("attach", &object))?;
                return sys::replace_program(&path, fd.as_fd())
                    .map_err(BpfError::file("replace the program of", &path));
            }
            // Of a hierarchy that is gone.
            Ok(_) => fs::remove_file(&path).map_err(BpfError::file("remove", &path))?,
            Err(_) => {}
        }
        // By a link others' programs are always allowed beside it.
        let link = match program {
            Loaded::Socket(program) => {
                let id = program.attach(&root.directory, CgroupAttachMode::Single);
                let link = id.and_then(|id| program.take_link(id));
                FdLink::try_from(link.map_err(failed("attach", &object))?)
            }
            Loaded::Shortcut(program) => {
                let id = program.attach(&root.directory, CgroupAttachMode::Single);
                let link = id.and_then(|id| program.take_link(id));
                FdLink::try_from(link.map_err(failed("attach", &object))?)
            }
            Loaded::Tc(_) | Loaded::Xdp(_) => return Err(BpfError::NoProgram(hook.program())),
        };
        let link = link.map_err(link_failed("attach", &object))?;
        link.pin(&path).map_err(|source| BpfError::Pin { path, source })?;
        Ok(())
    }

    /// Whether calls are led: the programs that see sockets hang on the root.
    pub(crate) fn leads_calls(&self) -> bool {
        let hangs = |hook| self.link_path(Hook::NO_INTERFACE, hook, Mechanism::Cgroup).exists();
        self.has_socket_programs() && Hook::of_sockets().all(hangs)
    }

    /// Whether the programs that see sockets are loaded.
    pub(crate) fn has_socket_programs(&self) -> bool {
        Hook::of_sockets().all(|hook| self.programs.contains_key(&hook))
    }

    /// Whether a pinned link hangs on the root.
    pub(super) fn hangs_on_root(&self, facts: &sys::LinkFacts) -> bool {
        let number = self.groups.as_ref().map(|root| root.number);
        number.is_ok_and(|number| facts.target == sys::LinkTarget::Cgroup(number))
    }
}
