//! What is compared: netebpf, a Linux bridge with the rules that Docker makes, and a bare veth, which is the
//! limit of both.
//!
//! **Invariant**: the arms differ in the host only. Each has the same wire, the same two endpoints, the
//! same neighbour and the same server and client programs, and all are alive at once.

use super::load::READY;
use crate::{
    namespace::{self, HOST_V4, OUTSIDE_V4},
    run,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The ways of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    EndpointToEndpoint,
    Masquerade,
    PublishedPort,
}

impl Way {
    pub(super) const ALL: [Self; 3] =
        [Self::EndpointToEndpoint, Self::Masquerade, Self::PublishedPort];
}

/// A host with endpoints `web` and `app`, a neighbour, and the servers in `web` and at the neighbour.
pub(super) struct Arm {
    pub(super) name: &'static str,
    /// The endpoint `app`; without endpoints every way is the wire between host and neighbour.
    app: Option<String>,
    neighbour: String,
    /// Every namespace that this arm made itself.
    made: Vec<String>,
    servers: Vec<Child>,
    /// Brings the instance down.
    netebpf: Option<PathBuf>,
}

/// The host of the arm that runs netebpf, and its instance.
const OURS: &str = "netebpf-bench";
const INSTANCE: &str = "bench";

/// The endpoint `web`.
const WEB_V4: &str = "172.18.0.2";

const TOPOLOGY: &str = r#"
name: bench
networks:
  front: {ipam: {config: [{subnet: 172.18.0.0/16, gateway: 172.18.0.1}]}}
services:
  web: {networks: {front: {ipv4_address: 172.18.0.2}}, ports: ["8080:80"]}
  app: {networks: {front: {ipv4_address: 172.18.0.3}}}
"#;

/// What Docker makes for one user-defined network with one published port, beside its default network:
/// `iptables-save` of such a host.
const DOCKER_RULES: &str = include_str!("docker.rules");

impl Arm {
    /// netebpf, on a host of its own, with these settings (`config.toml`) instead of the machine's.
    pub(super) fn netebpf(binary: &Path, settings: Option<&str>) -> Result<Self> {
        if namespace::path(OURS).exists() {
            down(binary).context("an earlier run was cut short, and what it left does not go")?;
        }
        let mut arm = Self::with_host("netebpf", OURS, Some("bench.app"))?;
        let mut file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        file.write_all(TOPOLOGY.as_bytes())?;
        arm.netebpf = Some(binary.to_owned());
        let etc = settings.map(etc_with).transpose()?;
        let mut up = match &etc {
            None => namespace::inside(OURS, binary),
            Some(etc) => {
                let mut up = namespace::inside(OURS, "unshare");
                up.args(["--mount", "--propagation", "unchanged", "sh", "-ec", WITH_ETC, "sh"]);
                up.arg(etc.path()).arg(binary);
                up
            }
        };
        run::output(up.args(["--instance", INSTANCE, "up", "--file"]).arg(file.path()))?;
        for endpoint in ["bench.web", "bench.app"] {
            use_reno(endpoint)?;
        }
        arm.serve("bench.web", "0.0.0.0:80")?;
        Ok(arm)
    }

