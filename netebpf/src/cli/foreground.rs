//! A command in an endpoint's namespace, as a child of this process: its terminal, its signals and its
//! exit code are ours.

use super::CliError;
use crate::daemon::{Launch, Paths, keep};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::{
    io,
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::PathBuf,
    process::ExitStatus,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Signals on their way to the command: caught from before it starts, so that none is lost.
pub(super) struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    pub(super) fn catch() -> Result<Self, CliError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut forwarded = vec![
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ];
        // On a terminal the command gets these itself, from the same key.
        let on_terminal = rustix::termios::isatty(io::stdin());
        let keys = [(SignalKind::interrupt(), Signal::INT), (SignalKind::quit(), Signal::QUIT)];
        for (kind, number) in keys {
            if on_terminal {
                // Caught nevertheless: we outlive the command, to clean up.
                let mut caught = signal(kind).map_err(CliError::io("catch signals"))?;
                tokio::spawn(async move { while caught.recv().await.is_some() {} });
            } else {
                forwarded.push((kind, number));
            }
        }
        for (kind, number) in forwarded {
            let mut caught = signal(kind).map_err(CliError::io("catch signals"))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while caught.recv().await.is_some() && sender.send(number).is_ok() {}
            });
        }
        Ok(Self(receiver))
    }
}

/// Starts a command.
pub(super) fn start(launch: &Launch<'_>, stdin: bool) -> Result<Child, CliError> {
    let mut command = Command::from(launch.prepare()?);
    if !stdin {
        command.stdin(std::process::Stdio::null());
    }
    command.spawn().map_err(|error| launch.explain(error).into())
}

/// Waits for its end, passes signals on, and keeps what it sees in /etc. Answers with its exit code, 128 and the
/// number for a signal.
pub(super) async fn wait(
    mut child: Child,
    mut signals: Signals,
    etc: &[PathBuf],
) -> Result<u8, CliError> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let kept = async {
        // Not waited for yet, so the number is still the child's.
        match pid.map(|pid| (pid.as_raw_nonzero(), pidfd_open(pid, PidfdFlags::empty()))) {
            Some((pid, Ok(pidfd))) if !etc.is_empty() => {
                keep(pid.get().cast_unsigned(), pidfd.as_fd(), etc, &Paths::new()).await;
            }
            _ => std::future::pending().await,
        }
    };
    tokio::pin!(kept);
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code(status.map_err(CliError::io("wait for the command"))?)),
            Some(signal) = signals.0.recv() => {
                if let Some(pid) = pid {
                    // Not waited for yet, so the number is still the child's. ESRCH: it just ended.
                    let _ = kill_process(pid, signal);
                }
            }
            () = &mut kept => {}
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
