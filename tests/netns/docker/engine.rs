//! netebpf and Docker behind one face: the same words make the same things, and namespaces are entered alike.
//!
//! Docker is Debian's 20.10, as `cargo xtask setup --tests` unpacks it: never installed, so that no daemon of it is
//! ever started on the machine. Here it runs in the laboratory's host namespace, in process and mount namespaces of
//! its own, with all its files in the laboratory's directory.
//!
//! **Invariant**: with its first process all of Docker is gone: daemons, proxies, containers, mounts.

use netebpf_tests::{
    lab::{Lab, Ns, Ran, Upstream, family::SERVER, finish, patience},
    runner::skip,
};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What names that are nobody's here resolve to.
pub(super) const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 80), Ipv6Addr::new(0x2001, 0xdb8, 80, 0, 0, 0, 0, 80));

/// The version that the table is about.
const VERSION: &str = "20.10";

/// A laboratory with an engine in it.
pub(super) struct Side {
    docker: Option<Docker>,
    /// Where it runs.
    pub(super) lab: Lab,
    /// Who answers for all names of the outside.
    pub(super) upstream: Upstream,
}

struct Docker {
    first: Child,
    programs: PathBuf,
    files: PathBuf,
}

impl Side {
    /// netebpf's.
    pub(super) fn netebpf() -> Self {
        Self::with(None)
    }

    /// Docker's; without Docker the test is skipped.
    pub(super) fn docker() -> Self {
        Self::with(Some(programs()))
    }

