//! `netebpf.yaml`: the part of Compose that is about networks.
//!
//! [`raw`] is what the file looks like, [`network`] and [`service`] check its values and turn them into
//! the same requests that the command line sends.
//!
//! **Invariant**: a key that is not understood is an error, and one that is accepted without effect is a
//! warning, each with its line and column. Nothing but the text and the [`Surroundings`] that are handed in says what
//! a file means.

mod error;
mod network;
mod raw;
mod section;
mod service;
mod text;
mod variables;
mod words;

pub use error::{ConfigError, Problem};
pub use variables::Variables;
pub(super) use variables::{VariableError, replace};

use crate::{
    drivers::{self, Publishing},
    model::{
        Place,
        requests::{EndpointRequest, NetworkRequest, check_name},
    },
};
use network::NetworkNames;
use raw::File;
use section::Section;
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::BTreeMap, fmt, path::Path};
use text::Text;

/// The longest file that is read, in bytes: far more than a host can hold endpoints for.
pub const MAX_BYTES: usize = 4 << 20;

/// A network that somebody else made and that the file's services join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExternalNetwork {
    /// The name.
    pub name: String,
    /// Where the file says so.
    pub place: Place,
}

/// A topology file, read and checked by itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topology {
    /// The file's `name`, or that of its directory.
    pub name: String,
    /// The networks to make.
    pub networks: Vec<NetworkRequest>,
    /// The networks that have to be there.
    pub external: Vec<ExternalNetwork>,
    /// The services.
    pub endpoints: Vec<EndpointRequest>,
}

/// What a file is read in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The variables that its values may have.
    pub variables: Variables,
    /// Whether there is a program of this name or path: the `command` of a service with an image may be arguments to the
    /// image's own.
    pub is_program: fn(&str) -> bool,
}

impl Default for Surroundings {
    /// No variables, and every program.
    fn default() -> Self {
        Self { variables: Variables::new(), is_program: |_| true }
    }
}

/// Something in the file that has no effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Reads a topology file, whose values may have variables of its surroundings. `file_name` stands in every message; where the file has no `name`, its
/// directory's is taken from it, as Compose does.
///
/// # Errors
///
/// The first thing that is wrong, with its line and column.
pub fn parse(
    text: &str,
    file_name: &str,
    surroundings: Surroundings,
) -> Result<(Topology, Vec<Warning>), ConfigError> {
    let mut reader =
        Reader { file: file_name.to_owned(), surroundings, warnings: RefCell::default() };
    let topology = reader.topology(text)?;
    Ok((topology, reader.warnings.into_inner()))
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Section<File>).to_value()
}

/// The file being read and what was noticed so far.
struct Reader {
    file: String,
    surroundings: Surroundings,
    warnings: RefCell<Vec<Warning>>,
}

impl Reader {
    fn place(&self, line: u64, column: u64) -> Place {
        Place { file: self.file.clone(), line, column }
    }

    fn at(&self, text: &Text) -> Place {
        self.place(text.line, text.column)
    }

    fn error(&self, at: &Text, problem: impl Into<Problem>) -> ConfigError {
        ConfigError { place: self.at(at).into(), problem: problem.into() }
    }

    fn warn(&self, at: &Text, text: String) {
        let place = self.at(at);
        self.warnings.borrow_mut().push(Warning { place, text });
    }

    /// Compose's words, once for each variable.
    fn warn_unset(&self, at: &Text, variable: &str) {
        let text = format!("the {variable:?} variable is not set, defaulting to a blank string");
        if !self.warnings.borrow().iter().any(|warning| warning.text == text) {
            self.warn(at, text);
        }
    }

