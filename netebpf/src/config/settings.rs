//! Host-wide settings: `/etc/netebpf/config.toml`.
//!
//! **Invariant**: an absent file is all defaults; an unknown key is an error. This is the one place of
//! `config` that reads a file, since its default address pool depends on another one, the machine's
//! identifier.

use crate::ipam::Pool;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netebpf_common::abi::FLOW_CAPACITY;
use serde::{Deserialize, de::IgnoredAny};
use sha2::{Digest, Sha256};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Where the settings stand.
pub const PATH: &str = "/etc/netebpf/config.toml";

/// The settings of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where subnets come from that nobody chose, in this order.
    pub pools: Vec<Pool>,
    /// Gateway and subnet of the network that the command line's endpoints join by default.
    pub bip: Bip,
    /// The first and the last port that masquerade may choose.
    pub snat_ports: (u16, u16),
    /// What goes there keeps its source address.
    pub no_masquerade: Vec<IpNet>,
    /// How many flows there can be.
    pub flow_capacity: u32,
    /// How many of them one endpoint can have.
    pub flow_quota: u32,
    /// How many of those can be unconfirmed.
    pub embryonic_quota: u32,
    /// Who is asked for names that are not ours, the first three of them; the resolvers of the host's resolv.conf when
    /// empty.
    pub upstreams: Vec<SocketAddr>,
}

/// Docker's `bip`: the gateway's address with the prefix length of its subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bip {
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// The subnet.
    pub net: Ipv4Net,
    /// Whether the user chose it; the default may give way to another subnet where it is taken.
    pub chosen: bool,
}

impl Settings {
    /// The defaults. The IPv6 pool is a unique local range (RFC 4193) made from `seed`, which should
    /// be the same on each start of a host and differ between hosts.
    pub fn new(seed: &[u8]) -> Self {
        let abi = netebpf_common::abi::Settings::default();
        let mut pools: Vec<Pool> =
            (18..=31).map(|second| Pool { base: v4([172, second, 0, 0], 16), size: 16 }).collect();
        pools.push(Pool { base: v4([192, 168, 0, 0], 16), size: 20 });
        pools.push(Pool { base: unique_local(seed), size: 64 });
        Self {
            pools,
            bip: Bip {
                gateway: Ipv4Addr::new(172, 17, 0, 1),
                net: Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 0), 16),
                chosen: false,
            },
            snat_ports: (abi.snat_first, abi.snat_last),
            no_masquerade: Vec::new(),
            flow_capacity: abi.flow_capacity,
            flow_quota: abi.flow_quota,
            embryonic_quota: abi.embryonic_quota,
            upstreams: Vec::new(),
        }
    }
}

fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    Ipv4Net::new_assert(octets.into(), prefix).into()
}

/// `fd` and 40 bits of a hash, a /48 (RFC 4193 §3.2.2, with the machine's identifier for the clock).
fn unique_local(seed: &[u8]) -> IpNet {
    let hash =
        Sha256::new().chain_update("netebpf unique local range").chain_update(seed).finalize();
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&hash[..5]);
    Ipv6Net::new_assert(Ipv6Addr::from(octets), 48).into()
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is there but cannot be read.
    #[error("{path}: cannot be read: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of another type.
    #[error("{file}: {source}")]
    Toml {
        /// The file.
        file: String,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{file}: {problem}")]
    Value {
        /// The file.
        file: String,
        /// What is wrong.
        problem: SettingsProblem,
    },
}

/// A setting that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsProblem {
    /// Host bits in a pool.
    #[error("default_address_pools: {0} has host bits set; {right} is meant", right = .0.trunc())]
    HostBits(IpNet),
    /// Host bits in a range that is never masqueraded.
    #[error("no_masquerade: {0} has host bits set; {right} is meant", right = .0.trunc())]
    NoMasquerade(IpNet),
    /// A pool smaller than one of its subnets, or subnets without room.
    #[error(
        "default_address_pools: subnets of /{size} do not fit {base}; a size from {from} to {to} is \
         meant",
        from = base.prefix_len(),
        to = largest_size(base)
    )]
    PoolSize {
        /// The pool.
        base: IpNet,
        /// The prefix length asked for.
        size: u8,
    },
    /// The network or the broadcast address as the gateway.
    #[error("bip: {0} is no address in the middle of its subnet; write it as 172.17.0.1/16")]
    Bip(Ipv4Net),
    /// Backwards or with port 0.
    #[error("snat_port_range: {0:?} is wrong; write FIRST-LAST, such as 32768-60999")]
    PortRange(String),
    /// More flows for some than there are.
    #[error("flows: {name} {quota} has to be from 1 to the {limit}, {most}")]
    Quota {
        /// Of what.
        name: &'static str,
        /// Flows.
        quota: u32,
        /// What it is a part of.
        limit: &'static str,
        /// Flows of that.
        most: u32,
    },
    /// Not an address of a resolver.
    #[error(
        "dns: upstreams: {0:?} is wrong; write ADDRESS or ADDRESS:PORT, such as 9.9.9.9 or [fd00::1]:5353"
    )]
    Upstream(String),
    /// A section that would have no effect yet.
    #[error("{0}: it is not there yet, a later version reads it; take it out")]
    Later(&'static str),
    /// A table too small or too large to make.
    #[error("flows: capacity {0} has to be from 1024 to 16777216")]
    Capacity(u32),
}

