//! Running commands: quietly, with progress, as root.
//!
//! **Invariant**: a command that fails is named with all its arguments, and what it printed is shown.

use anyhow::{Context as _, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, IsTerminal as _, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{LazyLock, mpsc},
    time::{Duration, Instant},
};

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// A command in the workspace's root, without standard input.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether the caller is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, as root: through sudo when the caller is not.
pub(crate) fn root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.arg("--").arg(program);
    sudo
}

/// A command line written out in the source, split at blanks, as root.
pub(crate) fn root_line(line: &str) -> Command {
    let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let mut command = root(program);
    command.args(arguments.split_whitespace());
    command
}

/// A command as the user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end and returns standard output.
///
/// # Errors
/// When the command cannot be started or fails; with what it printed to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`{}` failed ({}): {}", shown(command), done.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether the command can be started and succeeds; says nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The terminal, of which each running step has a line.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A long step: a spinner with the newest line of output on a terminal, two plain lines otherwise.
pub(crate) struct Step {
    label: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Says that the step begins.
    pub(crate) fn begin(label: impl Into<String>) -> Self {
        let label = label.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner()
                .with_style(style.expect("the template is well-formed"))
                .with_prefix(label.clone());
            let bar = BARS.add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{label} ...");
        }
        Self { label, started: Instant::now(), bar }
    }

    /// The newest thing that happened.
    pub(crate) fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.trim().to_owned());
        }
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(_) => BARS.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Says how the step ended.
    pub(crate) fn end(self, how: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.say(&format!("{}: {how} ({} s)", self.label, self.started.elapsed().as_secs()));
    }
}

/// Runs a command as one step.
///
/// # Errors
/// As [`output`]; everything that the command printed is printed first.
pub(crate) fn step(label: &str, command: &mut Command) -> Result<()> {
    let step = Step::begin(label);
    let mut said = Vec::new();
    let ended = lines(command, None, |line| {
        step.now(line);
        said.push(line.to_owned());
    })?;
    if ended == Ended::With(0) {
        step.end("done");
        return Ok(());
    }
    step.end("failed");
    for line in said {
        eprintln!("    {line}");
    }
    bail!("`{}` failed ({ended})", shown(command))
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// With this exit code; 128 and the number for a signal.
    With(i32),
    /// It was killed since its time was over.
    Late,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::With(code) => write!(f, "exit code {code}"),
            Self::Late => write!(f, "took too long and was killed"),
        }
    }
}

/// Runs a command and hands over each line of its output, both streams, as it comes.
///
/// # Errors
/// When the command cannot be started.
pub(crate) fn lines(
    command: &mut Command,
    limit: Option<Duration>,
    mut each: impl FnMut(&str),
) -> Result<Ended> {
    let started = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    let (sender, receiver) = mpsc::channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if sender.send(line.trim_end_matches('\r').to_owned()).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let late = || limit.is_some_and(|limit| started.elapsed() > limit);
    let mut ended = None;
    loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => each(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            // What the command started in the background may hold its output open: its own end counts.
            Err(mpsc::RecvTimeoutError::Timeout) if ended.is_some() => break,
            Err(mpsc::RecvTimeoutError::Timeout) => ended = child.try_wait()?,
        }
        if ended.is_none() && late() {
            // TERM first: sudo passes it on, KILL it cannot.
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_secs(2));
            let _ = child.kill();
            let _ = child.wait();
            return Ok(Ended::Late);
        }
    }
    let status = match ended {
        Some(status) => status,
        None => child.wait()?,
    };
    use std::os::unix::process::ExitStatusExt as _;
    Ok(Ended::With(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))))
}
