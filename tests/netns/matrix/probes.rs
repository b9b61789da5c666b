//! What packets really do: all probes of a kind at once, each with a number that is found again wherever it arrives.
//!
//! **Invariant**: what must arrive is waited for, however long it takes; for what must not, as long as it takes for
//! everything else, and a moment more.

use super::{
    clients::Client,
    desired::{ENDPOINTS, Place},
    rules::By,
};
use netebpf_tests::lab::{
    Family, Lab, Ns, Sniffer, Wire,
    frame::{self, BROADCAST, Mac, Seen, ether, proto},
    moment, patience,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// One thing that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// Its number, which no other one has: in what it says, and TCP's source port.
    pub(super) number: u16,
    pub(super) from: Place,
    pub(super) to: SocketAddr,
    pub(super) by: By,
    pub(super) protocol: Protocol,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Outcome {
    /// Endpoints and neighbours at whose interface it was seen to arrive.
    pub(super) heard_by: BTreeSet<&'static str>,
    pub(super) answered: bool,
}

pub(super) type Outcomes = BTreeMap<u16, Outcome>;

/// TCP's source port of the probe with number 0.
const FIRST_PORT: u16 = 16_000;
/// Before a number in what is said.
const WORD: &[u8] = b"matrix probe ";
/// The upper half of the sequence number of a segment that is sent as a frame. The lower one is its number.
const SEQUENCE: u32 = 0x4d41 << 16;

/// The senders, and those who watch.
#[derive(Debug)]
pub(super) struct Stations {
    stations: Vec<Station>,
}

#[derive(Debug)]
struct Station {
    place: Place,
    ns: Ns,
    /// At its interface; the host has none of its own.
    port: Option<AtPort>,
}

#[derive(Debug)]
struct AtPort {
    own: Mac,
    router: Mac,
    wire: Wire,
    sniffer: Sniffer,
    /// Whoever answers datagrams that were sent as frames must find a socket.
    sinks: [UdpSocket; 2],
}

impl Stations {
    pub(super) fn open(lab: &Lab) -> Self {
        let host_mac = lab.host.mac("up0");
        let open = |place: Place| {
            let (ns, router) = match place {
                Place::Host => (lab.host.clone(), None),
                Place::Lan => (lab.lan.clone(), Some(host_mac)),
                Place::Endpoint(endpoint) => {
                    let bridge = lab.bridge(endpoint.network.name);
                    (lab.endpoint(endpoint.name), Some(lab.host.mac(&bridge)))
                }
            };
            let port = router.map(|router| AtPort {
                own: ns.mac("eth0"),
                router,
                wire: Wire::open(&ns, "eth0"),
                sniffer: lab.sniff(&ns, "eth0"),
                sinks: [Family::V4, Family::V6].map(|family| ns.udp(family, 0)),
            });
            Station { place, ns, port }
        };
        Self { stations: Place::all().map(open).collect() }
    }

    fn at(&self, place: Place) -> &Station {
        self.stations.iter().find(|station| station.place == place).expect("a station each")
    }

    /// Sends them all, and waits for the answers to those that must be answered.
    pub(super) fn send(&self, probes: &[Probe], must_answer: impl Fn(&Probe) -> bool) -> Outcomes {
        self.stations
            .iter()
            .filter_map(|station| station.port.as_ref())
            .for_each(|port| port.sniffer.clear());
        let mut clients: Vec<_> =
            probes.iter().filter_map(|probe| self.at(probe.from).send(self, probe)).collect();
        let mut outcomes: Outcomes =
            probes.iter().map(|probe| (probe.number, Outcome::default())).collect();
        let mut listen = || {
            let by_socket: Vec<_> = clients.iter_mut().filter_map(Client::go_on).collect();
            let by_frame = self.stations.iter().flat_map(Station::answers_to_frames);
            for number in by_socket.into_iter().chain(by_frame) {
                outcomes.entry(number).and_modify(|outcome| outcome.answered = true);
            }
            !probes.iter().any(|probe| must_answer(probe) && !outcomes[&probe.number].answered)
        };
        // Whose answer is missing is for the caller to tell.
        let deadline = Instant::now() + patience();
        while !listen() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(moment());
        listen();
        for (name, number) in self.stations.iter().flat_map(Station::heard) {
            outcomes.entry(number).and_modify(|outcome| {
                outcome.heard_by.insert(name);
            });
        }
        outcomes
    }
}

impl Station {
    /// Sends one; who waits for the answer to it.
    fn send(&self, all: &Stations, probe: &Probe) -> Option<Client> {
        match &self.port {
            Some(port) if probe.by != By::Socket => {
                port.wire.send(&self.frame(all, port, probe));
                None
            }
            _ => self.ns.run(|| Client::begin(probe)),
        }
    }

    fn frame(&self, all: &Stations, port: &AtPort, probe: &Probe) -> Vec<u8> {
        let to = match (probe.by, receiver_of(probe.to)) {
            (By::Direct, Some(place)) => all.at(place).port.as_ref().expect("an endpoint").own,
            (By::Broadcast, _) => BROADCAST,
            _ => port.router,
        };
        let family = Family::of(probe.to.ip());
        let address = self.place.address(family);
        let target = (probe.to.ip(), probe.to.port());
        let packet = match probe.protocol {
            Protocol::Tcp => {
                let sequence = SEQUENCE | u32::from(probe.number);
                frame::segment((address, tcp_port(probe)), target, sequence, SYN)
            }
            Protocol::Udp => {
                let own = port.sinks[family as usize].local_addr().expect("bound").port();
                frame::udp((address, own), target, &words(probe.number))
            }
        };
        let kind = if family == Family::V4 { ether::IPV4 } else { ether::IPV6 };
        frame::ethernet(to, port.own, kind, &packet)
    }

    /// What came in at the interface.
    fn arrived(&self) -> Vec<Seen> {
        let Some(port) = &self.port else { return Vec::new() };
        let mut frames = port.sniffer.frames();
        frames.retain(|seen| seen.from != port.own);
        frames
    }

    /// The numbers of frames that somebody answered: of datagrams that came back, of connections that were accepted.
    fn answers_to_frames(&self) -> Vec<u16> {
        let answered = |seen: Seen| match seen.protocol {
            proto::UDP => number_in(&seen.payload).filter(|_| !is_question(&seen)),
            _ => {
                let tcp = tcp_header(&seen)?;
                let begun = u32::from_be_bytes(tcp[8..12].try_into().ok()?).wrapping_sub(1);
                (tcp[13] == SYN | ACK && begun & 0xffff_0000 == SEQUENCE).then_some(begun as u16)
            }
        };
        self.arrived().into_iter().filter_map(answered).collect()
    }

    /// Which questions arrived here. What the bridge sends to everybody is heard by those that it is addressed to.
    fn heard(&self) -> Vec<(&'static str, u16)> {
        let number = |seen: Seen| {
            let (port, (_, to)) = (self.port.as_ref()?, seen.addresses?);
            let own = self.place.address(Family::of(to)) == to;
            let here = seen.to == port.own || seen.to == BROADCAST && own;
            let number = match seen.protocol {
                proto::TCP => seen.ports?.0.checked_sub(FIRST_PORT),
                _ => number_in(&seen.payload),
            };
            number.filter(|_| here && is_question(&seen)).map(|number| (self.place.name(), number))
        };
        self.arrived().into_iter().filter_map(number).collect()
    }
}

/// Answers are to ports above all those that are served.
fn is_question(seen: &Seen) -> bool {
    seen.ports.is_some_and(|(_, to)| to < FIRST_PORT)
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

pub(super) fn tcp_port(probe: &Probe) -> u16 {
    FIRST_PORT + probe.number
}

/// The header of a TCP segment.
fn tcp_header(seen: &Seen) -> Option<&[u8]> {
    let length = if seen.kind == ether::IPV4 { usize::from(seen.payload[0] & 15) * 4 } else { 40 };
    seen.payload.get(length..).filter(|tcp| seen.protocol == proto::TCP && tcp.len() >= 20)
}

/// The endpoint that has an address.
fn receiver_of(to: SocketAddr) -> Option<Place> {
    let family = Family::of(to.ip());
    ENDPOINTS.iter().find(|endpoint| endpoint.address(family) == to.ip()).map(Place::Endpoint)
}

/// What a probe says.
pub(super) fn words(number: u16) -> Vec<u8> {
    [WORD, &number.to_be_bytes()].concat()
}

pub(super) fn number_in(said: &[u8]) -> Option<u16> {
    let at = said.windows(WORD.len()).position(|window| window == WORD)? + WORD.len();
    said.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}
