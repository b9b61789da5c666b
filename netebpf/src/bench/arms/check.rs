//! That an arm is what it says: each way leads where it should, translated as it should be, and by what the arm is named
//! after.
//!
//! **Invariant**: whoever forwards tells of it itself, by its counters or its list of connections; that packets arrive
//! proves nothing, for the host's own stack would carry them, too.

use super::{
    super::{
        BenchError,
        host::Family,
        load::{self, Exchange},
        packets, rules,
    },
    Arm, Kind, Way,
};
use crate::daemon::api::Status;
use netebpf_common::abi::program;
use std::time::Duration;

/// Between endpoints, by a program.
const PEER: &str = "deliver/peer";
/// From outside, translated by a program.
const INWARD: &str = "deliver/inward";
/// To the outside, translated by a program.
const OUTWARD: &str = "forward/masquerade_or_reply";
/// The endpoints `web` and `app`.
const ENDPOINTS: usize = 2;
/// How long round trips take the socket shortcut, or do not.
const BRIEFLY: Duration = Duration::from_millis(10);
/// A connection whose other end has not seen the end of the handshake goes by TCP, which is right; so many do not in a row.
const TRIES: u32 = 3;

impl Arm {
    /// Each way leads where it should, translated as it should be, and by what the arm is named after.
    pub(in crate::bench) fn check(&self) -> Result<(), BenchError> {
        let kind = self.site.kind;
        let mut before = self.instance.is_some().then(|| self.status()).transpose()?;
        if let Some(what) = before.as_ref().and_then(|status| other_devices(kind, status)) {
            return Err(self.other("each way", what));
        }
        for (way, family) in Way::ALL.into_iter().flat_map(|way| Family::BOTH.map(|f| (way, f))) {
            self.leads(way, family)?;
            let Some(before) = &mut before else { continue };
            let after = self.status()?;
            if let Some(what) = uncounted(way, before, &after) {
                return Err(self.other(format!("{way}, {family}"), what));
            }
            *before = after;
        }
        match kind {
            Kind::NetebpfShortcut => Family::BOTH.into_iter().try_for_each(|f| self.is_short(f)),
            Kind::NetavarkFlowtable => Family::BOTH.into_iter().try_for_each(|f| self.is_fast(f)),
            _ => self.translates(),
        }
    }

    /// The server sees whom it should.
    fn leads(&self, way: Way, family: Family) -> Result<(), BenchError> {
        let broken = |what: String| BenchError::Broken {
            arm: self.site.kind,
            way: format!("{way}, {family}"),
            what,
        };
        let (from, to) = self.client(way, family);
        let seen = load::who(&from, to).map_err(|error| broken(error.to_string()))?;
        let expected = self.seen(way).of(family);
        match seen == expected {
            true => Ok(()),
            false => Err(broken(format!("the server sees {seen}, and should see {expected}"))),
        }
    }

    /// A flow goes by the flowtable.
    fn is_fast(&self, family: Family) -> Result<(), BenchError> {
        let way = Way::Masquerade;
        // The connection that was tried is over, and its entry with it: a flow without an end has to show.
        packets::open(self, way, family)?;
        match rules::offloads(&self.host.path(), family) {
            Some(false) => {
                Err(self.other(format!("{way}, {family}"), "its flowtable takes no connection"))
            }
            _ => Ok(()),
        }
    }

    /// Data go past the programs of `app`'s interface, which see the packets of TCP.
    fn is_short(&self, family: Family) -> Result<(), BenchError> {
        let way = Way::EndpointToEndpoint;
        let (from, to) = self.client(way, family);
        let (mut packets, mut round_trips) = (0, 0);
        for _ in 0..TRIES {
            let before = self.counted("app", PEER)?;
            round_trips = load::ask(&from, to, Exchange::RoundTrips, BRIEFLY)?.times.samples();
            packets = self.counted("app", PEER)? - before;
            if packets < round_trips {
                return Ok(());
            }
        }
        let what = format!("{round_trips} round trips were {packets} packets of TCP");
        Err(self.other(format!("{way}, {family}"), what))
    }

    /// Rules that count have translated what was tried: a masquerade and a published port, in both families.
    fn translates(&self) -> Result<(), BenchError> {
        let hits = self.site.kind.backend().map(|backend| rules::hits(backend, &self.host.name));
        match hits.transpose()?.flatten() {
            Some(hits @ ..4) => {
                let what = format!("its rules translated {hits} of four connections");
                Err(self.other("masquerade, published port", what))
            }
            _ => Ok(()),
        }
    }

    fn other(&self, way: impl Into<String>, what: impl Into<String>) -> BenchError {
        BenchError::Other { arm: self.site.kind, way: way.into(), what: what.into() }
    }
}

