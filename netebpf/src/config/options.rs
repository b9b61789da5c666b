//! Driver options of a network, Docker's keys and one of ours: read from `-o` and `driver_opts:`, shown by `inspect`.
//!
//! **Invariant**: every key that is taken does what Docker's does; every other one is an error.

use crate::model::{Device, GatewayMode, InterfaceName, Network, requests::NetworkRequest};
use std::{net::Ipv4Addr, str::FromStr};

/// The driver option that names the bridge.
pub const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The driver option that lets endpoints of one network talk to each other.
pub const ICC: &str = "com.docker.network.bridge.enable_icc";
/// The driver option that gives what leaves the host's address.
pub const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// The driver option that says how IPv4 gets out and in.
pub const GATEWAY_MODE_V4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
/// Likewise IPv6.
pub const GATEWAY_MODE_V6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
/// The driver option of the longest IP packet, in bytes.
pub const MTU: &str = "com.docker.network.driver.mtu";
/// The driver option of the host's IPv4 address that packets leave with.
pub const SNAT_V4: &str = "com.docker.network.host_ipv4";
/// Likewise of the IPv6 address.
pub const SNAT_V6: &str = "com.docker.network.host_ipv6";
/// The driver option of the host's address that ports are published on where nobody says.
pub const BINDING_V4: &str = "com.docker.network.bridge.host_binding_ipv4";
/// The driver option of what the names of endpoints' interfaces begin with.
pub const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";

/// Ours: the driver option that lets TCP connections between endpoints of the network take the socket shortcut.
pub const SHORTCUT: &str = "netebpf.socket_shortcut";

/// Ours: the driver option that says what connects endpoints with the network.
pub const DEVICE: &str = "netebpf.device";

/// The options that mean something.
pub const KNOWN: [&str; 12] = [
    BRIDGE_NAME,
    ICC,
    MASQUERADE,
    GATEWAY_MODE_V4,
    GATEWAY_MODE_V6,
    MTU,
    SNAT_V4,
    SNAT_V6,
    BINDING_V4,
    INTERFACE_PREFIX,
    SHORTCUT,
    DEVICE,
];

