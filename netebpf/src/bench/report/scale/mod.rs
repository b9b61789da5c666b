//! What becomes of it with many there.

mod shown;

pub(super) use shown::{section, text};

use super::{InArm, Measured, figures};
use crate::bench::{arms::Kind, statistics::Ratio};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Of what there are many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Published ports of the host.
    Ports,
    /// Other endpoints on the network.
    Endpoints,
    /// Flows of one endpoint.
    Flows,
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ports => "published ports",
            Self::Endpoints => "other endpoints",
            Self::Flows => "flows of one endpoint",
        })
    }
}

/// What is measured then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Milliseconds until an endpoint is there.
    Attach,
    /// Milliseconds until it is gone.
    Detach,
    /// Round trips a second. These, and what is a rate below, are measured in IPv4.
    RoundTrips,
    /// Connections a second.
    Connections,
    /// Small packets a second, of as many of the flows as go to one port.
    Packets,
    /// Flows a second that were opened, and answered.
    Opened,
    /// Per cent of a CPU that the daemon takes.
    Daemon,
    /// Milliseconds that `doctor` takes, which looks at every flow.
    Doctor,
    /// Bytes of all maps.
    Bytes,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Attach => "one more is there, ms",
            Self::Detach => "it is gone, ms",
            Self::RoundTrips => "round trips a second, IPv4",
            Self::Connections => "connections a second, IPv4",
            Self::Packets => "small packets a second, IPv4",
            Self::Opened => "flows opened a second, IPv4",
            Self::Daemon => "the daemon, % of a CPU",
            Self::Doctor => "doctor, ms",
            Self::Bytes => "bytes of all maps",
        })
    }
}

/// One quantity with so many there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AtScale {
    /// Of what.
    pub scale: Scale,
    /// How many.
    pub there: u32,
    /// What was measured.
    pub quantity: Quantity,
    /// By whom.
    pub sides: Vec<Side>,
    /// netebpf beside each other one.
    pub beside: Vec<BesideSide>,
}

/// netebpf by its command, or beside arms.
pub(in crate::bench) const NETEBPF: &str = "netebpf";
/// Where no process is between.
pub(in crate::bench) const API: &str = "netebpf's API";

/// How many times as much netebpf has as another side: above 1 is better of what is counted a second, and worse of times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BesideSide {
    /// Which of netebpf's own sides.
    pub ours: String,
    /// The other one.
    pub side: String,
    /// How they compare, within each round.
    pub ratio: Ratio,
}

impl AtScale {
    pub(in crate::bench) fn new(scale: Scale, there: u32, quantity: Quantity) -> Self {
        Self { scale, there, quantity, sides: Vec::new(), beside: Vec::new() }
    }

    /// All rounds are done.
    pub(in crate::bench) fn compare(&mut self) {
        let (ours, others): (Vec<&Side>, Vec<&Side>) =
            self.sides.iter().partition(|of| [NETEBPF, API].contains(&of.side.as_str()));
        let beside = |ours: &Side, other: &Side| BesideSide {
            ours: ours.side.clone(),
            side: other.side.clone(),
            ratio: Ratio::of(&ours.rounds, &other.rounds),
        };
        self.beside = ours
            .into_iter()
            .flat_map(|ours| others.iter().map(move |other| beside(ours, other)))
            .collect();
    }
}

/// One of those who are measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side {
    /// Who it is.
    pub side: String,
    /// One after the other.
    pub rounds: Vec<f64>,
    /// How many times as much it is as with the fewest there: of published ports in the same round; of endpoints and flows,
    /// where those with the fewest were measured before, by medians and without a range.
    pub grows: Ratio,
}

/// An arm whose table is too small.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TooMany {
    /// Which.
    pub arm: Kind,
    /// For how many flows.
    pub flows: u32,
    /// How many it can have.
    pub most: u32,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arm, flows, most } = self;
        let [flows, most] = [flows, most].map(|n| figures::rate(f64::from(*n)));
        write!(f, "{arm} with {flows} flows: nf_conntrack_max allows {most} here")
    }
}

/// Connections with many published ports, beside those with one: within each round.
pub(in crate::bench) fn of_ports(results: &[Measured]) -> Vec<AtScale> {
    let same = |of: &Measured| (of.way, of.family, of.workload);
    let Some(many) = results.iter().find(|of| of.ports > 1) else { return Vec::new() };
    let all = results.iter().filter(|of| same(of) == same(many));
    let Some(one) = all.clone().find(|of| of.ports == 1) else { return Vec::new() };
    let rates = |of: &InArm| of.rounds.iter().map(|round| round.per_second).collect::<Vec<_>>();
    let side = |of: &InArm| {
        let few = one.of(of.arm).map(rates).unwrap_or_default();
        let rounds = rates(of);
        Side { side: of.arm.to_string(), grows: Ratio::of(&rounds, &few), rounds }
    };
    let at = |of: &Measured| {
        let arms = of.in_order().into_iter().filter(|of| of.arm != Kind::BareVeth);
        let mut at = AtScale::new(Scale::Ports, of.ports.into(), Quantity::Connections);
        at.sides = arms.map(side).collect();
        at.compare();
        at
    };
    all.map(at).collect()
}
