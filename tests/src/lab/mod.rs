//! A throw-away laboratory: a host, its LAN, a router, a server behind it, endpoints that netebpf makes.
//!
//! ```text
//!  c1 c2   d1    i1 i2          endpoints, made by netebpf
//!   front  back  inner          its networks; inner is internal
//!      └────┼─────┘
//!         host ── up0                        192.0.2.1        2001:db8:1::1
//!                  │
//!         segment (a bridge) ── lan          192.0.2.9        2001:db8:1::9
//!                  │
//!               router                       192.0.2.254      2001:db8:1::fe
//!                  │                         198.51.100.254   2001:db8:2::fe
//!               server                       198.51.100.9     2001:db8:2::9
//! ```
//!
//! The router knows no way to the endpoints' networks. Two sniffers, at the router and at the LAN
//! neighbour, watch from the first packet to the last.
//!
//! **Invariant**, checked at the end of every test: no private address was seen outside; no kernel
//! counted a wrong checksum; the table of flows was whole; `down` left no interface, namespace, pin, file, process or
//! changed sysctl.

mod cards;
mod dns;
pub mod family;
pub mod frame;
mod netebpf;
mod ns;
mod offload;
mod pins;
pub mod probe;
mod reference;
mod sweep;
mod terminal;
mod tidy;
mod topology;
pub mod traffic;
mod wire;

pub use cards::Cards;
pub use dns::{Asked, Reply, Upstream, Way, question, record};
pub use family::{Family, both};
pub use netebpf::{Ran, Running, binary, finish};
pub use ns::Ns;
pub use sweep::{sweep, sweep_of};
pub use terminal::Terminal;
pub use tidy::Snapshot;
pub use topology::{Topology, topology, with_device};
pub use wire::{Sniffer, Wire};

