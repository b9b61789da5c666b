//! What fuzzers feed: entries that take any bytes, and what must hold whatever the bytes are.
//!
//! The fuzz targets of `fuzz/`, the replay of their corpus and the property tests all come in here.

use netebpf::{
    config::settings::Settings,
    dns::{self, Outcome, Transport, View, views},
    model::{
        Desired,
        resolve::{Context, HostFacts, apply_topology},
    },
};
use netebpf_common::{
    abi::Protocol,
    datapath::FamilyId,
    testkit::{
        DB, ENDPOINTS, Fate, Given, HOST, Hook, INNER, Layout, Machine, Memory, Operation, SITES,
        Site, Station, TableName, UPLINK, WEB, WEB_1, WEB_2, capacity, checksums_are_right,
        into_network, place_of, publish, to_outside_from, veth,
    },
    verdict::{DeliverReason, PassReason, Verdict},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// A sequence of frames at any hooks, over tables in which entries vanish and insertions fail.
///
/// The first byte says how often something goes wrong: never for 0, else at every so many-th step. Then
/// come the frames: a byte that chooses the hook, two with the length, low byte first, and the bytes.
pub fn pipeline(input: &[u8]) {
    let Some((&often, rest)) = input.split_first() else { return };
    let mut machine = busy_machine();
    if often != 0 {
        go_wrong(&machine, u32::from(often));
    }
    for (hook, frame) in frames(rest) {
        send_any(&mut machine, hook, frame, often != 0);
    }
}

/// The frames of an input behind its first byte, and where each is met.
pub fn frames(mut rest: &[u8]) -> impl Iterator<Item = (Hook, &[u8])> {
    std::iter::from_fn(move || {
        let [hook, low, high, frames @ ..] = rest else { return None };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(frames.len()).min(4096);
        let (frame, others) = frames.split_at(length);
        rest = others;
        Some((any_hook(*hook), frame))
    })
}

/// Where the corpus of a target is, if the sources are on this machine.
pub fn corpus(target: &str) -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources.exists().then(|| sources.join("fuzz/corpus").join(target))
}

/// A corpus, file by file, and so many inputs made from it by a generator that always begins the same way.
///
/// # Panics
///
/// Where there is no corpus.
pub fn inputs(directory: &Path, made: usize) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut paths: Vec<_> =
        fs::read_dir(directory).expect("a corpus").flatten().map(|file| file.path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> =
        paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect();
    assert!(!corpus.is_empty(), "nothing in {}", directory.display());
    let mut chance = Chance(0x6e65_7462);
    let others: Vec<_> = (0..made).map(|_| mutated(&corpus, &mut chance)).collect();
    corpus.into_iter().chain(others)
}

/// An input of the corpus with some bytes changed, cut, doubled, or followed by another's.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len() + 1);
        match chance.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, chance.next() as u8),
            2 if at < input.len() => drop(input.remove(at)),
            3 => input.extend(corpus[chance.below(corpus.len())].iter().skip(1)),
            4 if at < input.len() => input[at] ^= 1 << chance.below(8),
            _ if at < input.len() => input[at] = chance.next() as u8,
            _ => {}
        }
    }
    input
}

/// xorshift64 (Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Any text as a topology file: it is taken or refused, and the same twice.
pub fn topology(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let once = netebpf::config::topology::parse(&text, "fuzz/netebpf.yaml", Default::default());
    let twice = netebpf::config::topology::parse(&text, "fuzz/netebpf.yaml", Default::default());
    match (once, twice) {
        (Ok(once), Ok(twice)) => assert_eq!(format!("{once:?}"), format!("{twice:?}")),
        (Err(once), Err(twice)) => {
            assert_eq!(once.to_string(), twice.to_string());
            assert!(!once.to_string().is_empty());
        }
        (once, twice) => panic!("first {once:?}, then {twice:?}"),
    }
}

/// Any bytes as a question for a name: what goes back is an answer to it and fits, or nothing does.
///
/// # Panics
///
/// Where it does not hold.
pub fn dns(input: &[u8]) {
    static VIEWS: LazyLock<BTreeMap<String, View>> = LazyLock::new(|| views(&names(), true));
    let mut out = Vec::new();
    for (endpoint, view) in VIEWS.iter() {
        for (way, most) in [(Transport::Udp, 4096), (Transport::Tcp, 65_535)] {
            match dns::answer(input, view, 5, way, &mut out) {
                Outcome::Answer => {
                    let answer = hickory_proto::op::Message::from_vec(&out);
                    let answer = answer.unwrap_or_else(|e| panic!("{endpoint}: {e}: {out:02x?}"));
                    assert_eq!(answer.metadata.id.to_be_bytes(), input[..2]);
                    assert!(out[2] & 0x80 != 0 && out.len() <= most, "{endpoint}: {out:02x?}");
                }
                Outcome::Forward => {
                    assert_ne!(endpoint, "inner", "an internal network leads nowhere");
                }
                Outcome::Silence => assert!(input.len() < 2 || input[2] & 0x80 != 0),
            }
        }
    }
}

/// Endpoints on a network that leads outside, on one that does not, and on one without names.
fn names() -> Desired {
    const FILE: &str = "name: fuzz\n\
        networks:\n  \
          front: {enable_ipv6: true, ipam: {config: [{subnet: 10.10.0.0/24}, {subnet: \"fd10::/64\"}]}}\n  \
          back: {internal: true}\n\
        services:\n  \
          web: {networks: {front: {ipv4_address: 10.10.0.10, ipv6_address: \"fd10::10\", aliases: [both]}, back: {}}}\n  \
          app: {networks: {front: {aliases: [both]}}}\n  \
          inner: {networks: [back]}\n  \
          plain: {network_mode: bridge}\n";
    let (topology, _) = netebpf::config::topology::parse(FILE, "netebpf.yaml", Default::default())
        .expect("a good file");
    let settings = Settings::new(b"fuzz");
    let (facts, instance) = (HostFacts::default(), "fuzz".parse().expect("a good name"));
    let context = Context { facts: &facts, settings: &settings, instance: &instance };
    apply_topology(&Desired::default(), &topology, context).expect("it fits")
}

