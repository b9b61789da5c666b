//! The desired state: four networks, two endpoints on each. The topology file is written from it, and the rules are
//! asked about it.

use netebpf_tests::lab::{
    Family,
    family::{HOST, LAN, Pair, SERVER},
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// How packets get in and out of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Nat,
    Routed,
    Isolated,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) name: &'static str,
    /// Its first address in each family, of /24 and /64, which is the gateway's.
    gateway: Pair,
    pub(super) internal: bool,
    /// Whether its endpoints reach one another: `icc`.
    pub(super) peers: bool,
    modes: [Mode; 2],
}

/// At which addresses of the host a port is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    Every,
    Loopback,
    Uplink,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) at: At,
    pub(super) host: u16,
    pub(super) inside: u16,
    /// Who may use it; everybody, where there is none.
    pub(super) allow_from: Option<Pair>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) network: &'static Network,
    last: u8,
    pub(super) ports: &'static [Port],
}

/// The port that everybody outside of endpoints serves.
pub(super) const OWN: u16 = 7;
/// The ports that every endpoint serves.
pub(super) const SERVED: [u16; 2] = [80, 81];

const OPEN: Network = Network {
    name: "open",
    gateway: gateway([10, 10, 0, 1], [0xfd10, 0, 0]),
    internal: false,
    peers: true,
    modes: [Mode::Nat; 2],
};

/// With addresses that are no private ones: they may be seen outside.
const ROUTED: Network = Network {
    name: "routed",
    gateway: gateway([198, 18, 7, 1], [0x2001, 0xdb8, 7]),
    internal: false,
    peers: true,
    modes: [Mode::Routed; 2],
};

/// In IPv6 without the host, which sends what is for this network along its default route: that may be seen outside.
const INNER: Network = Network {
    name: "inner",
    gateway: gateway([10, 30, 0, 1], [0x2001, 0xdb8, 0x30]),
    internal: true,
    peers: true,
    modes: [Mode::Nat, Mode::Isolated],
};

const APART: Network = Network {
    name: "apart",
    gateway: gateway([10, 40, 0, 1], [0xfd40, 0, 0]),
    internal: false,
    peers: false,
    modes: [Mode::Nat; 2],
};

pub(super) static NETWORKS: [Network; 4] = [OPEN, ROUTED, INNER, APART];

const fn gateway([a, b, c, d]: [u8; 4], [e, f, g]: [u16; 3]) -> Pair {
    Pair(Ipv4Addr::new(a, b, c, d), Ipv6Addr::new(e, f, g, 0, 0, 0, 0, 1))
}

const fn port(at: At, host: u16, inside: u16) -> Port {
    Port { at, host, inside, allow_from: None }
}

const fn only_for(client: Pair, host: u16, inside: u16) -> Port {
    Port { at: At::Every, host, inside, allow_from: Some(client) }
}

const fn endpoint(
    name: &'static str,
    network: usize,
    last: u8,
    ports: &'static [Port],
) -> Endpoint {
    Endpoint { name, network: &NETWORKS[network], last, ports }
}

pub(super) static ENDPOINTS: [Endpoint; 8] = [
    endpoint("o1", 0, 11, &[port(At::Every, 8080, 80)]),
    // One port that leads elsewhere at each address.
    endpoint("o2", 0, 12, &[port(At::Loopback, 8081, 80), port(At::Uplink, 8081, 81)]),
    endpoint("r1", 1, 11, &[port(At::Every, 8180, 80)]),
    endpoint("r2", 1, 12, &[only_for(SERVER, 8181, 80), only_for(LAN, 8182, 81)]),
    endpoint("i1", 2, 11, &[port(At::Every, 8280, 80)]),
    endpoint("i2", 2, 12, &[]),
    endpoint("a1", 3, 11, &[port(At::Every, 8380, 80)]),
    endpoint("a2", 3, 12, &[only_for(LAN, 8381, 80)]),
];

impl Network {
    pub(super) fn mode(&self, family: Family) -> Mode {
        self.modes[family as usize]
    }

