//! The fields of JSON output: which of Docker's are missing.
//!
//! **Invariant**: the lists are Docker's own, for of Docker they are looked at from both sides.

use super::super::engine::Side;
use serde_json::Value;
use std::collections::BTreeSet;

/// What `network ls` has in Docker 20.10.
const LIST: &[&str] = &["CreatedAt", "Driver", "ID", "IPv6", "Internal", "Labels", "Name", "Scope"];

/// What `network inspect` has in Docker 20.10, with what a container has.
const INSPECT: &[&str] = &[
    "Attachable",
    "ConfigFrom",
    "ConfigFrom.Network",
    "ConfigOnly",
    "Containers",
    "Containers.*",
    "Containers.*.EndpointID",
    "Containers.*.IPv4Address",
    "Containers.*.IPv6Address",
    "Containers.*.MacAddress",
    "Containers.*.Name",
    "Created",
    "Driver",
    "EnableIPv6",
    "IPAM",
    "IPAM.Config",
    "IPAM.Config.Subnet",
    "IPAM.Driver",
    "IPAM.Options",
    "Id",
    "Ingress",
    "Internal",
    "Labels",
    "Labels.tier",
    "Name",
    "Options",
    "Scope",
];

/// Of what `network ls` prints.
pub(super) fn of_ls(side: &Side) -> String {
    let words = ["network", "ls", "--filter", "name=front", "--format", "{{json .}}"];
    let line = side.words(&words).ok();
    missing(side, &serde_json::from_str(&line).expect("JSON"), LIST)
}

/// Of what `network inspect` prints.
pub(super) fn of_a_network(side: &Side) -> String {
    let text = side.run("network inspect front").ok();
    let all: Value = serde_json::from_str(&text).expect("JSON");
    missing(side, &all[0], INSPECT)
}

/// What `inspect` has of networks in Docker 20.10.
const SETTINGS: &[&str] = &[
    "Bridge",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "HairpinMode",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen",
    "MacAddress",
    "Networks",
    "Networks.front",
    "Networks.front.Aliases",
    "Networks.front.DriverOpts",
    "Networks.front.EndpointID",
    "Networks.front.Gateway",
    "Networks.front.GlobalIPv6Address",
    "Networks.front.GlobalIPv6PrefixLen",
    "Networks.front.IPAMConfig",
    "Networks.front.IPAddress",
    "Networks.front.IPPrefixLen",
    "Networks.front.IPv6Gateway",
    "Networks.front.Links",
    "Networks.front.MacAddress",
    "Networks.front.NetworkID",
    "Ports",
    "SandboxID",
    "SandboxKey",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
];

/// Of what `inspect` prints of networks.
pub(super) fn of_an_endpoint(side: &Side) -> String {
    let text = side.run("inspect c1").ok();
    let all: Value = serde_json::from_str(&text).expect("JSON");
    missing(side, &all[0]["NetworkSettings"], SETTINGS)
}

/// The paths that are expected and not there; of Docker, those that are there and not expected, too.
fn missing(side: &Side, object: &Value, expected: &[&str]) -> String {
    let mut there = BTreeSet::new();
    paths("", object, &mut there);
    let mut lines: Vec<_> =
        expected.iter().filter(|path| !there.contains(**path)).map(ToString::to_string).collect();
    if side.is_docker() {
        lines.extend(
            there
                .iter()
                .filter(|path| !expected.contains(&path.as_str()))
                .map(|path| format!("+{path}")),
        );
    }
    lines.join(", ")
}

/// The paths to all that an object has; identifiers are `*`.
fn paths(begin: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if key.len() == 64 { "*" } else { key };
                let path = if begin.is_empty() { key.to_owned() } else { format!("{begin}.{key}") };
                paths(&path, value, all);
                all.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(begin, item, all)),
        _ => {}
    }
}
