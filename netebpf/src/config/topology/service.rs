//! The file's services: each is one endpoint.

use super::{
    ConfigError, Reader,
    error::{Fault, Problem},
    network::{DEFAULT, NetworkNames, Of},
    raw,
    section::Section,
    text::{At, Entries, NoMap, Shape, Text},
    variables::{VariableError, replace},
    words,
};
use crate::{
    config::{
        endpoint_options::{self, EndpointOptionError},
        ports,
    },
    model::{
        DnsChoice, InterfaceName, MacText, Service,
        requests::{
            AttachmentRequest, DEFAULT_NETWORK, EndpointRequest, NetworkMode, PublishSpec,
            check_name,
        },
    },
};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

/// What arguments to an image's program are, for which there is no program here.
const OF_IMAGE: &str = "has no effect here: it is the image's";

/// Where the program of a service with an image comes from when it is here.
const OF_HOST: &str = "of this host, with the host's files: the image has no effect here";

type Networks = At<Shape<raw::Attachments>>;
type Environment = At<Shape<Entries<Option<Text>>>>;

impl Reader {
    pub(super) fn service(
        &mut self,
        key: &Text,
        raw: Option<Section<raw::Service>>,
        names: &NetworkNames,
        services: &BTreeMap<String, String>,
    ) -> Result<EndpointRequest, ConfigError> {
        let owner = format!("service {:?}", key.value);
        let mut raw = raw.unwrap_or_default();
        let image = raw.others.iter().any(|key| ["image", "build"].contains(&key.value.as_str()));
        let entrypoint = raw.others.extract_if(.., |key| image && key.value == "entrypoint").next();
        if let Some(key) = &entrypoint {
            self.warn(key, format!("{owner}: \"{key}\" {OF_IMAGE}"));
        }
        let raw = self.keys(raw, &owner)?;
        let of = &mut Of { reader: self, owner };
        let joined = if raw.names_no_network() { None } else { raw.networks };
        let name = raw.container_name.as_ref().unwrap_or(key);
        let plain = of.plain(name)?;
        check_name(&plain).map_err(|error| of.error(name, error.into()))?;
        let (mode, mut networks) = match (&raw.network_mode, joined) {
            (Some(text), None) => network_mode(of, text, services)?,
            (Some(text), Some(_)) => return Err(of.error(text, Fault::NetworksAndMode)),
            (None, joined) => {
                let mut networks = networks(of, key, joined, names)?;
                // As in Compose: others know it by its key, whatever the container's name is.
                if plain != key.value && check_name(&key.value).is_ok() {
                    let named =
                        networks.iter_mut().filter(|network| network.network != DEFAULT_NETWORK);
                    named.for_each(|network| network.aliases.push(key.value.clone()));
                }
                (None, networks)
            }
        };
        if let Some(text) = &raw.mac_address {
            mac_of_service(of, text, &mut networks)?;
        }
        let at = raw.command.as_ref().map(|command| command.with("command".to_owned()));
        let mut service = service(of, raw.command, raw.environment, raw.working_dir)?;
        let runs = |service: &Service| {
            let is_program = || (of.reader.surroundings.is_program)(&service.command[0]);
            !image || (entrypoint.is_none() && is_program())
        };
        if let (Some(key), Some(wanted)) = (at, &service) {
            let owner = &of.owner;
            if !runs(wanted) {
                of.reader.warn(&key, format!("{owner}: \"{key}\" {OF_IMAGE}"));
                service = None;
            } else if image {
                let program = &wanted.command[0];
                of.reader.warn(&key, format!("{owner}: \"{key}\" runs {program:?} {OF_HOST}"));
            }
        }
        Ok(EndpointRequest {
            name: Some(plain),
            netns: raw.netns.map(|text| absolute(of, "netns", &text)).transpose()?,
            mode,
            networks,
            publish: publish(of, raw.ports.unwrap_or_default())?,
            service,
            dns: DnsChoice {
                servers: words_of(of, "dns", raw.dns, "an address of a resolver")?,
                search: words_of(of, "dns_search", raw.dns_search, "a search domain")?,
                options: words_of(of, "dns_opt", raw.dns_opt, "an option of resolv.conf")?,
            },
            remove_on_exit: false,
            labels: of.pairs("labels", raw.labels)?,
            place: Some(of.reader.at(key)),
        })
    }

