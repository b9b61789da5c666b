//! Addresses out of a subnet.

use super::range::{address, number, usable};
use crate::model::Subnet;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Addresses that endpoints have, and whose.
pub type Taken = BTreeMap<IpAddr, String>;

/// Why an address cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Not in the subnet.
    #[error("{address} is outside {net}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The subnet.
        net: IpNet,
    },
    /// The subnet's own or its broadcast address.
    #[error("{address} is the {what} address of {net}; one between the two is meant")]
    Edge {
        /// The address.
        address: IpAddr,
        /// Which of the two.
        what: &'static str,
        /// The subnet.
        net: IpNet,
    },
    /// The gateway's.
    #[error("{0} is the gateway's")]
    Gateway(IpAddr),
    /// Reserved by the network.
    #[error("{address} is reserved as {name:?}")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// What for.
        name: String,
    },
    /// Another endpoint's.
    #[error("Address already in use: {address} is taken by endpoint {endpoint:?}")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        endpoint: String,
    },
    /// Nothing left.
    #[error("no address is left in {0}; make the range larger or take endpoints away")]
    Exhausted(IpNet),
}

/// Checks that a host in the subnet can have an address, whoever else has it.
pub(super) fn check_inside(net: &IpNet, address: IpAddr) -> Result<(), AddressError> {
    if !net.contains(&address) {
        return Err(AddressError::Outside { address, net: *net });
    }
    let (first, last) = usable(net);
    let edge = |what| Err(AddressError::Edge { address, what, net: *net });
    match number(address) {
        n if n < first => edge("network"),
        n if n > last => edge("broadcast"),
        _ => Ok(()),
    }
}

/// Checks an address that the user chose for an endpoint.
///
/// # Errors
///
/// Why the endpoint cannot have it.
pub fn check_address(subnet: &Subnet, taken: &Taken, address: IpAddr) -> Result<(), AddressError> {
    check_inside(&subnet.net, address)?;
    if address == subnet.gateway {
        return Err(AddressError::Gateway(address));
    }
    if let Some((name, _)) = subnet.reserved.iter().find(|(_, reserved)| **reserved == address) {
        return Err(AddressError::Reserved { address, name: name.clone() });
    }
    match taken.get(&address) {
        Some(endpoint) => Err(AddressError::Taken { address, endpoint: endpoint.clone() }),
        None => Ok(()),
    }
}

/// The lowest address of the range that is free.
///
/// # Errors
///
/// [`AddressError::Exhausted`].
pub fn choose_address(subnet: &Subnet, taken: &Taken) -> Result<IpAddr, AddressError> {
    let reserved: BTreeSet<_> = subnet.reserved.values().chain([&subnet.gateway]).collect();
    let range = subnet.range.as_ref().unwrap_or(&subnet.net);
    let is_free = |address: &IpAddr| !taken.contains_key(address) && !reserved.contains(address);
    lowest(&subnet.net, range, is_free).ok_or(AddressError::Exhausted(*range))
}

/// The gateway of a subnet: what the user chose, or the lowest address that is not reserved.
///
/// # Errors
///
/// Why it cannot be the chosen one, or that all are reserved.
pub fn choose_gateway(
    net: &IpNet,
    chosen: Option<IpAddr>,
    reserved: &BTreeMap<String, IpAddr>,
) -> Result<IpAddr, AddressError> {
    let Some(address) = chosen else {
        let reserved: BTreeSet<_> = reserved.values().collect();
        let is_free = |address: &IpAddr| !reserved.contains(address);
        return lowest(net, net, is_free).ok_or(AddressError::Exhausted(*net));
    };
    check_inside(net, address)?;
    match reserved.iter().find(|(_, reserved)| **reserved == address) {
        Some((name, _)) => Err(AddressError::Reserved { address, name: name.clone() }),
        None => Ok(address),
    }
}

/// The lowest usable address of `net` that lies in `range` and is free.
fn lowest(net: &IpNet, range: &IpNet, is_free: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let (first, last) = usable(net);
    let first = first.max(number(range.network()));
    let last = last.min(number(range.broadcast()));
    // Each busy address costs one step at most.
    (first..=last).filter_map(|candidate| address(candidate, net)).find(is_free)
}