/// Why an option cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OptionError {
    /// No such key.
    #[error("{0:?} has no meaning here; known are {known}", known = KNOWN.join(", "))]
    Unknown(String),
    /// A value that is none.
    #[error("{key}: {value:?} is wrong; {right} is meant")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// Docker has it and we do not want it.
    #[error(
        "{0}: \"nat-unprotected\" would leave every port of every endpoint open to whoever has a route; \
         publish what is to be reached and take \"nat\" or \"routed\""
    )]
    Unprotected(&'static str),
    /// Not the name of an interface, or what one could begin with.
    #[error("{0}: {1}")]
    Interface(&'static str, crate::model::InterfaceNameError),
}

/// Takes one option.
///
/// # Errors
///
/// What is wrong with it.
pub fn set(request: &mut NetworkRequest, key: &str, value: &str) -> Result<(), OptionError> {
    let switch = "true or false";
    match key {
        BRIDGE_NAME => {
            let name = InterfaceName::new(value);
            request.bridge = Some(name.map_err(|e| OptionError::Interface(BRIDGE_NAME, e))?);
        }
        ICC => request.peers = parsed(ICC, value, switch)?,
        MASQUERADE => request.masquerade = parsed(MASQUERADE, value, switch)?,
        GATEWAY_MODE_V4 => request.gateway_mode_v4 = mode(GATEWAY_MODE_V4, value)?,
        GATEWAY_MODE_V6 => request.gateway_mode_v6 = mode(GATEWAY_MODE_V6, value)?,
        MTU => request.mtu = Some(parsed(MTU, value, "a number of bytes")?),
        SNAT_V4 => request.snat_v4 = Some(parsed(SNAT_V4, value, "an IPv4 address of the host")?),
        SNAT_V6 => request.snat_v6 = Some(parsed(SNAT_V6, value, "an IPv6 address of the host")?),
        BINDING_V4 => {
            let address = parsed(BINDING_V4, value, "an IPv4 address of the host")?;
            request.binding_v4 =
                Some(address).filter(|address: &Ipv4Addr| !address.is_unspecified());
        }
        INTERFACE_PREFIX => {
            let checked = InterfaceName::check_prefix(value);
            checked.map_err(|error| OptionError::Interface(INTERFACE_PREFIX, error))?;
            request.interface_prefix = Some(value.to_owned());
        }
        SHORTCUT => request.shortcut = parsed(SHORTCUT, value, switch)?,
        DEVICE => request.device = device(value)?,
        _ => return Err(OptionError::Unknown(key.to_owned())),
    }
    Ok(())
}

fn parsed<T: FromStr>(
    key: &'static str,
    value: &str,
    right: &'static str,
) -> Result<T, OptionError> {
    value.parse().map_err(|_| OptionError::Value { key, value: value.to_owned(), right })
}

fn device(value: &str) -> Result<Device, OptionError> {
    let found = [Device::Veth, Device::Netkit].into_iter().find(|device| device.kind() == value);
    let wrong = || {
        let right = "veth or netkit";
        OptionError::Value { key: DEVICE, value: value.to_owned(), right }
    };
    found.ok_or_else(wrong)
}

fn mode(key: &'static str, value: &str) -> Result<GatewayMode, OptionError> {
    match value {
        "nat" => Ok(GatewayMode::Nat),
        "routed" => Ok(GatewayMode::Routed),
        "isolated" => Ok(GatewayMode::Isolated),
        "nat-unprotected" => Err(OptionError::Unprotected(key)),
        _ => {
            let right = "nat, routed or isolated";
            Err(OptionError::Value { key, value: value.to_owned(), right })
        }
    }
}

/// The options that a network has, as Docker shows them: its bridge, and what differs from the default.
pub fn shown(network: &Network) -> Vec<(&'static str, String)> {
    let other = |mode: GatewayMode| (mode != GatewayMode::Nat).then(|| mode.to_string());
    let chosen = [
        (MASQUERADE, (!network.masquerade).then(|| "false".to_owned())),
        (GATEWAY_MODE_V4, other(network.gateway_mode_v4)),
        (GATEWAY_MODE_V6, other(network.gateway_mode_v6)),
        (SNAT_V4, network.snat_v4.map(|address| address.to_string())),
        (SNAT_V6, network.snat_v6.map(|address| address.to_string())),
        (BINDING_V4, network.binding_v4.map(|address| address.to_string())),
        (INTERFACE_PREFIX, network.interface_prefix.clone()),
        (MTU, network.mtu.map(|mtu| mtu.to_string())),
        (SHORTCUT, network.shortcut.then(|| "true".to_owned())),
        (DEVICE, (network.device != Device::default()).then(|| network.device.to_string())),
    ];
    let always = [(BRIDGE_NAME, network.bridge.to_string()), (ICC, network.peers.to_string())];
    let chosen = chosen.into_iter().filter_map(|(key, value)| Some((key, value?)));
    always.into_iter().chain(chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_and_wrong_ones_refused() {
        let mut request = NetworkRequest::new("front");
        for (key, value) in [
            (BRIDGE_NAME, "br0"),
            (ICC, "false"),
            (MASQUERADE, "false"),
            (GATEWAY_MODE_V4, "routed"),
            (GATEWAY_MODE_V6, "isolated"),
            (MTU, "9000"),
            (SNAT_V4, "198.51.100.7"),
            (SNAT_V6, "2001:db8::7"),
            (BINDING_V4, "127.0.0.1"),
            (INTERFACE_PREFIX, "lan"),
            (SHORTCUT, "true"),
            (DEVICE, "netkit"),
        ] {
            set(&mut request, key, value).unwrap();
        }
        assert_eq!(request.bridge.as_ref().map(InterfaceName::as_str), Some("br0"));
        assert!(!request.peers && !request.masquerade);
        assert_eq!(request.gateway_mode_v4, GatewayMode::Routed);
        assert_eq!(request.gateway_mode_v6, GatewayMode::Isolated);
        assert_eq!(request.mtu, Some(9000));
        assert_eq!(request.binding_v4, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(request.interface_prefix.as_deref(), Some("lan"));
        assert!(request.shortcut);
        assert_eq!(request.device, Device::Netkit);
        for (key, value) in [
            (BRIDGE_NAME, "br%d"),
            (ICC, "0"),
            (MASQUERADE, "no"),
            (GATEWAY_MODE_V4, "nat-unprotected"),
            (GATEWAY_MODE_V6, "bridge"),
            (MTU, "big"),
            (SNAT_V4, "::1"),
            (BINDING_V4, "::1"),
            (SHORTCUT, "on"),
            (DEVICE, "tap"),
            (INTERFACE_PREFIX, "a/b"),
            (INTERFACE_PREFIX, "fourteen-signs"),
            ("colour", "red"),
        ] {
            assert!(set(&mut request, key, value).is_err(), "{key}={value}");
        }
    }
}
