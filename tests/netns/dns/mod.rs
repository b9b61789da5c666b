//! Names, as programs in an endpoint ask for them.

use aya::maps::{HashMap, Map, MapData};
use hickory_proto::op::ResponseCode;
use netebpf_tests::lab::{
    Family, Lab, Ns, Upstream, Way, both, delete_namespace, eventually,
    family::{C1, C2, HOST, LAN, SERVER},
    moment, patience, question, topology,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

pub(crate) mod files;
pub(crate) mod forwarded;

netebpf_tests::tests![
    names,
    one_alias_of_several,
    a_change_is_known_when_it_returns,
    the_default_network,
    a_daemon_that_is_killed,
    nonsense,
    too_many_connections,
    a_server_of_names,
    programs_that_come_and_go,
    entries_of_others,
    by_a_mapped_address,
    a_flood_by_tcp,
    many_at_once,
];

const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 80), Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x80));

/// How long a question to somebody who is silent is under way at least.
const PATIENCE_OF_FORWARDS: Duration = Duration::from_millis(2500);

fn upstream(ns: &Ns, at: IpAddr) -> Upstream {
    Upstream::start(ns, at, OUTSIDE.0, OUTSIDE.1)
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A laboratory whose host asks a resolver behind the router, one of each family.
fn lab_with_resolv_conf(servers: &[IpAddr]) -> Lab {
    let lab = Lab::bare();
    resolv_conf_of_the_host(&lab, servers);
    lab
}

fn resolv_conf_of_the_host(lab: &Lab, servers: &[IpAddr]) {
    let servers: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
    let text = format!("{servers}search example.com\noptions timeout:3 ndots:2\n");
    lab.etc_file("resolv.conf", &text);
}

fn names() {
    let lab = Lab::up(&topology());
    let (c1, i1) = (lab.endpoint("c1"), lab.endpoint("i1"));
    for way in [Way::Udp, Way::Edns(1232), Way::Tcp] {
        both(|family| {
            let (kind, mine, others) = match family {
                Family::V4 => ("A", C1.of(family), C2.of(family)),
                Family::V6 => ("AAAA", C1.of(family), C2.of(family)),
            };
            for name in ["c2", "C2", "c2.front", "c2.Front"] {
                let reply = c1.resolve_by(way, name, kind);
                assert!(reply.authoritative && !reply.truncated);
                assert_eq!(reply.ok(), [others.to_string()], "{name}");
            }
            assert_eq!(c1.resolve_by(way, "c1", kind).ok(), [mine.to_string()]);
            let reverse = reverse_name(others);
            assert_eq!(c1.resolve_by(way, &reverse, "PTR").ok(), ["c2.front."]);
        });
        for kind in ["MX", "TXT", "SRV"] {
            assert!(c1.resolve_by(way, "c2", kind).ok().is_empty(), "{kind}");
        }
        // Another network's.
        let reply = c1.resolve_by(way, &reverse_name([10, 20, 0, 11].into()), "PTR");
        assert_eq!(reply.code, ResponseCode::NXDomain);
        assert_eq!(i1.resolve_by(way, "i2", "A").ok(), ["10.30.0.12"]);
    }
    let id = lab.json("inspect c2")[0]["Id"].as_str().expect("an identifier")[..12].to_owned();
    assert_eq!(c1.resolve(&id, "A").ok(), [C2.of(Family::V4).to_string()]);
    // As programs do.
    let text = lab.run("exec c1 -- getent ahostsv4 c2").ok();
    assert!(text.starts_with("10.10.0.12 "), "{text}");
    let text = lab.run("exec c1 -- getent hosts fd10::12").ok();
    assert!(text.trim_end().ends_with("c2.front"), "{text}");
}

/// The name under which an address is looked for (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: String = digits.map(|digit| format!("{digit:x}.")).collect();
            format!("{digits}ip6.arpa")
        }
    }
}

