//! Which events somebody wants to see, by Docker's filters.

use super::{Event, Subject};
use std::str::FromStr;

/// One filter, `KEY=VALUE`. Of several with one key one must take an event, and of each key one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventFilter {
    /// `type=network`.
    Subject(Subject),
    /// `event=connect`.
    Action(String),
    /// `container=NAME`, or the beginning of an identifier.
    Container(String),
    /// `network=NAME`, likewise.
    Network(String),
    /// `label=KEY` or `label=KEY=VALUE`.
    Label(String, Option<String>),
}

/// A filter that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// No such key.
    #[error("{0:?} is no filter of events; type=, event=, container=, network= and label= are")]
    Unknown(String),
    /// No such type.
    #[error("type={0:?}: container or network is meant")]
    Subject(String),
}

impl FromStr for EventFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.to_owned();
        Ok(match key {
            "type" => match value.as_str() {
                "container" => Self::Subject(Subject::Container),
                "network" => Self::Subject(Subject::Network),
                _ => return Err(FilterError::Subject(value)),
            },
            "event" => Self::Action(value),
            "container" => Self::Container(value),
            "network" => Self::Network(value),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value, None),
            },
            _ => return Err(FilterError::Unknown(text.to_owned())),
        })
    }
}

impl EventFilter {
    /// Whether all of them let an event through.
    pub fn all_take(filters: &[Self], event: &Event) -> bool {
        let same_key = |a: &Self, b: &Self| std::mem::discriminant(a) == std::mem::discriminant(b);
        filters.iter().all(|filter| {
            // Docker: each label must be there, of all other keys one value.
            if matches!(filter, Self::Label(..)) {
                return filter.takes(event);
            }
            filters.iter().any(|other| same_key(other, filter) && other.takes(event))
        })
    }

    fn takes(&self, event: &Event) -> bool {
        let attributes = &event.actor.attributes;
        let is = |subject: Subject, wanted: &str| {
            let name = attributes.get("name").is_some_and(|name| name == wanted);
            event.subject == subject
                && !wanted.is_empty()
                && (name || event.actor.id.starts_with(wanted))
        };
        match self {
            Self::Subject(subject) => event.subject == *subject,
            Self::Action(action) => event.action == *action,
            Self::Container(wanted) => is(Subject::Container, wanted),
            Self::Network(wanted) => is(Subject::Network, wanted),
            Self::Label(key, value) => attributes
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Actor;

    #[test]
    fn filters_take_as_dockers_do() {
        let attributes = [("name", "front"), ("team", "blue")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let event = Event {
            subject: Subject::Network,
            action: "connect".to_owned(),
            actor: Actor { id: "0123abcd".to_owned(), attributes: attributes.into() },
            scope: "local".to_owned(),
            time: 0,
            time_nano: 0,
        };
        for (filters, taken) in [
            (&[][..], true),
            (&["type=network"], true),
            (&["type=container"], false),
            (&["type=container", "type=network"], true),
            (&["event=connect", "network=front"], true),
            (&["event=create", "network=front"], false),
            (&["network=0123"], true),
            (&["container=front"], false),
            (&["label=team"], true),
            (&["label=team=red"], false),
            (&["label=team=blue", "label=room"], false),
        ] {
            let parsed: Vec<_> = filters.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(EventFilter::all_take(&parsed, &event), taken, "{filters:?}");
        }
        assert!("colour=red".parse::<EventFilter>().is_err());
        assert!("type=volume".parse::<EventFilter>().is_err());
    }
}