fn largest_size(base: &IpNet) -> u8 {
    base.max_prefix_len() - 2
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    default_address_pools: Option<Vec<FilePool>>,
    bip: Option<Ipv4Net>,
    snat_port_range: Option<String>,
    no_masquerade: Vec<IpNet>,
    flows: Flows,
    dns: Dns,
    api: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePool {
    base: IpNet,
    size: u8,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Dns {
    upstreams: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Flows {
    capacity: Option<u32>,
    quota: Option<u32>,
    embryonic_quota: Option<u32>,
}

/// Reads settings from a text; `file_name` stands in every message. For `seed` see [`Settings::new`].
///
/// # Errors
///
/// What is wrong and, as far as TOML can tell, where.
pub fn parse(text: &str, file_name: &str, seed: &[u8]) -> Result<Settings, SettingsError> {
    parse_over(text, file_name, Settings::new(seed))
}

fn parse_over(text: &str, file_name: &str, defaults: Settings) -> Result<Settings, SettingsError> {
    let file = || file_name.to_owned();
    let raw: File = toml::from_str(text)
        .map_err(|source| SettingsError::Toml { file: file(), source: Box::new(source) })?;
    check(raw, defaults).map_err(|problem| SettingsError::Value { file: file(), problem })
}

/// How many flows a host of so many bytes of memory has room for, when nobody says: as many as take a fiftieth of it, but
/// for the smallest. Their tables are made with the instance, whether there are flows or not. Halves, for each has an index of
/// as many entries as the kernel makes buckets for.
fn capacity_for(memory: u64) -> u32 {
    const BYTES: u64 = 24 << 10;
    const LEAST: u32 = FLOW_CAPACITY >> 4;
    let mut capacity = FLOW_CAPACITY;
    while capacity > LEAST && u64::from(capacity) * BYTES > memory {
        capacity /= 2;
    }
    capacity
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

/// Reads the file, or takes the defaults of this host where there is none.
///
/// # Errors
///
/// As [`parse`], or that the file cannot be read.
pub fn load(path: &Path) -> Result<Settings, SettingsError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(SettingsError::Read { path: path.to_owned(), source }),
    };
    // Without an identifier the range differs with each start; networks keep what they have all the
    // same, since the state holds it.
    let seed =
        std::fs::read("/etc/machine-id").unwrap_or_else(|_| rand::random::<[u8; 16]>().into());
    let defaults = Settings { flow_capacity: capacity_for(memory()), ..Settings::new(&seed) };
    parse_over(&text, &path.display().to_string(), defaults)
}

fn check(raw: File, mut settings: Settings) -> Result<Settings, SettingsProblem> {
    if raw.api.is_some() {
        return Err(SettingsProblem::Later("api"));
    }
    if let Some(pools) = raw.default_address_pools {
        let chosen: Vec<Pool> = pools.into_iter().map(pool).collect::<Result<_, _>>()?;
        // A family that the file says nothing of keeps its defaults.
        let families = [false, true];
        let said = |v6: bool| chosen.iter().any(|pool| pool.base.addr().is_ipv6() == v6);
        let silent: Vec<bool> = families.into_iter().filter(|v6| !said(*v6)).collect();
        settings.pools.retain(|pool| silent.contains(&pool.base.addr().is_ipv6()));
        settings.pools.extend(chosen);
    }
    if let Some(bip) = raw.bip {
        let gateway = bip.addr();
        let edge = gateway == bip.network() || gateway == bip.broadcast();
        if edge || bip.prefix_len() > 30 {
            return Err(SettingsProblem::Bip(bip));
        }
        settings.bip = Bip { gateway, net: bip.trunc(), chosen: true };
    }
    if let Some(text) = raw.snat_port_range {
        let ends = text.split_once('-').and_then(|(first, last)| {
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        });
        settings.snat_ports = ends
            .filter(|(first, last): &(u16, u16)| *first > 0 && first <= last)
            .ok_or(SettingsProblem::PortRange(text))?;
    }
    if let Some(net) = raw.no_masquerade.iter().find(|net| net.trunc() != **net) {
        return Err(SettingsProblem::NoMasquerade(*net));
    }
    settings.no_masquerade = raw.no_masquerade;
    settings.upstreams = raw.dns.upstreams.into_iter().map(upstream).collect::<Result<_, _>>()?;
    let capacity = raw.flows.capacity.unwrap_or(settings.flow_capacity);
    if !(1024..=1 << 24).contains(&capacity) {
        return Err(SettingsProblem::Capacity(capacity));
    }
    let quota = raw.flows.quota.unwrap_or(settings.flow_quota.min(capacity / 2));
    let embryonic = raw.flows.embryonic_quota.unwrap_or(quota.div_ceil(4));
    for (name, quota, limit, most) in
        [("quota", quota, "capacity", capacity), ("embryonic_quota", embryonic, "quota", quota)]
    {
        if quota == 0 || quota > most {
            return Err(SettingsProblem::Quota { name, quota, limit, most });
        }
    }
    settings.flow_capacity = capacity;
    (settings.flow_quota, settings.embryonic_quota) = (quota, embryonic);
    Ok(settings)
}

fn upstream(text: String) -> Result<SocketAddr, SettingsProblem> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    let upstream = address.ok().or_else(|| text.parse().ok());
    let good = |address: &SocketAddr| address.port() > 0 && !address.ip().is_unspecified();
    upstream.filter(good).ok_or(SettingsProblem::Upstream(text))
}

fn pool(FilePool { base, size }: FilePool) -> Result<Pool, SettingsProblem> {
    if base.trunc() != base {
        return Err(SettingsProblem::HostBits(base));
    }
    if size < base.prefix_len() || size > largest_size(&base) {
        return Err(SettingsProblem::PoolSize { base, size });
    }
    Ok(Pool { base, size })
}

#[cfg(test)]
mod tests;
