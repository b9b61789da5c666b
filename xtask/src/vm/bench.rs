//! `cargo xtask vm --bench`: `netebpf bench` under another kernel, which has what this machine's own may lack: nftables'
//! flowtable, and netkit devices.
//!
//! **Invariant**: a benchmark that fails there fails here, with what the machine said; what comes out is a table and, in
//! `target/vm/bench-KERNEL.json`, the whole record.

use super::{
    Machine, Manner,
    initramfs::{Contents, Needs, Program},
    kernel::Release,
};
use crate::{
    build::Build,
    run::{self, Ended, Step},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::{fs, time::Duration};

/// Time there is instructions: each takes eight nanoseconds, whatever this machine does meanwhile, and nobody waits for
/// who sleeps. Both processors share that clock, so they take turns. Ten thousand ports and a million flows take their time.
const COUNTED: Manner = Manner {
    processors: "-accel tcg,thread=single -icount shift=3,sleep=off",
    limit: Duration::from_secs(3600),
};

/// The kernel: Linux 6.1 waits for its second processor for ever where instructions are the clock.
const KERNEL: Release = Release::V6_12;

/// What `netebpf bench` is told when nothing is said: all arms on all ways, in some minutes. Half of the operations of one
/// round say all but the last hundredth where instructions are the clock.
const USUAL: &[&str] = &["--quick", "--rounds=3"];

/// The name of the program in the machine's markers.
const NAME: &str = "bench";
/// Where it leaves its record there.
const RECORD: &str = "/tmp/bench.json";

/// What rules are made of. Nobody loads a module there when a rule asks for it.
const MODULES: &[&str] = &[
    // A checksum that libcrc32c, and with it nf_tables, asks for by another name.
    "crc32c_generic",
    // As Docker does.
    "br_netfilter",
    "iptable_filter",
    "iptable_nat",
    "ip6table_filter",
    "ip6table_nat",
    "xt_addrtype",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_nat",
    "xt_tcpudp",
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "nft_ct",
    "nft_fib_inet",
    "nft_masq",
    "nft_nat",
    "nf_flow_table_inet",
    "nft_flow_offload",
];

const TOOLS: &[&str] = &[
    "nsenter",
    "sysctl",
    "nft",
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "iptables-nft-restore",
    "ip6tables-nft-restore",
    "iptables-nft-save",
    "ip6tables-nft-save",
];

const NEEDS: Needs = Needs {
    modules: MODULES,
    tools: TOOLS,
    // Matches and targets of iptables.
    plugins: &["/usr/lib/x86_64-linux-gnu/xtables"],
};

/// Measures under Linux 6.12.
pub(super) fn measure(kernel: Option<Release>, options: &[String]) -> Result<()> {
    ensure!(
        kernel.is_none_or(|kernel| kernel == KERNEL),
        "the benchmark counts instructions, and Linux 6.1 does not come up where they are the clock: --kernel 6.12"
    );
    let netebpf = Build { dev: true, is_static: true }.run()?;
    let mut contents = Contents::new(&netebpf);
    let usual = USUAL.iter().copied().filter(|_| options.is_empty());
    let options = usual.chain(options.iter().map(String::as_str));
    let words = ["netebpf", "bench", "--json", RECORD].into_iter().chain(options);
    let words = words.map(str::to_owned).collect();
    contents.add(Program { name: NAME.to_owned(), words, leaves: Some(RECORD) }, NEEDS);
    let kernel = &KERNEL.fetch()?;
    let image = contents.pack(kernel)?;
    let step = Step::begin(format!("netebpf bench under Linux {} in QEMU", kernel.name));
    let machine = Machine::boot(&COUNTED, kernel, &image, &contents, &step, |_| {})?;
    if !machine.unfinished.is_empty() || machine.ended != Ended::With(0) {
        step.end("failed");
        machine.said.iter().for_each(|line| eprintln!("    {line}"));
        bail!("netebpf bench failed under Linux {} (QEMU: {})", kernel.name, machine.ended);
    }
    step.end("done");
    // Read, so that a console that lost something is noticed.
    let record = machine.left.get(NAME).map_or("", String::as_str);
    let record: serde_json::Value = serde_json::from_str(record)
        .with_context(|| format!("what came over the console is no record of {NAME}"))?;
    let file = run::target_dir().join("vm").join(format!("bench-{}.json", kernel.name));
    fs::write(&file, serde_json::to_string_pretty(&record)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!(
        "Linux {} on emulated processors, whose instructions are the clock.\n\
         Ratios tell how many instructions each arm takes; rates say nothing.\n",
        kernel.name
    );
    machine.printed(NAME).iter().for_each(|line| println!("{line}"));
    println!(
        "\nHow many times as long as with netebpf half of the operations take at most, whatever daemons do meanwhile:\n"
    );
    Record::deserialize(&record)?.results.iter().for_each(|result| println!("{}", result.beside()));
    println!("\nThe record: {}\n", file.display());
    Ok(())
}

/// What `netebpf bench --json` writes, as far as it is looked at.
#[derive(Deserialize)]
struct Record {
    results: Vec<Measured>,
}

#[derive(Deserialize)]
struct Measured {
    way: String,
    family: String,
    workload: String,
    ports: u16,
    arms: Vec<InArm>,
}

#[derive(Deserialize)]
struct InArm {
    arm: String,
    rounds: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    /// Of half of the operations, at most; not of packets and streams.
    p50: Option<f64>,
}

impl Measured {
    /// A line with each arm's time beside netebpf's.
    fn beside(&self) -> String {
        let Self { way, family, workload, ports, arms } = self;
        let of_netebpf = arms.iter().find(|arm| arm.arm == "netebpf").and_then(InArm::half);
        let others = arms.iter().filter(|arm| arm.arm != "netebpf").map(|arm| {
            let times = arm.half().zip(of_netebpf).map(|(other, ours)| other / ours);
            format!("{} {}", arm.arm, times.map_or("-".to_owned(), |times| format!("{times:.2}")))
        });
        let others = others.collect::<Vec<_>>().join(", ");
        format!("{way}, {family}, {workload}, ports {ports}: {others}")
    }
}

impl InArm {
    /// The median of the rounds.
    fn half(&self) -> Option<f64> {
        let mut all: Vec<f64> = self.rounds.iter().filter_map(|round| round.p50).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_beside_netebpf() {
        let arm = |arm: &str, halves: &[f64]| InArm {
            arm: arm.to_owned(),
            rounds: halves.iter().map(|half| Sample { p50: Some(*half) }).collect(),
        };
        let arms = vec![
            arm("netebpf", &[9.0, 2.0, 1.0]),
            arm("netavark", &[3.0, 1.0, 8.0]),
            arm("bare-veth", &[]),
        ];
        let [way, family, workload] = ["masquerade", "IPv4", "round-trips"].map(str::to_owned);
        let measured = Measured { way, family, workload, ports: 1, arms };
        assert_eq!(
            measured.beside(),
            "masquerade, IPv4, round-trips, ports 1: netavark 1.50, bare-veth -"
        );
    }
}
