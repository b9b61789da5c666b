//! Published ports, from what the user asked for to exact addresses.

use super::Uplink;
use crate::model::{Desired, Endpoint, PortMapping, Transport};
use netebpf_common::abi::{Address, Protocol, Published, PublishedKey};
use std::{collections::HashMap, net::IpAddr};

/// Every key and value. A mapping of one address wins over one of every address, whatever the order.
///
/// Loopback addresses are never here: what is published on 127.0.0.1 is for the host itself, and a
/// packet from outside that claims such a destination matches nothing.
pub(super) fn expand(desired: &Desired, uplinks: &[Uplink]) -> HashMap<PublishedKey, Published> {
    let mut found = HashMap::new();
    for specific in [false, true] {
        for endpoint in desired.endpoints.values() {
            for mapping in endpoint.ports.iter().filter(|m| is_specific(m) == specific) {
                let addresses = uplinks.iter().flat_map(|uplink| &uplink.addresses);
                for address in addresses.filter(|address| answers_on(mapping, **address)) {
                    if let Some(target) = reached_by(desired, endpoint, address.is_ipv6()) {
                        found.insert(key(*address, mapping), value(target, mapping));
                    }
                }
            }
        }
    }
    found
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

/// The endpoint's address of a family, on a network that lets anybody in: the one of the default
/// route, whose replies leave the way that the request came, or else the first.
fn reached_by(desired: &Desired, endpoint: &Endpoint, v6: bool) -> Option<IpAddr> {
    let address = |attachment: &crate::model::Attachment| -> Option<IpAddr> {
        if v6 { attachment.v6.map(Into::into) } else { attachment.v4.map(Into::into) }
    };
    let open = endpoint.attachments.iter().filter(|attachment| {
        desired.networks.get(&attachment.network).is_some_and(|network| !network.internal)
    });
    open.filter_map(|a| Some((!a.default_route, address(a)?)))
        .min_by_key(|(other_way, _)| *other_way)
        .map(|(_, address)| address)
}

fn key(address: IpAddr, mapping: &PortMapping) -> PublishedKey {
    let protocol = match mapping.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    };
    PublishedKey {
        address: address.into(),
        port: mapping.host_port.to_be_bytes(),
        protocol: protocol as u32,
        padding: [0; 2],
    }
}

fn value(address: IpAddr, mapping: &PortMapping) -> Published {
    let address: Address = address.into();
    Published { address, port: mapping.endpoint_port.to_be_bytes(), padding: [0; 6] }
}
