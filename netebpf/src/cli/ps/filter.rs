//! `--filter` of endpoints.

use super::{host_sides, networks, state};
use crate::{
    cli::filter::{Condition, fits, split, unknown, wrong},
    config::ports,
    daemon::api::{EndpointView, LabelFilter},
    model::Transport,
};

/// One condition on an endpoint to list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Filter {
    /// A part of the identifier; `^` and `$` stand for its ends.
    Id(String),
    /// A part of the name, likewise.
    Name(String),
    Label(LabelFilter),
    /// The name of a network that it is on, or the beginning of its identifier.
    Network(String),
    /// Ports of the host, of which it has one.
    Publish(Vec<(u16, Transport)>),
    Status(String),
}

/// `KEY=VALUE`.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    const KNOWN: &str = "id=, label=, name=, network=, publish= and status=";
    const STATES: [&str; 7] =
        ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    match split(text) {
        ("id" | "label" | "name" | "network" | "publish", "") => Err(wrong(text, "a value")),
        ("id", value) => Ok(Filter::Id(value.to_owned())),
        ("label", value) => Ok(Filter::Label(LabelFilter::of(value))),
        // Docker's names begin with one.
        ("name", value) => Ok(Filter::Name(value.replacen("^/", "^", 1))),
        ("network", value) => Ok(Filter::Network(value.to_owned())),
        ("publish", value) => host_ports(value).map(Filter::Publish).map_err(|why| {
            format!("{}: {why}", wrong(text, "a port such as 8080, 53/udp or 8000-8010"))
        }),
        ("status", value) if STATES.contains(&value) => Ok(Filter::Status(value.to_owned())),
        ("status", _) => Err(wrong(text, "created, running or exited")),
        _ => Err(unknown(text, KNOWN)),
    }
}

/// A port or a range, with a protocol or for TCP.
fn host_ports(text: &str) -> Result<Vec<(u16, Transport)>, String> {
    if text.contains(':') {
        return Err("it names neither an address nor a second port".to_owned());
    }
    let specs = ports::parse(text).map_err(|error| error.to_string())?;
    Ok(specs.into_iter().map(|spec| (spec.endpoint_port, spec.transport)).collect())
}

impl Condition for Filter {
    type View = EndpointView;

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }

    fn meets(&self, view: &EndpointView) -> bool {
        let endpoint = &view.endpoint;
        match self {
            Self::Id(part) => fits(part, endpoint.id.as_str()),
            Self::Name(part) => fits(part, &endpoint.name),
            Self::Label(label) => label.takes(&endpoint.labels),
            Self::Network(network) => networks(view).iter().any(|name| {
                let id = view.networks.get(name).map(|network| network.id.as_str());
                name == network || id.is_some_and(|id| id.starts_with(network))
            }),
            Self::Publish(ports) => endpoint
                .ports
                .iter()
                .flat_map(|mapping| {
                    let sides = host_sides(view, mapping).into_iter();
                    sides.filter_map(|side| Some((side.port?, mapping.transport)))
                })
                .any(|port| ports.contains(&port)),
            Self::Status(status) => state(view) == status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        let port = |port, transport| Filter::Publish(vec![(port, transport)]);
        for (text, read) in [
            ("name=^/web$", Filter::Name("^web$".to_owned())),
            ("label=tier=web", Filter::Label(LabelFilter::of("tier=web"))),
            ("status=paused", Filter::Status("paused".to_owned())),
            ("publish=80", port(80, Transport::Tcp)),
            ("publish=53/udp", port(53, Transport::Udp)),
            ("publish=80-81", Filter::Publish(vec![(80, Transport::Tcp), (81, Transport::Tcp)])),
        ] {
            assert_eq!(filter(text), Ok(read), "{text}");
        }
        for (text, right) in [
            ("colour=red", "id=, label=, name=, network=, publish= and status="),
            ("name", "a value"),
            ("status=asleep", "running"),
            ("publish=8080:80", "neither an address"),
            ("publish=70000", "65535"),
            ("", "understood"),
        ] {
            let said = filter(text).unwrap_err();
            assert!(said.contains("invalid filter") && said.contains(right), "{text}: {said}");
        }
    }
}
