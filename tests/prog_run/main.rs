//! Layer 2: the cases of `cases/` through the real object, by `BPF_PROG_TEST_RUN`.
//!
//! The object is loaded as it is, in a network namespace made for the purpose, with interfaces,
//! addresses, routes and sockets as the cases have them. For every frame of every case the verdict (by
//! counter and return code), the bytes and the tables must be those that the packet logic in memory
//! gives. What a test run cannot show: where a redirected frame goes (XDP's handover says it, TC keeps it
//! to itself); a VLAN tag beside the frame; checksums still to be finished by hardware. The namespace
//! tests show those.

mod any_bytes;
mod machine;
mod maps;
mod sizes;
#[path = "../cases/table/mod.rs"]
mod table;
mod world;

use machine::{Checksums, Kernel, Outside};
use netebpf_common::{
    datapath::FamilyId,
    testkit::{Case, Memory, Observation},
};
use std::thread;

#[test]
fn every_case_agrees_at_tc() {
    every_case_agrees(Outside::Tc, Checksums::Direct, false);
}

/// As if each packet came to a CPU that has seen no other.
#[test]
fn every_case_agrees_at_tc_where_no_flow_is_remembered() {
    every_case_agrees(Outside::Tc, Checksums::Direct, true);
}

#[test]
fn every_case_agrees_at_tc_by_the_checksum_helper() {
    every_case_agrees(Outside::Tc, Checksums::ByHelper, false);
}

#[test]
fn every_case_agrees_at_xdp() {
    every_case_agrees(Outside::Xdp, Checksums::Direct, false);
}

fn every_case_agrees(outside: Outside, checksums: Checksums, forgetful: bool) {
    in_kernel(outside, checksums, |kernel| {
        kernel.forgetful = forgetful;
        let mut failures = Vec::new();
        let mut frames = 0;
        for case in table::all() {
            for family in case.families() {
                match agrees(&case, family, kernel) {
                    Ok(run) => frames += run,
                    Err(error) => failures.push(format!("{}: {error}", case.name())),
                }
            }
        }
        println!("{frames} frames");
        assert!(failures.is_empty(), "{} failures\n\n{}", failures.len(), failures.join("\n\n"));
    });
}

/// Plays a case on both machines; how many frames it has.
fn agrees(case: &Case, family: FamilyId, kernel: &mut Kernel) -> Result<usize, String> {
    kernel.reset()?;
    let real = case.play(family, kernel)?;
    let memory = case.play(family, &mut Memory::default())?;
    for (n, (real, memory)) in real.iter().zip(&memory).enumerate() {
        differ(real, memory)
            .map_or(Ok(()), |what| Err(format!("{family:?}, frame {n}: {what}")))?;
    }
    Ok(real.len())
}

/// What the two machines do not agree about.
fn differ(real: &Observation, memory: &Observation) -> Option<String> {
    if real.seen.counter != memory.seen.counter {
        return Some(format!("verdict {:?}, not {:?}", real.seen.counter, memory.seen.counter));
    }
    if real.seen.bytes != memory.seen.bytes {
        return Some(format!("bytes {:02x?}, not {:02x?}", real.seen.bytes, memory.seen.bytes));
    }
    (real.tables != memory.tables)
        .then(|| format!("tables {:#?}, not {:#?}", real.tables, memory.tables))
}

/// Does something with a loaded object on a thread in a namespace of its own.
fn in_kernel(outside: Outside, checksums: Checksums, work: impl FnOnce(&mut Kernel) + Send) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let inside = || {
        let mut kernel = Kernel::new(outside, checksums).unwrap_or_else(|error| panic!("{error}"));
        work(&mut kernel);
    };
    let joined = thread::scope(|scope| scope.spawn(inside).join());
    joined.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
}
