//! Docker's rules: what `iptables-save` and `ip6tables-save` show on a host where Docker 20.10 runs with
//! `--experimental --ip6tables`, one network `br-front` beside its default one, and one container with published ports.
//!
//! IPv6 is not IPv4 with other addresses: `docker0` has no IPv6 unless one asks for it, so it is only isolated there, and
//! there is no chain for the administrator's rules.
//!
//! **Invariant**: a rule that is there already is not made again, as Docker asks before it makes one. So there is a DNAT
//! rule for each port of the host, and one ACCEPT and one hairpin MASQUERADE rule for each port of the endpoint.

use super::Published;
use crate::{
    bench::host::{Family, WEB},
    model::Transport,
};
use std::{collections::HashSet, net::SocketAddr};

/// The tables and what Docker's rules match on.
pub(super) const PROBE: &str = "*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j RETURN
-A POSTROUTING -j MASQUERADE
COMMIT
*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
";

/// Both tables.
pub(super) fn save(family: Family, ports: &[Published]) -> String {
    nat(family, ports) + &filter(family, ports)
}

/// As the rules have `web`: its address and nothing beside it.
fn web(family: Family) -> String {
    match family {
        Family::V4 => format!("{}/32", WEB.of(family)),
        Family::V6 => format!("{}/128", WEB.of(family)),
    }
}

/// Rules that there are only for IPv4.
fn of_v4(family: Family, rules: &str) -> &str {
    match family {
        Family::V4 => rules,
        Family::V6 => "",
    }
}

/// The endpoint's ports, each once, in their order.
fn endpoint_ports(ports: &[Published]) -> impl Iterator<Item = (Transport, u16)> {
    let mut seen = HashSet::new();
    let ports = ports.iter().map(|port| (port.transport, port.endpoint));
    ports.filter(move |port| seen.insert(*port))
}

fn nat(family: Family, ports: &[Published]) -> String {
    let web = web(family);
    let (subnet, loopback) = match family {
        Family::V4 => ("172.18.0.0/16", "127.0.0.0/8"),
        Family::V6 => ("fd18::/64", "::1/128"),
    };
    let of_v4 = |rules| of_v4(family, rules);
    let (masquerade, unpublished) = (
        of_v4("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"),
        of_v4("-A DOCKER -i docker0 -j RETURN\n"),
    );
    let hairpin = |(transport, port)| {
        format!(
            "-A POSTROUTING -s {web} -d {web} -p {transport} -m {transport} --dport {port} -j MASQUERADE\n"
        )
    };
    let hairpins: String = endpoint_ports(ports).map(hairpin).collect();
    let publish = |Published { host, endpoint, transport }: &Published| {
        let to = SocketAddr::new(WEB.of(family), *endpoint);
        format!(
            "-A DOCKER ! -i br-front -p {transport} -m {transport} --dport {host} -j DNAT --to-destination {to}\n"
        )
    };
    let published: String = ports.iter().map(publish).collect();
    format!(
        "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d {loopback} -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {subnet} ! -o br-front -j MASQUERADE
{masquerade}{hairpins}-A DOCKER -i br-front -j RETURN
{unpublished}{published}COMMIT
"
    )
}

fn filter(family: Family, ports: &[Published]) -> String {
    let web = web(family);
    let of_v4 = |rules| of_v4(family, rules);
    let (user_chain, user_jump, user_rules) = (
        of_v4(":DOCKER-USER - [0:0]\n"),
        of_v4("-A FORWARD -j DOCKER-USER\n"),
        of_v4("-A DOCKER-USER -j RETURN\n"),
    );
    let default = of_v4(
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
",
    );
    let accept = |(transport, port)| {
        format!(
            "-A DOCKER -d {web} ! -i br-front -o br-front -p {transport} -m {transport} --dport {port} -j ACCEPT\n"
        )
    };
    let accepted: String = endpoint_ports(ports).map(accept).collect();
    format!(
        "*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
{user_chain}{user_jump}-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o br-front -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o br-front -j DOCKER
-A FORWARD -i br-front ! -o br-front -j ACCEPT
-A FORWARD -i br-front -o br-front -j ACCEPT
{default}{accepted}-A DOCKER-ISOLATION-STAGE-1 -i br-front ! -o br-front -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o br-front -j DROP
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
{user_rules}COMMIT
"
    )
}

/// Packets that the rules which translate have counted, of a table saved with its counters: `[PACKETS:BYTES] -A ...`.
pub(super) fn hits(saved: &str) -> u64 {
    let translates = |rule: &str| {
        rule.contains(" -A ") && (rule.contains(" -j MASQUERADE") || rule.contains(" -j DNAT"))
    };
    saved
        .lines()
        .filter(|line| translates(line))
        .filter_map(|line| line.strip_prefix('[')?.split(':').next()?.parse::<u64>().ok())
        .sum()
}