use frame::{BROADCAST, Seen, ether};
use std::{
    cell::{Cell, OnceCell},
    fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The laboratory. Dropping it checks the invariant and takes everything away.
#[derive(Debug)]
pub struct Lab {
    instance: String,
    /// Where netebpf runs.
    pub host: Ns,
    /// The router between the host's LAN and the server.
    pub router: Ns,
    /// The host's neighbour on the LAN.
    pub lan: Ns,
    /// The server behind the router.
    pub server: Ns,
    /// The switch that they meet at.
    pub segment: Ns,
    at_router: Sniffer,
    at_lan: Sniffer,
    before: Snapshot,
    files: tempfile::TempDir,
    netebpf_ran: Cell<bool>,
    private_quotes: Cell<bool>,
    wrong_checksums: Cell<bool>,
    reference: Cell<bool>,
    etc: OnceCell<PathBuf>,
    cards: Option<Cards>,
}

impl Lab {
    /// Everything but netebpf.
    pub fn bare() -> Self {
        Self::with_uplink(None)
    }

    /// The same, where the host's uplink is a network card, and the segment's end another.
    pub fn on_cards(cards: Cards) -> Self {
        Self::with_uplink(Some(cards))
    }

    fn with_uplink(cards: Option<Cards>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let instance = format!("nbt-{}-{count}", std::process::id());
        let ns = |role: &str| Ns::create(format!("{instance}-{role}"));
        let (host, segment, router) = (ns("host"), ns("segment"), ns("router"));
        let (lan, server) = (ns("lan"), ns("server"));

        match &cards {
            None => cable((&host, "up0"), (&segment, "to-host")),
            Some(cards) => cards.connect([(&host, "up0"), (&segment, "to-host")]),
        }
        cable((&router, "lan0"), (&segment, "to-router"));
        cable((&lan, "eth0"), (&segment, "to-lan"));
        cable((&server, "eth0"), (&router, "srv0"));
        segment.ip("link add br0 type bridge mcast_snooping 0");
        for port in ["to-host", "to-router", "to-lan"] {
            segment.ip(&format!("link set {port} master br0 up"));
        }
        segment.ip("link set br0 up");

        address(&host, "up0", family::HOST);
        address(&lan, "eth0", family::LAN);
        address(&router, "lan0", family::ROUTER);
        address(&router, "srv0", family::ROUTER_FAR);
        address(&server, "eth0", family::SERVER);
        for (ns, gateway) in
            [(&host, family::ROUTER), (&lan, family::ROUTER), (&server, family::ROUTER_FAR)]
        {
            ns.ip(&format!("route add default via {}", gateway.0));
            ns.ip(&format!("route add default via {}", gateway.1));
        }
        router.sysctl("net/ipv4/ip_forward", "1");
        router.sysctl("net/ipv6/conf/all/forwarding", "1");
        // What the machine has set must not help.
        host.sysctl("net/ipv4/ip_forward", "0");

        let at_router = Sniffer::start(&router, "lan0");
        let at_lan = Sniffer::start(&lan, "eth0");
        let before = Snapshot::take(&host);
        let files = tempfile::tempdir().expect("a directory for files");
        let [netebpf_ran, private_quotes, wrong_checksums, reference] =
            [(); 4].map(|()| Cell::new(false));
        Self {
            instance,
            host,
            router,
            lan,
            server,
            segment,
            at_router,
            at_lan,
            before,
            files,
            netebpf_ran,
            private_quotes,
            wrong_checksums,
            reference,
            etc: OnceCell::new(),
            cards,
        }
    }

    /// With a topology brought up by `netebpf up`.
    pub fn up(topology: &Topology) -> Self {
        Self::up_with(topology, &[])
    }

    /// The same with further options of `up`.
    pub fn up_with(topology: &Topology, options: &[&str]) -> Self {
        let lab = Self::bare();
        lab.up_again(topology, options).ok();
        lab
    }

    /// `up` with the usual file.
    pub fn up_again(&self, topology: &Topology, options: &[&str]) -> Ran {
        let file = self.file("netebpf.yaml", &topology.to_string());
        let file = file.to_str().expect("a plain path");
        let ran = self.netebpf(&[&["up", "-f", file], options].concat());
        self.own_namespaces().iter().for_each(Ns::unlimited_errors);
        ran
    }

    /// Makes the way between router and server narrow: 1400 bytes. The server does not tell (its MSS
    /// is that of a wide link), so only the router's "too big" does.
    pub fn narrow_path(&self) {
        self.router.ip("link set srv0 mtu 1400");
        self.server.ip("link set eth0 mtu 1400");
        for (gateway, mss) in
            [(family::ROUTER_FAR.of(Family::V4), 1460), (family::ROUTER_FAR.of(Family::V6), 1440)]
        {
            self.server.ip(&format!("route replace default via {gateway} dev eth0 advmss {mss}"));
        }
    }

    /// `up` with another file.
    pub fn up_text(&self, text: &str) -> Ran {
        let file = self.file("netebpf.yaml", text);
        self.netebpf(&["up", "-f", file.to_str().expect("a plain path")])
    }

    /// A second way out, whose routes the caller makes: `up1` of the host and `lan1` of the router.
    pub fn second_uplink(&self) {
        cable((&self.host, "up1"), (&self.router, "lan1"));
        address(&self.host, "up1", family::HOST_TOO);
        address(&self.router, "lan1", family::ROUTER_TOO);
    }

    /// What whoever manages the host's network does when the uplink comes up: what the kernel took away when it went
    /// down is made again.
    pub fn uplink_comes_up(&self, name: &str) {
        self.host.ip(&format!("link set {name} up"));
        self.host.ip(&format!("-6 address replace {}/64 dev {name} nodad", family::HOST.1));
        for gateway in [family::ROUTER.0.into(), family::ROUTER.1.into()] {
            self.default_route(gateway);
        }
    }

    /// Gives the host another default route.
    pub fn default_route(&self, gateway: std::net::IpAddr) {
        let version = if gateway.is_ipv4() { "-4" } else { "-6" };
        self.host.ip(&format!("{version} route replace default via {gateway}"));
    }

    /// Settings for the daemons that are started from now on.
    pub fn settings(&self, text: &str) {
        self.etc_file("netebpf/config.toml", text);
    }

    /// A file in the place of one in `/etc`, which nothing else is in from now on: for netebpf, and for commands
    /// that are started by [`Lab::tool_with_etc`].
    pub fn etc_file(&self, name: &str, text: &str) {
        let etc = self.etc.get_or_init(|| self.files.path().join("etc"));
        let path = etc.join(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("in our own");
        fs::write(path, text).expect("a file in our own directory");
    }

    /// What a file in the place of one in `/etc` holds now.
    pub fn read_etc_file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.etc.get()?.join(name)).ok()
    }

    /// Runs a tool on the host that sees what netebpf sees of `/etc`.
    pub fn tool_with_etc(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = self.host.command(program);
        if let Some(etc) = self.etc.get() {
            ns::instead_of_etc(&mut command, etc);
        }
        command.args(arguments);
        netebpf::finish(command, "")
    }

    /// The instance's name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// An endpoint's namespace.
    pub fn endpoint(&self, name: &str) -> Ns {
        Ns::existing(format!("{}.{name}", self.instance))
    }

    /// Writes a file of this laboratory.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, text).expect("a file in our own directory");
        path
    }

    /// Watches an interface from now on.
    pub fn sniff(&self, ns: &Ns, interface: &str) -> Sniffer {
        Sniffer::start(ns, interface)
    }

    /// The host before netebpf ran.
    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    /// The host now.
    pub fn now(&self) -> Snapshot {
        Snapshot::take(&self.host)
    }

    /// What the router sees on the host's LAN.
    pub fn at_router(&self) -> &Sniffer {
        &self.at_router
    }

    /// What the LAN neighbour sees.
    pub fn at_lan(&self) -> &Sniffer {
        &self.at_lan
    }

    /// Says that this test itself sends to private addresses from outside, so that an ICMP error about
    /// that may quote them.
    pub fn outsiders_know_private_addresses(&self) {
        self.private_quotes.set(true);
    }

    /// Says that somebody else's engine runs here, for comparison: what it lets out is for the test to tell.
    pub fn is_of_another_engine(&self) {
        self.reference.set(true);
    }

    /// Says that this test itself sends wrong checksums.
    pub fn wrong_checksums_are_sent(&self) {
        self.wrong_checksums.set(true);
    }

    /// Waits until all that the host has sent up to now was seen outside.
    pub fn settle(&self) {
        static MARK: AtomicU32 = AtomicU32::new(0);
        let mark = format!("mark {:08}", MARK.fetch_add(1, Ordering::Relaxed)).into_bytes();
        // A frame that another core still holds may be overtaken by the mark: give it a moment.
        thread::sleep(scaled(Duration::from_millis(20)));
        let frame = frame::ethernet(BROADCAST, self.host.mac("up0"), ether::MARK, &mark);
        Wire::open(&self.host, "up0").send(&frame);
        for sniffer in [&self.at_router, &self.at_lan] {
            sniffer.wait_for("the mark to arrive", |seen| seen.contains(&mark));
        }
    }

    /// Frames that carried a private address where it must never be.
    fn leaks(&self) -> Vec<Seen> {
        let outsiders = [self.router.mac("lan0"), self.lan.mac("eth0")];
        let private = |pair: Option<(std::net::IpAddr, std::net::IpAddr)>| {
            pair.is_some_and(|(from, to)| family::is_private(from) || family::is_private(to))
        };
        let leak = |seen: &Seen| {
            !outsiders.contains(&seen.from)
                && (private(seen.addresses) || private(seen.quoted) && !self.private_quotes.get())
        };
        let all = self.at_router.private().into_iter().chain(self.at_lan.private());
        all.filter(leak).collect()
    }

    /// The namespaces of endpoints.
    pub fn own_namespaces(&self) -> Vec<Ns> {
        let prefix = format!("{}.", self.instance);
        sweep::namespaces(&prefix).into_iter().map(Ns::existing).collect()
    }

    fn namespaces(&self) -> [&Ns; 5] {
        [&self.host, &self.router, &self.lan, &self.server, &self.segment]
    }

    /// The invariant.
    fn check(&self) {
        // What Linux lets out is for the comparison to tell.
        if self.reference.get() {
            return;
        }
        self.settle();
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "private addresses were seen outside: {leaks:#?}");
        for ns in self.namespaces().into_iter().chain(&self.own_namespaces()) {
            let wrong = ns.checksum_errors();
            let fine = wrong.is_empty() || self.wrong_checksums.get();
            assert!(fine, "wrong checksums in {}: {wrong:?}", ns.name());
        }
        if self.netebpf_ran.get() {
            if self.daemon_pid().is_some() {
                assert_eq!(self.flow_findings(), None);
            }
            self.run("down").ok();
            self.nothing_left();
        }
    }

    /// Nothing of the instance is left, and the host is as it was.
    pub fn nothing_left(&self) {
        tidy::nothing_left(&self.instance, &self.host);
        self.before.same(&self.now());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Whatever is found, cards go back.
        let checked = panic::catch_unwind(AssertUnwindSafe(|| match thread::panicking() {
            true => self.tell(),
            false => self.check(),
        }));
        if let Some(cards) = &self.cards {
            cards.give_back([(&self.host, "up0"), (&self.segment, "to-host")]);
        }
        sweep::remove(&self.instance);
        checked.unwrap_or_else(|found| panic::resume_unwind(found));
    }
}

