//! The servers of `bench --names`: netebpf's, aardvark-dns and Docker's, each on a host of its own with the endpoints
//! `web` and `app`.
//!
//! **Invariant**: each is asked by whoever asks it in real life: from the namespace of `app`, at the address that is in
//! `app`'s resolv.conf. What is started here ends here, by its process id.

use super::host::{self, Host};
use crate::{namespace, run};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// One of them.
pub(super) struct Resolver {
    pub(super) name: &'static str,
    /// The namespace of `app`, as a path.
    inside: String,
    /// Where it asks for names.
    pub(super) address: &'static str,
    /// The process that answers.
    pub(super) pid: u32,
    /// What is taken away when this is dropped.
    _running: Box<dyn std::any::Any>,
}

impl Resolver {
    /// A program in the namespace of `app`.
    pub(super) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = run::root("nsenter");
        command.arg(format!("--net={}", self.inside)).arg(program);
        command
    }

    pub(super) fn netebpf(binary: &Path) -> Result<Self> {
        let host = Host::up(binary)?;
        let pid = host::ask(binary, "status")?["pid"].as_u64().context("status names no daemon")?;
        let inside = namespace::path(host::APP).display().to_string();
        let pid = u32::try_from(pid)?;
        Ok(Self {
            name: "netebpf",
            inside,
            address: "127.0.0.11:53",
            pid,
            _running: Box::new(host),
        })
    }

    /// aardvark-dns, or why not.
    pub(super) fn aardvark() -> Result<Self> {
        const HOST: &str = "netebpf-bench-aardvark";
        const APP: &str = "netebpf-bench-aardvark-app";
        let program = find("aardvark-dns", &["/usr/lib/podman", "/usr/libexec/podman"])?;
        let mut running = Aardvark { namespaces: vec![HOST, APP], pid: None, config: None };
        for name in [HOST, APP] {
            clear(name)?;
            namespace::add(name)?;
        }
        for line in [
            "link add br0 type bridge",
            "address add 10.79.0.1/24 dev br0",
            "link set br0 up",
            &format!("link add app type veth peer name eth0 netns {APP}"),
            "link set app master br0 up",
        ] {
            namespace::ip(HOST, line)?;
        }
        namespace::ip(APP, "address add 10.79.0.3/24 dev eth0")?;
        namespace::ip(APP, "link set eth0 up")?;
        let config = tempfile::tempdir()?;
        // A network: where it is asked; then a container a line: identifier, addresses, names.
        let names = "10.79.0.1\n1111111111111111 10.79.0.2  web\n2222222222222222 10.79.0.3  app\n";
        fs::write(config.path().join("front"), names)?;
        let mut start = namespace::inside(HOST, program);
        start.arg("--config").arg(config.path()).args(["-p", "53", "run"]);
        run::output(start.env("RUST_LOG", "error").stderr(Stdio::null()))?;
        let pid = fs::read_to_string(config.path().join("aardvark.pid"))?.trim().parse()?;
        running.config = Some(config);
        running.pid = Some(pid);
        let inside = namespace::path(APP).display().to_string();
        Ok(Self {
            name: "aardvark-dns",
            inside,
            address: "10.79.0.1:53",
            pid,
            _running: Box::new(running),
        })
    }

    /// Docker's, or why not.
    pub(super) fn docker() -> Result<Self> {
        let docker = Docker::start()?;
        docker.run("network create front")?;
        for name in ["web", "app"] {
            // Whoever is number one does not hear of a softer one.
            let how = format!("--detach --name {name} --network front --stop-signal KILL");
            docker.run(&format!("run {how} {IMAGE} sleep 86400"))?;
        }
        let inside = docker.run("inspect --format /proc/{{.State.Pid}}/ns/net app")?;
        let (inside, pid) = (inside.trim().to_owned(), docker.daemon.id());
        Ok(Self {
            name: "Docker",
            inside,
            address: "127.0.0.11:53",
            pid,
            _running: Box::new(docker),
        })
    }
}

/// A program in one of these directories, unpacked below `target/docker`, or in the PATH.
fn find(program: &str, directories: &[&str]) -> Result<PathBuf> {
    let unpacked = ["bin", "sbin"].map(|place| run::target_dir().join("docker/usr").join(place));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all =
        directories.iter().map(PathBuf::from).chain(unpacked).chain(std::env::split_paths(&path));
    let found = all.map(|directory| directory.join(program)).find(|path| path.exists());
    found.with_context(|| format!("{program} is not installed"))
}

