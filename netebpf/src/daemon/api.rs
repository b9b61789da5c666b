//! What goes over the control socket: JSON over HTTP, one path an operation.
//!
//! **Invariant**: the command line and the daemon share these types and nothing else. Every operation
//! that changes something answers after it is done, and either did all of it or nothing.

use crate::{
    config::topology::Topology,
    model::{
        BigTcp, Endpoint, InterfaceName, Network, PortMapping, XdpMode, requests::PublishSpec,
    },
    plan::GsoChoice,
    state::Process,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

pub use crate::{
    kernel::{FlowSnapshot, HookStatus},
    model::requests::{AttachmentRequest, EndpointRequest, NetworkRequest},
};

/// The paths.
pub mod path {
    /// POST [`super::UpRequest`], answers [`super::UpReply`].
    pub const UP: &str = "/v1/up";
    /// POST [`super::DownRequest`], answers [`super::Changes`].
    pub const DOWN: &str = "/v1/down";
    /// GET, answers [`super::Status`].
    pub const STATUS: &str = "/v1/status";
    /// GET with [`super::EndpointsQuery`]: a list of [`super::EndpointView`]. POST [`super::CreateRequest`], answers one.
    pub const ENDPOINTS: &str = "/v1/endpoints";
    /// POST [`super::RemoveRequest`], answers [`super::Changes`].
    pub const ENDPOINTS_REMOVE: &str = "/v1/endpoints/remove";
    /// POST [`super::StopRequest`], answers [`super::Changes`] when the command has ended.
    pub const ENDPOINTS_STOP: &str = "/v1/endpoints/stop";
    /// POST [`super::StartRequest`], answers [`super::Changes`].
    pub const ENDPOINTS_START: &str = "/v1/endpoints/start";
    /// POST [`super::StopRequest`], answers [`super::Changes`].
    pub const ENDPOINTS_RESTART: &str = "/v1/endpoints/restart";
    /// POST [`super::ProcessReport`], answers nothing.
    pub const ENDPOINTS_PROCESS: &str = "/v1/endpoints/process";
    /// GET: a list of [`super::NetworkView`]. POST [`super::CreateNetworkRequest`], answers one.
    pub const NETWORKS: &str = "/v1/networks";
    /// POST [`super::RemoveRequest`], answers [`super::Changes`].
    pub const NETWORKS_REMOVE: &str = "/v1/networks/remove";
    /// POST [`super::PruneRequest`], answers [`super::Pruned`].
    pub const NETWORKS_PRUNE: &str = "/v1/networks/prune";
    /// POST [`super::ConnectRequest`], answers [`super::Changes`].
    pub const NETWORKS_CONNECT: &str = "/v1/networks/connect";
    /// POST [`super::DisconnectRequest`], answers [`super::Changes`].
    pub const NETWORKS_DISCONNECT: &str = "/v1/networks/disconnect";
    /// POST [`super::PublishRequest`], answers [`super::Published`].
    pub const PORTS_PUBLISH: &str = "/v1/ports/publish";
    /// POST [`super::PublishRequest`], answers [`super::Changes`].
    pub const PORTS_UNPUBLISH: &str = "/v1/ports/unpublish";
    /// GET with [`super::EventsQuery`]: a line of JSON for each [`crate::observe::Event`], as it happens.
    pub const EVENTS: &str = "/v1/events";
    /// GET: a list of [`super::FlowSnapshot`].
    pub const FLOWS: &str = "/v1/flows";
    /// GET, answers [`super::FlowFindings`].
    pub const FLOWS_CHECK: &str = "/v1/flows/check";
    /// POST [`super::FlowFilter`], answers [`super::FlowsRemoved`].
    pub const FLOWS_REMOVE: &str = "/v1/flows/remove";
    /// POST [`super::GcRequest`], answers [`super::Changes`].
    pub const GC: &str = "/v1/gc";
}

/// A header of the last answer of a daemon: nothing is left of the instance, and it ends now. Whoever
/// asked waits for that, so that a command that returned left nothing behind.
pub const ENDED: &str = "netebpf-ended";

/// Why an operation was refused: the body of every answer that is not 200.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// One line for the user: what, where, what would be right.
    pub message: String,
    /// Docker's exit code of a command that does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
}

