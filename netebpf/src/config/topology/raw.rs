//! What the file looks like. The JSON Schema is generated from these types, so each field's comment is
//! what an editor shows.

use super::{
    section::{Keys, Section},
    text::{At, Entries, NoMap, Shape, Text},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A netebpf topology: the networking part of a Compose file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct File {
    /// The topology's name; the directory's when absent.
    pub(super) name: Option<Text>,
    /// Networks by name.
    pub(super) networks: Option<Entries<Option<Section<Network>>>>,
    /// Services by name: each is one endpoint.
    pub(super) services: Option<Entries<Option<Section<Service>>>>,
}

impl File {
    /// Whether nothing stands in it.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() && self.networks.is_none() && self.services.is_none()
    }
}

impl Keys for File {
    const WITHOUT_EFFECT: &'static [&'static str] = &["configs", "secrets", "version", "volumes"];
}

/// A network: a bridge with one subnet of each family.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Network {
    /// The name, where it is not the key.
    pub(super) name: Option<Text>,
    /// Only "bridge".
    pub(super) driver: Option<Text>,
    /// com.docker.network.bridge.name, com.docker.network.bridge.enable_icc,
    /// com.docker.network.driver.mtu.
    pub(super) driver_opts: Option<Entries<Text>>,
    /// No way out and none in.
    #[schemars(with = "Option<bool>")]
    pub(super) internal: Option<Text>,
    /// Whether the network has IPv4; true when absent.
    #[schemars(with = "Option<bool>")]
    pub(super) enable_ipv4: Option<Text>,
    /// Whether the network has IPv6; true when an IPv6 subnet is given.
    #[schemars(with = "Option<bool>")]
    pub(super) enable_ipv6: Option<Text>,
    /// Somebody else makes the network; it has to be there.
    #[schemars(with = "Option<bool>")]
    pub(super) external: Option<Text>,
    /// Subnets and gateways; chosen from the host's pools when absent.
    pub(super) ipam: Option<Section<Ipam>>,
    /// Labels.
    #[schemars(with = "Option<ListOrMap>")]
    pub(super) labels: Option<At<Shape<Entries<Option<Text>>>>>,
}

impl Keys for Network {
    const WITHOUT_EFFECT: &'static [&'static str] = &["attachable"];
}

/// Addresses of a network.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Ipam {
    /// Only "default".
    pub(super) driver: Option<Text>,
    /// The subnets, at most one of each family.
    pub(super) config: Option<Vec<Section<IpamConfig>>>,
}

impl Keys for Ipam {
    const WITHOUT_EFFECT: &'static [&'static str] = &["options"];
}

/// A subnet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct IpamConfig {
    /// The subnet, such as 10.10.0.0/24.
    pub(super) subnet: Option<Text>,
    /// The gateway; the first address when absent.
    pub(super) gateway: Option<Text>,
    /// Where addresses are taken from, such as 10.10.0.128/25.
    pub(super) ip_range: Option<Text>,
    /// Addresses never given to an endpoint, by a name of your choice.
    pub(super) aux_addresses: Option<Entries<Text>>,
}

impl Keys for IpamConfig {}

/// A service: an endpoint, and what runs in it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Service {
    /// The endpoint's name, where it is not the key.
    pub(super) container_name: Option<Text>,
    /// The networks to join; "default" when absent.
    #[schemars(with = "Option<ServiceNetworks>")]
    pub(super) networks: Option<At<Shape<Attachments>>>,
    /// The Ethernet address on the network that is joined first; made from the IP address when absent.
    pub(super) mac_address: Option<Text>,
    /// In the place of networks: "bridge", "host", "none", "service:NAME" or "container:NAME".
    pub(super) network_mode: Option<Text>,
    /// What is published, such as "8080:80" or "127.0.0.1:8443:443/tcp".
    #[schemars(with = "Option<Vec<PortEntry>>")]
    pub(super) ports: Option<Vec<At<Shape<Section<Port>>>>>,
    /// What runs in the namespace; a namespace to work in with `exec` when absent.
    #[schemars(with = "Option<TextOrList>")]
    pub(super) command: Option<At<Shape<NoMap>>>,
    /// Added to the environment of the command.
    #[schemars(with = "Option<ListOrMap>")]
    pub(super) environment: Option<At<Shape<Entries<Option<Text>>>>>,
    /// Where the command starts.
    pub(super) working_dir: Option<Text>,
    /// An existing namespace, such as /run/netns/app. Ours, not Compose's.
    pub(super) netns: Option<Text>,
    /// Who is asked for names that are nobody's here; the host's resolvers when absent.
    #[schemars(with = "Option<TextOrList>")]
    pub(super) dns: Option<At<Shape<NoMap>>>,
    /// Search domains; the host's when absent.
    #[schemars(with = "Option<TextOrList>")]
    pub(super) dns_search: Option<At<Shape<NoMap>>>,
    /// Options of resolv.conf; the host's when absent.
    #[schemars(with = "Option<TextOrList>")]
    pub(super) dns_opt: Option<At<Shape<NoMap>>>,
    /// Labels.
    #[schemars(with = "Option<ListOrMap>")]
    pub(super) labels: Option<At<Shape<Entries<Option<Text>>>>>,
}

