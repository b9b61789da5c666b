//! What netebpf's programs take for a packet, by way and family.
//!
//! **Invariant**: the kernel's statistics, which cost time themselves, are on in passes of their own and off in every
//! round: nothing that is compared is measured meanwhile.

use super::{
    BenchError,
    arms::Arm,
    load::{
        Workload,
        cost::{self, Cost, Statistics},
    },
    measure::{self, Cell},
    progress::Progress,
    report::{OfProgram, WayCosts},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often each is looked at; the medians count.
const PASSES: usize = 3;
/// How long one look takes at most.
const TIME: Duration = Duration::from_millis(50);
/// Who sees fewer packets than one in so many of who sees most is not on the way: what opens a connection, say.
const RARE: u64 = 100;

/// Whether programs' costs are looked at here: where each packet is like the others.
fn is_looked_at(cell: &&Cell) -> bool {
    cell.ports == 1 && matches!(cell.workload, Workload::RoundTrips | Workload::Packets)
}

/// Looks at all ways of netebpf's arm.
pub(super) fn look(
    arm: &Arm,
    cells: &[Cell],
    time: Duration,
    progress: &Progress,
    stop: &dyn Fn() -> Result<(), BenchError>,
) -> Result<Vec<WayCosts>, BenchError> {
    let mut all = Vec::new();
    for cell in cells.iter().filter(is_looked_at) {
        progress.say(format!("what programs take: {cell}"));
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            stop()?;
            passes.push(pass(arm, *cell, time.min(TIME))?);
        }
        let Cell { way, family, workload, .. } = *cell;
        all.push(WayCosts { way, family, workload, programs: together(&passes) });
    }
    Ok(all)
}

/// What each program took in a pass.
pub(super) type Pass = BTreeMap<String, Cost>;

fn pass(arm: &Arm, cell: Cell, time: Duration) -> Result<Pass, BenchError> {
    let statistics = Statistics::enable()?;
    let instance = arm.instance()?;
    let before = statistics.snapshot(&instance)?;
    measure::one(arm, cell, time)?;
    Ok(cost::between(&before, &statistics.snapshot(&instance)?))
}

/// The programs that are on the way, those with most packets first.
pub(super) fn together(passes: &[Pass]) -> Vec<OfProgram> {
    let names: BTreeSet<&String> = passes.iter().flat_map(BTreeMap::keys).collect();
    let rounds = |name: &String| {
        let costs = passes.iter().map(|pass| pass.get(name).copied().unwrap_or(Cost::NONE));
        OfProgram { program: name.clone(), rounds: costs.collect() }
    };
    let mut programs: Vec<_> = names.into_iter().map(rounds).collect();
    let most = programs.iter().map(OfProgram::packets).max().unwrap_or_default();
    programs.retain(|of| of.packets() * RARE >= most);
    programs.sort_by_key(|of| Reverse(of.packets()));
    programs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_those_on_the_way() {
        let pass = |all: &[(&str, u64, f64)]| -> Pass {
            let of = |&(name, packets, nanoseconds): &(&str, u64, f64)| {
                (name.to_owned(), Cost { packets, nanoseconds })
            };
            all.iter().map(of).collect()
        };
        let programs = together(&[
            pass(&[("egress", 1000, 50.0), ("ingress", 1000, 100.0), ("opens", 1, 9000.0)]),
            pass(&[("egress", 1000, 52.0), ("ingress", 1000, 900.0), ("opens", 1, 9000.0)]),
            pass(&[("egress", 1000, 51.0), ("ingress", 1200, 110.0)]),
        ]);
        let of = |of: &OfProgram| (of.program.clone(), of.packets(), of.nanoseconds());
        let expected = [("ingress", 3200, 110.0), ("egress", 3000, 51.0)];
        let expected = expected.map(|(name, packets, time)| (name.to_owned(), packets, time));
        assert_eq!(programs.iter().map(of).collect::<Vec<_>>(), expected);
        assert_eq!(programs[0].rounds.len(), 3, "every pass is kept");
    }
}