    /// A Linux bridge and Docker's rules.
    pub(super) fn docker() -> Result<Self> {
        let host = "netebpf-bench-docker";
        let [web, app] = ["web", "app"].map(|endpoint| format!("{host}-{endpoint}"));
        let mut arm = Self::with_host("bridge + iptables", host, Some(&app))?;
        let ip = |line: &str| namespace::ip(host, line);
        for line in ["link add br-front type bridge", "address add 172.18.0.1/16 dev br-front"] {
            ip(line)?;
        }
        for (endpoint, address) in [(&web, "172.18.0.2/16"), (&app, "172.18.0.3/16")] {
            arm.add(endpoint)?;
            let port = &endpoint[endpoint.len() - 3..];
            ip(&format!("link add {port} type veth peer name eth0 netns {endpoint}"))?;
            ip(&format!("link set {port} master br-front up"))?;
            namespace::ip(endpoint, &format!("address add {address} dev eth0"))?;
            namespace::ip(endpoint, "link set eth0 up")?;
        }
        ip("link set br-front up")?;
        for endpoint in [&web, &app] {
            namespace::ip(endpoint, "route add default via 172.18.0.1")?;
        }
        let mut forward = namespace::inside(host, "sysctl");
        run::output(forward.args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
        let mut restore = namespace::inside(host, "iptables-restore");
        let mut child =
            restore.stdin(Stdio::piped()).spawn().context("cannot run iptables-restore")?;
        child
            .stdin
            .take()
            .context("iptables-restore has no input")?
            .write_all(DOCKER_RULES.as_bytes())?;
        ensure!(child.wait()?.success(), "iptables-restore refuses Docker's rules");
        arm.serve(&web, "0.0.0.0:80")?;
        Ok(arm)
    }

    /// A veth and nothing else.
    pub(super) fn bare() -> Result<Self> {
        Self::with_host("bare veth", "netebpf-bench-bare", None)
    }

    fn with_host(name: &'static str, host: &str, app: Option<&str>) -> Result<Self> {
        let neighbour = format!("{host}-lan");
        let mut arm = Self {
            name,
            app: app.map(str::to_owned),
            neighbour: neighbour.clone(),
            made: Vec::new(),
            servers: Vec::new(),
            netebpf: None,
        };
        for name in [host, &neighbour] {
            arm.add(name)?;
        }
        namespace::add_wire(host, &neighbour)?;
        arm.serve(&neighbour, "0.0.0.0:80")?;
        Ok(arm)
    }

    /// The namespace of the client on this way, and the server that it asks.
    pub(super) fn client(&self, way: Way) -> Result<(&str, SocketAddr)> {
        let Some(app) = &self.app else {
            return Ok((&self.made[0], format!("{OUTSIDE_V4}:80").parse()?));
        };
        let (from, to) = match way {
            Way::EndpointToEndpoint => (app, format!("{WEB_V4}:80")),
            Way::Masquerade => (app, format!("{OUTSIDE_V4}:80")),
            Way::PublishedPort => (&self.neighbour, format!("{HOST_V4}:8080")),
        };
        Ok((from, to.parse()?))
    }

    /// Whether packets that stay on a bridge of this host meet its iptables rules.
    pub(super) fn has_bridge_netfilter(&self) -> bool {
        let mut sysctl = namespace::inside(&self.made[0], "sysctl");
        let value = run::output(sysctl.args(["-n", "net.bridge.bridge-nf-call-iptables"]));
        value.is_ok_and(|value| value.trim() == "1")
    }

    /// Makes a namespace, in place of one that an earlier run left when it was cut short.
    fn add(&mut self, namespace: &str) -> Result<()> {
        namespace::remove(namespace)?;
        self.made.push(namespace.to_owned());
        namespace::add(namespace)?;
        use_reno(namespace)
    }

    /// A command in the endpoint `app`.
    pub(super) fn inside_app(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        Ok(namespace::inside(self.app.as_ref().context("there is no endpoint")?, program))
    }

    /// Starts another kind of server at the neighbour.
    pub(super) fn serve_outside(&mut self, arguments: &[String]) -> Result<()> {
        self.start(&self.neighbour.clone(), arguments)
    }

    fn serve(&mut self, namespace: &str, listen: &str) -> Result<()> {
        self.start(namespace, &["server".to_owned(), listen.to_owned()])
    }

    fn start(&mut self, namespace: &str, arguments: &[String]) -> Result<()> {
        let mut server = namespace::inside(namespace, std::env::current_exe()?);
        server.arg("load").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = server.spawn().context("cannot start a server")?;
        let output = child.stdout.take().context("a server has no output")?;
        self.servers.push(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let what = arguments.join(" ");
        ensure!(line.trim() == READY, "the {what} in {namespace} does not listen");
        Ok(())
    }
}

/// Whatever congestion control this machine prefers: some put timers into each round trip. This one is always there,
/// and every namespace may choose it.
fn use_reno(namespace: &str) -> Result<()> {
    let mut sysctl = namespace::inside(namespace, "sysctl");
    run::output(sysctl.args(["-q", "-w", "net.ipv4.tcp_congestion_control=reno"])).map(drop)
}

/// Runs a command with a directory in the place of /etc, in a mount namespace where all else is shared: namespaces and
/// pins that it makes are there for everybody.
const WITH_ETC: &str = r#"mount --make-private /; mount --bind "$1" /etc; shift; exec "$@""#;

/// An /etc with settings and nothing else.
fn etc_with(settings: &str) -> Result<tempfile::TempDir> {
    let etc = tempfile::tempdir()?;
    let ours = etc.path().join("netebpf");
    fs::create_dir(&ours)?;
    fs::write(ours.join("config.toml"), settings)?;
    Ok(etc)
}

/// What a command says of our instance.
pub(super) fn ask(netebpf: &Path, command: &str) -> Result<serde_json::Value> {
    let mut asked = namespace::inside(OURS, netebpf);
    let text = run::output(asked.args(["--instance", INSTANCE, command, "--format", "json"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Where the maps of our instance are pinned.
pub(super) fn pinned_maps() -> String {
    format!("/sys/fs/bpf/netebpf/{INSTANCE}")
}

/// Brings our instance down.
fn down(netebpf: &Path) -> Result<()> {
    let mut down = namespace::inside(OURS, netebpf);
    run::output(down.args(["--instance", INSTANCE, "down", "--all"])).map(drop)
}

impl Drop for Arm {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.stdin.take());
            let _ = server.wait();
        }
        if let Some(Err(error)) = self.netebpf.as_deref().map(down) {
            eprintln!("{error:#}");
        }
        for namespace in &self.made {
            if let Err(error) = namespace::remove(namespace) {
                eprintln!("{error:#}");
            }
        }
    }
}
