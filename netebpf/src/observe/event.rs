//! One thing that happened, in Docker's shape.

use crate::model::{Attachment, Desired, Endpoint, Network, PortMapping};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// What it happened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An endpoint, in Docker's word.
    Container,
    /// A network.
    Network,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Network => "network",
        })
    }
}

/// Which one, and what is to be known of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// Its identifier.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, labels, and what belongs to what happened.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What it happened to.
    #[serde(rename = "Type")]
    pub subject: Subject,
    /// What: create, start, kill (with the signal), die (with the exit code where it is known), stop, restart, destroy,
    /// connect, disconnect, publish, unpublish.
    #[serde(rename = "Action")]
    pub action: String,
    /// Which one.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// "local".
    pub scope: String,
    /// When, seconds since 1970.
    pub time: u64,
    /// Likewise nanoseconds; no two events of a daemon have the same.
    #[serde(rename = "timeNano")]
    pub time_nano: u64,
}

impl Event {
    fn new(
        subject: Subject,
        action: &str,
        id: &str,
        attributes: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            subject,
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes: attributes.into_iter().collect() },
            scope: "local".to_owned(),
            time: now.as_secs(),
            time_nano: now.as_nanos() as u64,
        }
    }

    /// Something that happened to an endpoint.
    pub fn of_endpoint(endpoint: &Endpoint, action: &str, more: &[(&str, String)]) -> Self {
        let labels = endpoint.labels.clone();
        let name = ("name".to_owned(), endpoint.name.clone());
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let attributes = labels.into_iter().chain([name]).chain(more);
        Self::new(Subject::Container, action, endpoint.id.as_str(), attributes)
    }

    fn of_network(network: &Network, action: &str, endpoint: Option<&Endpoint>) -> Self {
        let own = [("name", network.name.clone()), ("type", network.driver.to_string())];
        let endpoint = endpoint.map(|endpoint| ("container", endpoint.id.to_string()));
        let attributes = own.into_iter().chain(endpoint);
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value));
        let labels = network.labels.clone().into_iter();
        Self::new(Subject::Network, action, network.id.as_str(), labels.chain(attributes))
    }
}

/// What happened on the way from one intent to the other, in the order in which it did: what went, then what came.
pub fn between(before: &Desired, after: &Desired) -> Vec<Event> {
    let mut events = Vec::new();
    // Most stay as they are, and some have ten thousand ports.
    let differing: Vec<&String> = before.differing(after).collect();
    for old in differing.iter().filter_map(|name| before.endpoint(name)) {
        let new = after.endpoint(&old.name).filter(|new| new.id == old.id);
        leave(&mut events, before, old, new);
        if new.is_none() {
            events.push(Event::of_endpoint(old, "destroy", &[]));
        }
    }
    let same = |network: &Network, other: &Desired| {
        other.networks.get(&network.name).is_some_and(|other| other.id == network.id)
    };
    let gone = before.networks.values().filter(|network| !same(network, after));
    events.extend(gone.map(|network| Event::of_network(network, "destroy", None)));
    let new = after.networks.values().filter(|network| !same(network, before));
    events.extend(new.map(|network| Event::of_network(network, "create", None)));
    for new in differing.iter().filter_map(|name| after.endpoint(name)) {
        let old = before.endpoint(&new.name).filter(|old| old.id == new.id);
        if old.is_none() {
            events.push(Event::of_endpoint(new, "create", &[]));
        }
        join(&mut events, after, old, new);
    }
    events
}

/// Whether it has the same place on the same network; where its default route goes is another thing.
fn has(endpoint: &Endpoint, joined: &Attachment) -> bool {
    let place = |a: &Attachment| (a.host_interface.clone(), a.interface.clone(), a.v4, a.v6);
    endpoint.attachments.iter().any(|other| place(other) == place(joined))
}

fn leave(events: &mut Vec<Event>, before: &Desired, old: &Endpoint, new: Option<&Endpoint>) {
    let stays = |joined: &Attachment| new.is_some_and(|new| has(new, joined));
    for joined in old.attachments.iter().filter(|joined| !stays(joined)) {
        let network = before.networks.get(&joined.network);
        events.extend(network.map(|network| Event::of_network(network, "disconnect", Some(old))));
    }
    if let Some(new) = new {
        let stay: HashSet<&PortMapping> = new.ports.iter().collect();
        let gone = old.ports.iter().filter(|port| !stay.contains(port));
        events.extend(gone.map(|port| of_port(new, "unpublish", port)));
    }
}

fn join(events: &mut Vec<Event>, after: &Desired, old: Option<&Endpoint>, new: &Endpoint) {
    let was = |joined: &Attachment| old.is_some_and(|old| has(old, joined));
    for joined in new.attachments.iter().filter(|joined| !was(joined)) {
        let network = after.networks.get(&joined.network);
        events.extend(network.map(|network| Event::of_network(network, "connect", Some(new))));
    }
    let were: HashSet<&PortMapping> = old.into_iter().flat_map(|old| &old.ports).collect();
    let ports = new.ports.iter().filter(|port| !were.contains(port));
    events.extend(ports.map(|port| of_port(new, "publish", port)));
}

fn of_port(endpoint: &Endpoint, action: &str, port: &PortMapping) -> Event {
    let host = match port.host_address {
        Some(std::net::IpAddr::V6(v6)) => format!("[{v6}]:{}", port.host_port),
        Some(v4) => format!("{v4}:{}", port.host_port),
        None => port.host_port.to_string(),
    };
    let inside = format!("{}/{}", port.endpoint_port, port.transport);
    Event::of_endpoint(endpoint, action, &[("host", host), ("port", inside)])
}
