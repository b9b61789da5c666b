//! The binary under test, run as a user would.

use super::{Lab, Ns, ns, scaled};
use serde_json::Value;
use std::{
    io::Read,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The binary: `NETEBPF_BIN`, or the one beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NETEBPF_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this binary");
    let directory = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    directory.join("netebpf")
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What was run.
    pub command: String,
    /// Exit code; 128 and the number of the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// It must have succeeded; its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// It must have failed with this code; what it said.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(!self.err.trim().is_empty(), "it failed without a word: {self:#?}");
        self.err
    }

    /// It must have failed with this code and said all of this.
    #[track_caller]
    pub fn fails_saying(self, code: i32, words: &[&str]) {
        let said = self.fails(code);
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in: {said}");
        }
    }
}

impl Lab {
    /// Runs the binary on the host.
    pub fn netebpf(&self, arguments: &[&str]) -> Ran {
        self.netebpf_reading(arguments, "")
    }

    /// The same with some standard input.
    pub fn netebpf_reading(&self, arguments: &[&str], input: &str) -> Ran {
        let ran = finish(self.command(arguments), input);
        println!("$ netebpf {} -> {}\n{}{}", arguments.join(" "), ran.code, ran.out, ran.err);
        ran
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        self.netebpf_ran.set(true);
        let mut command = self.host.command(binary());
        if let Some(etc) = self.etc.get() {
            ns::instead_of_etc(&mut command, etc);
        }
        command.args(["--instance", &self.instance]).args(arguments);
        command
    }

    /// The same, arguments separated by spaces.
    pub fn run(&self, arguments: &str) -> Ran {
        self.netebpf(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// A command that stays in the foreground.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().expect("netebpf runs"))
    }

    /// What a command prints with `--format json`.
    #[track_caller]
    pub fn json(&self, arguments: &str) -> Value {
        let text = self.run(&format!("{arguments} --format json")).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments}: {error} in {text}"))
    }

    /// A counter of an endpoint or an uplink, by its name: `drop/spoofed_mac`.
    #[track_caller]
    pub fn counter(&self, of: &str, name: &str) -> u64 {
        let status = self.json("status");
        let counters = &status["counters"][of];
        counters[name].as_u64().unwrap_or(0)
    }

    /// What `doctor` says of the table of flows; nothing when all is well.
    #[track_caller]
    pub fn flow_findings(&self) -> Option<String> {
        let features = self.json("doctor");
        let is_it = |feature: &&Value| feature["name"] == "flow table";
        let table = features.as_array().into_iter().flatten().find(is_it).expect("a row of it");
        (table["present"] == false).then(|| table["lost"].as_str().expect("a sentence").to_owned())
    }

    /// The bridge of a network.
    pub fn bridge(&self, network: &str) -> String {
        let networks = self.json(&format!("network inspect {network}"));
        let id = networks[0]["Id"].as_str().expect("an identifier");
        format!("nb-{}", &id[..12])
    }

    /// The daemon's process id, when one runs.
    pub fn daemon_pid(&self) -> Option<u32> {
        let file = format!("/run/netebpf/{}/daemon.pid", self.instance);
        let pid = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
        (!is_dead(pid)).then_some(pid)
    }

    /// Kills the daemon with SIGKILL, and waits until it is gone.
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        assert!(self.host.processes().contains(&pid), "{pid} is not in the host's namespace");
        let raw = rustix::process::Pid::from_raw(pid as i32).expect("not 0");
        rustix::process::kill_process(raw, rustix::process::Signal::KILL).expect("ours");
        super::eventually("the daemon to be gone", || is_dead(pid));
    }

    /// Kills every process in the host's namespace, the daemon among them, whether it has said yet that
    /// it runs or not.
    pub fn kill_everything(&self) {
        let any_left = || {
            let left = self.host.processes();
            for raw in left.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid as i32)) {
                // It may have ended on its own.
                let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
            }
            !left.is_empty()
        };
        super::eventually("nobody to be left", || !any_left());
    }

    /// Tells what helps to understand a failure.
    pub(super) fn tell(&self) {
        if self.netebpf_ran.get() {
            self.run("status");
            let logs =
                std::fs::read_to_string(format!("/run/netebpf/{}/daemon.log", self.instance));
            println!("daemon.log: {}", logs.unwrap_or_default());
            self.run("down");
        }
    }
}

/// Whether a process is gone with all its threads: the last of them closes its files.
fn is_dead(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state == Some('Z') && threads <= 1
}

/// A command in the foreground; killed when dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Whether it ends by itself, and how.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.0).expect("it ends")
    }

    /// What it prints; once.
    pub fn output(&mut self) -> std::process::ChildStdout {
        self.0.stdout.take().expect("not taken yet")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Ns {
    /// Runs a tool inside to its end.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.args(arguments);
        let ran = finish(command, "");
        println!("{}$ {program} {} -> {}", self.name(), arguments.join(" "), ran.code);
        ran
    }
}

/// Runs a command to its end, with some standard input.
pub fn finish(mut command: Command, input: &str) -> Ran {
    let name = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    // A command that does not read it may have closed it.
    drop(std::io::Write::write_all(&mut stdin, input.as_bytes()));
    drop(stdin);
    let out = collect(child.stdout.take().expect("piped"));
    let err = collect(child.stderr.take().expect("piped"));
    let status = wait(&mut child);
    let text = |from: mpsc::Receiver<String>| from.recv_timeout(scaled(Duration::from_secs(5)));
    let (out, err) = (text(out), text(err));
    let Some(status) = status else {
        drop(child.kill());
        panic!("{name} does not end; it printed {out:?} and {err:?}");
    };
    let (Ok(out), Ok(err)) = (out, err) else {
        panic!("{name} ended, and something that it started keeps its output open");
    };
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ran { command: name, code, out, err }
}

fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + scaled(Duration::from_secs(90));
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}