/// What is wrong with the devices of endpoints: netkit devices where the arm is named after them, and nowhere else.
fn other_devices(kind: Kind, status: &Status) -> Option<String> {
    let expected = if kind == Kind::NetebpfNetkit { ENDPOINTS } else { 0 };
    let of_endpoints = status.hooks.iter().filter(|of| of.program == program::ENDPOINT_INGRESS);
    let netkits = of_endpoints.filter(|of| of.mechanism.as_deref() == Some("netkit")).count();
    (netkits != expected)
        .then(|| format!("{netkits} of {ENDPOINTS} endpoints have netkit devices, not {expected}"))
}

/// Who sends no packet on this way, there or back, that netebpf's programs carried themselves.
fn uncounted(way: Way, before: &Status, after: &Status) -> Option<String> {
    let uplink = after.uplinks.first().map_or("uplink", |uplink| &*uplink.name);
    let counters = match way {
        Way::EndpointToEndpoint => [("app", PEER), ("web", PEER)],
        Way::Masquerade => [("app", OUTWARD), (uplink, INWARD)],
        Way::PublishedPort => [(uplink, INWARD), ("web", OUTWARD)],
        // That is nobody's business but the host's.
        Way::HostsOwn => return None,
    };
    let grew = |(of, name)| counter(after, of, name) > counter(before, of, name);
    let (of, name) = counters.into_iter().find(|counter| !grew(*counter))?;
    Some(format!("no packet from {of} counts as {name}: the host's stack carried it"))
}

/// A counter of an endpoint or an uplink.
pub(super) fn counter(status: &Status, of: &str, name: &str) -> u64 {
    status.counters.get(of).and_then(|of| of.get(name)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{daemon::api::UplinkStatus, kernel::HookStatus};

    fn status(counters: &[(&str, &str, u64)]) -> Status {
        let uplink = UplinkStatus { name: "uplink0".to_owned(), addresses: vec![], mtu: 1500 };
        let mut status = Status { uplinks: vec![uplink], ..Status::default() };
        for (of, name, packets) in counters {
            let of = status.counters.entry((*of).to_owned()).or_default();
            of.insert((*name).to_owned(), *packets);
        }
        status
    }

    #[test]
    fn each_way_grows_its_counters() {
        let before = status(&[("app", PEER, 3), ("uplink0", INWARD, 5)]);
        let after = status(&[
            ("app", PEER, 4),
            ("app", OUTWARD, 1),
            ("uplink0", INWARD, 6),
            ("web", PEER, 1),
            ("web", OUTWARD, 1),
        ]);
        for way in Way::ALL {
            assert_eq!(uncounted(way, &before, &after), None);
        }
    }

    #[test]
    fn a_way_past_the_programs_is_named() {
        let before = status(&[("app", PEER, 3), ("app", OUTWARD, 1), ("uplink0", INWARD, 5)]);
        let after = status(&[
            ("app", PEER, 4),
            ("app", OUTWARD, 2),
            ("uplink0", INWARD, 5),
            ("web", "pass/bridge", 4),
        ]);
        for (way, of) in [
            (Way::EndpointToEndpoint, "web"),
            (Way::Masquerade, "uplink0"),
            (Way::PublishedPort, "uplink0"),
        ] {
            let said = uncounted(way, &before, &after).unwrap();
            assert!(said.contains(of), "{way}: {said}");
        }
        assert_eq!(uncounted(Way::HostsOwn, &before, &after), None);
    }

    #[test]
    fn netkit_devices_are_where_the_arm_says() {
        let hook = |mechanism: &str, program: &str| HookStatus {
            interface: "nb-1".to_owned(),
            program: program.to_owned(),
            mechanism: Some(mechanism.to_owned()),
            reason: None,
        };
        let with = |mechanisms: [&str; ENDPOINTS]| {
            let hooks = mechanisms.map(|mechanism| hook(mechanism, program::ENDPOINT_INGRESS));
            let uplink = hook("TCX", program::UPLINK_INGRESS);
            Status { hooks: hooks.into_iter().chain([uplink]).collect(), ..Status::default() }
        };
        let (veths, netkits) = (with(["TCX"; 2]), with(["netkit"; 2]));
        for (kind, status, fine) in [
            (Kind::Netebpf, &veths, true),
            (Kind::Netebpf, &netkits, false),
            (Kind::NetebpfNetkit, &veths, false),
            (Kind::NetebpfNetkit, &with(["netkit", "TCX"]), false),
            (Kind::NetebpfNetkit, &Status::default(), false),
            (Kind::NetebpfNetkit, &netkits, true),
        ] {
            assert_eq!(other_devices(kind, status).is_none(), fine, "{kind}");
        }
    }
}
