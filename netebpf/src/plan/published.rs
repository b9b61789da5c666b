//! Published ports, from what the user asked for to exact addresses.

use super::{Scope, SourceRange, Uplink};
use crate::model::{Desired, Endpoint, GatewayMode, PortMapping, Transport};
use ipnet::IpNet;
use netebpf_common::abi::{Address, Prefix, Protocol, Published, PublishedKey, Source};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Every published port, and who may use those that are not for everybody.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) published: HashMap<PublishedKey, Published>,
    /// What the host itself and its endpoints reach.
    pub(super) local: HashMap<PublishedKey, Published>,
    pub(super) sources: HashSet<SourceRange>,
    /// What has no effect.
    pub(super) notes: Vec<String>,
}

/// Every key and value of the endpoints that `scope` covers. A mapping of one address wins over one of every address, whatever the order.
///
/// Loopback addresses are never here: what is published on 127.0.0.1 is for the host itself, and a
/// packet from outside that claims such a destination matches nothing.
pub(super) fn expand(desired: &Desired, scope: &Scope, uplinks: &[Uplink]) -> Ports {
    let groups = Groups::of(desired);
    let mut ports = Ports { sources: groups.sources(), ..Ports::default() };
    for specific in [false, true] {
        for endpoint in scope.endpoints(desired) {
            for mapping in endpoint.ports.iter().filter(|m| is_specific(m) == specific) {
                let sources = groups.of_mapping(mapping);
                ports.publish(desired, uplinks, endpoint, mapping, sources);
                ports.publish_locally(desired, endpoint, mapping, sources);
            }
        }
    }
    for endpoint in scope.endpoints(desired) {
        ports.open_to_echo(desired, endpoint);
    }
    ports
}

impl Ports {
    fn publish(
        &mut self,
        desired: &Desired,
        uplinks: &[Uplink],
        endpoint: &Endpoint,
        mapping: &PortMapping,
        sources: u32,
    ) {
        let protocol = protocol(mapping);
        for v6 in [false, true] {
            let Some((target, network)) = desired.reached_at(endpoint, v6) else { continue };
            let value = value(target, mapping.endpoint_port, sources);
            match network.gateway_mode(v6) {
                GatewayMode::Nat => {
                    let addresses = uplinks.iter().flat_map(|uplink| &uplink.addresses);
                    let addresses = addresses.filter(|address| address.is_ipv6() == v6);
                    for address in addresses.filter(|address| answers_on(mapping, **address)) {
                        let key = key(protocol, *address, mapping.host_port);
                        self.published.insert(key, value);
                    }
                }
                GatewayMode::Routed if is_specific(mapping) => {
                    if mapping.host_address.is_some_and(|address| address.is_ipv6() == v6) {
                        self.notes.push(format!(
                            "endpoint {}: port {} is not open: its network is routed, so it cannot be \
                             reached by one address of the host only; publish it without one",
                            endpoint.name, mapping.endpoint_port
                        ));
                    }
                }
                GatewayMode::Routed => {
                    let key = key(protocol, target, mapping.endpoint_port);
                    self.published.insert(key, value);
                }
                GatewayMode::Isolated => {}
            }
        }
    }

    /// The same for the host itself and its endpoints, who reach a port by every address of the host, those of its
    /// loopback and its bridges among them. "Every address" stays what it is; the programs know which are the host's.
    ///
    /// A program's IPv6 socket can be led to an IPv4 endpoint, so a port without an IPv6 endpoint leads to the IPv4
    /// one. An endpoint of a routed network is reached by its own address only.
    fn publish_locally(
        &mut self,
        desired: &Desired,
        endpoint: &Endpoint,
        mapping: &PortMapping,
        sources: u32,
    ) {
        let reached = |v6: bool| {
            let (target, network) = desired.reached_at(endpoint, v6)?;
            (network.gateway_mode(v6) == GatewayMode::Nat).then_some(target)
        };
        let every = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let one = mapping.host_address.map(|address| [address.to_canonical()]);
        for address in one.as_ref().map_or(&every[..], |one| &one[..]) {
            let v6 = address.is_ipv6();
            let other =
                || reached(false).filter(|_| v6 && desired.reached_at(endpoint, v6).is_none());
            if let Some(target) = reached(v6).or_else(other) {
                let value = value(target, mapping.endpoint_port, sources);
                self.local.insert(key(protocol(mapping), *address, mapping.host_port), value);
            }
        }
    }

    /// In a routed network echo requests are answered by the endpoint, as with Docker.
    fn open_to_echo(&mut self, desired: &Desired, endpoint: &Endpoint) {
        for attachment in &endpoint.attachments {
            let network = desired.networks.get(&attachment.network);
            let Some(network) = network.filter(|network| !network.internal) else { continue };
            let routed =
                |address: &IpAddr| network.gateway_mode(address.is_ipv6()) == GatewayMode::Routed;
            for address in attachment.addresses().filter(routed) {
                self.published.insert(key(Protocol::Icmp, address, 0), value(address, 0, 0));
            }
        }
    }
}

fn is_specific(mapping: &PortMapping) -> bool {
    mapping.host_address.is_some_and(|address| !address.is_unspecified())
}

fn answers_on(mapping: &PortMapping, address: IpAddr) -> bool {
    !address.is_loopback()
        && match mapping.host_address {
            None => true,
            Some(wanted) if wanted.is_unspecified() => wanted.is_ipv4() == address.is_ipv4(),
            Some(wanted) => wanted == address,
        }
}

fn protocol(mapping: &PortMapping) -> Protocol {
    match mapping.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

fn key(protocol: Protocol, address: IpAddr, port: u16) -> PublishedKey {
    PublishedKey {
        address: address.into(),
        port: port.to_be_bytes(),
        protocol: protocol as u32,
        padding: [0; 2],
    }
}

fn value(address: IpAddr, port: u16, sources: u32) -> Published {
    let address: Address = address.into();
    Published { address, port: port.to_be_bytes(), padding: [0; 2], sources }
}

/// The numbers of the lists of sources. One that stays keeps its number, whatever else comes and goes: it is made of
/// what is in the list.
struct Groups<'a>(BTreeMap<&'a [IpNet], u32>);

impl<'a> Groups<'a> {
    fn of(desired: &'a Desired) -> Self {
        let mappings = desired.endpoints.values().flat_map(|endpoint| &endpoint.ports);
        let mut groups = BTreeMap::new();
        for list in mappings.map(|mapping| mapping.allow_from.as_slice()) {
            if !list.is_empty() {
                groups.insert(list, number(list));
            }
        }
        let mut taken = HashSet::from([0]);
        for number in groups.values_mut() {
            while !taken.insert(*number) {
                *number = number.wrapping_add(1);
            }
        }
        Self(groups)
    }

    fn of_mapping(&self, mapping: &PortMapping) -> u32 {
        self.0.get(mapping.allow_from.as_slice()).copied().unwrap_or(0)
    }

    fn sources(&self) -> HashSet<SourceRange> {
        let ranges = self.0.iter().flat_map(|(list, group)| list.iter().map(|net| (*group, net)));
        let range = |(group, net): (u32, &IpNet)| {
            let prefix = Prefix::new(net.network(), net.prefix_len());
            SourceRange {
                source: Source { group, address: prefix.address.octets() },
                length: Source::GROUP_BITS + prefix.length,
            }
        };
        ranges.map(range).collect()
    }
}

fn number(list: &[IpNet]) -> u32 {
    let mut hash = Sha256::new();
    for net in list {
        hash.update(format!("{net}\n"));
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}
