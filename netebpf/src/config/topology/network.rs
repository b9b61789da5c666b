//! The file's networks.

use super::{
    ConfigError, ExternalNetwork, Problem, Reader,
    error::Fault,
    raw,
    section::Section,
    text::{At, Entries, Shape, Text},
};
use crate::{
    config::options::{self, OptionError},
    model::requests::{
        DEFAULT_NETWORK, EndpointRequest, NetworkRequest, SubnetRequest, check_network_name,
    },
};
use ipnet::IpNet;
use std::{collections::BTreeMap, str::FromStr};

/// The network that a service joins when it names none.
pub(super) const DEFAULT: &str = "default";

/// The networks of a file, and the names that its services know them by.
pub(super) struct NetworkNames {
    pub(super) networks: Vec<NetworkRequest>,
    pub(super) external: Vec<ExternalNetwork>,
    /// The key in the file, and the network's name.
    pub(super) by_key: BTreeMap<String, String>,
}

impl NetworkNames {
    /// Reads the section, and adds [`DEFAULT`] where a service needs it.
    pub(super) fn new(
        reader: &mut Reader,
        section: Vec<(Text, Option<Section<raw::Network>>)>,
        services: &[(Text, Option<Section<raw::Service>>)],
    ) -> Result<Self, ConfigError> {
        let mut names =
            Self { networks: Vec::new(), external: Vec::new(), by_key: BTreeMap::new() };
        for (key, network) in section {
            let owner = format!("network {:?}", key.value);
            let network = reader.keys(network.unwrap_or_default(), &owner)?;
            names.add(&mut Of { reader, owner }, &key, network)?;
        }
        let joins_default = |service: &Option<Section<raw::Service>>| {
            service.as_ref().is_none_or(|service| {
                service.value.names_no_network() || service.value.names_network(DEFAULT)
            })
        };
        let needed = services.iter().find(|(_, service)| joins_default(service));
        if let Some((service, _)) = needed.filter(|_| !names.by_key.contains_key(DEFAULT)) {
            names.by_key.insert(DEFAULT.to_owned(), DEFAULT.to_owned());
            names.networks.push(NetworkRequest {
                place: Some(reader.at(service)),
                ..NetworkRequest::new(DEFAULT)
            });
        }
        Ok(names)
    }

    /// Whether nothing from outside reaches any network that an endpoint joins.
    pub(super) fn all_internal(&self, endpoint: &EndpointRequest) -> bool {
        endpoint.networks.iter().all(|joined| {
            self.networks.iter().any(|network| network.internal && network.name == joined.network)
        })
    }

    fn add(&mut self, of: &mut Of, key: &Text, raw: raw::Network) -> Result<(), ConfigError> {
        let name = raw.name.as_ref().unwrap_or(key);
        let plain = of.plain(name)?;
        let external = of.boolean("external", raw.external.as_ref())?.unwrap_or(false);
        // `bridge` is made by whoever joins it.
        if !(external && plain == DEFAULT_NETWORK) {
            check_network_name(&plain).map_err(|error| of.error(name, error.into()))?;
        }
        if self.by_key.values().any(|other| *other == plain) {
            return Err(of.error(name, Fault::NameTwice(plain)));
        }
        self.by_key.insert(key.value.clone(), plain.clone());
        if external {
            if raw.driver.is_some()
                || raw.driver_opts.is_some()
                || raw.internal.is_some()
                || raw.enable_ipv4.is_some()
                || raw.enable_ipv6.is_some()
                || raw.ipam.is_some()
                || raw.labels.is_some()
            {
                return Err(of.error(key, Fault::External));
            }
            self.external.push(ExternalNetwork { name: plain, place: of.reader.at(key) });
            return Ok(());
        }
        self.networks.push(network(of, key, plain, raw)?);
        Ok(())
    }
}

fn network(
    of: &mut Of,
    key: &Text,
    name: String,
    raw: raw::Network,
) -> Result<NetworkRequest, ConfigError> {
    if let Some(driver) = raw.driver.filter(|driver| driver.value != "bridge") {
        return Err(of.error(&driver, Fault::Driver(driver.value.clone())));
    }
    let mut request = NetworkRequest::new(name);
    request.place = Some(of.reader.at(key));
    request.internal = of.boolean("internal", raw.internal.as_ref())?.unwrap_or(false);
    request.labels = of.pairs("labels", raw.labels)?;
    for (option, value) in raw.driver_opts.unwrap_or_default().0 {
        driver_option(of, &mut request, &option, &value)?;
    }
    if let Some(ipam) = raw.ipam {
        let owner = of.owner.clone();
        let ipam = of.reader.keys(ipam, &format!("{owner}: ipam"))?;
        if let Some(driver) = ipam.driver.filter(|driver| driver.value != "default") {
            return Err(of.error(&driver, Fault::IpamDriver(driver.value.clone())));
        }
        for config in ipam.config.unwrap_or_default() {
            let config = of.reader.keys(config, &format!("{owner}: ipam.config"))?;
            let at = config.subnet.clone().unwrap_or_else(|| key.clone());
            let subnet = subnet(of, key, config)?;
            let v6 = subnet.net.addr().is_ipv6();
            if request.subnets.iter().any(|other| other.net.addr().is_ipv6() == v6) {
                return Err(of.error(&at, Fault::TwoSubnets(if v6 { "IPv6" } else { "IPv4" })));
            }
            request.subnets.push(subnet);
        }
    }
    let has = |v6: bool| {
        request.subnets.iter().find(|subnet| subnet.net.addr().is_ipv6() == v6).map(|s| s.net)
    };
    let v4 = of.boolean("enable_ipv4", raw.enable_ipv4.as_ref())?;
    let v6 = of.boolean("enable_ipv6", raw.enable_ipv6.as_ref())?;
    for (enabled, text, net, name) in [
        (v4, &raw.enable_ipv4, has(false), "enable_ipv4"),
        (v6, &raw.enable_ipv6, has(true), "enable_ipv6"),
    ] {
        if let (Some(false), Some(text), Some(net)) = (enabled, text, net) {
            return Err(of.error(text, Fault::FamilyOff(net, name)));
        }
    }
    (request.ipv4, request.ipv6) = (v4.unwrap_or(true), v6.unwrap_or(has(true).is_some()));
    if !request.ipv4 && !request.ipv6 {
        return Err(of.error(key, Fault::NoFamily));
    }
    Ok(request)
}