/// Takes away what an earlier run left when it was cut short: the namespace, and whoever runs in it.
fn clear(name: &str) -> Result<()> {
    if namespace::path(name).exists() {
        for pid in run::output(&mut run::root_line(&format!("ip netns pids {name}")))?.lines() {
            run::output(&mut run::root_line(&format!("kill -KILL {pid}")))?;
        }
    }
    namespace::remove(name).map(drop)
}

struct Aardvark {
    namespaces: Vec<&'static str>,
    pid: Option<u32>,
    config: Option<tempfile::TempDir>,
}

impl Drop for Aardvark {
    fn drop(&mut self) {
        if let Some(pid) = self.pid
            && let Err(error) = run::output(&mut run::root_line(&format!("kill {pid}")))
        {
            eprintln!("{error:#}");
        }
        for error in self.namespaces.iter().filter_map(|name| namespace::remove(name).err()) {
            eprintln!("{error:#}");
        }
        drop(self.config.take());
    }
}

/// Made of busybox; there is no registry.
const IMAGE: &str = "netebpf-bench";
/// How long Docker may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// dockerd in a namespace, with all its files in a directory.
struct Docker {
    daemon: Child,
    client: PathBuf,
    files: tempfile::TempDir,
}

impl Docker {
    const HOST: &str = "netebpf-bench-dockerd";

    fn start() -> Result<Self> {
        ensure!(run::is_root(), "dockerd is started as root: use sudo for all of the benchmark");
        // Debian's: others may have put something in the PATH that only looks like it.
        let (dockerd, client) = (find("dockerd", &["/usr/sbin"])?, find("docker", &["/usr/bin"])?);
        let helpers =
            ["containerd", "runc"].map(|program| find(program, &["/usr/bin", "/usr/sbin"]));
        let busybox = find("busybox", &["/bin"]).context("a container needs a program")?;
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        for helper in helpers {
            path.push(":");
            path.push(helper?.parent().context("a program is in a directory")?);
        }
        clear(Self::HOST)?;
        namespace::add(Self::HOST)?;
        let files = tempfile::tempdir()?;
        let at = |name: &str| files.path().join(name);
        // What it mounts goes with it, and it goes with us.
        let mut start = namespace::inside(Self::HOST, "unshare");
        start.args(["--mount", "--propagation", "private", "setpriv", "--pdeathsig", "TERM"]);
        start.arg(dockerd);
        start.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        start
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("api").display()));
        start.args(["--storage-driver", "vfs", "--userland-proxy=false"]).env("PATH", path);
        let log = fs::File::create(at("log"))?;
        start.stdout(log.try_clone()?).stderr(log);
        let daemon = start.spawn().context("cannot start dockerd")?;
        let mut docker = Self { daemon, client, files };
        docker.wait()?;
        docker.import(&busybox)?;
        Ok(docker)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.run("version") {
            let ended = self.daemon.try_wait()?.is_some();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.files.path().join("log"))?;
                let last = log.lines().last().unwrap_or_default();
                bail!("dockerd does not start: {error:#}; {last}");
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn run(&self, line: &str) -> Result<String> {
        let mut docker = run::command(&self.client);
        docker.arg("--host").arg(format!("unix://{}", self.files.path().join("api").display()));
        run::output(docker.args(line.split_whitespace()))
    }

    /// An image with busybox and nothing else.
    fn import(&self, busybox: &Path) -> Result<()> {
        let root = self.files.path().join("root");
        fs::create_dir_all(root.join("bin"))?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        std::os::unix::fs::symlink("busybox", root.join("bin/sleep"))?;
        let archive = self.files.path().join("root.tar");
        run::output(run::command("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg("."))?;
        self.run(&format!("import {} {IMAGE}", archive.display())).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // One that did not start has none.
        if matches!(self.daemon.try_wait(), Ok(None))
            && let Err(error) = self.run("rm --force web app")
        {
            eprintln!("{error:#}");
        }
        let pid = rustix::process::Pid::from_child(&self.daemon);
        // It ends containerd, too.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
        if let Err(error) = namespace::remove(Self::HOST) {
            eprintln!("{error:#}");
        }
    }
}
