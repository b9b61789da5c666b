//! The topology file that most tests bring up.

use std::{collections::BTreeMap, fmt, sync::OnceLock};

/// Networks `front` (endpoints c1 and c2), `back` (d1) and `inner`, which is internal (i1 and i2).
#[derive(Clone, Debug, Default)]
pub struct Topology {
    ports: BTreeMap<&'static str, Vec<String>>,
    commands: BTreeMap<&'static str, String>,
    mtus: BTreeMap<&'static str, u32>,
    device: Option<&'static str>,
}

/// The usual one: nothing published, nothing running.
pub fn topology() -> Topology {
    Topology { device: DEVICE.get().copied(), ..Topology::default() }
}

/// From now on every topology of this process has networks with this device instead of veths.
pub fn with_device(device: &'static str) {
    DEVICE.set(device).expect("it is set once");
}

static DEVICE: OnceLock<&str> = OnceLock::new();

impl Topology {
    /// Publishes ports of an endpoint.
    #[must_use]
    pub fn ports(mut self, endpoint: &'static str, ports: &[&str]) -> Self {
        self.ports.entry(endpoint).or_default().extend(ports.iter().map(ToString::to_string));
        self
    }

    /// Gives a network another MTU than the uplink's.
    #[must_use]
    pub fn mtu(mut self, network: &'static str, bytes: u32) -> Self {
        self.mtus.insert(network, bytes);
        self
    }

    /// Runs a command in an endpoint.
    #[must_use]
    pub fn command(mut self, endpoint: &'static str, command: &[&str]) -> Self {
        self.commands.insert(endpoint, format!("{command:?}"));
        self
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("name: lab\nnetworks:\n")?;
        for (name, second, internal) in NETWORKS {
            writeln!(f, "  {name}:")?;
            writeln!(f, "    internal: {internal}")?;
            writeln!(f, "    enable_ipv6: true")?;
            let mtu =
                self.mtus.get(name).map(|mtu| format!("com.docker.network.driver.mtu: {mtu}"));
            let device = self.device.map(|device| format!("netebpf.device: {device}"));
            let options: Vec<String> = mtu.into_iter().chain(device).collect();
            writeln!(f, "    driver_opts: {{{}}}", options.join(", "))?;
            writeln!(f, "    ipam:")?;
            writeln!(f, "      config:")?;
            writeln!(f, "        - {{subnet: 10.{second}.0.0/24, gateway: 10.{second}.0.1}}")?;
            writeln!(f, "        - {{subnet: \"fd{second}::/64\", gateway: \"fd{second}::1\"}}")?;
        }
        writeln!(f, "services:")?;
        for (name, network, second, host) in ENDPOINTS {
            writeln!(f, "  {name}:")?;
            writeln!(f, "    networks:")?;
            writeln!(f, "      {network}:")?;
            writeln!(f, "        ipv4_address: 10.{second}.0.{host}")?;
            writeln!(f, "        ipv6_address: \"fd{second}::{host}\"")?;
            if let Some(ports) = self.ports.get(name) {
                writeln!(f, "    ports: {ports:?}")?;
            }
            if let Some(command) = self.commands.get(name) {
                writeln!(f, "    command: {command}")?;
            }
        }
        Ok(())
    }
}

const NETWORKS: [(&str, u8, bool); 3] =
    [("front", 10, false), ("back", 20, false), ("inner", 30, true)];

const ENDPOINTS: [(&str, &str, u8, u8); 5] = [
    ("c1", "front", 10, 11),
    ("c2", "front", 10, 12),
    ("d1", "back", 20, 11),
    ("i1", "inner", 30, 11),
    ("i2", "inner", 30, 12),
];