fn one_alias_of_several() {
    let lab = Lab::bare();
    lab.up_text(
        "name: lab\n\
         networks:\n\
         \x20 a: {ipam: {config: [{subnet: 10.10.0.0/24}]}}\n\
         \x20 b: {ipam: {config: [{subnet: 10.20.0.0/24}]}}\n\
         services:\n\
         \x20 x: {networks: {a: {ipv4_address: 10.10.0.11, aliases: [www]}}}\n\
         \x20 y: {networks: {a: {ipv4_address: 10.10.0.12, aliases: [www, lone]}}}\n\
         \x20 z: {networks: {a: {ipv4_address: 10.10.0.13}, b: {ipv4_address: 10.20.0.13}}}\n\
         \x20 w: {networks: {a: {ipv4_address: 10.10.0.14}, b: {ipv4_address: 10.20.0.14}}}\n",
    )
    .ok();
    let x = lab.endpoint("x");
    let both = set(&["10.10.0.11", "10.10.0.12"]);
    let mut first = BTreeSet::new();
    for _ in 0..4 {
        let data = x.resolve("www", "A").ok();
        assert_eq!(data.iter().cloned().collect::<BTreeSet<_>>(), both);
        first.insert(data[0].clone());
    }
    assert_eq!(first, both, "each was the first");
    assert_eq!(x.resolve("lone.a", "A").ok(), ["10.10.0.12"]);
    assert_eq!(x.resolve("z", "A").ok(), ["10.10.0.13"]);
    let w = lab.endpoint("w");
    assert_eq!(w.resolve("z", "A").set(), set(&["10.10.0.13", "10.20.0.13"]));
    assert_eq!(w.resolve("z.b", "A").ok(), ["10.20.0.13"]);
}

