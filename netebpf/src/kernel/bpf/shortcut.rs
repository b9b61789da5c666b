//! The programs of the socket shortcut: one that hangs on the root of the control groups and sees connections, while some
//! network has the shortcut, and one that hangs on the table of their sockets and sees what these send.
//!
//! **Invariant**: the second hangs wherever the table is: an empty one gives it nothing to do. Sockets keep the program
//! that they came to the table with, so one of another version changes nothing for those that are there.

use super::{Bpf, BpfError, attach::failed, btf, load_program, maps::Shared, sys};
use crate::kernel::Hook;
use aya::{
    Ebpf,
    maps::{MapData, MapType},
    programs::{Program, ProgramType},
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use netebpf_common::abi::{Address, SocketFields, map, program};
use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::LazyLock,
};

/// What is lost without.
pub(crate) const LOST: &str =
    "connections between endpoints of networks with the socket shortcut go by TCP, as all others";

/// Whether the kernel has what it takes, the root of the control groups aside.
pub(crate) fn is_there() -> bool {
    let program = |kind| is_program_supported(kind).unwrap_or(false);
    let reads = is_helper_supported(ProgramType::SkMsg, BpfHelper::BPF_FUNC_probe_read_kernel);
    program(ProgramType::SockOps)
        && program(ProgramType::SkMsg)
        && is_map_supported(MapType::SockHash).unwrap_or(false)
        && reads.unwrap_or(false)
        && fields().is_some()
}

/// Where the kernel keeps what is asked of sockets; `None` without BTF.
pub(super) fn fields() -> Option<SocketFields> {
    static FIELDS: LazyLock<Option<SocketFields>> = LazyLock::new(|| {
        let [socket, target, user_data, unread, sent, written, next] = btf::kernel_fields([
            ("sk_msg", "sk"),
            ("sk_msg", "sk_redir"),
            ("sock", "sk_user_data"),
            ("sk_psock", "ingress_msg"),
            ("tcp_sock", "bytes_sent"),
            ("tcp_sock", "write_seq"),
            ("tcp_sock", "snd_nxt"),
        ])?;
        Some(SocketFields {
            message_socket: socket,
            message_target: target,
            user_data,
            unread,
            bytes_sent: sent,
            write_seq: written,
            snd_nxt: next,
        })
    });
    *FIELDS
}

impl Bpf {
    /// Loads the program that sees what is sent, and hangs it on the table of sockets. `false` where the kernel has no
    /// such programs, or does not tell what they must know.
    pub(super) fn load_shortcut(
        &mut self,
        object: &mut Ebpf,
        maps: &Path,
    ) -> Result<bool, BpfError> {
        let name = program::SHORTCUT_SENT;
        let program = object.program_mut(name).ok_or(BpfError::NoProgram(name))?;
        if fields().is_none() {
            self.shortcut_refused = Some(NO_FIELDS.to_owned());
            return Ok(false);
        }
        match hang_on_table(program, maps) {
            // The rest is worth having.
            Err(error) if !error.is_passing() => {
                self.shortcut_refused = Some(error.to_string());
                Ok(false)
            }
            hung => hung.map(|()| true),
        }
    }

    /// Why the shortcut cannot be had, where that is known.
    pub(crate) fn no_shortcut(&self) -> Option<String> {
        if self.host_cookie == 0 {
            return self.no_socket_hooks();
        }
        if self.is_loaded() && !self.programs.contains_key(&Hook::ShortcutOpened) {
            let reason = self.shortcut_refused.clone();
            return reason.or_else(|| Some("the kernel refused the programs".to_owned()));
        }
        match &self.groups {
            Err(reason) => Some(reason.clone()),
            Ok(_) if fields().is_none() => Some(NO_FIELDS.to_owned()),
            Ok(_) => None,
        }
    }

    /// Says in which namespaces endpoints are whose sockets may take the shortcut, and that there are no others.
    pub(crate) fn set_homes(&mut self, wanted: &BTreeMap<Address, u64>) -> Result<(), BpfError> {
        // With the programs went their tables.
        let Ok(maps) = self.maps_mut() else { return Ok(()) };
        let error = BpfError::map("write", map::HOMES);
        let found: Result<BTreeMap<Address, u64>, _> =
            maps.homes.iter().map(|entry| entry.map(|(key, home)| (key.0, home))).collect();
        let found = found.map_err(BpfError::map("read", map::HOMES))?;
        for address in found.keys().filter(|address| !wanted.contains_key(address)) {
            super::gone(maps.homes.remove(&Shared(*address))).map_err(&error)?;
        }
        for (address, home) in
            wanted.iter().filter(|(address, home)| found.get(address) != Some(home))
        {
            maps.homes.insert(Shared(*address), *home, 0).map_err(&error)?;
        }
        Ok(())
    }
}

fn hang_on_table(program: &mut Program, maps: &Path) -> Result<(), BpfError> {
    load_program(program).map_err(failed("load", "program shortcut_sent"))?;
    let fd = program.fd().map_err(failed("attach", "program shortcut_sent"))?;
    let table = MapData::from_pin(maps.join(map::SOCKETS));
    let table = table.map_err(BpfError::map("open", map::SOCKETS))?;
    let hung = sys::attach_to_sockets(table.fd().as_fd().as_raw_fd(), fd.as_fd().as_raw_fd());
    hung.map_err(BpfError::file("hang the shortcut's program on", &maps.join(map::SOCKETS)))
}

const NO_FIELDS: &str = "the kernel does not say where it keeps what sockets have sent (BTF, CONFIG_DEBUG_INFO_BTF), or \
                         programs may not read it (lockdown)";
