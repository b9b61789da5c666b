//! Other programs, in namespaces.
//!
//! **Invariant**: each is in a process group of its own, so Ctrl-C at the terminal ends the benchmark and not what it is
//! just waiting for; whatever stays longer than a call ends with the pipe of its standard input, so not even SIGKILL of
//! the benchmark leaves it.

use super::BenchError;
use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A command in a namespace. Not `ip netns exec`: that hides the pinned objects under a fresh /sys.
pub(super) fn inside(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program);
    command
}

/// This program.
pub(super) fn netebpf() -> Result<PathBuf, BenchError> {
    std::env::current_exe().map_err(BenchError::io("the path of this program"))
}

/// What it takes beside this program, and Debian's package that has it.
pub(super) const TOOLS: [(&str, &str); 3] =
    [("ip", "iproute2"), ("nsenter", "util-linux"), ("sysctl", "procps")];

/// Programs that are needed are there.
pub(super) fn require(tools: &[(&'static str, &'static str)]) -> Result<(), BenchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|at| at.join(program).is_file());
    match tools.iter().find(|(program, _)| !there(program)) {
        None => Ok(()),
        Some((program, package)) => Err(BenchError::Tool { program, package }),
    }
}

/// As one would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, and answers with what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, BenchError> {
    told(command, "")
}

/// The same, with something on its standard input.
pub(super) fn told(command: &mut Command, input: &str) -> Result<String, BenchError> {
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let what = format!("`{}`", shown(command));
    let mut child = command.spawn().map_err(BenchError::io(&*what))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who ends before everything was read says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output().map_err(BenchError::io(what))?;
    if done.status.signal() == Some(libc::SIGINT) {
        // Ctrl-C came before it had a group of its own. It has done nothing yet, and may be what takes something away.
        return told(command, input);
    }
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(BenchError::Command { command: shown(command), status: done.status, said });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A program that stays until this is dropped.
#[derive(Debug)]
pub(super) struct Server(Child);

impl Server {
    /// Starts one, and waits until it says that it is ready.
    pub(super) fn start(command: &mut Command, ready: &str) -> Result<Self, BenchError> {
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let what = shown(command);
        let mut server = Self(command.spawn().map_err(BenchError::io(what))?);
        let mut line = String::new();
        if let Some(output) = server.0.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(BenchError::io("a server"))?;
        }
        match line.trim() == ready {
            true => Ok(server),
            false => Err(BenchError::Talk("server", line)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
