//! An uplink that is a network card: what XDP in its driver saves, beside TC alone.
//!
//! Two cards that are cabled with each other are the wire between netebpf's host and its neighbour. The neighbour
//! sends small datagrams, which are dropped, go on into an endpoint, or are the host's own; each by XDP and by TC alone, in
//! turns, and in each round the other one first.
//!
//! **Invariant**: what programs take is looked at in passes of their own, since the kernel's statistics cost time
//! themselves: they are off while a flood is counted.

mod card;
mod error;
mod traffic;

pub(super) use card::Card;
pub(super) use error::CardError;

use super::{
    BenchError, Ground,
    arms::{Arm, Kind, Site},
    costs::{self, Pass},
    host::{self, Family},
    load::cost::{self, Statistics},
    measure::order,
    report::{CardCosts, Counted, Flood, OfCards, Traffic},
    sweep::NO_SETTINGS,
};
use std::time::Duration;

/// A flood is counted for so long at least: the kernel counts what a CPU does in hundredths of a second.
const FLOOD: Duration = Duration::from_secs(1);
/// What is asked about: those that meet a packet at an uplink's ingress, in their order.
const PROGRAMS: [&str; 2] = ["uplink_xdp", "uplink_ingress"];
/// What counts a datagram that is dropped.
const DROPPED: &str = "drop/not_published";

/// Whether XDP is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Xdp {
    Native,
    Off,
}

impl Xdp {
    fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Off => "off",
        }
    }
}

/// Measures with these two.
pub(super) fn measure(ground: &Ground<'_>, names: &[String; 2]) -> Result<OfCards, BenchError> {
    let Ground { options, left, progress, stop } = ground;
    let driver = card::are_nobodys(names)?;
    let site = Site { kind: Kind::Netebpf, ports: 1 };
    progress.say(format!("making a host for {site} on {} and {}", names[0], names[1]));
    let ends = host::apart(&site.name(), left)?;
    let cards = [Card::lend(&names[0], &ends[0])?, Card::lend(&names[1], &ends[1])?];
    host::configure(&ends, [&names[0], &names[1]])?;
    cards.iter().try_for_each(|card| card.waits_for_its_wire(stop))?;
    let arm = Arm::on(ends, cards.into(), site, NO_SETTINGS.as_ref(), left)?;
    arm.check().map_err(|error| match error {
        BenchError::Broken { .. } => CardError::Apart(error.into()).into(),
        error => error,
    })?;
    traffic::lead_into_the_network(&arm)?;
    let mut taken = Taken::default();
    let modes = [Xdp::Native, Xdp::Off];
    let bar = progress.begin(u64::from(options.rounds) * modes.len() as u64);
    for round in 0..options.rounds as usize {
        for index in order(round, modes.len()) {
            stop()?;
            let xdp = modes[index];
            switch(&arm, &names[0], xdp)?;
            progress.say(format!("round {}: XDP {}", round + 1, xdp.word()));
            taken.round(&arm, names, xdp, options.time, stop)?;
            bar.done();
        }
    }
    drop(bar);
    progress.say("taking everything away");
    Ok(taken.told(names, driver))
}

/// Has XDP there, or TC alone.
fn switch(arm: &Arm, card: &str, xdp: Xdp) -> Result<(), BenchError> {
    arm.up(&["--xdp", xdp.word()]).map_err(|error| match (xdp, error) {
        (Xdp::Native, BenchError::Command { said, .. }) => {
            CardError::NoXdp { card: card.to_owned(), said }.into()
        }
        (_, error) => error,
    })
}

/// Of each thing that is measured, all rounds.
type Rounds<K, V> = Vec<(K, Vec<V>)>;

/// What was taken, of each kind once a round.
#[derive(Default)]
struct Taken {
    costs: Rounds<(Traffic, Family, bool), Pass>,
    floods: Rounds<(Family, bool), Counted>,
}

impl Taken {
    fn round(
        &mut self,
        arm: &Arm,
        names: &[String; 2],
        xdp: Xdp,
        time: Duration,
        stop: super::Stop<'_>,
    ) -> Result<(), BenchError> {
        let native = xdp == Xdp::Native;
        for (traffic, family) in
            Traffic::ALL.into_iter().flat_map(|of| Family::BOTH.map(|family| (of, family)))
        {
            stop()?;
            let way = traffic::Way::open(arm, names, traffic, family)?;
            let statistics = Statistics::enable()?;
            let instance = arm.instance()?;
            let before = statistics.snapshot(&instance)?;
            way.flood(time)?;
            let mut programs = cost::between(&before, &statistics.snapshot(&instance)?);
            programs.retain(|name, _| PROGRAMS.contains(&name.as_str()));
            push(&mut self.costs, (traffic, family, native), programs);
        }
        for family in Family::BOTH {
            stop()?;
            let way = traffic::Way::open(arm, names, Traffic::Dropped, family)?;
            let before = arm.counted(&names[0], DROPPED)?;
            let flooded = way.flood(time.max(FLOOD))?;
            let dropped = (arm.counted(&names[0], DROPPED)? - before) as f64;
            let counted = Counted {
                per_second: dropped / flooded.seconds,
                nanoseconds: flooded.busy * 1e9 / dropped,
                lost: 1.0 - dropped / flooded.sent as f64,
            };
            push(&mut self.floods, (family, native), counted);
        }
        Ok(())
    }

    fn told(self, names: &[String; 2], driver: Option<String>) -> OfCards {
        let costs = self.costs.into_iter().map(|((traffic, family, native), rounds)| {
            let mut programs = costs::together(&rounds);
            programs.sort_by_key(|of| PROGRAMS.iter().position(|name| *name == of.program));
            CardCosts { traffic, family, native, programs }
        });
        let floods = self.floods.into_iter();
        let floods = floods.map(|((family, native), rounds)| Flood { family, native, rounds });
        OfCards { cards: names.clone(), driver, costs: costs.collect(), floods: floods.collect() }
    }
}

fn push<K: PartialEq, V>(all: &mut Rounds<K, V>, key: K, value: V) {
    match all.iter_mut().find(|(of, _)| *of == key) {
        Some((_, values)) => values.push(value),
        None => all.push((key, vec![value])),
    }
}
