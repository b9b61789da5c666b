//! Programs on interfaces.

use super::{Bpf, BpfError, Loaded, sys};
use crate::{
    kernel::{
        Hook,
        netlink::{Netlink, NetlinkError},
    },
    plan::{Attached, Mechanism},
};
use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp,
    links::{FdLink, PinnedLink},
    tc::{SchedClassifierLink, TcAttachOptions},
    xdp::{XdpLink, XdpMode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a link whose pin somebody removed may still be there: the kernel frees what a pin held after a grace period
/// (`bpf_free_inode`), and until then the same program hangs there already, which TCX and netkit refuse with EEXIST. XDP has one
/// place for each mode: EBUSY and EEXIST do not say whose program is there.
const RELEASE: Duration = Duration::from_secs(1);
/// And how often it is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// A program could not be attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// As a link.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// As a filter.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Bpf {
    pub(super) fn links_dir(&self) -> PathBuf {
        self.pins.join("links")
    }

    /// The pin of a link: by index, because names of interfaces may have dots, which bpffs refuses.
    pub(super) fn link_path(&self, index: u32, hook: Hook, mechanism: Mechanism) -> PathBuf {
        let mode = match mechanism {
            Mechanism::XdpNative => "-native",
            Mechanism::XdpGeneric => "-generic",
            Mechanism::Netkit => "-netkit",
            Mechanism::Tcx | Mechanism::Clsact | Mechanism::Cgroup => "",
        };
        self.links_dir().join(format!("{index}-{hook}{mode}"))
    }

    /// Hangs a program on an interface, before everybody else's; one of ours that hangs there already
    /// is replaced without a packet going past it.
    pub(crate) async fn attach(
        &mut self,
        netlink: &Netlink,
        (index, name): (u32, &str),
        hook: Hook,
        mechanism: Mechanism,
    ) -> Result<(), AttachError> {
        if mechanism == Mechanism::Cgroup {
            return Ok(self.attach_to_root(hook)?);
        }
        let path = self.link_path(index, hook, mechanism);
        let object = format!("program {hook} on {name} by {mechanism}");
        if hook == Hook::UplinkXdp && !path.exists() {
            self.make_room_for_xdp(index)?;
        }
        let program = self.programs.get_mut(&hook).ok_or(BpfError::NotLoaded)?;
        let tc = || match &program.loaded {
            Loaded::Tc(program) => program.fd().map_err(failed("attach", &object)),
            _ => Err(BpfError::NoProgram(hook.program())),
        };
        if mechanism == Mechanism::Clsact {
            return Ok(netlink.attach_filter(index, name, hook, tc()?.as_fd()).await?);
        }
        let pinned = match sys::pinned_link(&path) {
            Ok(facts) if facts.hangs_at(index) => true,
            // Of an interface that is gone and whose index was given again.
            Ok(_) => {
                fs::remove_file(&path).map_err(BpfError::file("remove", &path))?;
                false
            }
            Err(_) => false,
        };
        let deadline = Instant::now() + RELEASE;
        if mechanism == Mechanism::Netkit {
            let attached = loop {
                let attached = match pinned {
                    true => sys::replace_program(&path, tc()?.as_fd()),
                    false => sys::attach_to_netkit(index, tc()?.as_fd(), &path),
                };
                match attached {
                    Err(error)
                        if error.raw_os_error() == Some(libc::EEXIST)
                            && Instant::now() < deadline =>
                    {
                        sleep(PAUSE).await;
                    }
                    attached => break attached,
                }
            };
            let attached = attached.map_err(ProgramError::IOError);
            return Ok(attached.map_err(failed("attach", &object))?);
        }
        let mut existing = pinned
            .then(|| PinnedLink::from_pin(&path).map(FdLink::from))
            .transpose()
            .map_err(link_failed("open", &object))?;
        let link = loop {
            let link = match &mut program.loaded {
                Loaded::Tc(program) => attach_tcx(program, name, hook, existing.take()),
                Loaded::Xdp(program) => attach_xdp(program, index, mechanism, existing.take()),
                Loaded::Socket(_) | Loaded::Shortcut(_) => {
                    return Err(BpfError::NoProgram(hook.program()).into());
                }
            };
            match link {
                // Nothing is tried again but to hang it anew: a link that was there is used up.
                Err(error) if !pinned && error.is_there() && Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                link => break link,
            }
        };
        let link = link.map_err(|error| match error {
            Refused::Program(error) => failed("attach", &object)(error),
            Refused::Link(error) => link_failed("attach", &object)(error),
        })?;
        if !pinned {
            link.pin(&path).map_err(|source| BpfError::Pin { path, source })?;
        }
        Ok(())
    }

    /// Takes a program off an interface; done already is done.
    pub(crate) async fn detach(
        &self,
        netlink: &Netlink,
        (index, name): (u32, &str),
        hook: Hook,
        mechanism: Mechanism,
    ) -> Result<(), AttachError> {
        if mechanism == Mechanism::Clsact {
            return Ok(netlink.detach_filter(index, name, hook).await?);
        }
        Ok(take_off(&self.link_path(index, hook, mechanism))?)
    }

    /// An interface takes one XDP program, and another layout's of this instance may hang there. (TCX takes
    /// several; the other layout's goes with its pins.)
    fn make_room_for_xdp(&self, index: u32) -> Result<(), BpfError> {
        let ours = |path: &PathBuf| matches!(parse_pin(path), Some((at, Hook::UplinkXdp, _)) if at == index);
        self.links_of_all_layouts().filter(ours).try_for_each(|path| take_off(&path))
    }

    /// Whether XDP runs anywhere.
    pub(crate) fn has_xdp(&self) -> bool {
        let is_xdp = |path: PathBuf| matches!(parse_pin(&path), Some((_, Hook::UplinkXdp, _)));
        self.links_of_all_layouts().any(is_xdp)
    }

    /// Every pinned link of the instance, of whatever layout of the maps.
    pub(super) fn links_of_all_layouts(&self) -> impl Iterator<Item = PathBuf> {
        let layouts = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let links = layouts.flat_map(|layout| fs::read_dir(layout.path().join("links")));
        links.flatten().flatten().map(|entry| entry.path()).filter(|path| parse_pin(path).is_some())
    }

    /// Our programs on interfaces, and the pins of links whose interface is gone. Links that are known are looked
    /// at only where their interface or their pin is gone.
    #[allow(clippy::type_complexity, reason = "two lists, used once")]
    pub(crate) async fn attached(
        &self,
        netlink: &Netlink,
        interfaces: &BTreeSet<u32>,
        known: Option<&BTreeMap<(u32, Hook), Attached>>,
    ) -> Result<(BTreeMap<(u32, Hook), Attached>, Vec<PathBuf>), AttachError> {
        let (mut found, mut dead) = (BTreeMap::new(), Vec::new());
        let current = |hook: Hook, id: u32| self.programs.get(&hook).is_some_and(|p| p.id == id);
        let there = |index: u32, hook: Hook| hook.is_of_host() || interfaces.contains(&index);
        let hangs = |index: u32, hook: Hook, facts: &sys::LinkFacts| {
            if hook.is_of_host() { self.hangs_on_root(facts) } else { facts.hangs_at(index) }
        };
        if let Ok(entries) = fs::read_dir(self.links_dir()) {
            for path in entries.flatten().map(|entry| entry.path()) {
                let Some((index, hook, mechanism)) = parse_pin(&path) else {
                    dead.push(path);
                    continue;
                };
                let known = known.and_then(|known| known.get(&(index, hook)));
                if let Some(attached) = known.filter(|a| a.mechanism == mechanism)
                    && there(index, hook)
                {
                    found.insert((index, hook), *attached);
                    continue;
                }
                match sys::pinned_link(&path) {
                    Ok(facts) if hangs(index, hook, &facts) => {
                        let current = current(hook, facts.program);
                        found.insert((index, hook), Attached { mechanism, current });
                    }
                    _ => dead.push(path),
                }
            }
        }
        // A filter has no pin, and others remove it with its queueing discipline: it is known on endpoints' interfaces
        // alone, which are many and ours.
        let of_endpoints = known
            .into_iter()
            .flatten()
            .filter(|((index, hook), _)| *hook == Hook::EndpointIngress && there(*index, *hook));
        let of_endpoints: BTreeMap<u32, Attached> =
            of_endpoints.map(|((index, _), attached)| (*index, *attached)).collect();
        for index in interfaces.iter().copied() {
            if let Some(attached) = of_endpoints.get(&index) {
                if attached.mechanism == Mechanism::Clsact {
                    found.insert((index, Hook::EndpointIngress), *attached);
                }
                continue;
            }
            for hook in Hook::ALL.into_iter().filter(|hook| hook.is_tc()) {
                if found.contains_key(&(index, hook)) {
                    continue;
                }
                if let Some(id) = netlink.attached_filter(index, hook).await? {
                    let current = current(hook, id);
                    found.insert((index, hook), Attached { mechanism: Mechanism::Clsact, current });
                }
            }
        }
        Ok((found, dead))
    }
}

