//! Small packets, as many as an arm forwards: frames that arrive at an interface of the host as if they came out of its
//! driver (BPF_PROG_RUN with live frames, Linux 5.18), so that making and sending them costs next to nothing.
//!
//! ```text
//!   Frame ─ XDP_PASS ─> ingress interface of the host ── whatever forwards ──> interface of the destination ─ Sink
//! ```
//!
//! **Invariant**: each frame arrives as it was meant to be, whatever was done to the one before; those that come out are
//! counted one by one and answered by nobody; all of it is on one CPU.

mod attached;
mod frame;
mod place;
mod program;
mod raw;
mod sink;
mod talk;
mod tally;

pub use attached::Attached;
pub use frame::{Frame, Mac};
pub use place::Interface;
pub use sink::Idle;
pub use talk::open;

use super::cpu;
use crate::kernel::{NetnsError, netns};
use raw::Kind;
use sink::{Reflector, Sink};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tally::{Tally, Written};

/// How long nothing has to come out until the rest is lost.
const SETTLED: Duration = Duration::from_millis(20);

/// Frames could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The namespace of one of the ends.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It is not there.
    #[error("there is no interface {0}")]
    NoInterface(Interface),
    /// Linux before 5.18.
    #[error(
        "this kernel has no live frames for XDP (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18): \
         small packets cannot be measured"
    )]
    NoLiveFrames,
    /// Two families in one frame.
    #[error("a frame cannot go from {from} to {to}: they are not of one family")]
    Families {
        /// The source.
        from: SocketAddr,
        /// The destination.
        to: SocketAddr,
    },
    /// What counts frames or forwards them.
    #[error("attach a program to {at}: {source}")]
    Attach {
        /// Where.
        at: Interface,
        /// Why not.
        source: Box<aya::programs::ProgramError>,
    },
    /// The flow's first datagram, or what came back.
    #[error("no flow from {from} to {to} (UDP): {source}")]
    NoAnswer {
        /// The source.
        from: SocketAddr,
        /// The destination.
        to: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The arm does not forward.
    #[error("{arrived} of {sent} frames that arrived at {from} came out of {to}")]
    Lost {
        /// How many there were.
        sent: u32,
        /// How many came out.
        arrived: u64,
        /// Where they arrived.
        from: Interface,
        /// Where they should have come out.
        to: Interface,
    },
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
    /// The system refused.
    #[error("{operation}: {source}")]
    System {
        /// What was tried.
        operation: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl FramesError {
    fn system(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::System { operation, source }
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// So many frames arrived at the host.
    pub sent: u32,
    /// So many came out at the destination.
    pub arrived: u64,
    /// From the first one's arrival to the last one's.
    pub seconds: f64,
}

impl Rate {
    /// The part of them that did not come out.
    pub fn lost(&self) -> f64 {
        1.0 - self.arrived as f64 / f64::from(self.sent)
    }

    /// Packets per second that came through.
    pub fn per_second(&self) -> f64 {
        self.arrived as f64 / self.seconds
    }
}

/// Frames of one kind on one way, ready to be sent.
pub struct Frames(Arc<Way>);

struct Way {
    from: Interface,
    to: Interface,
    frame: Frame,
    bytes: Vec<u8>,
    writer: OwnedFd,
    tally: Tally,
    /// Nothing else forwards them.
    reflected: bool,
}

impl Frames {
    /// Prepares frames that arrive at the interface `from` and should come out of `to`. Their flows are best [`open`]ed
    /// before.
    pub fn prepare(from: &Interface, frame: &Frame, to: &Interface) -> Result<Self, FramesError> {
        Self::new(from, frame, to, false)
    }

    /// Frames on a bare wire, which are sent out of `from` again by a program that thinks of nothing: what comes out of
    /// the wire's other end is the limit of every host that forwards over such a wire.
    pub fn on_a_wire(from: &Interface, frame: &Frame, to: &Interface) -> Result<Self, FramesError> {
        Self::new(from, frame, to, true)
    }

    fn new(
        from: &Interface,
        frame: &Frame,
        to: &Interface,
        reflected: bool,
    ) -> Result<Self, FramesError> {
        let families = FramesError::Families { from: frame.from, to: frame.to };
        let bytes = frame.bytes().ok_or(families)?;
        for end in [from, to] {
            end.index()?;
        }
        let tally = Tally::new().map_err(FramesError::system("make the tally of frames"))?;
        let code = program::writer(frame, &bytes, tally.immediate());
        let writer = raw::load(Kind::Xdp, "netebpf_bench", &code);
        let writer = writer.map_err(FramesError::system("load the program that writes frames"))?;
        let (from, to, frame) = (from.clone(), to.clone(), frame.clone());
        Ok(Self(Arc::new(Way { from, to, frame, bytes, writer, tally, reflected })))
    }

    /// Sends so many as fast as they are taken, and waits for the last. Until this returns, datagrams of their length end
    /// where they come out.
    pub fn measure(&self, frames: u32) -> Result<Rate, FramesError> {
        let way = Arc::clone(&self.0);
        let index = way.from.index()?;
        // Not one moment longer: other loads would pay for it, and the next sink would see nothing.
        let _sink = Sink::attach(&way.to, &way.frame, way.bytes.len(), &way.tally)?;
        let reflect = || Reflector::attach(&way.from, &way.frame, way.bytes.len());
        let _reflector = way.reflected.then(reflect).transpose()?;
        let written = netns::run_in(&way.from.path(), {
            let way = Arc::clone(&way);
            move || way.send(index, frames)
        })??;
        let arrived = written.arrived;
        match written.seconds() {
            // A queue may overflow. More than that is a broken way, whatever the rate of those few was.
            Some(seconds) if arrived >= u64::from(frames) / 2 => {
                Ok(Rate { sent: frames, arrived, seconds })
            }
            _ => Err(FramesError::Lost {
                sent: frames,
                arrived,
                from: way.from.clone(),
                to: way.to.clone(),
            }),
        }
    }
}

/// Whether this kernel has live frames; tried at an interface, with a frame that goes nowhere.
pub fn are_there(at: &Interface) -> Result<bool, FramesError> {
    let (index, name) = (at.index()?, at.clone());
    let program = raw::load(Kind::Xdp, "netebpf_bench", &program::nothing());
    let program = program.map_err(FramesError::system("load a program that drops frames"))?;
    let frame = [0; 60];
    let sent = netns::run_in(&at.path(), move || raw::run(program.as_fd(), index, &frame, 1))?;
    match sent.map_err(|source| not_sent(&name, source)) {
        Err(FramesError::NoLiveFrames) => Ok(false),
        sent => sent.map(|()| true),
    }
}

/// Why frames did not arrive at an interface.
fn not_sent(at: &Interface, source: io::Error) -> FramesError {
    match source.raw_os_error() {
        // Kernels without them do not know the flag, or not even the member that it is in.
        Some(libc::EINVAL | libc::E2BIG) => FramesError::NoLiveFrames,
        Some(libc::ENODEV) => FramesError::NoInterface(at.clone()),
        Some(libc::EINTR) => FramesError::Interrupted,
        _ => FramesError::system(format!("let frames arrive at {at}"))(source),
    }
}

impl Way {
    /// On a thread of its own in the host's namespace.
    fn send(&self, index: u32, frames: u32) -> Result<Written, FramesError> {
        cpu::take_the_last().map_err(FramesError::system("have a CPU for the frames"))?;
        self.tally.reset().map_err(FramesError::system("begin to count frames"))?;
        let sent = raw::run(self.writer.as_fd(), index, &self.bytes, frames);
        sent.map_err(|source| not_sent(&self.from, source))?;
        let read = || self.tally.read().map_err(FramesError::system("count frames"));
        let (mut written, mut changed) = (read()?, Instant::now());
        // What still stands in a queue.
        while written.arrived < u64::from(frames) && changed.elapsed() < SETTLED {
            thread::sleep(Duration::from_millis(1));
            let now = read()?;
            if now != written {
                (written, changed) = (now, Instant::now());
            }
        }
        Ok(written)
    }
}