fn a_change_is_known_when_it_returns() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    let outside = upstream(&lab.server, SERVER.of(Family::V4));
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    for round in 0..5 {
        let host = 100 + round;
        lab.run(&format!("create --name new --network front:ip=10.10.0.{host},alias=too")).ok();
        for name in ["new", "too"] {
            assert_eq!(c1.resolve(name, "A").ok(), [format!("10.10.0.{host}")]);
        }
        assert_eq!(lab.endpoint("new").resolve("c1", "A").ok(), ["10.10.0.11"]);
        assert_eq!(outside.names(), BTreeSet::new());
        lab.run("rm new").ok();
        // Nobody's here: so it is asked outside.
        assert_eq!(c1.resolve("new", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(outside.names(), set(&["new"]));
    }
    let d1 = lab.endpoint("d1");
    for _ in 0..3 {
        lab.run("network connect --alias first --ip 10.20.0.99 back c1").ok();
        assert_eq!(c1.resolve("d1", "A").ok(), ["10.20.0.11"]);
        assert_eq!(d1.resolve("first", "A").ok(), ["10.20.0.99"]);
        assert_eq!(c1.resolve("c1", "A").set(), set(&["10.10.0.11", "10.20.0.99"]));
        assert_eq!(outside.names(), BTreeSet::new());
        lab.run("network disconnect back c1").ok();
        assert_eq!(c1.resolve("d1", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(d1.resolve("first", "A").ok(), [OUTSIDE.0.to_string()]);
        assert_eq!(outside.names(), set(&["d1", "first"]));
    }
    // Off its last network nobody answers; back on one, as before.
    lab.run("network disconnect front c1").ok();
    assert!(c1.try_resolve(Way::Udp, "c2", "A", moment()).is_err(), "nobody answers any more");
    lab.run("network connect front c1").ok();
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
}

fn the_default_network() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4), Ipv4Addr::LOCALHOST.into()]);
    let read = |name: &str| {
        let text = lab.run(&format!("exec {name} -- cat /etc/resolv.conf")).ok();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    lab.run("create --name one").ok();
    lab.run("create --name two").ok();
    let host = ["nameserver 198.51.100.9", "search example.com", "options timeout:3 ndots:2"];
    assert_eq!(read("one"), host);
    let one = lab.endpoint("one");
    assert!(one.try_resolve(Way::Udp, "two", "A", moment()).is_err(), "nobody answers there");
    // The host's resolvers are where the endpoint does not reach them: through us, and still without names.
    let outside = upstream(&lab.host, Ipv4Addr::LOCALHOST.into());
    resolv_conf_of_the_host(&lab, &[Ipv4Addr::LOCALHOST.into()]);
    let through_us = ["nameserver 127.0.0.11", "search example.com", "options ndots:0 timeout:3"];
    eventually("the file to follow", || read("one") == through_us);
    assert_eq!(one.resolve("www.example", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!(one.resolve("two", "A").ok(), [OUTSIDE.0.to_string()]);
    assert_eq!(outside.names(), set(&["www.example", "two"]));
    resolv_conf_of_the_host(&lab, &[SERVER.of(Family::V4)]);
    eventually("the file to follow", || read("one") == host);
}

fn a_daemon_that_is_killed() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    lab.kill_daemon();
    assert!(c1.try_resolve(Way::Udp, "c2", "A", moment()).is_err(), "names rest");
    // Of an endpoint that was removed while nobody could take its file away.
    let stale = format!("netns/{}.gone/resolv.conf", lab.instance());
    lab.etc_file(&stale, &format!("# netebpf:{}:gone: left\n", lab.instance()));
    lab.run("ps").ok();
    for way in [Way::Udp, Way::Tcp] {
        assert_eq!(c1.resolve_by(way, "c2", "A").ok(), ["10.10.0.12"]);
    }
    assert_eq!(lab.read_etc_file(&stale), None);
    lab.etc_file(&stale, &format!("# netebpf:{}:gone: left\n", lab.instance()));
    let said = lab.run("gc --dry-run").ok();
    assert!(said.contains(&stale), "{said}");
    lab.run("gc").ok();
    assert_eq!(lab.read_etc_file(&stale), None);
    // A namespace that was deleted is made again, with its names.
    delete_namespace(&format!("{}.c1", lab.instance()));
    lab.up_again(&topology(), &[]).ok();
    assert_eq!(lab.endpoint("c1").resolve("c2", "A").ok(), ["10.10.0.12"]);
}

/// Whatever is sent, the others are answered.
fn nonsense() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let good = question(Way::Edns(1232), "c2", "A");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let socket = c1.ask_later(&[]);
    for round in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..random() % 8 {
            let place = random() as usize % bytes.len();
            bytes[place] = random() as u8;
        }
        bytes.truncate(1 + random() as usize % bytes.len());
        bytes.resize(bytes.len() + random() as usize % 3 * 700, random() as u8);
        // Loopback's queue may be full.
        let _ = socket.send(&bytes);
        if round % 100 == 0 {
            let mut stream = c1.resolver();
            let _ = stream.write_all(&bytes);
            assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
        }
    }
    let mut stream = c1.resolver();
    // A length without a message, and one message in pieces.
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).expect("taken");
    let mut whole = c1.resolver();
    let length = u16::try_from(good.len()).expect("short").to_be_bytes();
    for byte in length.iter().chain(&good) {
        whole.write_all(&[*byte]).expect("taken");
    }
    let mut answer = [0; 200];
    assert!(whole.read(&mut answer).expect("answered") > good.len());
    assert_eq!(c1.resolve_by(Way::Tcp, "c2", "A").ok(), ["10.10.0.12"]);
    assert_eq!(lab.endpoint("c2").resolve("c1", "A").ok(), ["10.10.0.11"]);
}

fn too_many_connections() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let held: Vec<_> = (0..64).map(|_| c1.resolver()).collect();
    // One more is closed.
    let closed = || {
        let mut one = c1.resolver();
        matches!(one.read(&mut [0; 2]), Ok(0) | Err(_))
    };
    eventually("a connection to be refused", closed);
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
    assert_eq!(lab.endpoint("c2").resolve_by(Way::Tcp, "c1", "A").ok(), ["10.10.0.11"]);
    drop(held);
    let answered = || c1.try_resolve(Way::Tcp, "c2", "A", moment()).is_ok();
    eventually("a connection to be answered again", answered);
}