    fn with(docker: Option<PathBuf>) -> Self {
        let lab = Lab::bare();
        lab.etc_file("resolv.conf", &format!("nameserver {}\n", SERVER.0));
        let upstream = Upstream::start(&lab.server, SERVER.0.into(), OUTSIDE.0, OUTSIDE.1);
        let docker = docker.map(|programs| Docker::start(&lab, programs));
        Self { docker, lab, upstream }
    }

    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        if self.docker.is_some() { "Docker" } else { "netebpf" }
    }

    /// Whether it is Docker.
    pub(super) fn is_docker(&self) -> bool {
        self.docker.is_some()
    }

    /// A command that both have.
    pub(super) fn words(&self, words: &[&str]) -> Ran {
        let Some(docker) = &self.docker else { return self.lab.netebpf(words) };
        let mut command = docker.command(&self.lab.host);
        command.args(words);
        let ran = finish(command, "");
        println!("$ docker {} -> {}\n{}{}", words.join(" "), ran.code, ran.out, ran.err);
        ran
    }

    /// The same, words separated by spaces.
    pub(super) fn run(&self, words: &str) -> Ran {
        self.words(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Something that runs, with options of `run`.
    pub(super) fn try_start(&self, name: &str, options: &str) -> Ran {
        let end = if self.docker.is_some() { "lab sleep 100000" } else { "-- sleep 100000" };
        self.run(&format!("run -d --name {name} {options} {end}"))
    }

    /// The same, and it must.
    #[track_caller]
    pub(super) fn start(&self, name: &str, options: &str) -> Ns {
        self.try_start(name, options).ok();
        self.inside(name)
    }

    /// A command inside.
    pub(super) fn exec(&self, name: &str, words: &str) -> Ran {
        let end = if self.docker.is_some() { "" } else { "-- " };
        self.run(&format!("exec {name} {end}{words}"))
    }

    /// A field of `inspect`, by a template.
    pub(super) fn field(&self, of: &str, template: &str) -> String {
        self.words(&["inspect", "--format", template, of]).ok().trim().to_owned()
    }

    /// The namespace of something that runs.
    pub(super) fn inside(&self, name: &str) -> Ns {
        let Some(docker) = &self.docker else { return self.lab.endpoint(name) };
        let path = self.field(name, "{{.NetworkSettings.SandboxKey}}");
        let path = Path::new(&path);
        let key = path.file_name().expect("a namespace of its own").to_string_lossy();
        let ns = format!("{}.{name}-{key}", self.lab.instance());
        let ours = Path::new("/run/netns").join(&ns);
        if !ours.exists() {
            File::create(&ours).expect("root may");
            // Docker's mounts are seen by its own processes only, and by this way, which is not a link to follow.
            let theirs = format!("/proc/{}/root{}", docker.first.id(), path.display());
            let mut mount = Command::new("mount");
            mount.args(["--no-canonicalize", "--bind"]).arg(theirs).arg(&ours);
            finish(mount, "").ok();
        }
        Ns::existing(ns)
    }
}

impl Docker {
    fn start(lab: &Lab, programs: PathBuf) -> Self {
        lab.is_of_another_engine();
        // As everywhere in the laboratory: nobody waits for duplicate addresses.
        lab.host.sysctl("net/ipv6/conf/default/accept_dad", "0");
        // Where netfilter's tools are chosen, and what every program asks for at its start.
        lab.etc_file("hosts", "127.0.0.1 localhost\n");
        lab.etc_file("alternatives/README", "");
        let script = lab.file("docker.sh", SCRIPT);
        let files = script.parent().expect("in a directory").to_owned();
        for entry in fs::read_dir("/etc/alternatives").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains("tables")
                && let Ok(target) = fs::read_link(entry.path())
            {
                let link = files.join("etc/alternatives").join(entry.file_name());
                std::os::unix::fs::symlink(target, link).expect("in our own directory");
            }
        }
        let log = File::create(files.join("docker.log")).expect("in our own directory");
        let mut command = lab.host.command("unshare");
        command
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
            .arg(&script)
            .arg(&files)
            .arg(lab.instance())
            .env("PATH", path(&programs))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        let first = command.spawn().expect("unshare runs");
        let mut docker = Self { first, programs, files };
        docker.wait(lab);
        docker.import(lab);
        docker
    }

    fn command(&self, host: &Ns) -> Command {
        let mut command = host.command(self.programs.join("bin/docker"));
        let files = self.files.display();
        command.arg("--config").arg(self.files.join("config"));
        command.args(["-H", &format!("unix://{files}/docker.sock")]);
        command
    }

    /// Waits until it answers; one that cannot start here is a reason to skip.
    fn wait(&mut self, lab: &Lab) {
        let deadline = Instant::now() + patience();
        loop {
            let mut version = self.command(&lab.host);
            version.args(["version", "--format", "{{.Server.Version}}"]);
            if finish(version, "").code == 0 {
                return;
            }
            let ended = self.first.try_wait().expect("our own child").is_some();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.files.join("docker.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it says nothing").to_owned();
                skip(format_args!("dockerd does not start here: {last}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// An image of a busybox, without a registry.
    fn import(&self, lab: &Lab) {
        let bin = self.files.join("image/bin");
        fs::create_dir_all(&bin).expect("in our own directory");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("it is installed");
        for name in ["cat", "ip", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).expect("in our own directory");
        }
        let image = self.files.join("image.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&image).arg("-C").arg(self.files.join("image")).arg(".");
        finish(tar, "").ok();
        let mut import = self.command(&lab.host);
        import.arg("import").arg(&image).arg("lab");
        finish(import, "").ok();
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.files.join("docker.log")).unwrap_or_default();
            let wrong = log.lines().filter(|line| line.contains("level=error"));
            wrong.for_each(|line| println!("dockerd: {line}"));
        }
        // Its child, the first process of the process namespace, is killed with it.
        drop(self.first.kill());
        drop(self.first.wait());
    }
}

/// `$1` is the laboratory's directory, `$2` its name, which Docker's control groups have.
const SCRIPT: &str = "set -e
mount --make-rprivate /
mount --bind \"$1/etc\" /etc
mount -t tmpfs run /run
hostname localhost
exec dockerd --data-root \"$1/data\" --exec-root \"$1/exec\" --pidfile \"$1/docker.pid\" \\
  --host \"unix://$1/docker.sock\" --storage-driver vfs --cgroup-parent \"/$2-docker\" \\
  --exec-opt native.cgroupdriver=cgroupfs
";

/// Where Docker's programs are: `bin` and `sbin` below this.
fn programs() -> PathBuf {
    for program in ["unshare", "mount", "hostname", "tar", "iptables"] {
        netebpf_tests::lab::needs(program);
    }
    if !Path::new("/bin/busybox").exists() {
        skip("busybox-static is not installed");
    }
    let test = std::env::current_exe().expect("the path of this binary");
    let target = test.ancestors().nth(3).map(|target| target.join("docker/usr"));
    let known = [target.unwrap_or_default(), PathBuf::from("/usr")];
    let Some(programs) = known.into_iter().find(|root| root.join("sbin/dockerd").exists()) else {
        skip("Docker is not there: `cargo xtask setup --tests` fetches it");
    };
    let mut version = Command::new(programs.join("sbin/dockerd"));
    version.arg("--version");
    let version = finish(version, "").out;
    if !version.contains(&format!("version {VERSION}.")) {
        skip(format_args!("the table is about Docker {VERSION}, here is {}", version.trim()));
    }
    programs
}

fn path(programs: &Path) -> std::ffi::OsString {
    let own = ["sbin", "bin"].map(|name| programs.join(name));
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::join_paths(own.into_iter().chain(usual)).expect("no colons")
}
