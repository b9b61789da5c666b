//! Published ports as they are written: `8080:80`, `127.0.0.1:8000-8010:80-90/udp`.
//!
//! **Invariant**: every form that Docker takes is taken and means the same; every other one is an
//! error that says which part is wrong.

use crate::model::Transport;
pub use crate::model::requests::{HostPort, PublishSpec};
use ipnet::IpNet;
use std::net::IpAddr;

/// Why a text publishes nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("port {text:?}: {problem}")]
pub struct PortError {
    /// What the user wrote.
    pub text: String,
    /// What is wrong with it.
    pub problem: PortProblem,
}

/// What is wrong with a published port.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PortProblem {
    /// Nothing where the endpoint's port is due.
    #[error("the endpoint's port is missing; write [ADDRESS:][HOST PORT:]PORT[/PROTOCOL]")]
    NoPort,
    /// Not a number.
    #[error("{0:?} is not a port; a number from 1 to 65535 is meant")]
    NotANumber(String),
    /// Zero.
    #[error("0 is not a port to publish; leave the host's port out for any free one")]
    Zero,
    /// Too large.
    #[error("{0} is larger than 65535, the last port")]
    TooLarge(String),
    /// Last before first.
    #[error("the range {0}-{1} runs backwards; write {1}-{0}")]
    Backwards(u16, u16),
    /// Two ranges that do not pair.
    #[error(
        "{host} ports of the host for {endpoint} of the endpoint; ranges of one length are meant"
    )]
    Unequal {
        /// Ports on the host's side.
        host: usize,
        /// Ports on the endpoint's side.
        endpoint: usize,
    },
    /// Neither tcp nor udp.
    #[error("{0:?} is not a protocol with ports to publish; tcp or udp is meant")]
    Protocol(String),
    /// Not an address.
    #[error(
        "{0:?} is not an address of the host; one such as 127.0.0.1 or [::1] is meant, and no name"
    )]
    Address(String),
    /// A bracket that is not closed, or something between it and the colon.
    #[error("an IPv6 address stands in brackets, with a colon after them: [::1]:8080:80")]
    Brackets,
}

/// Reads one text; a range gives one mapping a port.
///
/// # Errors
///
/// A [`PortError`] that names the text and its wrong part.
pub fn parse(text: &str) -> Result<Vec<PublishSpec>, PortError> {
    split(text).map_err(|problem| PortError { text: text.to_owned(), problem })
}

fn split(text: &str) -> Result<Vec<PublishSpec>, PortProblem> {
    let (text, protocol) = match text.rsplit_once('/') {
        Some((rest, protocol)) => (rest, Some(protocol)),
        None => (text, None),
    };
    let (address, ports) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, ports) = rest.split_once("]:").ok_or(PortProblem::Brackets)?;
            (Some(address), ports)
        }
        None => match text.rmatch_indices(':').nth(1) {
            // As Docker: whatever stands before the last two parts is the address, colons included.
            Some((colon, _)) => (Some(&text[..colon]), &text[colon + 1..]),
            None => (None, text),
        },
    };
    let (host, endpoint) = match ports.rsplit_once(':') {
        Some((host, endpoint)) => (Some(host).filter(|host| !host.is_empty()), endpoint),
        None if address.is_some() => return Err(PortProblem::NoPort),
        None => (None, ports),
    };
    combine(address, host, endpoint, protocol)
}

/// Puts together what the short and the long syntax say apart: `address`, the ports of the host and of
/// the endpoint (each one or a range) and the protocol.
///
/// # Errors
///
/// The wrong part.
pub fn combine(
    address: Option<&str>,
    host: Option<&str>,
    endpoint: &str,
    protocol: Option<&str>,
) -> Result<Vec<PublishSpec>, PortProblem> {
    let transport = match protocol.map(str::to_ascii_lowercase).as_deref() {
        None | Some("tcp") => Transport::Tcp,
        Some("udp") => Transport::Udp,
        Some(_) => return Err(PortProblem::Protocol(protocol.unwrap_or_default().to_owned())),
    };
    let host_address = address.map(parse_address).transpose()?;
    if endpoint.is_empty() {
        return Err(PortProblem::NoPort);
    }
    let (first, last) = range(endpoint)?;
    let host = host.map(range).transpose()?;
    let spec = |host_port, endpoint_port| PublishSpec {
        host_address,
        host_port,
        endpoint_port,
        transport,
        allow_from: Vec::new(),
    };
    match host {
        None => Ok((first..=last).map(|port| spec(HostPort::Any, port)).collect()),
        Some((low, high)) if high - low == last - first => Ok((low..=high)
            .zip(first..=last)
            .map(|(host, port)| spec(HostPort::One(host), port))
            .collect()),
        Some((low, high)) if first == last => Ok(vec![spec(HostPort::Within(low, high), first)]),
        Some((low, high)) => Err(PortProblem::Unequal {
            host: usize::from(high - low) + 1,
            endpoint: usize::from(last - first) + 1,
        }),
    }
}

/// Why a text is no range of sources.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// Not a range.
    #[error("{0:?} is no range of addresses; one such as 192.0.2.0/24 or an address is meant")]
    NotARange(String),
    /// Host bits in it.
    #[error("{text} has host bits set; {right} is meant")]
    HostBits {
        /// What was given.
        text: String,
        /// What would be right.
        right: IpNet,
    },
}

/// Reads a range of sources: a prefix, or an address alone.
///
/// # Errors
///
/// What is wrong with it.
pub fn source(text: &str) -> Result<IpNet, SourceError> {
    let wrong = || SourceError::NotARange(text.to_owned());
    let range = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?,
    };
    if range.trunc() != range {
        return Err(SourceError::HostBits { text: text.to_owned(), right: range.trunc() });
    }
    Ok(range)
}

fn parse_address(text: &str) -> Result<IpAddr, PortProblem> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| PortProblem::Address(text.to_owned()))
}

fn range(text: &str) -> Result<(u16, u16), PortProblem> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err(PortProblem::Backwards(first, last));
    }
    Ok((first, last))
}

fn port(text: &str) -> Result<u16, PortProblem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortProblem::NotANumber(text.to_owned()));
    }
    match text.parse() {
        Ok(0) => Err(PortProblem::Zero),
        Ok(port) => Ok(port),
        Err(_) => Err(PortProblem::TooLarge(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