/// Sockets of IPv6 that speak IPv4, as some runtimes have no others.
fn by_a_mapped_address() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let resolver = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 11).to_ipv6_mapped().into(), 53);
    let question = question(Way::Udp, "c2", "A");
    let mut answer = [0; 512];
    let socket = || {
        let socket = c1.run(|| UdpSocket::bind("[::]:0")).expect("a socket");
        socket.set_read_timeout(Some(moment())).expect("a time limit");
        socket
    };
    let connected = socket();
    connected.connect(resolver).expect("led");
    assert_eq!(connected.peer_addr().expect("connected"), resolver);
    connected.send(&question).expect("taken");
    assert!(connected.recv(&mut answer).expect("answered") > question.len());
    let free = socket();
    free.send_to(&question, resolver).expect("taken");
    let (length, from) = free.recv_from(&mut answer).expect("answered");
    assert!(length > question.len());
    assert_eq!(from, resolver);
    let stream = c1.connect(resolver).expect("led");
    assert_eq!(stream.peer_addr().expect("connected"), resolver);
}

/// One who sends what is no query keeps nobody waiting.
fn a_flood_by_tcp() {
    let lab = Lab::up(&topology());
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let mut flooding: Vec<_> = (0..32).map(|_| c1.resolver()).collect();
    let empty = vec![0; 1 << 20];
    for stream in &mut flooding {
        stream.set_write_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        // It hangs up.
        let _ = stream.write_all(&empty);
    }
    assert_eq!(c2.resolve("c1", "A").ok(), ["10.10.0.11"]);
    for stream in &mut flooding {
        let ended = stream.read(&mut [0; 1]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

/// Questions that wait together, more than are read at once: each is answered, to whoever asked it.
fn many_at_once() {
    let server = SERVER.of(Family::V4);
    let lab = lab_with_resolv_conf(&[server]);
    let _outside = upstream(&lab.server, server);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let known =
        [("c1", [10, 10, 0, 11]), ("c2", [10, 10, 0, 12]), ("www.example", OUTSIDE.0.octets())];
    let daemon = i32::try_from(lab.daemon_pid().expect("a daemon runs")).expect("a process id");
    let daemon = Pid::from_raw(daemon).expect("not 0");
    kill_process(daemon, Signal::STOP).expect("ours");
    let asked: Vec<_> = (0..150)
        .map(|number| {
            let (name, address) = known[number % known.len()];
            let question = question(Way::Udp, name, "A");
            let socket = c1.ask_later(&question);
            // In between is what nobody answers.
            socket.send(&question[..1]).expect("loopback takes it");
            (socket, question, address)
        })
        .collect();
    kill_process(daemon, Signal::CONT).expect("ours");
    for (socket, question, address) in asked {
        let mut answer = [0; 512];
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        let length = socket.recv(&mut answer).expect("answered");
        assert_eq!(answer[..2], question[..2]);
        assert_eq!(answer[12..question.len()], question[12..]);
        assert_eq!(answer[length - 4..length], address);
    }
}

/// The ports that our resolver has in an endpoint, by UDP and TCP.
fn ports_of_resolver(endpoint: &Ns) -> [Option<u16>; 2] {
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/tcp"].map(|file| {
        let sockets = endpoint.run(|| std::fs::read_to_string(file)).expect("a file of Linux");
        let ours = sockets.lines().find_map(|line| line.split(" 0B00007F:").nth(1));
        ours.and_then(|rest| u16::from_str_radix(&rest[..4], 16).ok())
    })
}

/// Where the programs that see sockets are gone, names are served at port 53 itself; and when they are there again,
/// calls are led.
fn programs_that_come_and_go() {
    let lab = lab_with_resolv_conf(&[SERVER.of(Family::V4)]);
    lab.up_again(&topology(), &[]).ok();
    let c1 = lab.endpoint("c1");
    let is_led = || ports_of_resolver(&c1).iter().all(|port| port.is_some_and(|port| port > 53));
    assert!(is_led());
    let of_calls = |path: &PathBuf| path.to_string_lossy().contains("connect4");
    let links: Vec<_> = lab.pins().into_keys().filter(of_calls).collect();
    let link = links.iter().find(|path| path.to_string_lossy().contains("link"));
    let link = link.unwrap_or_else(|| panic!("{links:?}"));
    // What makes the daemon look at names; it hangs the program up again when something happens to an interface.
    let mut round = 0;
    let at_port_53 = || {
        let _ = std::fs::remove_file(link);
        round += 1;
        lab.etc_file("resolv.conf", &format!("nameserver 192.0.2.7\nsearch s{round}.example\n"));
        std::thread::sleep(Duration::from_millis(200));
        ports_of_resolver(&c1) == [Some(53); 2]
    };
    eventually("names at port 53", at_port_53);
    let answered = |way| c1.try_resolve(way, "c2", "A", moment()).is_ok();
    eventually("an answer by UDP", || answered(Way::Udp));
    eventually("an answer by TCP", || answered(Way::Tcp));
    lab.up_again(&topology(), &[]).ok();
    assert!(is_led());
    for way in [Way::Udp, Way::Tcp] {
        assert_eq!(c1.resolve_by(way, "c2", "A").ok(), ["10.10.0.12"]);
    }
}

/// What somebody wrote among the resolvers' places, or took away there, is put right with the next change.
fn entries_of_others() {
    let lab = Lab::up(&topology());
    let c1 = lab.endpoint("c1");
    let is_it = |path: &PathBuf| path.ends_with("RESOLVERS");
    let map = lab.pins().into_keys().find(is_it).expect("a map");
    let pinned = || Map::HashMap(MapData::from_pin(&map).expect("a pinned map"));
    let mut table: HashMap<_, [u8; 8], [u8; 4]> = pinned().try_into().expect("cookies and ports");
    let entries = |table: &HashMap<MapData, [u8; 8], [u8; 4]>| {
        table.iter().map(|entry| entry.expect("an entry")).collect::<BTreeMap<_, _>>()
    };
    let right = entries(&table);
    assert!(right.len() > 3, "{right:?}");
    let mut keys = right.keys();
    let (removed, changed) = (keys.next().expect("one"), keys.next().expect("two"));
    table.remove(removed).expect("it was there");
    table.insert(changed, [0, 1, 0, 1], 0).expect("it is there");
    table.insert([1, 2, 3, 4, 5, 6, 7, 8], [0, 9, 0, 9], 0).expect("room");
    lab.run("network create other").ok();
    assert_eq!(entries(&table), right);
    assert_eq!(c1.resolve("c2", "A").ok(), ["10.10.0.12"]);
}

/// Port 53 is the endpoint's own: a server of names in it has every address, and its programs ask us all the same.
fn a_server_of_names() {
    let lab = Lab::up(&topology().ports("c1", &["53:53", "53:53/udp"]));
    let c1 = lab.endpoint("c1");
    let server = c1.echo(53);
    assert_eq!(c1.resolve("c2", "A").ok().len(), 1);
    c1.try_resolve(Way::Tcp, "c2", "A", moment()).expect("by TCP, too");
    assert_eq!(server.clients(), []);
    both(|family| {
        lab.lan.ask_both(HOST.port(family, 53));
        lab.endpoint("c2").ask_both(C1.port(family, 53));
    });
    lab.kill_daemon();
    lab.run("ps").ok();
    assert_eq!(c1.resolve("c2", "A").ok().len(), 1);
    // Nor has the resolver a port that Linux gives to those who ask for none, which programs choose, too.
    let ports = ports_of_resolver(&c1);
    assert!(ports.iter().all(|port| port.is_some_and(|port| port >= 61_000)), "{ports:?}");
    // Calls of nobody else are led anywhere.
    lab.run("rm -f c1").ok();
    assert_eq!(lab.endpoint("c2").resolve("c2", "A").ok().len(), 1);
}
