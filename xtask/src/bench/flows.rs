//! `cargo xtask bench --flows N`: so many UDP flows of one endpoint at once.
//!
//! **Invariant**: every flow that is counted was answered, and the first is asked again when all are there; flows live
//! longer than the measurement takes, so none of them expires before it ends.

use super::host::{self, Host};
use crate::{
    namespace::OUTSIDE_V4,
    run::{self, Step},
};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Where the servers of a neighbour listen: a port each.
const FIRST_SERVER: u16 = 9000;
/// How many there are: an endpoint has not ports enough for a million flows to one.
const SERVERS: u16 = 32;
/// The endpoint's port for the flow that is asked again; the others' follow.
const FIRST_CLIENT: u16 = 10_000;
/// How long the daemon is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was measured.
#[derive(Serialize)]
struct Record {
    kernel: String,
    #[serde(flatten)]
    opened: Opened,
    /// What netebpf counts.
    live: u64,
    /// Bytes of all maps, and for each flow that there is room for.
    bytes: u64,
    bytes_a_flow: f64,
    /// Per cent of a CPU that the daemon takes: without flows, and with all of them.
    daemon_idle: f64,
    daemon_with_flows: f64,
    /// How long `doctor` takes, which looks at every flow.
    seconds_to_check: f64,
}

/// What the client says.
#[derive(Serialize, Deserialize)]
struct Opened {
    flows: u32,
    /// Flows per second that are opened and answered.
    opened_per_second: f64,
    /// Questions and answers per second of flows that are there already.
    known_per_second: f64,
    /// Whether the first flow still leads where it did.
    first_works: bool,
}

/// Measures, and prints what came of it.
pub(super) fn measure(netebpf: &Path, flows: u32) -> Result<()> {
    // A place in eight stays free, as on a host that is not about to run out of them.
    let capacity = (flows + flows / 8).max(1024);
    let settings = format!(
        "snat_port_range = \"1024-65535\"\n[flows]\ncapacity = {capacity}\nquota = {capacity}\n\
         embryonic_quota = {capacity}\n"
    );
    let mut host = Host::up(netebpf, &settings)?;
    let servers = [OUTSIDE_V4.to_owned(), FIRST_SERVER.to_string(), SERVERS.to_string()];
    host.serve_outside(&[&["answers".to_owned()], &servers[..]].concat())?;
    let daemon = host::ask(netebpf, "status")?["pid"].as_u64().context("status names no daemon")?;
    let step = Step::begin(format!("Opening {flows} flows"));
    let daemon_idle = load_of(daemon)?;
    let mut client = host.inside_app(std::env::current_exe()?);
    client.args(["load", "flows"]).args(&servers).arg(flows.to_string());
    let opened: Opened = serde_json::from_str(&run::output(&mut client)?)?;
    let status = host::ask(netebpf, "status")?;
    let live = status["flows"]["used"].as_u64().context("status counts no flows")?;
    let daemon_with_flows = load_of(daemon)?;
    let started = Instant::now();
    let doctor = host::ask(netebpf, "doctor")?;
    let seconds_to_check = started.elapsed().as_secs_f64();
    step.end("done");
    let bytes = bytes_of_maps()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let bytes_a_flow = bytes as f64 / f64::from(capacity);
    let record = Record {
        kernel,
        opened,
        live,
        bytes,
        bytes_a_flow,
        daemon_idle,
        daemon_with_flows,
        seconds_to_check,
    };
    drop(host);
    print(&record);
    let file = run::target_dir().join("bench-flows.json");
    fs::write(&file, serde_json::to_string_pretty(&record)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", serde_json::to_string(&record)?);
    ensure!(record.opened.first_works, "the first flow does not lead where it did");
    let mut rows = doctor.as_array().into_iter().flatten();
    let table = rows.find(|row| row["name"] == "flow table");
    let table = table.context("doctor says nothing of the flow table")?;
    ensure!(table["present"] == true, "doctor: {}", table["lost"]);
    ensure!(live > u64::from(flows), "there are {live} flows, and were to be {flows} and one");
    Ok(())
}

fn print(record: &Record) {
    let Record { opened, live, bytes, bytes_a_flow, daemon_idle, daemon_with_flows, .. } = record;
    let lines = [
        ("flows of one endpoint", format!("{live}")),
        ("opened and answered per second", format!("{:.0}", opened.opened_per_second)),
        ("known ones, answered per second", format!("{:.0}", opened.known_per_second)),
        ("bytes of all maps", format!("{bytes}, {bytes_a_flow:.0} a flow")),
        (
            "the daemon, % of a CPU",
            format!("{daemon_with_flows:.1}, without flows {daemon_idle:.1}"),
        ),
        ("seconds to check them all", format!("{:.1}", record.seconds_to_check)),
        ("the first flow", if opened.first_works { "works" } else { "is gone" }.to_owned()),
    ];
    for (what, value) in lines {
        println!("{what:<36}{value}");
    }
}

/// How much of a CPU a process takes, in per cent.
fn load_of(pid: u64) -> Result<f64> {
    let (before, started) = (time_of(pid)?, Instant::now());
    thread::sleep(WATCHED);
    let taken = time_of(pid)?.saturating_sub(before);
    Ok(100.0 * taken.as_secs_f64() / started.elapsed().as_secs_f64())
}

/// How long the threads of a process were on a CPU.
pub(super) fn time_of(pid: u64) -> Result<Duration> {
    let mut used = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = times.split_whitespace().next().context("a thread without times")?;
        used += Duration::from_nanos(on_cpu.parse()?);
    }
    Ok(used)
}