    /// A value as it is meant.
    pub(super) fn plain(&self, text: &Text) -> Result<String, ConfigError> {
        let replaced = replace(&text.value, &self.surroundings.variables, &mut |name| {
            self.warn_unset(text, name)
        });
        let plain = replaced.map_err(|error| {
            let problem = match error {
                VariableError::Syntax => Problem::Variable(text.value.clone()),
                VariableError::Required { name, message } => {
                    Problem::RequiredVariable { name, message }
                }
            };
            self.error(text, problem)
        })?;
        if plain.contains('\0') {
            return Err(self.error(text, Problem::Nul));
        }
        Ok(plain)
    }
}

fn networks(
    of: &mut Of,
    key: &Text,
    raw: Option<Networks>,
    names: &NetworkNames,
) -> Result<Vec<AttachmentRequest>, ConfigError> {
    let entries = match raw.map(|networks| (networks.with(String::new()), networks.value)) {
        None => vec![(key.with(DEFAULT.to_owned()), None)],
        Some((_, Shape::List(list))) => list.into_iter().map(|name| (name, None)).collect(),
        Some((_, Shape::Map(entries))) => entries.0,
        Some((at, Shape::Scalar(_))) => {
            let meant = "a list of networks or a mapping of them";
            return Err(of.error(&at, Fault::Shape { key: "networks", meant }));
        }
    };
    let mut joined: Vec<AttachmentRequest> = Vec::new();
    for (key, raw) in entries {
        let Some(name) = names.by_key.get(&key.value) else {
            return Err(of.error(&key, unknown(&key.value, names)));
        };
        if joined.iter().any(|other| other.network == *name) {
            return Err(of.error(&key, Fault::NetworkTwice(name.clone())));
        }
        let what = format!("{}: network {:?}", of.owner, key.value);
        let raw = of.reader.keys(raw.unwrap_or_default(), &what)?;
        joined.push(attachment(of, &key, name, raw)?);
    }
    Ok(joined)
}

/// What stands in the place of networks.
fn network_mode(
    of: &Of<'_>,
    text: &Text,
    services: &BTreeMap<String, String>,
) -> Result<(Option<NetworkMode>, Vec<AttachmentRequest>), ConfigError> {
    let plain = of.plain(text)?;
    let mode = match plain.split_once(':').unwrap_or((&plain, "")) {
        ("bridge", "") => {
            let mut bridge = AttachmentRequest::new(DEFAULT_NETWORK);
            bridge.place = Some(of.reader.at(text));
            return Ok((None, vec![bridge]));
        }
        ("none", "") => NetworkMode::None,
        ("host", "") => NetworkMode::Host,
        ("container", name) if !name.is_empty() => NetworkMode::Container(name.to_owned()),
        ("service", name) => match services.get(name) {
            Some(endpoint) => NetworkMode::Container(endpoint.clone()),
            None => return Err(of.error(text, Fault::UnknownService(name.to_owned()))),
        },
        _ => {
            let meant = "bridge, host, none, service:NAME or container:NAME";
            return Err(of.wrong("network_mode", text, meant));
        }
    };
    Ok((Some(mode), Vec::new()))
}

/// The Ethernet address of a service is the one of its first interface.
fn mac_of_service(
    of: &Of<'_>,
    text: &Text,
    networks: &mut [AttachmentRequest],
) -> Result<(), ConfigError> {
    let wanted = mac(of, text)?;
    let first = networks.iter_mut().min_by(|a, b| a.turn().cmp(&b.turn()));
    let first = first.ok_or_else(|| of.error(text, Fault::MacAndMode))?;
    if first.mac.is_some_and(|other| other != wanted) {
        return Err(of.error(text, Fault::TwoMacs(first.network.clone())));
    }
    first.mac = Some(wanted);
    Ok(())
}

