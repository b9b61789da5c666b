//! A throw-away host for tests of the kernel's side: a network namespace of its own on a thread of its
//! own, with an uplink; an instance of its own, of which nothing is left.

use netebpf::{
    apply::{self, Journal},
    kernel::Kernel,
    model::{
        Attachment, Desired, Device, Driver, Endpoint, GatewayMode, Id, InterfaceName, MacText,
        Namespace, Network, Origin, PortMapping, Subnet, Transport,
    },
    state::Instance,
};
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::IpAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Values of sysctls, kept in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub saved: BTreeMap<String, String>,
    /// Refuses to keep anything: the disk is full.
    pub broken: bool,
}

impl Journal for Memory {
    fn saved_sysctls(&self) -> BTreeMap<String, String> {
        self.saved.clone()
    }

    fn save_sysctl(&mut self, name: &str, value: &str) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.saved.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        Ok(())
    }

    fn forget_sysctl(&mut self, name: &str) -> io::Result<()> {
        self.saved.remove(name);
        Ok(())
    }
}

/// Runs a test on a host of its own, and checks that nothing of the instance is left. Says why when it
/// cannot run.
pub(crate) fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(Instance) -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let instance: Instance = format!("t-{}-{number}", std::process::id()).parse().unwrap();
    let of_test = instance.clone();
    let outcome = std::thread::spawn(move || {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        run("ip link set lo up");
        run("ip link add up0 type veth peer name lan0");
        run("ip addr add 192.0.2.1/24 dev up0");
        run("ip addr add 2001:db8::1/64 dev up0 nodad");
        run("ip link set up0 up");
        let lan = lan(&of_test);
        netebpf::kernel::netns::create(&lan).unwrap();
        let lan = lan.display();
        run(&format!("ip link set lan0 netns {lan}"));
        for command in [
            "ip link set lo up",
            "ip addr add 192.0.2.254/24 dev lan0",
            "ip addr add 2001:db8::254/64 dev lan0 nodad",
            "ip link set lan0 up",
        ] {
            run(&format!("nsenter --net={lan} {command}"));
        }
        run("ip route add default via 192.0.2.254");
        run("ip route add default via 2001:db8::254");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(of_test.clone()));
        // Whatever the test left is taken away even when it failed.
        runtime.block_on(async {
            let mut kernel = Kernel::open(&of_test).unwrap();
            apply::teardown(&mut kernel, &mut Memory::default()).await;
        });
    })
    .join();
    let _ = netebpf::kernel::netns::remove(&lan(&instance));
    let _ = std::fs::remove_dir_all(instance.run_dir());
    if outcome.is_err() {
        let _ = std::fs::remove_dir_all(instance.pin_root());
        for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(instance.name()) {
                let _ = netebpf::kernel::netns::remove(&entry.path());
            }
        }
    }
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(!instance.pin_root().exists(), "pins are left");
}

/// The namespace of the uplink's neighbour, 192.0.2.254 and 2001:db8::254.
pub(crate) fn lan(instance: &Instance) -> std::path::PathBuf {
    format!("/run/netns/{}-lan", instance.name()).into()
}

/// Runs a command that has to succeed, and returns what it said.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}{complained}");
    said
}

/// A dual-stack network 10.97.N.0/24, fd97:N::/64.
pub(crate) fn network(name: &str, number: u32) -> Network {
    let id = Id::random();
    let subnet = |net: String, gateway: String| Subnet {
        net: net.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
        range: None,
        reserved: BTreeMap::new(),
    };
    let gateway: IpAddr = format!("10.97.{number}.1").parse().unwrap();
    Network {
        bridge: InterfaceName::bridge(&id),
        id,
        number,
        name: name.to_owned(),
        driver: Driver::Bridge,
        mac: MacText::for_address(gateway),
        subnets: vec![
            subnet(format!("10.97.{number}.0/24"), gateway.to_string()),
            subnet(format!("fd97:{number}::/64"), format!("fd97:{number}::1")),
        ],
        internal: false,
        peers: true,
        gateway_mode_v4: GatewayMode::Nat,
        gateway_mode_v6: GatewayMode::Nat,
        masquerade: true,
        snat_v4: None,
        snat_v6: None,
        binding_v4: None,
        interface_prefix: None,
        shortcut: false,
        device: Device::Veth,
        mtu: None,
        labels: BTreeMap::new(),
        created: 0,
        origin: Origin::CommandLine,
    }
}

/// An endpoint at .HOST of a network, with TCP port 80 published as 8080.
pub(crate) fn endpoint(instance: &Instance, name: &str, network: &Network, host: u8) -> Endpoint {
    let id = Id::random();
    let v4: std::net::Ipv4Addr = format!("10.97.{}.{host}", network.number).parse().unwrap();
    Endpoint {
        name: name.to_owned(),
        namespace: Namespace::Own(instance.namespace(name)),
        attachments: vec![Attachment {
            network: network.name.clone(),
            interface: InterfaceName::new("eth0").unwrap(),
            host_interface: InterfaceName::veth(&id, &network.id),
            mac: MacText::for_address(v4.into()),
            v4: Some(v4),
            v6: Some(format!("fd97:{}::{host}", network.number).parse().unwrap()),
            chosen: Vec::new(),
            aliases: Vec::new(),
            sysctls: BTreeMap::new(),
            gateway_priority: 0,
            default_route: true,
        }],
        alone: false,
        ports: vec![PortMapping {
            host_address: None,
            host_port: 8000 + u16::from(host),
            endpoint_port: 80,
            transport: Transport::Tcp,
            allow_from: Vec::new(),
        }],
        service: None,
        dns: Default::default(),
        remove_on_exit: false,
        labels: BTreeMap::new(),
        created: 0,
        origin: Origin::CommandLine,
        id,
    }
}

/// Two networks, two endpoints on the first and one on the second.
pub(crate) fn desired(instance: &Instance) -> Desired {
    let (front, back) = (network("front", 1), network("back", 2));
    let endpoints = [
        endpoint(instance, "web", &front, 10),
        endpoint(instance, "app", &front, 11),
        endpoint(instance, "db", &back, 12),
    ];
    Desired {
        endpoints: endpoints.into_iter().map(|e| (e.name.clone(), Arc::new(e))).collect(),
        networks: [front, back].into_iter().map(|n| (n.name.clone(), n)).collect(),
        ..Desired::default()
    }
}