/// The memory that the kernel accounts for our maps.
fn bytes_of_maps() -> Result<u64> {
    let mut find = run::root("find");
    let pins = run::output(find.args([&host::pinned_maps(), "-path", "*/maps/*", "-type", "f"]))?;
    let bytes = |pin: &str| -> Result<u64> {
        let mut show = run::root("bpftool");
        let said = run::output(show.args(["--json", "map", "show", "pinned", pin]))
            .context("the maps' memory is asked for with bpftool")?;
        let map: serde_json::Value = serde_json::from_str(&said)?;
        // A number in words.
        let bytes = &map["bytes_memlock"];
        let bytes = bytes.as_u64().or_else(|| bytes.as_str()?.parse().ok());
        bytes.with_context(|| format!("bpftool does not say how large {pin} is: {said}"))
    };
    pins.lines().map(bytes).sum()
}

/// Ports of one address.
#[derive(clap::Args)]
pub(super) struct Servers {
    address: Ipv4Addr,
    first: u16,
    ports: u16,
}

impl Servers {
    fn addresses(&self) -> Vec<SocketAddr> {
        let ports = (self.first..).take(self.ports.into());
        ports.map(|port| SocketAddr::new(IpAddr::V4(self.address), port)).collect()
    }

    /// Answers each datagram with the address and port that it came from. Ready when this returns.
    pub(super) fn answer(&self) -> Result<()> {
        for address in self.addresses() {
            let socket =
                UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))?;
            thread::spawn(move || {
                while let Ok((_, client)) = socket.recv_from(&mut [0; 64]) {
                    // One that is gone asked and did not wait.
                    let _ = socket.send_to(client.to_string().as_bytes(), client);
                }
            });
        }
        Ok(())
    }

    /// Opens flows to all of them from one port after the other, waits for every answer, and says how fast that was.
    pub(super) fn open(&self, flows: u32) -> Result<()> {
        let servers = self.addresses();
        let first = socket(FIRST_CLIENT)?;
        let seen_at_first = ask(&first, &servers[..1])?;
        let ports = flows.div_ceil(self.ports.into());
        let last = u16::try_from(u32::from(FIRST_CLIENT) + ports).context("too many flows")?;
        let rate = || -> Result<f64> {
            let started = Instant::now();
            for port in FIRST_CLIENT + 1..=last {
                ask(&socket(port)?, &servers)?;
            }
            Ok(f64::from(ports) * servers.len() as f64 / started.elapsed().as_secs_f64())
        };
        let (opened_per_second, known_per_second) = (rate()?, rate()?);
        let first_works = ask(&first, &servers[..1])? == seen_at_first;
        let opened = Opened { flows, opened_per_second, known_per_second, first_works };
        println!("{}", serde_json::to_string(&opened)?);
        Ok(())
    }
}

fn socket(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("cannot send from port {port}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Asks all of them, and waits for as many answers; the last.
fn ask(socket: &UdpSocket, servers: &[SocketAddr]) -> Result<String> {
    for server in servers {
        socket.send_to(b"?", server)?;
    }
    let mut buffer = [0; 64];
    let mut length = 0;
    for _ in servers {
        length = socket.recv(&mut buffer).context("no answer")?;
    }
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
