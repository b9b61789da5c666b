//! The real object in a real kernel, run frame by frame.

use crate::{maps::Maps, world::World};
use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunOptions,
    programs::{
        CgroupSockAddr, Program, ProgramError, ProgramInfo, SchedClassifier, Xdp, xdp::XdpMode,
    },
};
use netebpf::kernel::{Summed, uninterrupted};
use netebpf_common::{
    abi::{FlowKey, constant, index_entries, map, program},
    testkit::{Hook, Layout, Machine, Seen, Tables},
    verdict::{DeliverReason, PassReason, Verdict, counter_label},
};

/// Return codes of TC.
const TC_UNSPEC: u32 = u32::MAX;
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;
/// Return codes of XDP.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Which program meets what comes from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outside {
    /// TC.
    Tc,
    /// XDP, and TC after it.
    Xdp,
}

/// How the programs change transport checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checksums {
    /// Directly, where the kernel tells who computes them.
    Direct,
    /// By the kernel's helper.
    ByHelper,
}

impl Checksums {
    fn summed(self) -> Summed {
        match self {
            Self::Direct => netebpf::kernel::summed(),
            Self::ByHelper => Summed::default(),
        }
    }
}

/// A loaded object in a namespace of its own.
pub(crate) struct Kernel {
    object: Ebpf,
    maps: Maps,
    world: World,
    outside: Outside,
    /// Whether each packet's flow is looked up in the index.
    pub(crate) forgetful: bool,
}

impl Kernel {
    /// Moves this thread into a new namespace and loads the object there.
    pub(crate) fn new(outside: Outside, checksums: Checksums) -> Result<Self, String> {
        let world = World::new()?;
        let mut object = EbpfLoader::new()
            .map_max_entries(map::FLOWS, crate::maps::PLACES)
            .map_max_entries(map::FREE_FLOWS, crate::maps::PLACES)
            .map_max_entries(map::EMBRYONIC, crate::maps::PLACES)
            .map_max_entries(map::FLOW_INDEX, index_entries(crate::maps::PLACES))
            .override_global(constant::IP_SUMMED, &checksums.summed().ip_summed, true)
            .override_global(constant::ENCAPSULATION, &checksums.summed().encapsulation, true)
            .load(netebpf::kernel::OBJECT)
            .map_err(said)?;
        let maps = Maps::of(&mut object)?;
        for name in program::PACKETS {
            let program = object.program_mut(name).ok_or(format!("no program {name}"))?;
            if name == program::UPLINK_XDP {
                let xdp: &mut Xdp = program.try_into().map_err(said)?;
                uninterrupted(|| xdp.load()).map_err(said)?;
                if outside == Outside::Xdp {
                    // A veth has queues for XDP only while a program is attached, and without one
                    // the kernel does not let a frame have come in by it.
                    xdp.attach(crate::world::UPLINK_NAME, XdpMode::Driver).map_err(said)?;
                }
            } else {
                let tc: &mut SchedClassifier = program.try_into().map_err(said)?;
                uninterrupted(|| tc.load()).map_err(said)?;
            }
        }
        // No kernel lets these be run by a test; that it takes them is something.
        for name in program::SOCKETS {
            let program = object.program_mut(name).ok_or(format!("no program {name}"))?;
            let socket: &mut CgroupSockAddr = program.try_into().map_err(said)?;
            uninterrupted(|| socket.load()).map_err(said)?;
        }
        for name in program::SHORTCUT {
            let program = object.program_mut(name).ok_or(format!("no program {name}"))?;
            uninterrupted(|| match program {
                Program::SockOps(program) => program.load(),
                Program::SkMsg(program) => program.load(),
                _ => Err(ProgramError::UnexpectedProgramType),
            })
            .map_err(said)?;
        }
        let mut kernel = Self { object, maps, world, outside, forgetful: false };
        kernel.reset()?;
        Ok(kernel)
    }

    /// As if nothing had ever come by.
    pub(crate) fn reset(&mut self) -> Result<(), String> {
        self.maps.clear()?;
        self.arrange(&Layout::default())
    }

    /// What the kernel says of each program.
    pub(crate) fn programs(&self) -> Result<Vec<(&'static str, ProgramInfo)>, String> {
        let info = |name| {
            let program = self.object.program(name).ok_or(format!("no program {name}"))?;
            Ok((name, program.info().map_err(said)?))
        };
        program::PACKETS
            .into_iter()
            .chain(program::SOCKETS)
            .chain(program::SHORTCUT)
            .map(info)
            .collect()
    }

