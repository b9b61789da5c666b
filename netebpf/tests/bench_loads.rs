//! The loads of `netebpf bench`: on a bare veth, on a Linux bridge, and on netebpf's own programs; and what they say where
//! something is missing.

#[allow(dead_code, reason = "shared with other tests")]
mod support;

use netebpf::{
    apply,
    bench::load::{
        cost::{self, CostError, Statistics},
        frames::{self, Frame, Frames, FramesError, Interface},
        streams::{self, Server, StreamsError},
    },
    kernel::{Kernel, NetnsError, netns},
};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use support::{Memory, desired, on_a_host, run};

/// So many are over in a moment, and more than stand in a queue.
const FRAMES: u32 = 20_000;
/// Tells the test that it runs as its own child.
const CHILD: &str = "BENCH_LOADS_CHILD";

/// Namespaces `NAME-host`, a bridge, and `NAME-a` and `NAME-b` with an eth0 each at its ports `a` and `b`.
struct Ground(String);

impl Ground {
    /// `None`, and says so, where it cannot be made.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ground = Self(format!("t-loads-{}-{number}", std::process::id()));
        let host = ground.name("host");
        for part in PARTS {
            netns::create(&path(&ground.name(part))).unwrap();
        }
        run(&format!("ip -n {host} link add br0 type bridge mcast_snooping 0"));
        run(&format!("ip -n {host} link set br0 up"));
        for (port, number) in [("a", 1), ("b", 2)] {
            let end = ground.name(port);
            run(&format!("ip -n {host} link add name {port} type veth peer name eth0 netns {end}"));
            run(&format!("ip -n {host} link set dev {port} master br0 up"));
            run(&format!("ip -n {end} address add 10.98.0.{number}/24 dev eth0"));
            run(&format!("ip -n {end} address add fd98::{number}/64 dev eth0 nodad"));
            run(&format!("ip -n {end} link set eth0 up"));
        }
        Some(ground)
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    fn interface(&self, part: &str, name: &str) -> Interface {
        Interface::new(&self.name(part), name)
    }

    /// From `a` to `b`.
    fn frame(&self, from: &str, to: &str) -> Frame {
        Frame {
            from_mac: self.interface("a", "eth0").mac().unwrap(),
            to_mac: self.interface("b", "eth0").mac().unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            flows: 1,
        }
    }
}

const PARTS: [&str; 3] = ["host", "a", "b"];

impl Drop for Ground {
    fn drop(&mut self) {
        for part in PARTS {
            let _ = netns::remove(&path(&self.name(part)));
        }
    }
}

fn path(namespace: &str) -> std::path::PathBuf {
    Path::new("/run/netns").join(namespace)
}

#[test]
fn streams_flow() {
    let Some(ground) = Ground::new() else { return };
    if Command::new("iperf3").arg("--version").output().is_err() {
        println!("skipped: no iperf3");
        return;
    }
    for address in ["10.98.0.2", "fd98::2"] {
        let server = SocketAddr::new(address.parse().unwrap(), 5201);
        let _serving = Server::start(&ground.name("b"), server.ip(), server.port()).unwrap();
        // One after the other.
        for _ in 0..2 {
            let rate =
                streams::measure(&ground.name("a"), server, Duration::from_millis(500)).unwrap();
            println!("{address}: {rate:.1} Gbit/s");
            assert!(rate > 0.0);
        }
        let second = Server::start(&ground.name("b"), server.ip(), server.port());
        let said = second.unwrap_err().to_string();
        assert!(said.contains("Address already in use"), "{said}");
    }
    // The servers ended with their handles.
    let nobody = "10.98.0.2:5201".parse().unwrap();
    let said = streams::measure(&ground.name("a"), nobody, Duration::from_secs(1)).unwrap_err();
    assert!(said.to_string().contains("Connection refused"), "{said}");
}