/// Published ports, and few places for flows.
pub fn busy() -> Layout {
    let mut layout = Layout::default();
    let givens: [Given; 4] = [
        publish(Protocol::Tcp, 8080, WEB_1, 80),
        publish(Protocol::Udp, 5000, WEB_2, 50),
        publish(Protocol::Udp, 53, ENDPOINTS[2], 53),
        capacity(8),
    ];
    givens.iter().for_each(|given| layout.change(given));
    layout
}

/// A machine of that kind, with nothing wrong with it yet.
pub fn busy_machine() -> Memory {
    let mut machine = Memory::default();
    machine.arrange(&busy()).expect("memory can be anything");
    machine
}

/// Lets every `often`-th operation go wrong. What says which addresses are ours stays: without it
/// nothing is ours, and nothing can be said of what leaves.
pub fn go_wrong(machine: &Memory, often: u32) {
    let mut operations = 0_u32;
    machine.chaos.follow(move |operation| {
        let spared = [TableName::Networks, TableName::Interfaces].map(Operation::Get);
        operations += 1;
        let wrong = operations.is_multiple_of(often) && !spared.contains(&operation);
        if wrong { Fate::Fails } else { Fate::Succeeds }
    });
}

/// A hook for any number.
pub fn any_hook(number: u8) -> Hook {
    let sites: [Site; 3] = [WEB, DB, INNER];
    let choice = usize::from(number >> 3);
    match number & 7 {
        0..=2 => veth(ENDPOINTS[choice % ENDPOINTS.len()]),
        3 | 4 => Hook::FromOutside,
        5 | 6 => to_outside_from([0, UPLINK, WEB.bridge, DB.bridge][choice % 4]),
        _ => into_network(sites[choice % 3], [0, UPLINK, WEB.bridge, DB.bridge][choice / 3 % 4]),
    }
}

/// Sends a frame and looks at what must hold for any frame, whatever went wrong meanwhile.
///
/// # Panics
///
/// Where it does not hold.
pub fn send_any(machine: &mut Memory, hook: Hook, frame: &[u8], vanished: bool) {
    let mut bytes = frame.to_vec();
    let verdict = machine.verdict(hook, &mut bytes, 0);
    match verdict {
        Verdict::Pass(PassReason::Translated) | Verdict::Drop(_) => {}
        Verdict::Answer(_) => {
            let answer = machine.answer(hook, frame).expect("one that was promised");
            let right = checksums_are_right(&answer) || !checksums_are_right(frame);
            assert!(right, "{hook}: answered with {answer:02x?}");
        }
        Verdict::Pass(_)
        | Verdict::Keep { .. }
        | Verdict::Release
        | Verdict::Deliver { reason: DeliverReason::Peer | DeliverReason::Asked, .. } => {
            assert_eq!(bytes, frame, "{hook}: {verdict:?} and changed");
        }
        Verdict::Deliver { ifindex, reason: DeliverReason::Answered } => {
            assert_eq!(ifindex, hook.ifindex(), "{hook}: answered to somebody else");
            let right = checksums_are_right(&bytes) || !checksums_are_right(frame);
            assert!(right, "{hook}: answered with {bytes:02x?}");
        }
        Verdict::Forward { ifindex, .. } => {
            assert_eq!(ifindex, UPLINK);
            assert!(!is_private(&bytes), "{hook}: a private source leaves: {bytes:02x?}");
        }
        Verdict::Deliver { ifindex, reason: DeliverReason::Inward | DeliverReason::Hairpin } => {
            let station = ENDPOINTS.iter().find(|station| place_of(station).0 == ifindex);
            let station: &Station = station.expect("one of our endpoints");
            assert_eq!(bytes[..6], station.mac.0, "{hook}: to somebody else's Ethernet address");
        }
    }
    if matches!(hook, Hook::ToOutside { .. }) && matches!(verdict, Verdict::Pass(_)) {
        assert!(!is_private(&bytes), "{hook}: {verdict:?} with a private source: {bytes:02x?}");
    }
    machine.state.consistent(vanished).expect("the tables do not contradict themselves");
}

/// Whether a frame's source address is one of our networks'.
pub fn is_private(frame: &[u8]) -> bool {
    let inside = |source: &[u8], of: fn(&Station) -> Vec<u8>| {
        SITES.iter().any(|site| source.starts_with(&of(&site.gateway)))
    };
    match frame.get(12..14) {
        Some([0x08, 0x00]) => {
            frame.get(26..30).is_some_and(|source| inside(source, |host| host.v4[..3].to_vec()))
                && frame.len() >= 34
        }
        Some([0x86, 0xdd]) => {
            frame.get(22..38).is_some_and(|source| inside(source, |host| host.v6[..8].to_vec()))
                && frame.len() >= 54
        }
        _ => false,
    }
}

/// The frame that the other side would answer with: addresses and ports change places.
///
/// # Panics
///
/// When it is neither TCP nor UDP without options and extension headers.
pub fn answer(frame: &[u8], family: FamilyId) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let (addresses, transport) = match family {
        FamilyId::V4 => (26..34, 34),
        FamilyId::V6 => (22..54, 54),
    };
    let half = addresses.len() / 2;
    bytes[addresses].rotate_left(half);
    bytes[transport..transport + 4].rotate_left(2);
    bytes[..6].copy_from_slice(&HOST.mac.0);
    bytes
}