/// Takes a pinned link off its interface; done already is done.
pub(super) fn take_off(path: &Path) -> Result<(), BpfError> {
    sys::detach(path).map_err(BpfError::file("remove", path))
}

/// Removes a pin; done already is done.
pub(crate) fn remove_pin(path: &Path) -> Result<(), BpfError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BpfError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

enum Refused {
    Program(ProgramError),
    Link(aya::programs::links::LinkError),
}

impl Refused {
    /// Whether the same program hangs there, or may.
    fn is_there(&self) -> bool {
        let Self::Program(error) = self else { return false };
        let first: Option<&(dyn Error + 'static)> = Some(error);
        let mut causes = std::iter::successors(first, |&error| error.source());
        let code = causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
        matches!(code, Some(libc::EEXIST | libc::EBUSY))
    }
}

impl From<ProgramError> for Refused {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl From<aya::programs::links::LinkError> for Refused {
    fn from(error: aya::programs::links::LinkError) -> Self {
        Self::Link(error)
    }
}

fn attach_tcx(
    program: &mut SchedClassifier,
    name: &str,
    hook: Hook,
    existing: Option<FdLink>,
) -> Result<FdLink, Refused> {
    let side = if hook.is_egress() { TcAttachType::Egress } else { TcAttachType::Ingress };
    let id = match existing {
        Some(link) => program.attach_to_link(SchedClassifierLink::try_from(link)?)?,
        None => {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            program.attach_with_options(name, side, options)?
        }
    };
    Ok(program.take_link(id)?.try_into()?)
}

fn attach_xdp(
    program: &mut Xdp,
    index: u32,
    mechanism: Mechanism,
    existing: Option<FdLink>,
) -> Result<FdLink, Refused> {
    let mode = if mechanism == Mechanism::XdpGeneric { XdpMode::Skb } else { XdpMode::Driver };
    let id = match existing {
        Some(link) => program.attach_to_link(XdpLink::try_from(link)?)?,
        None => program.attach_to_if_index(index, mode)?,
    };
    Ok(program.take_link(id)?.try_into()?)
}

pub(super) fn failed(operation: &'static str, object: &str) -> impl Fn(ProgramError) -> BpfError {
    let object = object.to_owned();
    move |source| BpfError::Program { operation, object: object.clone(), source: Box::new(source) }
}

pub(super) fn link_failed(
    operation: &'static str,
    object: &str,
) -> impl Fn(aya::programs::links::LinkError) -> BpfError {
    let object = object.to_owned();
    move |source| BpfError::Link { operation, object: object.clone(), source }
}

fn parse_pin(path: &Path) -> Option<(u32, Hook, Mechanism)> {
    let mut parts = path.file_name()?.to_str()?.split('-');
    let index = parts.next()?.parse().ok()?;
    let hook = Hook::of_program(parts.next()?)?;
    let mechanism = match parts.next() {
        None if hook.is_of_host() => Mechanism::Cgroup,
        None => Mechanism::Tcx,
        Some("netkit") => Mechanism::Netkit,
        Some("native") => Mechanism::XdpNative,
        Some("generic") => Mechanism::XdpGeneric,
        Some(_) => return None,
    };
    Some((index, hook, mechanism))
}
