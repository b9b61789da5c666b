//! Which sysctls of the host are changed, and to what.
//!
//! Only what the kernel's own path needs: packets that the programs do not understand, and answers of
//! the host. Per interface where the kernel lets us; for IPv6 before `force_forwarding` (6.17) there is
//! only the switch for all interfaces. With it, an interface's own `forwarding` has to be on too: the
//! programs' questions about routes (`bpf_fib_lookup`) look at that alone. Either stops router
//! advertisements from being accepted, unless `accept_ra` is 2.

use super::{Observed, Target};
use std::collections::BTreeMap;

/// Forwards IPv6 that arrives on any interface.
pub(crate) const ALL_V6: &str = "net/ipv6/conf/all/forwarding";
const FORCE_V6_DEFAULT: &str = "net/ipv6/conf/default/force_forwarding";

fn v4(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/forwarding")
}

fn force_v6(interface: &str) -> String {
    format!("net/ipv6/conf/{interface}/force_forwarding")
}

fn v6(interface: &str) -> String {
    format!("net/ipv6/conf/{interface}/forwarding")
}

fn accept_ra(interface: &str) -> String {
    format!("net/ipv6/conf/{interface}/accept_ra")
}

fn disable_v6(interface: &str) -> String {
    format!("net/ipv6/conf/{interface}/disable_ipv6")
}

/// All that a plan may ask about.
pub(crate) fn relevant<'a>(interfaces: impl Iterator<Item = &'a str>) -> Vec<String> {
    let of = |name| [v4(name), force_v6(name), v6(name), accept_ra(name), disable_v6(name)];
    [ALL_V6.to_owned(), FORCE_V6_DEFAULT.to_owned()]
        .into_iter()
        .chain(interfaces.flat_map(of))
        .collect()
}

/// Fills in the target's sysctls; those of our own bridges vanish with them and are not written down.
pub(super) fn fill(target: &mut Target, observed: &Observed) {
    let mut host = BTreeMap::new();
    let mut own = BTreeMap::new();
    let one = || "1".to_owned();
    let routed = |v6: bool| target.bridges.values().filter(move |b| b.routed && b.has_family(v6));
    let force = observed.sysctls.contains_key(FORCE_V6_DEFAULT);
    type Name = fn(&str) -> String;
    for (is_v6, name) in [(false, v4 as Name), (true, force_v6), (true, v6)] {
        if routed(is_v6).next().is_none() || (is_v6 && !force) {
            continue;
        }
        own.extend(routed(is_v6).map(|bridge| (name(&bridge.spec.name), one())));
        host.extend(observed.uplinks.iter().map(|uplink| (name(&uplink.name), one())));
    }
    if routed(true).next().is_some() {
        if !force {
            host.insert(ALL_V6.to_owned(), one());
        }
        for uplink in &observed.uplinks {
            let name = accept_ra(&uplink.name);
            let is = |map: &BTreeMap<String, String>, name: &str, value: &str| {
                map.get(name).is_some_and(|found| found == value)
            };
            let accepts =
                is(&observed.sysctls, &name, "1") && is(&observed.sysctls, &v6(&uplink.name), "0");
            if accepts || is(&observed.saved_sysctls, &name, "1") {
                host.insert(name, "2".to_owned());
            }
        }
    }
    for bridge in target.bridges.values() {
        let off = if bridge.has_family(true) { "0" } else { "1" };
        own.insert(disable_v6(&bridge.spec.name), off.to_owned());
    }
    target.host_sysctls = host;
    target.own_sysctls = own;
}

/// Interfaces that forward IPv6 by their own switch: writing the switch for all overwrites it, there
/// and back, so it is written down too.
pub(super) fn overwritten_by_all(observed: &Observed) -> impl Iterator<Item = (&String, &String)> {
    observed.sysctls.iter().filter(|(name, value)| {
        name.starts_with("net/ipv6/conf/")
            && name.ends_with("/forwarding")
            && *name != ALL_V6
            && *value == "1"
    })
}

/// Whether a value that was written down is still needed.
pub(super) fn still_wanted(target: &Target, name: &str) -> bool {
    let follows_all = name.starts_with("net/ipv6/conf/") && name.ends_with("/forwarding");
    target.host_sysctls.contains_key(name)
        || (follows_all && target.host_sysctls.contains_key(ALL_V6))
}