/// Deletes a namespace behind netebpf's back.
pub fn delete_namespace(name: &str) {
    ns::ip(&["netns", "delete", name]);
}

/// A veth pair between two namespaces, up.
pub fn cable((a, a_name): (&Ns, &str), (b, b_name): (&Ns, &str)) {
    // Inside: elsewhere older kernels compare the name with those of the namespace that the command is given in.
    a.ip(&format!("link add {a_name} type veth peer name {b_name} netns {}", b.name()));
    cable_end(a, a_name);
    cable_end(b, b_name);
}

/// One end of a cable, up.
fn cable_end(ns: &Ns, name: &str) {
    // Duplicate address detection would hold up the first IPv6 packets by a second or two.
    ns.sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
    ns.ip(&format!("link set {name} up"));
}

/// Gives an interface its addresses in the laboratory's subnets, usable at once.
pub fn address(ns: &Ns, interface: &str, pair: family::Pair) {
    ns.ip(&format!("address add {}/24 dev {interface}", pair.0));
    ns.ip(&format!("address add {}/64 dev {interface} nodad", pair.1));
}

/// Whether a program is installed; else the test is skipped.
pub fn needs(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    if !there {
        crate::runner::skip(format_args!("{program} is not installed"));
    }
}

/// Why no namespace test can run here, if none can.
pub fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    if Command::new("ip").arg("-V").output().is_err() {
        return Err("needs iproute2 (ip)".to_owned());
    }
    // SAFETY: a thread without descriptors of its own, which ends at once.
    let unshare =
        || unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    let unshared = thread::spawn(unshare).join().expect("no panic");
    unshared.map_err(|error| format!("cannot make network namespaces: {error}"))?;
    if std::env::var_os("NETEBPF_BIN").is_none() && !binary().exists() {
        let path = binary();
        return Err(format!("no {}: `cargo build -p netebpf` makes it", path.display()));
    }
    Ok(())
}

/// A time limit, as long as this machine needs: `NETEBPF_TIMEOUT_SCALE` multiplies it.
pub fn scaled(limit: Duration) -> Duration {
    let scale = std::env::var("NETEBPF_TIMEOUT_SCALE").ok().and_then(|text| text.parse().ok());
    limit.mul_f64(scale.unwrap_or(1.0))
}

/// How long we wait for what must come.
pub fn patience() -> Duration {
    scaled(Duration::from_secs(15))
}

/// How long we wait for what must not come.
pub fn moment() -> Duration {
    scaled(Duration::from_millis(400))
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