    fn topology(&mut self, text: &str) -> Result<Topology, ConfigError> {
        let file = self.yaml(text)?;
        // A `null`, or comments alone.
        if file.others.is_empty() && file.value.is_empty() {
            return Err(ConfigError { place: self.place(1, 1).into(), problem: Problem::Empty });
        }
        let file = self.keys(file, "the file")?;
        let name = self.name(file.name)?;
        let services = file.services.unwrap_or_default().0;
        let names = NetworkNames::new(self, file.networks.unwrap_or_default().0, &services)?;
        let endpoint_names = service_names(&services);
        let mut endpoints = Vec::new();
        for (key, service) in services {
            let endpoint = self.service(&key, service, &names, &endpoint_names)?;
            let driver = endpoint.mode.as_ref().map(drivers::of_mode);
            if let Some(Publishing::Discarded(why)) = driver.map(|driver| driver.publishing())
                && !endpoint.publish.is_empty()
            {
                self.warn(&key, format!("service {:?}: {why}", key.value));
            }
            let joins = !endpoint.networks.is_empty();
            if joins && !endpoint.publish.is_empty() && names.all_internal(&endpoint) {
                let text = "its networks are all internal: its published ports have no effect";
                self.warn(&key, format!("service {:?}: {text}", key.value));
            }
            endpoints.push(endpoint);
        }
        Ok(Topology { name, networks: names.networks, external: names.external, endpoints })
    }

    fn yaml(&self, text: &str) -> Result<Section<File>, ConfigError> {
        let top = |problem| ConfigError { place: self.place(1, 1).into(), problem };
        if text.len() > MAX_BYTES {
            return Err(top(Problem::TooLarge(text.len())));
        }
        if text.trim_start_matches('\u{feff}').trim().is_empty() {
            return Err(top(Problem::Empty));
        }
        // The parser takes one for the end, and would not read what is behind it.
        if let Some((before, _)) = text.split_once('\0') {
            let last = before.rsplit('\n').next().unwrap_or_default();
            let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            let line = count(before.matches('\n').count()) + 1;
            let column = count(last.trim_start_matches('\u{feff}').chars().count()) + 1;
            return Err(ConfigError {
                place: self.place(line, column).into(),
                problem: Problem::Nul,
            });
        }
        let mut options = serde_saphyr::Options {
            strict_booleans: true,
            with_snippet: false,
            ignore_binary_tag_for_string: true,
            ..serde_saphyr::Options::default()
        };
        // A billion laughs is a few hundred bytes: the limit is on what the aliases unfold to.
        options.alias_limits.max_total_replayed_events = 100_000;
        options.budget =
            Some(serde_saphyr::Budget { max_depth: 32, ..serde_saphyr::Budget::default() });
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let (line, column) =
                error.location().map_or((1, 1), |location| (location.line(), location.column()));
            ConfigError { place: self.place(line, column).into(), problem: Problem::yaml(&error) }
        })
    }

    /// Sorts out the keys of a section that are not in the type: accepted ones warn, all others fail.
    fn keys<T: section::Keys>(
        &mut self,
        section: Section<T>,
        what: &str,
    ) -> Result<T, ConfigError> {
        for key in &section.others {
            if key.value.starts_with("x-") || T::WITHOUT_EFFECT.contains(&key.value.as_str()) {
                self.warn(key, format!("{what}: \"{key}\" has no effect here"));
            } else {
                let problem = Problem::UnknownKey {
                    section: what.to_owned(),
                    key: key.value.clone(),
                    known: section.fields.join(", "),
                };
                return Err(self.error(key, problem));
            }
        }
        Ok(section.value)
    }

    fn name(&self, name: Option<Text>) -> Result<String, ConfigError> {
        match name {
            Some(text) => {
                let name = self.plain(&text)?;
                check_name(&name).map_err(|error| self.error(&text, Problem::FileName(error)))?;
                Ok(name)
            }
            None => directory_name(&self.file).ok_or_else(|| ConfigError {
                place: self.place(1, 1).into(),
                problem: Problem::NoName,
            }),
        }
    }
}

/// The endpoints of services, by the services' keys.
fn service_names(services: &[(Text, Option<Section<raw::Service>>)]) -> BTreeMap<String, String> {
    let name = |(key, service): &(Text, Option<Section<raw::Service>>)| {
        let chosen = service.as_ref().and_then(|service| service.value.container_name.as_ref());
        (key.value.clone(), chosen.unwrap_or(key).value.clone())
    };
    services.iter().map(name).collect()
}

/// The name of the directory that a file stands in, made a name as Compose does.
fn directory_name(file: &str) -> Option<String> {
    let directory = Path::new(file).parent()?.file_name()?.to_str()?.to_lowercase();
    let name: String = directory
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .collect();
    check_name(&name).ok().map(|()| name)
}

#[cfg(test)]
mod tests;