#[test]
fn streams_say_what_is_missing() {
    let (nowhere, port) = ("10.98.0.2".parse().unwrap(), 5201);
    if std::env::var_os(CHILD).is_some() {
        // There is no program on this path.
        let ground = Ground::new_alone();
        let error = Server::start(&ground.name("host"), nowhere, port).unwrap_err();
        assert!(matches!(error, StreamsError::Missing), "{error}");
        let said = error.to_string();
        assert!(said.contains("iperf3 is missing") && said.contains("apt-get install iperf3"));
        return;
    }
    let error = Server::start("t-loads-nobody", nowhere, port).unwrap_err();
    assert!(matches!(error, StreamsError::Netns(NetnsError::Missing(_))), "{error}");
    assert!(error.to_string().contains("/run/netns/t-loads-nobody"), "{error}");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "streams_say_what_is_missing", "--nocapture"]);
    let output = child.env(CHILD, "1").env("PATH", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Ground {
    /// Namespaces and nothing in them: no program is needed.
    fn new_alone() -> Self {
        let ground = Self(format!("t-loads-{}-alone", std::process::id()));
        for part in PARTS {
            netns::create(&path(&ground.name(part))).unwrap();
        }
        ground
    }
}

#[test]
fn frames_cross_a_bridge() {
    let Some(ground) = Ground::new() else { return };
    let (from, to) = (ground.interface("host", "a"), ground.interface("b", "eth0"));
    for (source, destination) in
        [("10.98.0.1:40000", "10.98.0.2:80"), ("[fd98::1]:40000", "[fd98::2]:80")]
    {
        for flows in [1, 16] {
            let frame = Frame { flows, ..ground.frame(source, destination) };
            frames::open(&frame, &ground.name("a"), &ground.name("b"), frame.to).unwrap();
            let ready = Frames::prepare(&from, &frame, &to).unwrap();
            let rate = ready.measure(FRAMES).unwrap();
            println!("{source}, {flows} flows: {:.0} packets/s, {rate:?}", rate.per_second());
            assert_eq!((rate.sent, rate.arrived), (FRAMES, u64::from(FRAMES)));
        }
    }
}

/// A bare veth: from its other end, and where frames arrive at its end already.
#[test]
fn frames_cross_a_wire() {
    let Some(ground) = Ground::new() else { return };
    let (start, end) = (ground.interface("host", "b"), ground.interface("b", "eth0"));
    let frame = ground.frame("10.98.0.1:40000", "10.98.0.2:80");
    // All of them at hand at once, as a benchmark has them.
    let over = Frames::on_a_wire(&start, &frame, &end).unwrap();
    let [without, there] = [&start, &end].map(|from| Frames::prepare(from, &frame, &end).unwrap());
    for frames in [&over, &there] {
        let rate = frames.measure(FRAMES).unwrap();
        println!("{:.0} packets/s, {rate:?}", rate.per_second());
        assert_eq!(rate.arrived, u64::from(FRAMES));
    }
    let said = without.measure(FRAMES).unwrap_err();
    assert!(matches!(said, FramesError::Lost { .. }), "{said}");
    // Nothing is left there: datagrams of that length arrive again.
    let end = path(&ground.name("b"));
    let socket =
        netns::run_in(&end, || std::net::UdpSocket::bind("10.98.0.2:80")).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let start = path(&ground.name("a"));
    let client =
        netns::run_in(&start, || std::net::UdpSocket::bind("10.98.0.1:0")).unwrap().unwrap();
    client.send_to(&[0; 18], "10.98.0.2:80").unwrap();
    assert_eq!(socket.recv_from(&mut [0; 18]).unwrap().0, 18);
}

/// Each as it should be, whatever was done to the one before in the same page: one that was translated already would not
/// be let through.
#[test]
fn frames_are_translated() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        apply::reconcile(&mut kernel, &wanted, &mut journal).await.unwrap();
        let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let (web, lan) = (named(&instance.namespace("web")), named(&support::lan(&instance)));
        // The host's namespace, which has no name so far.
        let host = format!("{}-host", instance.name());
        run(&format!("ip netns attach {host} {}", rustix::thread::gettid()));
        let attachment = &wanted.endpoints["web"].attachments[0];
        let network = &wanted.networks["front"];
        let from = Interface::new(&host, attachment.host_interface.as_str());
        let to = Interface::new(&lan, "lan0");
        let frame = Frame {
            from_mac: Interface::new(&web, "eth0").mac().unwrap(),
            to_mac: Interface::new(&host, network.bridge.as_str()).mac().unwrap(),
            from: "10.97.1.10:40000".parse().unwrap(),
            to: "192.0.2.254:9".parse().unwrap(),
            flows: 4,
        };
        frames::open(&frame, &web, &lan, frame.to).unwrap();
        let rate = Frames::prepare(&from, &frame, &to).unwrap().measure(FRAMES).unwrap();
        println!("{:.0} packets/s, {rate:?}", rate.per_second());
        let flows = kernel.flows().await.unwrap();
        netns::remove(&path(&host)).unwrap();
        assert_eq!(rate.arrived, u64::from(FRAMES));
        assert_eq!(flows.len(), 4);
        let there: u64 = flows.iter().map(|flow| flow.packets[0]).sum();
        assert_eq!(there, u64::from(FRAMES) + 4, "{flows:#?}");
        for flow in &flows {
            assert_eq!(flow.reply.destination.to_string(), "192.0.2.1", "{flow:#?}");
        }
    });
}

