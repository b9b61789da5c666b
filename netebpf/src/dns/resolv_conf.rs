//! What stands in a resolv.conf (resolv.conf(5)).
//!
//! **Invariant**: pure. What is written is one file that every resolver library reads alike, and its first
//! line says whose it is.

use super::{MOST_SERVERS, RESOLVER};
use crate::model::DnsChoice;
use std::{
    ffi::CString,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) options: Vec<String>,
}

impl ResolvConf {
    /// Reads one; lines that are not understood are skipped, as resolvers do.
    pub(super) fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next();
            let words = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => {
                    read.servers.extend(words.take(1).filter_map(|word| server(&word)));
                }
                // The last of them counts.
                Some("search") => read.search = words.collect(),
                Some("domain") => read.search = words.take(1).collect(),
                Some("options") => read.options.extend(words),
                _ => {}
            }
        }
        read.servers.truncate(MOST_SERVERS);
        if read.servers.is_empty() {
            // What a C library asks then.
            read.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        read
    }

    /// The file of an endpoint whose resolver we are.
    pub(super) fn through_us(&self, mark: &str, choice: &DnsChoice) -> String {
        let chosen: Vec<String> = choice.options.iter().map(ToString::to_string).collect();
        let mut options = chosen.clone();
        if !options.iter().any(|option| is_ndots(option)) {
            // A name of ours has no dot and is no part of a search domain.
            options.insert(0, "ndots:0".to_owned());
        }
        if chosen.is_empty() {
            options.extend(self.options.iter().filter(|option| !is_ndots(option)).cloned());
        }
        write(mark, &[RESOLVER.to_string()], &self.search(choice), &options)
    }

    /// The file of an endpoint that asks the host's resolvers itself; none where they are only on the
    /// host's loopback, unless that is the endpoint's, too.
    pub(super) fn of_the_host(
        &self,
        mark: &str,
        choice: &DnsChoice,
        on_the_host: bool,
    ) -> Option<String> {
        let servers: Vec<String> = match choice.servers.as_slice() {
            [] => {
                let reaches = |server: &&SocketAddr| on_the_host || is_reachable(server);
                let reachable = self.servers.iter().filter(reaches);
                reachable.map(|server| server.ip().to_string()).collect()
            }
            servers => servers.iter().map(ToString::to_string).collect(),
        };
        let options = match choice.options.as_slice() {
            [] => self.options.clone(),
            options => options.iter().map(ToString::to_string).collect(),
        };
        (!servers.is_empty()).then(|| write(mark, &servers, &self.search(choice), &options))
    }

    /// Whether no endpoint can ask the host's resolvers itself.
    pub(super) fn is_only_for_the_host(&self) -> bool {
        !self.servers.iter().any(is_reachable)
    }

    fn search(&self, choice: &DnsChoice) -> Vec<String> {
        match choice.search.as_slice() {
            [] => self.search.clone(),
            [dot] if dot.as_str() == "." => Vec::new(),
            search => search.iter().map(ToString::to_string).collect(),
        }
    }
}

fn is_ndots(option: &str) -> bool {
    option.starts_with("ndots:")
}

/// Whether an endpoint reaches it: not on the host's loopback, not by a link of the host's, and on the port
/// that a resolv.conf means.
fn is_reachable(server: &SocketAddr) -> bool {
    let of_a_link = matches!(server.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    let nobody = server.ip().is_unspecified();
    server.port() == 53 && !server.ip().to_canonical().is_loopback() && !of_a_link && !nobody
}

fn write(mark: &str, servers: &[String], search: &[String], options: &[String]) -> String {
    let mut text = format!("{mark}\n");
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text
}

/// A resolver's address, with a link's name after `%` where it is a link's own.
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 53));
    }
    let (address, scope) = word.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let index = scope.parse().ok().or_else(|| interface_index(scope))?;
    Some(SocketAddrV6::new(address, 53, 0, index).into())
}

fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}
