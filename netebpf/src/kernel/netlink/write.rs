//! Addresses and routes.

use super::{Netlink, NetlinkError};
use ipnet::IpNet;
use rtnetlink::{
    AddressMessageBuilder, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressFlags, AddressMessage},
        route::RouteMessage,
    },
};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let length = address.prefix_len();
    match address.addr() {
        IpAddr::V4(v4) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(v4, length).build()
        }
        IpAddr::V6(v6) => {
            AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(v6, length).build()
        }
    }
}

/// Without asking the neighbours for duplicates: addresses here are allocated.
pub(super) fn address_to_add(index: u32, address: IpNet) -> AddressMessage {
    let mut message = address_message(index, address);
    if address.addr().is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

impl Netlink {
    /// Adds an address. There already is done.
    pub(crate) async fn add_address(&self, index: u32, address: IpNet) -> Result<(), NetlinkError> {
        let mut request = self.handle.address().add(index, address.addr(), address.prefix_len());
        *request.message_mut() = address_to_add(index, address);
        done_already(request.execute().await, Errno::EXIST, "add address", address)
    }

    /// Removes an address; done already is done.
    pub(crate) async fn remove_address(
        &self,
        index: u32,
        address: IpNet,
    ) -> Result<(), NetlinkError> {
        let request = self.handle.address().del(address_message(index, address));
        done_already(request.execute().await, Errno::ADDRNOTAVAIL, "remove address", address)
    }
}

pub(super) fn default_route(index: u32, via: IpAddr) -> RouteMessage {
    match via {
        IpAddr::V4(via) => {
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(via).output_interface(index).build()
        }
        IpAddr::V6(via) => {
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(via).output_interface(index).build()
        }
    }
}

fn done_already(
    result: Result<(), rtnetlink::Error>,
    harmless: Errno,
    operation: &'static str,
    object: impl ToString,
) -> Result<(), NetlinkError> {
    match result.map_err(|error| NetlinkError::new(operation, object, error)) {
        Err(error) if error.is(harmless) => Ok(()),
        other => other,
    }
}
