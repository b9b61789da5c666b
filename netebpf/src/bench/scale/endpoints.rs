//! With so many other endpoints on the network: how long it takes until one more is there, and until it is gone, by a
//! command, by a call of the API alone, and by the calls to the kernel that it takes at least, with a program attached that does
//! nothing and without; and how fast two of them talk.

use super::{
    super::{
        BenchError,
        arms::{Arm, Kind, Site, Way},
        host::{Family, SERVED, WEB},
        load::{self, Exchange},
        report::{AtScale, Quantity, Scale},
        sweep::NO_SETTINGS,
    },
    Ground, Level, api, compared,
    plain::Plain,
    timed,
};
use crate::daemon::api::path;
use serde_json::json;
use std::{fmt::Write as _, net::SocketAddr};

/// So many are made at once: a signal waits for them.
const AT_ONCE: u32 = 50;
/// The endpoint that comes and goes.
const PROBE: &str = "probe";
/// Who stands beside netebpf where packets are measured.
const BRIDGE: &str = "a bridge, no rules";

/// Measures with each of these numbers, the least first.
pub(in crate::bench) fn measure(ground: &Ground<'_>) -> Result<Vec<AtScale>, BenchError> {
    let Ground { options, left, progress, stop } = ground;
    let site = Site { kind: Kind::Netebpf, ports: 1 };
    let ours = Arm::make(site, NO_SETTINGS.as_ref(), left)?;
    let mut plain = Plain::new(left)?;
    check(&ours, &plain).or_else(|error| stop().and(Err(error)))?;
    let (mut there, mut levels) = (0, Vec::new());
    for wanted in &options.endpoints {
        while there < *wanted {
            stop()?;
            progress.say(format!("attaching others: {there} of {wanted}"));
            let more = AT_ONCE.min(wanted - there);
            let made = others(&ours, there..there + more);
            made.or_else(|error| stop().and(Err(error)))?;
            there += more;
            while plain.others() < there {
                stop()?;
                plain.add().or_else(|error| stop().and(Err(error)))?;
            }
        }
        let mut level = Level::new(Scale::Endpoints, there);
        for round in 0..options.rounds {
            progress.say(format!("{there} other endpoints: round {}", round + 1));
            // Who comes first changes from round to round.
            for turn in 0..SIDES.len() {
                stop()?;
                let side = SIDES[(round as usize + turn) % SIDES.len()];
                let done = side(&ours, &plain, ground, &mut level);
                done.or_else(|error| stop().and(Err(error)))?;
            }
        }
        levels.push(level);
    }
    progress.say("taking everything away");
    Ok(compared(levels))
}

/// What one side does in a round.
type Round = fn(&Arm, &Plain, &Ground<'_>, &mut Level) -> Result<(), BenchError>;

const SIDES: [Round; 5] = [
    |ours, _, _, level| {
        level.push(Quantity::Attach, "netebpf", timed(|| attach(ours))?);
        level.push(Quantity::Detach, "netebpf", timed(|| detach(ours))?);
        Ok(())
    },
    |ours, _, _, level| {
        level.push(Quantity::Attach, "netebpf's API", timed(|| attach_by_api(ours))?);
        level.push(Quantity::Detach, "netebpf's API", timed(|| detach_by_api(ours))?);
        Ok(())
    },
    |_, plain, _, level| {
        let [attach, detach] = plain.probe(false, |_| Ok(()))?;
        level.push(Quantity::Attach, "netlink", attach);
        level.push(Quantity::Detach, "netlink", detach);
        Ok(())
    },
    |_, plain, _, level| {
        let [attach, detach] = plain.probe(true, |_| Ok(()))?;
        level.push(Quantity::Attach, "netlink, a program", attach);
        level.push(Quantity::Detach, "netlink, a program", detach);
        Ok(())
    },
    |ours, plain, ground, level| {
        let kinds = [
            (Quantity::RoundTrips, Exchange::RoundTrips),
            (Quantity::Connections, Exchange::Connections),
        ];
        let (from, to) = ours.client(Way::EndpointToEndpoint, Family::V4);
        let sides = [("netebpf", from), (BRIDGE, plain.endpoint("app"))];
        for (quantity, exchange) in kinds {
            ours.forget_connections()?;
            for (side, from) in &sides {
                let asked = load::ask(from, to, exchange, ground.options.time)?;
                level.push(quantity, side, asked.sample.per_second);
            }
        }
        Ok(())
    },
];

/// What is attached is on its network, however it was.
fn check(ours: &Arm, plain: &Plain) -> Result<(), BenchError> {
    let web = SocketAddr::new(WEB.of(Family::V4), SERVED);
    let probe = ours.site.endpoint(PROBE);
    attach(ours)?;
    load::who(&probe, web)?;
    detach(ours)?;
    attach_by_api(ours)?;
    load::who(&probe, web)?;
    detach_by_api(ours)?;
    for with_program in [false, true] {
        plain.probe(with_program, |probe| load::who(probe, web).map(drop))?;
    }
    Ok(())
}

/// These others, at netebpf.
fn others(ours: &Arm, numbers: std::ops::Range<u32>) -> Result<(), BenchError> {
    let mut text = format!(
        "name: others-{}\nnetworks: {{front: {{external: true}}}}\nservices:\n",
        numbers.start
    );
    for number in numbers {
        let _ = writeln!(text, "  other-{number}: {{networks: [front]}}");
    }
    ours.bring_up(&text)
}

fn attach(ours: &Arm) -> Result<(), BenchError> {
    ours.netebpf(&["create", "--name", PROBE, "--network", "front"]).map(drop)
}

fn detach(ours: &Arm) -> Result<(), BenchError> {
    ours.netebpf(&["rm", "--force", PROBE]).map(drop)
}

fn attach_by_api(ours: &Arm) -> Result<(), BenchError> {
    let body = json!({"endpoint": {"name": PROBE, "networks": [{"network": "front"}]}});
    api::post(&ours.instance()?, path::ENDPOINTS, &body)
}

fn detach_by_api(ours: &Arm) -> Result<(), BenchError> {
    let body = json!({"names": [PROBE], "force": true});
    api::post(&ours.instance()?, path::ENDPOINTS_REMOVE, &body)
}