    fn tc(&mut self, hook: Hook, frame: &[u8], segments: u32) -> Result<(u32, Vec<u8>), String> {
        let name = match hook {
            Hook::Veth(_) => program::ENDPOINT_INGRESS,
            Hook::FromOutside => program::UPLINK_INGRESS,
            Hook::ToOutside { .. } => program::UPLINK_EGRESS,
            Hook::IntoNetwork { .. } => program::GATEWAY_EGRESS,
        };
        let ingress = match hook {
            Hook::ToOutside { ingress } | Hook::IntoNetwork { ingress, .. } => ingress,
            _ => 0,
        };
        let context = socket_buffer(hook.ifindex(), ingress, segments);
        let program = self.object.program(name).ok_or(format!("no program {name}"))?;
        let program: &SchedClassifier = program.try_into().map_err(said)?;
        let mut out = vec![0; 4096];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            })
            .map_err(|error| format!("{name}: {error:?}"))?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out))
    }

    /// The verdict that a return code and a counter make up.
    fn run_tc(&mut self, hook: Hook, frame: &[u8], segments: u32) -> Result<Seen, String> {
        let before = self.maps.counters(hook.ifindex())?;
        let (code, bytes) = self.tc(hook, frame, segments)?;
        let counter = raised(before, self.maps.counters(hook.ifindex())?)?;
        let group = counter.and_then(counter_label).map_or("pass", |(group, _)| group);
        let wanted: &[u32] = match group {
            "pass" => &[TC_UNSPEC],
            "drop" => &[TC_SHOT],
            // It may be the host's as well.
            "keep" => &[TC_SHOT, TC_UNSPEC],
            _ => &[TC_REDIRECT],
        };
        if !wanted.contains(&code) {
            return Err(format!("{group} ended with the code {code}"));
        }
        // What is dropped was perhaps written over by what comes in again in its stead.
        let bytes = if code == TC_SHOT { frame.to_vec() } else { bytes };
        Ok(Seen { counter, target: None, bytes })
    }

    /// XDP, and TC where XDP left the frame as it was: what XDP hands over, beside the frame, a test run
    /// of TC cannot be given, so it is read here in TC's stead.
    fn run_xdp(&mut self, hook: Hook, frame: &[u8]) -> Result<Seen, String> {
        let before = self.maps.counters(hook.ifindex())?;
        let (code, handover, bytes) = self.xdp(hook.ifindex(), frame)?;
        let counter = raised(before, self.maps.counters(hook.ifindex())?)?;
        let deliver = Verdict::Deliver { ifindex: 0, reason: DeliverReason::Inward }.counter();
        match (code, handover, counter) {
            (XDP_DROP, _, Some(_)) => Ok(Seen { counter, target: None, bytes }),
            (XDP_PASS, None, None) => {
                if bytes != frame {
                    return Err("XDP changed a frame that it left to TC".to_owned());
                }
                self.run_tc(hook, frame, 0)
            }
            (XDP_PASS, Some(0), Some(counter)) if counter == PassReason::Translated as u32 => {
                Ok(Seen { counter: Some(counter), target: None, bytes })
            }
            (XDP_PASS, Some(ifindex), Some(counter)) if counter == deliver => {
                Ok(Seen { counter: Some(counter), target: Some((ifindex, None)), bytes })
            }
            other => Err(format!("XDP ended with {other:?}")),
        }
    }

    fn xdp(&mut self, ifindex: u32, frame: &[u8]) -> Result<(u32, Option<u32>, Vec<u8>), String> {
        let program =
            self.object.program(program::UPLINK_XDP).ok_or("no XDP program".to_owned())?;
        let program: &Xdp = program.try_into().map_err(said)?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = words(&[0, frame.len() as u32, 0, ifindex, 0, 0]);
        let (mut out, mut context_out) = (vec![0; 4096], vec![0; context.len()]);
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                ..TestRunOptions::new()
            })
            .map_err(|error| format!("{}: {error:?}", program::UPLINK_XDP))?;
        out.truncate(result.data_size_out as usize);
        let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // The metadata lies before the frame, and what is copied out begins with it.
        let meta = word(&context_out) as usize - word(&context_out[8..]) as usize;
        let (meta, bytes) = out.split_at(meta);
        let magic = u32::from_ne_bytes(*b"bten");
        let handover = (meta.len() == 8 && word(meta) == magic).then(|| word(&meta[4..]));
        Ok((result.return_value, handover, bytes.to_vec()))
    }
}

impl Machine for Kernel {
    fn arrange(&mut self, layout: &Layout) -> Result<(), String> {
        self.maps.arrange(layout)?;
        self.world.arrange(layout)
    }

    /// The kernel's clock is not ours to move, and goes in steps of some milliseconds.
    fn later(&mut self, seconds: u64) -> Result<(), String> {
        self.maps.age(seconds)
    }

    fn end_flow(&mut self, key: &FlowKey) -> Result<(), String> {
        self.maps.end_flow(key)
    }

    fn send(&mut self, hook: Hook, frame: &[u8], segment_size: u32) -> Result<Seen, String> {
        if self.forgetful {
            self.maps.forget_flows()?;
        }
        // A frame that is still to be cut never comes by XDP.
        if hook == Hook::FromOutside && self.outside == Outside::Xdp && segment_size == 0 {
            self.run_xdp(hook, frame)
        } else {
            self.run_tc(hook, frame, segment_size)
        }
    }

    fn tables(&self) -> Tables {
        self.maps.tables().expect("maps can be read")
    }
}

type Counters = Option<netebpf_common::verdict::Counters>;

/// The one counter that went up.
fn raised(before: Counters, after: Counters) -> Result<Option<u32>, String> {
    let (Some(before), Some(after)) = (before, after) else { return Ok(None) };
    let pairs = before.iter().zip(&after).enumerate();
    let up: Vec<_> = pairs.filter(|(_, (old, new))| old != new).collect();
    match up[..] {
        [] => Ok(None),
        [(n, (old, new))] if *new == old + 1 => Ok(Some(n as u32)),
        _ => Err(format!("more than one counter went up: {up:?}")),
    }
}

/// `struct __sk_buff`, with the fields that a test run may set: where the frame is and came in, and how
/// it will be cut.
fn socket_buffer(ifindex: u32, ingress: u32, segments: u32) -> Vec<u8> {
    let mut words_of = [0; 48];
    words_of[9] = ingress;
    words_of[10] = ifindex;
    words_of[44] = segments;
    words(&words_of)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