fn mac(of: &Of<'_>, text: &Text) -> Result<MacText, ConfigError> {
    of.plain(text)?.parse().map_err(|error| of.error(text, Fault::Mac(error)))
}

fn unknown(name: &str, names: &NetworkNames) -> Fault {
    let keys: Vec<&str> = names.by_key.keys().map(String::as_str).collect();
    let defined = match keys.as_slice() {
        [] => format!("add \"networks: {{{name}: {{}}}}\" at the top level"),
        keys => format!("defined are {}", keys.join(", ")),
    };
    Fault::UnknownNetwork { name: name.to_owned(), defined }
}

fn attachment(
    of: &mut Of,
    key: &Text,
    network: &str,
    raw: raw::Attachment,
) -> Result<AttachmentRequest, ConfigError> {
    let number = "a whole number";
    let v4 = "an IPv4 address such as 10.10.0.10";
    let v6 = "an IPv6 address such as fd00::10";
    let mut request = AttachmentRequest::new(network);
    request.place = Some(of.reader.at(key));
    if let Some(text) = &raw.ipv4_address {
        request.v4 = Some(of.parsed("ipv4_address", text, v4)?);
        request.place = Some(of.reader.at(text));
    }
    if let Some(text) = &raw.ipv6_address {
        request.v6 = Some(of.parsed("ipv6_address", text, v6)?);
        request.place = Some(of.reader.at(text));
    }
    if let Some(text) = &raw.mac_address {
        request.mac = Some(mac(of, text)?);
    }
    if let Some(text) = &raw.interface_name {
        let name = InterfaceName::new(of.plain(text)?)
            .map_err(|error| of.error(text, Fault::Interface { key: "interface_name", error }))?;
        request.interface = Some(name);
    }
    if let Some(text) = &raw.priority {
        request.priority = of.parsed("priority", text, number)?;
    }
    if let Some(text) = &raw.gw_priority {
        request.gateway_priority = of.parsed("gw_priority", text, number)?;
    }
    if let Some(text) = raw.link_local_ips.unwrap_or_default().first() {
        return Err(of.error(text, Fault::LinkLocal(text.value.clone())));
    }
    for (option, value) in raw.driver_opts.unwrap_or_default().0 {
        let plain = of.plain(&value)?;
        endpoint_options::set(&mut request, &option.value, &plain).map_err(|error| {
            let unknown = matches!(error, EndpointOptionError::Unknown(_));
            of.error(if unknown { &option } else { &value }, error.into())
        })?;
    }
    for alias in raw.aliases.unwrap_or_default() {
        let plain = of.plain(&alias)?;
        check_name(&plain).map_err(|error| of.error(&alias, error.into()))?;
        request.aliases.push(plain);
    }
    Ok(request)
}

fn publish(
    of: &mut Of,
    entries: Vec<At<Shape<Section<raw::Port>>>>,
) -> Result<Vec<PublishSpec>, ConfigError> {
    let mut specs = Vec::new();
    for entry in entries {
        let at = entry.with(String::new());
        match entry.value {
            Shape::Scalar(text) => {
                let text = of.plain(&at.with(text))?;
                specs.extend(ports::parse(&text).map_err(|error| {
                    of.error(&at, Fault::Port { text: error.text, problem: error.problem })
                })?);
            }
            Shape::Map(port) => specs.extend(long(of, &at, port)?),
            Shape::List(_) => {
                let meant = "text such as \"8080:80\", or a mapping with target and published";
                return Err(of.error(&at, Fault::Shape { key: "ports", meant }));
            }
        }
    }
    Ok(specs)
}