/// What the user said about the host. What is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HostChoice {
    /// The uplinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplinks: Option<Vec<InterfaceName>>,
    /// Where their program runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<XdpMode>,
    /// How long the packets of endpoints' TCP are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub big_tcp: Option<BigTcp>,
}

/// `up`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpRequest {
    /// The topology file, read and checked by itself.
    pub topology: Topology,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the user said about the host.
    pub host: HostChoice,
}

/// What `up` did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpReply {
    /// What changed.
    pub changes: Vec<String>,
    /// The endpoints of the file.
    pub endpoints: Vec<EndpointView>,
}

/// `down`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DownRequest {
    /// The topology to take away; what the command line made when absent.
    #[serde(default)]
    pub topology: Option<String>,
    /// Everything.
    #[serde(default)]
    pub all: bool,
}

/// What an operation did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Each in plain words.
    pub changes: Vec<String>,
}

/// `create`, `run`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateRequest {
    /// The endpoint.
    pub endpoint: EndpointRequest,
    /// What the user said about the host.
    #[serde(default)]
    pub host: HostChoice,
    /// The caller's process, when the caller starts the command itself: until it reports one, its own
    /// end is the command's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<u32>,
}

/// `network create`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateNetworkRequest {
    /// The network.
    pub network: NetworkRequest,
}

/// Endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EndpointsQuery {
    /// Those alone that a user may mean by this: a name, or the beginning of an identifier.
    #[serde(default)]
    pub like: Option<String>,
}

/// `events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventsQuery {
    /// From when on, nanoseconds since 1970.
    pub since: u64,
    /// Whether to wait for what comes.
    pub follow: bool,
}

/// `publish`, `unpublish`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishRequest {
    /// Name, or unique beginning of an identifier.
    pub endpoint: String,
    /// The ports.
    pub ports: Vec<PublishSpec>,
}

/// What was published.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Published {
    /// The ports, every open choice made.
    pub ports: Vec<PortMapping>,
}

/// `rm`, `network rm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// Names, or unique beginnings of identifiers.
    pub names: Vec<String>,
    /// Also what runs.
    #[serde(default)]
    pub force: bool,
}

/// `stop`, `restart`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StopRequest {
    /// Name, or unique beginning of an identifier.
    pub endpoint: String,
    /// How many seconds its command has between SIGTERM and SIGKILL; as many as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// `start`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StartRequest {
    /// Name, or unique beginning of an identifier.
    pub endpoint: String,
}

/// A label, and its value where it matters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabelFilter {
    /// The key.
    pub key: String,
    /// The value; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl LabelFilter {
    /// Of `KEY` or `KEY=VALUE`.
    pub fn of(text: &str) -> Self {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        Self { key: key.to_owned(), value }
    }

    /// Whether it is among them.
    pub fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        found.is_some_and(|found| self.value.as_ref().is_none_or(|wanted| wanted == found))
    }
}

/// `network prune`: networks that no endpoint is on, made before a moment, with all of some labels and none of others.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PruneRequest {
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// These labels.
    #[serde(default)]
    pub with: Vec<LabelFilter>,
    /// And not these.
    #[serde(default)]
    pub without: Vec<LabelFilter>,
}

impl PruneRequest {
    /// Whether one with these labels, made then, is meant.
    pub fn takes(&self, labels: &BTreeMap<String, String>, created: u64) -> bool {
        self.until.is_none_or(|until| created < until)
            && self.with.iter().all(|label| label.takes(labels))
            && !self.without.iter().any(|label| label.takes(labels))
    }
}

/// What `network prune` removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Their names.
    pub networks: Vec<String>,
}