fn driver_option(
    of: &mut Of,
    request: &mut NetworkRequest,
    option: &Text,
    value: &Text,
) -> Result<(), ConfigError> {
    options::set(request, &option.value, &of.plain(value)?).map_err(|error| {
        let at = if matches!(error, OptionError::Unknown(_)) { option } else { value };
        of.error(at, error.into())
    })
}

fn subnet(of: &mut Of, key: &Text, raw: raw::IpamConfig) -> Result<SubnetRequest, ConfigError> {
    let anything = raw.gateway.as_ref().or(raw.ip_range.as_ref());
    let Some(text) = &raw.subnet else {
        return Err(of.error(anything.unwrap_or(key), Fault::NoSubnet));
    };
    let net = prefix(of, "subnet", text)?;
    let address = "an address such as 10.10.0.1";
    let gateway =
        raw.gateway.as_ref().map(|text| of.parsed("gateway", text, address)).transpose()?;
    let range = raw.ip_range.as_ref().map(|text| prefix(of, "ip_range", text)).transpose()?;
    let mut reserved = BTreeMap::new();
    for (name, text) in raw.aux_addresses.unwrap_or_default().0 {
        reserved.insert(name.value, of.parsed("aux_addresses", &text, address)?);
    }
    Ok(SubnetRequest { net, gateway, range, reserved, place: Some(of.reader.at(text)) })
}

fn prefix(of: &mut Of, key: &'static str, text: &Text) -> Result<IpNet, ConfigError> {
    let net: IpNet = of.parsed(key, text, "a range such as 10.10.0.0/24")?;
    if net.trunc() != net {
        let fault = Fault::HostBits { key, text: text.value.clone(), right: net.trunc() };
        return Err(of.error(text, fault));
    }
    Ok(net)
}

/// Reads values of one network or service, and names it in every error.
pub(super) struct Of<'a> {
    pub(super) reader: &'a mut Reader,
    pub(super) owner: String,
}

impl Of<'_> {
    pub(super) fn error(&self, at: &Text, fault: Fault) -> ConfigError {
        self.reader.error(at, Problem::Of { owner: self.owner.clone(), fault })
    }

    pub(super) fn wrong(&self, key: &'static str, at: &Text, meant: &'static str) -> ConfigError {
        self.error(at, Fault::Value { key, text: at.value.clone(), meant })
    }

    pub(super) fn plain(&self, text: &Text) -> Result<String, ConfigError> {
        self.reader.plain(text)
    }

    pub(super) fn boolean(
        &self,
        key: &'static str,
        text: Option<&Text>,
    ) -> Result<Option<bool>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        match self.plain(text)?.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(self.wrong(key, text, "true or false")),
        }
    }

    pub(super) fn parsed<T: FromStr>(
        &self,
        key: &'static str,
        text: &Text,
        meant: &'static str,
    ) -> Result<T, ConfigError> {
        self.plain(text)?.parse().map_err(|_| self.wrong(key, text, meant))
    }

    /// Labels: a mapping, or a list of `KEY=VALUE`, where `KEY` alone has an empty value.
    pub(super) fn pairs(
        &self,
        key: &'static str,
        shape: Option<At<Shape<Entries<Option<Text>>>>>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut pairs = BTreeMap::new();
        let Some(shape) = shape else { return Ok(pairs) };
        match &shape.value {
            Shape::Map(entries) => {
                // As Compose: nothing behind the colon is a value that is empty.
                for (name, value) in &entries.0 {
                    let value = value.as_ref().map(|value| self.plain(value)).transpose()?;
                    pairs.insert(name.value.clone(), value.unwrap_or_default());
                }
            }
            Shape::List(list) => {
                for item in list {
                    let plain = self.plain(item)?;
                    let (name, value) = plain.split_once('=').unwrap_or((&plain, ""));
                    if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
                        let name = name.to_owned();
                        return Err(self.error(item, Fault::Twice { key, name }));
                    }
                }
            }
            Shape::Scalar(text) if text.is_empty() => {}
            Shape::Scalar(_) => {
                let fault = Fault::Shape { key, meant: "a mapping or a list of KEY=VALUE" };
                return Err(self.error(&shape.with(String::new()), fault));
            }
        }
        Ok(pairs)
    }
}
