//! The texts, and the way of a connection through each backend that this machine has.

use super::*;
use crate::{
    bench::{
        arms,
        host::{APP, HOST, NEIGHBOUR, Namespace, OUTSIDE, Place, WEB, pair},
        left::Left,
    },
    kernel::netns,
};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

const ALL: [Backend; 4] =
    [Backend::IptablesLegacy, Backend::IptablesNft, Backend::Netavark, Backend::NetavarkFlowtable];

/// The first port and as many others, all of one endpoint's port.
fn published(number: u16) -> Vec<Published> {
    let others = (0..number - 1).map(|nth| 20_000 + nth);
    [8080]
        .into_iter()
        .chain(others)
        .map(|host| Published { host, endpoint: 80, transport: Transport::Tcp })
        .collect()
}

fn count(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn docker_makes_a_rule_for_each_port_of_the_host() {
    for family in Family::BOTH {
        for number in [1, 10_000] {
            let text = docker::save(family, &published(number));
            assert_eq!(count(&text, "-j DNAT"), usize::from(number));
            // One that is there already is not made again.
            assert_eq!(count(&text, "--dport 80 -j ACCEPT"), 1);
            assert_eq!(count(&text, "--dport 80 -j MASQUERADE"), 1);
            assert_eq!(count(&text, "COMMIT"), 2);
        }
    }
    let ports = [80, 443].map(|port| Published {
        host: 8000 + port,
        endpoint: port,
        transport: Transport::Tcp,
    });
    let text = docker::save(Family::V6, &ports);
    for line in [
        "-A POSTROUTING -s fd18::/64 ! -o br-front -j MASQUERADE",
        "-A POSTROUTING -s fd18::2/128 -d fd18::2/128 -p tcp -m tcp --dport 443 -j MASQUERADE",
        "-A DOCKER ! -i br-front -p tcp -m tcp --dport 8443 -j DNAT --to-destination [fd18::2]:443",
        "-A DOCKER -d fd18::2/128 ! -i br-front -o br-front -p tcp -m tcp --dport 443 -j ACCEPT",
    ] {
        assert_eq!(count(&text, line), 1, "{line}");
    }
    assert_eq!(count(&text, "172."), 0);
    assert_eq!(count(&text, "DOCKER-USER"), 0);
}

#[test]
fn netavark_makes_seven_rules_for_a_port() {
    for number in [1, 10_000] {
        let text = netavark::ruleset(&published(number));
        let number = usize::from(number);
        assert_eq!(count(&text, "tcp dport"), 7 * number);
        assert_eq!(count(&text, "dnat ip to 172.18.0.2:80"), number);
        assert_eq!(count(&text, "dnat ip6 to [fd18::2]:80"), number);
        assert_eq!(count(&text, "jump nv_2f259bab_172_18_0_0_nm16_dnat"), number);
        assert_eq!(count(&text, "jump nv_2f259bab_fd18--_nm64_dnat"), number);
        assert_eq!(count(&text, "counter"), 0);
    }
}

#[test]
fn counted_is_what_translates() {
    let saved = "# Generated\n*nat\n:POSTROUTING ACCEPT [7:420]\n\
                 [3:180] -A POSTROUTING -s 172.18.0.0/16 ! -o br-front -j MASQUERADE\n\
                 [9:540] -A DOCKER -i br-front -j RETURN\n\
                 [5:300] -A DOCKER -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80\nCOMMIT\n";
    assert_eq!(docker::hits(saved), 8);
}

#[test]
fn each_says_who_has_its_programs() {
    for backend in ALL {
        for run in backend.loads(&published(1)).iter().chain(&backend.probes()) {
            assert!(backend.tools().iter().any(|(program, _)| *program == run.0[0]), "{run:?}");
        }
    }
}

#[test]
fn only_what_the_kernel_lacks_makes_an_arm_absent() {
    for said in [
        "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'",
        "/dev/stdin:1:1-2: Error: Could not process rule: No such file or directory",
        "iptables-nft-restore: line 3: RULE_APPEND failed (Operation not supported): rule in chain PREROUTING",
    ] {
        assert!(is_of_the_kernel(said), "{said}");
    }
    for said in [
        "iptables-restore v1.8.9 (nf_tables): Couldn't load match `addrtype':No such file or directory",
        "Another app is currently holding the xtables lock; still 9s 0us time ahead to have a chance...",
        "Error: Could not process rule: Operation not permitted",
        "Error: syntax error, unexpected newline",
    ] {
        assert!(!is_of_the_kernel(said), "{said}");
    }
}

/// A host with rules, and everybody who talks over it.
struct Scene {
    host: Namespace,
    neighbour: Namespace,
    endpoints: Vec<Namespace>,
    web: TcpListener,
    outside: TcpListener,
}

impl Scene {
    fn new(name: &str) -> Self {
        let [host, neighbour] = pair(name, &Left::default()).unwrap();
        let endpoints = arms::bridge(&host).unwrap();
        let listen = |at: &Namespace| {
            within(at, || TcpListener::bind((IpAddr::from([0u16; 8]), 80)).unwrap())
        };
        let (web, outside) = (listen(&endpoints[0]), listen(&neighbour));
        Self { host, neighbour, endpoints, web, outside }
    }

    /// Every way leads where it should, with the address that it should.
    fn check(&self, ports: &[Published], is_offloaded: bool) {
        let app = &self.endpoints[1];
        for family in Family::BOTH {
            let within = self.connect(app, (WEB, 80), &self.web, APP, family);
            let mut routed = vec![self.connect(app, (OUTSIDE, 80), &self.outside, HOST, family)];
            for port in [ports[0], ports[ports.len() - 1]] {
                let to = (HOST, port.host);
                routed.push(self.connect(&self.neighbour, to, &self.web, NEIGHBOUR, family));
            }
            if let Some(flows) = self.offloaded(family).filter(|_| is_offloaded) {
                println!("{family}: {flows} connections in the flowtable");
                assert_eq!(flows, routed.len());
            }
            drop((within, routed));
        }
    }

    /// How many connections a flowtable has; nothing where the kernel does not list them.
    fn offloaded(&self, family: Family) -> Option<usize> {
        let kind = if family == Family::V4 { "ipv4 " } else { "ipv6 " };
        within(&self.host, move || {
            let list = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").ok()?;
            let is_one = |line: &&str| line.starts_with(kind) && line.contains("[OFFLOAD]");
            Some(list.lines().filter(is_one).count())
        })
    }

    fn connect(
        &self,
        from: &Namespace,
        (to, port): (Place, u16),
        server: &TcpListener,
        seen: Place,
        family: Family,
    ) -> [TcpStream; 2] {
        let to = SocketAddr::new(to.of(family), port);
        let client = within(from, move || TcpStream::connect_timeout(&to, Duration::from_secs(20)));
        let mut client = client.unwrap_or_else(|error| panic!("{} to {to}: {error}", from.name));
        let (mut served, peer) = server.accept().unwrap();
        assert_eq!(peer.ip().to_canonical(), seen.of(family), "{} to {to}", from.name);
        // And back and forth, on the ways of a connection that is known.
        for _ in 0..2 {
            client.write_all(b"?").unwrap();
            served.read_exact(&mut [0]).unwrap();
            served.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        [client, served]
    }
}

fn within<T: Send + 'static>(at: &Namespace, work: impl FnOnce() -> T + Send + 'static) -> T {
    netns::run_in(&Path::new("/run/netns").join(&at.name), work).unwrap()
}

#[test]
fn each_backend_forwards_and_translates() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let name = |part: &str| format!("rules-{}-{part}", std::process::id());
    for backend in ALL {
        let scratch = Namespace::new(&name("probe"), &Left::default()).unwrap();
        match lacks(backend, &scratch.name) {
            Ok(None) => {}
            Ok(Some(why)) => {
                println!("{backend:?} skipped: the kernel says {why:?}");
                continue;
            }
            Err(missing @ BenchError::Tool { .. }) => {
                println!("{backend:?} skipped: {missing}");
                continue;
            }
            Err(other) => panic!("{other}"),
        }
        let scene = Scene::new(&name("host"));
        for number in [1, 100] {
            load(backend, &scene.host.name, &published(number)).unwrap();
            // Loading again takes the place of what was there, and counts from nothing.
            let hits = |times| {
                let hits = hits(backend, &scene.host.name).unwrap();
                assert!(hits.is_none_or(|hits| hits == times), "{backend:?}: {hits:?}");
            };
            hits(0);
            scene.check(&published(number), backend == Backend::NetavarkFlowtable);
            // A masquerade and two published ports, in two families.
            hits(6);
        }
        println!("{backend:?} forwards");
    }
}

#[test]
fn a_refusal_shows_what_the_program_said() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let scratch =
        Namespace::new(&format!("rules-{}-refusal", std::process::id()), &Left::default()).unwrap();
    // Nobody's interfaces are there.
    let backend = Backend::NetavarkFlowtable;
    if process::require(backend.tools()).is_err() {
        println!("skipped: no nft");
        return;
    }
    let error = load(backend, &scratch.name, &published(1)).unwrap_err();
    assert!(error.to_string().contains("Error:"), "{error}");
}