/// Networks to join, by name.
pub(super) type Attachments = Entries<Option<Section<Attachment>>>;

impl Service {
    /// Whether it names no network: then it joins the default one.
    pub(super) fn names_no_network(&self) -> bool {
        if self.network_mode.is_some() {
            return false;
        }
        match self.networks.as_ref().map(|networks| &networks.value) {
            None => true,
            Some(Shape::List(list)) => list.is_empty(),
            Some(Shape::Map(entries)) => entries.0.is_empty(),
            Some(Shape::Scalar(_)) => false,
        }
    }

    /// Whether it names a network of this key.
    pub(super) fn names_network(&self, key: &str) -> bool {
        match self.networks.as_ref().map(|networks| &networks.value) {
            Some(Shape::List(list)) => list.iter().any(|name| name.value == key),
            Some(Shape::Map(entries)) => entries.0.iter().any(|(name, _)| name.value == key),
            None | Some(Shape::Scalar(_)) => false,
        }
    }
}

impl Keys for Service {
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "annotations",
        "attach",
        "blkio_config",
        "build",
        "cap_add",
        "cap_drop",
        "cgroup",
        "cgroup_parent",
        "configs",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset",
        "depends_on",
        "deploy",
        "develop",
        "device_cgroup_rules",
        "devices",
        "env_file",
        "expose",
        "gpus",
        "group_add",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "ipc",
        "logging",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "oom_kill_disable",
        "oom_score_adj",
        "pid",
        "pids_limit",
        "platform",
        "privileged",
        "pull_policy",
        "read_only",
        "restart",
        "runtime",
        "secrets",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "storage_opt",
        "tmpfs",
        "tty",
        "ulimits",
        "user",
        "userns_mode",
        "volumes",
    ];
}

/// How a service joins a network.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Attachment {
    /// The IPv4 address; the lowest free one when absent.
    pub(super) ipv4_address: Option<Text>,
    /// The IPv6 address; the lowest free one when absent.
    pub(super) ipv6_address: Option<Text>,
    /// Further names on this network.
    pub(super) aliases: Option<Vec<Text>>,
    /// The Ethernet address; made from the IP address when absent.
    pub(super) mac_address: Option<Text>,
    /// The interface's name inside; eth0, eth1 … when absent.
    pub(super) interface_name: Option<Text>,
    /// com.docker.network.endpoint.ifname, com.docker.network.endpoint.sysctls.
    pub(super) driver_opts: Option<Entries<Text>>,
    /// Not taken: link-local addresses are the kernel's own.
    pub(super) link_local_ips: Option<Vec<Text>>,
    /// Networks are joined in the order of this, the highest first.
    #[schemars(with = "Option<i32>")]
    pub(super) priority: Option<Text>,
    /// The default route goes to the highest.
    #[schemars(with = "Option<i32>")]
    pub(super) gw_priority: Option<Text>,
}

impl Keys for Attachment {}

/// A published port, in the long syntax.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Port {
    /// The endpoint's port, or a range.
    pub(super) target: Option<Text>,
    /// The host's port, or a range; any free one when absent.
    pub(super) published: Option<Text>,
    /// The host's address; every one when absent.
    pub(super) host_ip: Option<Text>,
    /// "tcp" or "udp"; tcp when absent.
    pub(super) protocol: Option<Text>,
    /// Ranges of addresses that may use it; everybody when absent.
    pub(super) allow_from: Option<Vec<Text>>,
}

impl Keys for Port {
    const WITHOUT_EFFECT: &'static [&'static str] = &["app_protocol", "mode", "name"];
}

/// The schema of [`Shape`] where it is labels or an environment.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ListOrMap {
    List(Vec<Text>),
    Map(Entries<Option<Text>>),
}

/// The schema of [`Shape`] where it is a command, or about names.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum TextOrList {
    Text(Text),
    List(Vec<Text>),
}

/// The schema of [`Shape`] where it is a service's networks.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ServiceNetworks {
    List(Vec<Text>),
    Map(Attachments),
}

/// The schema of [`Shape`] where it is a published port.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum PortEntry {
    Short(Text),
    Long(Box<Section<Port>>),
}