/// `network connect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// The endpoint: its name, or a unique beginning of its identifier.
    pub endpoint: String,
    /// The network, likewise, and what is asked for there.
    pub attachment: AttachmentRequest,
}

/// `network disconnect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DisconnectRequest {
    /// The network: its name, or a unique beginning of its identifier.
    pub network: String,
    /// The endpoint, likewise.
    pub endpoint: String,
}

/// What the command of a foreground `run` does: the caller's child, so the caller tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The endpoint's identifier.
    pub endpoint: String,
    /// Its process.
    pub pid: u32,
    /// Its exit code, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
}

/// `gc`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GcRequest {
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// An endpoint as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndpointView {
    /// What it should be.
    pub endpoint: Endpoint,
    /// What runs, or ran, in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Its namespace, also for who is in another one than the daemon.
    pub namespace: PathBuf,
    /// The output of its service.
    pub log: PathBuf,
    /// Its networks, by name.
    pub networks: BTreeMap<String, Network>,
    /// Directories whose files its commands see in /etc, the later one's first.
    #[serde(default)]
    pub etc: Vec<PathBuf>,
}

/// A network as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetworkView {
    /// What it should be.
    pub network: Network,
    /// Who is on it.
    pub endpoints: Vec<Endpoint>,
}

/// Which flows; those that meet every part that is given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlowFilter {
    /// `tcp`, `udp` or `icmp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// As [`FlowSnapshot::state`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The endpoint's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// An address in either tuple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// A port in either tuple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl FlowFilter {
    /// Whether a flow meets it.
    pub fn takes(&self, flow: &FlowSnapshot) -> bool {
        let (original, reply) = (&flow.original, &flow.reply);
        let addresses = [original, reply].map(|tuple| [tuple.source, tuple.destination]);
        let endpoints = [&flow.endpoint, &flow.peer];
        let ports = [original, reply].map(|tuple| [tuple.source_port, tuple.destination_port]);
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
        };
        is(&self.protocol, &flow.protocol)
            && is(&self.state, &flow.state)
            && self
                .endpoint
                .as_ref()
                .is_none_or(|name| endpoints.into_iter().flatten().any(|own| own == name))
            && self.address.is_none_or(|address| addresses.as_flattened().contains(&address))
            && self.port.is_none_or(|port| ports.as_flattened().contains(&port))
    }
}

/// How many flows were removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlowsRemoved {
    /// The number.
    pub removed: usize,
}

/// What is wrong with the table of flows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlowFindings {
    /// A sentence each.
    pub findings: Vec<String>,
}

/// The instance as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub instance: String,
    /// The daemon's process id.
    pub pid: u32,
    /// The daemon's version.
    pub version: String,
    /// When the daemon started, seconds since 1970.
    pub started: u64,
    /// The interfaces to the outside.
    pub uplinks: Vec<UplinkStatus>,
    /// Which program runs where, and why so.
    pub hooks: Vec<HookStatus>,
    /// How long the packets of each network's endpoints are that are cut where they leave, by the network's name.
    pub gso: BTreeMap<String, GsoChoice>,
    /// The networks.
    pub networks: Vec<Network>,
    /// The endpoints.
    pub endpoints: Vec<EndpointView>,
    /// The sysctls that were changed.
    pub sysctls: Vec<SysctlStatus>,
    /// How full the table of flows is.
    pub flows: FlowUse,
    /// Packets by verdict and reason (`drop/spoofed_mac`), of each endpoint and uplink by its name;
    /// those that are 0 are left out.
    pub counters: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An uplink.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UplinkStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
}

/// A sysctl that was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SysctlStatus {
    /// Its path below `/proc/sys`.
    pub name: String,
    /// What it is now; absent when it went with its interface.
    pub now: Option<String>,
    /// What it was, and will be again.
    pub before: String,
}

/// The table of flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlowUse {
    /// Live flows.
    pub used: u64,
    /// Places.
    pub capacity: u64,
}