#[test]
fn frames_say_what_is_missing() {
    let Some(ground) = Ground::new() else { return };
    let (from, to) = (ground.interface("host", "a"), ground.interface("b", "eth0"));
    let frame = ground.frame("10.98.0.1:40000", "10.98.0.2:80");
    let error = |from: &Interface, frame: &Frame, to: &Interface| {
        Frames::prepare(from, frame, to).map(drop).unwrap_err()
    };

    let nowhere = Interface::new("t-loads-nobody", "eth0");
    let said = error(&nowhere, &frame, &to);
    assert!(matches!(said, FramesError::Netns(NetnsError::Missing(_))), "{said}");
    let nothing = ground.interface("b", "eth9");
    let expected = format!("there is no interface eth9 in namespace {}", ground.name("b"));
    assert_eq!(error(&from, &frame, &nothing).to_string(), expected);
    assert_eq!(nothing.mac().unwrap_err().to_string(), expected);
    let mixed = Frame { to: "[fd98::2]:80".parse().unwrap(), ..frame.clone() };
    assert!(error(&from, &mixed, &to).to_string().contains("not of one family"));

    // Nobody forwards.
    run(&format!("ip -n {} link set dev b down", ground.name("host")));
    let said = Frames::prepare(&from, &frame, &to).unwrap().measure(FRAMES).unwrap_err();
    assert!(matches!(said, FramesError::Lost { .. }), "{said}");
    let said = frames::open(&frame, &ground.name("a"), &ground.name("b"), frame.to).unwrap_err();
    assert!(matches!(said, FramesError::NoAnswer { .. }), "{said}");
}

#[test]
fn programs_have_a_cost() {
    on_a_host(|instance| async move {
        let statistics = Statistics::enable().unwrap();
        let nothing = statistics.snapshot(&instance).unwrap_err();
        assert!(matches!(nothing, CostError::NoPrograms { .. }), "{nothing}");
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        apply::reconcile(&mut kernel, &wanted, &mut journal).await.unwrap();
        let before = statistics.snapshot(&instance).unwrap();
        let web = instance.namespace("web");
        run(&format!("nsenter --net={} ping -c 5 -i 0.01 -W 3 192.0.2.254", web.display()));
        let costs = cost::between(&before, &statistics.snapshot(&instance).unwrap());
        println!("{costs:#?}");
        let ingress = costs["endpoint_ingress"];
        assert!(ingress.packets >= 5 && ingress.nanoseconds > 0.0, "{ingress:?}");
    });
}
