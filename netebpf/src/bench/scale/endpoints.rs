//! With so many other endpoints on the network: how long it takes until one more is there, and until it is gone, by a
//! command, by a call of the API alone, and by the calls to the kernel that it takes at least, with a program attached that does
//! nothing and without; and how fast two of them talk.

use super::{
    super::{
        BenchError,
        arms::{Arm, Kind, Site, Way},
        host::{Family, SERVED, WEB},
        load::{self, Exchange},
        measure::order,
        report::{API, AtScale, NETEBPF, Quantity, Scale},
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
    progress.say(format!("making a host for {site}, and one without"));
    let ours = Arm::make(site, NO_SETTINGS.as_ref(), left)?;
    let mut plain = Plain::new(left)?;
    check(&ours, &plain)?;
    let mut levels = Vec::new();
    for there in &options.endpoints {
        grow(ground, &ours, &mut plain, *there)?;
        let mut level = Level::new(Scale::Endpoints, *there);
        let bar = progress.begin(u64::from(options.rounds) * (SIDES.len() as u64 + 1));
        for round in 0..options.rounds as usize {
            progress.say(format!("{there} other endpoints: round {}", round + 1));
            for index in order(round, SIDES.len()) {
                stop()?;
                let (side, comes_and_goes) = SIDES[index];
                let [attach, detach] = comes_and_goes(&ours, &plain)?;
                level.push(Quantity::Attach, side, attach);
                level.push(Quantity::Detach, side, detach);
                bar.done();
            }
            stop()?;
            talk(&ours, &plain, ground, round, &mut level)?;
            bar.done();
        }
        levels.push(level);
    }
    progress.say("taking everything away");
    Ok(compared(levels))
}

/// Attaches others on both hosts, until there are so many.
fn grow(ground: &Ground<'_>, ours: &Arm, plain: &mut Plain, wanted: u32) -> Result<(), BenchError> {
    let Ground { progress, stop, .. } = ground;
    let mut there = plain.others();
    if there == wanted {
        return Ok(());
    }
    let bar = progress.begin((wanted - there).div_ceil(AT_ONCE).into());
    while there < wanted {
        stop()?;
        progress.say(format!("attaching others: {there} of {wanted}"));
        let more = AT_ONCE.min(wanted - there);
        others(ours, there..there + more)?;
        there += more;
        while plain.others() < there {
            stop()?;
            plain.add()?;
        }
        bar.done();
    }
    Ok(())
}

/// How many milliseconds an endpoint takes to come, and to go.
type ComesAndGoes = fn(&Arm, &Plain) -> Result<[f64; 2], BenchError>;

const SIDES: [(&str, ComesAndGoes); 4] = [
    (NETEBPF, |ours, _| Ok([timed(|| attach(ours))?, timed(|| detach(ours))?])),
    (API, |ours, _| Ok([timed(|| attach_by_api(ours))?, timed(|| detach_by_api(ours))?])),
    ("netlink", |_, plain| plain.probe(false, |_| Ok(()))),
    ("netlink, a program", |_, plain| plain.probe(true, |_| Ok(()))),
];

/// How fast two endpoints talk, beside two on a bridge.
fn talk(
    ours: &Arm,
    plain: &Plain,
    ground: &Ground<'_>,
    round: usize,
    level: &mut Level,
) -> Result<(), BenchError> {
    let kinds = [
        (Quantity::RoundTrips, Exchange::RoundTrips),
        (Quantity::Connections, Exchange::Connections),
    ];
    let (from, to) = ours.client(Way::EndpointToEndpoint, Family::V4);
    let sides = [(NETEBPF, from), (BRIDGE, plain.endpoint("app"))];
    for (quantity, exchange) in kinds {
        ours.forget_connections()?;
        for index in order(round, sides.len()) {
            let (side, from) = &sides[index];
            let asked = load::ask(from, to, exchange, ground.options.time)?;
            level.push(quantity, side, asked.sample.per_second);
        }
    }
    Ok(())
}

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