    /// The host's address there, if it has one.
    pub(super) fn gateway(&self, family: Family) -> Option<IpAddr> {
        (self.mode(family) != Mode::Isolated).then(|| self.gateway.of(family))
    }

    pub(super) fn subnets(&self) -> [String; 2] {
        let Pair(v4, v6) = self.gateway;
        let v6 = Ipv6Addr::from_bits(v6.to_bits() & !0xff);
        [format!("{}/24", Ipv4Addr::from_bits(v4.to_bits() & !0xff)), format!("{v6}/64")]
    }
}

impl Endpoint {
    pub(super) fn address(&self, family: Family) -> IpAddr {
        let Pair(v4, v6) = self.network.gateway;
        match family {
            Family::V4 => Ipv4Addr::from_bits(v4.to_bits() & !0xff | u32::from(self.last)).into(),
            Family::V6 => Ipv6Addr::from_bits(v6.to_bits() & !0xff | u128::from(self.last)).into(),
        }
    }
}

/// Somebody who sends or receives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Endpoint(&'static Endpoint),
    Host,
    Lan,
}

impl Place {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ENDPOINTS.iter().map(Self::Endpoint).chain([Self::Host, Self::Lan])
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Endpoint(endpoint) => endpoint.name,
            Self::Host => "host",
            Self::Lan => "lan",
        }
    }

    /// The address that others know.
    pub(super) fn address(self, family: Family) -> IpAddr {
        match self {
            Self::Endpoint(endpoint) => endpoint.address(family),
            Self::Host => HOST.of(family),
            Self::Lan => LAN.of(family),
        }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Place {}

/// The topology file.
pub(super) struct File;

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name: matrix\nnetworks:")?;
        for network in &NETWORKS {
            let [v4, v6] = network.subnets();
            let mode = |family| format!("{:?}", network.mode(family)).to_lowercase();
            let bridge = "com.docker.network.bridge";
            writeln!(f, "  {}:\n    internal: {}", network.name, network.internal)?;
            writeln!(f, "    driver_opts:\n      {bridge}.enable_icc: \"{}\"", network.peers)?;
            writeln!(f, "      {bridge}.gateway_mode_ipv4: {}", mode(Family::V4))?;
            writeln!(f, "      {bridge}.gateway_mode_ipv6: {}", mode(Family::V6))?;
            writeln!(f, "    ipam: {{config: [{{subnet: {v4}}}, {{subnet: \"{v6}\"}}]}}")?;
        }
        writeln!(f, "services:")?;
        for endpoint in &ENDPOINTS {
            let [v4, v6] = [Family::V4, Family::V6].map(|family| endpoint.address(family));
            writeln!(f, "  {}:\n    networks:\n      {}:", endpoint.name, endpoint.network.name)?;
            writeln!(f, "        ipv4_address: {v4}\n        ipv6_address: \"{v6}\"\n    ports:")?;
            endpoint.ports.iter().try_for_each(|port| write_port(f, port))?;
        }
        Ok(())
    }
}

/// For both protocols; at an address of each family, where it is not every one.
fn write_port(f: &mut fmt::Formatter<'_>, port: &Port) -> fmt::Result {
    let addresses = match port.at {
        At::Every => vec![String::new()],
        At::Loopback => vec!["127.0.0.1".to_owned(), "::1".to_owned()],
        At::Uplink => vec![HOST.0.to_string(), HOST.1.to_string()],
    };
    let allow = port.allow_from.map(|Pair(v4, v6)| format!(", allow_from: [\"{v4}\", \"{v6}\"]"));
    let allow = allow.unwrap_or_default();
    for (address, protocol) in addresses.iter().flat_map(|a| ["tcp", "udp"].map(|p| (a, p))) {
        let at =
            if address.is_empty() { String::new() } else { format!(", host_ip: \"{address}\"") };
        let Port { host, inside, .. } = port;
        writeln!(
            f,
            "      - {{target: {inside}, published: {host}, protocol: {protocol}{at}{allow}}}"
        )?;
    }
    Ok(())
}
