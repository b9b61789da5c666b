//! `--filter` of networks.

use crate::{
    cli::{
        filter::{Condition, fits, split, unknown, wrong},
        output::moment,
    },
    daemon::{
        api::{LabelFilter, NetworkView, PruneRequest},
        now,
    },
    drivers,
    model::predefined::is_predefined,
};

/// One condition on a network to list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Filter {
    Driver(String),
    /// A part of the identifier; `^` and `$` stand for its ends.
    Id(String),
    /// A part of the name, likewise.
    Name(String),
    Label(LabelFilter),
    Scope(String),
    /// Made by somebody, or always there.
    Custom(bool),
    /// Nobody is on it.
    Dangling(bool),
}

/// `KEY=VALUE`.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    const KNOWN: &str = "dangling=, driver=, id=, label=, name=, scope= and type=";
    let wrong = |right| wrong(text, right);
    match split(text) {
        ("driver" | "id" | "name" | "scope" | "label", "") => Err(wrong("a value")),
        ("driver", value) => Ok(Filter::Driver(value.to_owned())),
        ("id", value) => Ok(Filter::Id(value.to_owned())),
        ("name", value) => Ok(Filter::Name(value.to_owned())),
        ("label", value) => Ok(Filter::Label(LabelFilter::of(value))),
        ("scope", value) => Ok(Filter::Scope(value.to_owned())),
        ("type", "custom") => Ok(Filter::Custom(true)),
        ("type", "builtin") => Ok(Filter::Custom(false)),
        ("type", _) => Err(wrong("custom or builtin")),
        ("dangling", value) => match value {
            "true" | "1" => Ok(Filter::Dangling(true)),
            "false" | "0" => Ok(Filter::Dangling(false)),
            _ => Err(wrong("true or false")),
        },
        _ => Err(unknown(text, KNOWN)),
    }
}

impl Condition for Filter {
    type View = NetworkView;

    fn is_label(&self) -> bool {
        matches!(self, Self::Label(_))
    }

    fn meets(&self, view: &NetworkView) -> bool {
        let network = &view.network;
        let custom = !is_predefined(&network.name);
        match self {
            Self::Driver(driver) => drivers::of(network.driver).name() == driver,
            Self::Id(part) => fits(part, network.id.as_str()),
            Self::Name(part) => fits(part, &network.name),
            Self::Label(label) => label.takes(&network.labels),
            Self::Scope(scope) => scope == "local",
            Self::Custom(wanted) => *wanted == custom,
            Self::Dangling(wanted) => *wanted == (custom && view.endpoints.is_empty()),
        }
    }
}

/// What is to be pruned.
pub(super) fn prune(filters: &[String]) -> Result<PruneRequest, String> {
    let mut request = PruneRequest::default();
    for text in filters {
        let wrong = |right| wrong(text, right);
        match text.split_once('=') {
            Some(("until", value)) => {
                let right = "10m, 24h, 2026-11-20T23:41:21Z or seconds since 1970";
                let until = moment(value, now()).ok_or_else(|| wrong(right))?;
                request.until = Some(request.until.map_or(until, |other| other.min(until)));
            }
            Some(("label", value)) if !value.is_empty() => {
                request.with.push(LabelFilter::of(value));
            }
            Some(("label!", value)) if !value.is_empty() => {
                request.without.push(LabelFilter::of(value));
            }
            _ => return Err(wrong("until=, label= or label!=")),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::predefined;

    fn view(name: &str, labels: &[(&str, &str)]) -> NetworkView {
        let mut network = predefined::bare(&"default".parse().unwrap(), name, 0);
        network.labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        NetworkView { network, endpoints: Vec::new() }
    }

    #[test]
    fn alternatives_and_conditions() {
        let front = view("front", &[("tier", "web"), ("old", "")]);
        for (filters, takes) in [
            (&["name=ron"][..], true),
            (&["name=^front$"], true),
            (&["name=^ron"], false),
            (&["name=back", "name=front"], true),
            (&["name=front", "driver=host"], false),
            (&["driver=host", "driver=bridge"], true),
            (&["label=tier"], true),
            (&["label=tier=web", "label=old"], true),
            (&["label=tier=web", "label=new"], false),
            (&["label=tier=we"], false),
            (&["type=custom"], true),
            (&["type=builtin"], false),
            (&["type=builtin", "type=custom"], true),
            (&["dangling=true"], true),
            (&["dangling=0"], false),
            (&["scope=local"], true),
            (&["scope=swarm"], false),
            (&["id=0000000000000000"], false),
        ] {
            let read: Vec<_> = filters.iter().map(|text| filter(text).unwrap()).collect();
            assert_eq!(Filter::all(&read, &front), takes, "{filters:?}");
        }
        assert!(Filter::all(&[filter("type=builtin").unwrap()], &view("host", &[])));
        assert!(!Filter::all(&[filter("dangling=true").unwrap()], &view("host", &[])));
        for wrong in ["colour=red", "type=own", "dangling=maybe", "name", "label=", ""] {
            assert!(filter(wrong).unwrap_err().contains("invalid filter"), "{wrong}");
        }
    }

    #[test]
    fn what_to_prune() {
        let read = |filters: &[&str]| {
            prune(&filters.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let request = read(&["until=1000", "label=a=b", "label!=keep"]).unwrap();
        assert_eq!(request.until, Some(1000));
        let labels = |pairs: &[(&str, &str)]| view("x", pairs).network.labels;
        assert!(request.takes(&labels(&[("a", "b")]), 999));
        assert!(!request.takes(&labels(&[("a", "b")]), 1000));
        assert!(!request.takes(&labels(&[("a", "b"), ("keep", "")]), 1));
        assert!(!request.takes(&labels(&[]), 1));
        for wrong in ["until=soon", "name=x", "until", "label="] {
            assert!(read(&[wrong]).unwrap_err().contains("invalid filter"), "{wrong}");
        }
    }
}
