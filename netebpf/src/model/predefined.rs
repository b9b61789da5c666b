//! The networks that are there without being made: `bridge`, `host` and `none`.
//!
//! `host` and `none` have no device and no subnet, so they are never part of what is desired. `bridge` becomes part of
//! it with the first who joins it.

use super::{
    Device, Driver, GatewayMode, Id, InterfaceName, MacText, Network, Origin,
    requests::DEFAULT_NETWORK,
};
use crate::state::Instance;
use std::net::Ipv4Addr;

/// The network of those who are in the host's namespace.
pub const HOST: &str = "host";
/// The network of those who are alone.
pub const NONE: &str = "none";

/// The names of all three.
pub const PREDEFINED: [&str; 3] = [DEFAULT_NETWORK, HOST, NONE];

/// Whether a network of this name is there without being made.
pub fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name)
}

/// The identifier of one of them, the same for ever.
pub fn id(instance: &Instance, name: &str) -> Id {
    Id::derived(&format!("network {name} of netebpf instance {}", instance.name()))
}

/// One of them, without subnets.
pub fn bare(instance: &Instance, name: &str, created: u64) -> Network {
    let id = id(instance, name);
    let driver = match name {
        HOST => Driver::Host,
        NONE => Driver::Null,
        _ => Driver::Bridge,
    };
    Network {
        bridge: InterfaceName::bridge(&id),
        id,
        number: 0,
        name: name.to_owned(),
        driver,
        mac: MacText::for_address(Ipv4Addr::UNSPECIFIED.into()),
        subnets: Vec::new(),
        internal: false,
        peers: true,
        gateway_mode_v4: GatewayMode::default(),
        gateway_mode_v6: GatewayMode::default(),
        masquerade: true,
        snat_v4: None,
        snat_v6: None,
        binding_v4: None,
        interface_prefix: None,
        shortcut: false,
        device: Device::Veth,
        mtu: None,
        labels: Default::default(),
        created,
        origin: Origin::CommandLine,
    }
}