fn long(of: &mut Of, at: &Text, port: Section<raw::Port>) -> Result<Vec<PublishSpec>, ConfigError> {
    let what = format!("{}: ports", of.owner);
    let port = of.reader.keys(port, &what)?;
    let plain = |text: &Option<Text>| text.as_ref().map(|text| of.plain(text)).transpose();
    let Some(target) = plain(&port.target)? else {
        return Err(of.error(at, Fault::NoTarget));
    };
    let (address, published) = (plain(&port.host_ip)?, plain(&port.published)?);
    let protocol = plain(&port.protocol)?;
    let mut allow_from = Vec::new();
    for text in port.allow_from.unwrap_or_default() {
        let range = of.plain(&text)?;
        allow_from.push(ports::source(&range).map_err(|error| of.error(&text, error.into()))?);
    }
    let mut specs =
        ports::combine(address.as_deref(), published.as_deref(), &target, protocol.as_deref())
            .map_err(|problem| of.error(at, Fault::Port { text: target.clone(), problem }))?;
    specs.iter_mut().for_each(|spec| spec.allow_from.clone_from(&allow_from));
    Ok(specs)
}

fn service(
    of: &mut Of,
    command: Option<At<Shape<NoMap>>>,
    environment: Option<Environment>,
    working_dir: Option<Text>,
) -> Result<Option<Service>, ConfigError> {
    let environment = environment.map_or_else(|| Ok(BTreeMap::new()), |e| variables(of, &e))?;
    let working_dir = working_dir.map(|text| absolute(of, "working_dir", &text)).transpose()?;
    let Some(command) = command else { return Ok(None) };
    let at = command.with(String::new());
    let command = match command.value {
        Shape::Scalar(line) => {
            words::split(&of.plain(&at.with(line))?).map_err(|error| of.error(&at, error.into()))?
        }
        Shape::List(words) => {
            words.iter().map(|word| of.plain(word)).collect::<Result<Vec<_>, _>>()?
        }
        Shape::Map(NoMap) => {
            let meant = "one line or a list of words";
            return Err(of.error(&at, Fault::Shape { key: "command", meant }));
        }
    };
    // As in Compose, an empty command is none.
    Ok((!command.is_empty()).then_some(Service { command, environment, working_dir }))
}

/// One word or a list of them.
fn words_of<T: FromStr>(
    of: &mut Of,
    key: &'static str,
    raw: Option<At<Shape<NoMap>>>,
    meant: &'static str,
) -> Result<Vec<T>, ConfigError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let at = raw.with(String::new());
    let words = match raw.value {
        Shape::Scalar(text) if text.is_empty() => Vec::new(),
        Shape::Scalar(text) => vec![at.with(text)],
        Shape::List(list) => list,
        Shape::Map(NoMap) => {
            return Err(of.error(&at, Fault::Shape { key, meant: "one value or a list of values" }));
        }
    };
    words.iter().map(|word| of.parsed(key, word, meant)).collect()
}

/// A variable without a value has the one that it has here, as in Compose, if it has one.
fn variables(of: &Of, shape: &Environment) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    match &shape.value {
        Shape::Map(entries) => {
            for (name, value) in &entries.0 {
                let value = match value {
                    Some(value) => Some(of.plain(value)?),
                    None => of.reader.surroundings.variables.get(&name.value).cloned(),
                };
                variables.extend(value.map(|value| (name.value.clone(), value)));
            }
        }
        Shape::List(list) => {
            for item in list {
                let plain = of.plain(item)?;
                let (name, value) = match plain.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (plain.as_str(), of.reader.surroundings.variables.get(&plain).cloned()),
                };
                let Some(value) = value else { continue };
                if variables.insert(name.to_owned(), value).is_some() {
                    let (key, name) = ("environment", name.to_owned());
                    return Err(of.error(item, Fault::Twice { key, name }));
                }
            }
        }
        Shape::Scalar(text) if text.is_empty() => {}
        Shape::Scalar(_) => {
            let fault =
                Fault::Shape { key: "environment", meant: "a mapping or a list of KEY=VALUE" };
            return Err(of.error(&shape.with(String::new()), fault));
        }
    }
    Ok(variables)
}

fn absolute(of: &Of, key: &'static str, text: &Text) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(of.plain(text)?);
    if !path.is_absolute() {
        return Err(of.wrong(key, text, "a path that begins with /"));
    }
    Ok(path)
}
