//! What netebpf's daemon does about many flows: on a CPU, when `doctor` looks at all of them, and in memory.
//!
//! **Invariant**: each is one number for all flows that are there, and no round: nothing is beside it.

use super::{
    super::{
        BenchError,
        arms::Arm,
        memory,
        report::{NETEBPF, Quantity},
    },
    Level, timed,
};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long the daemon is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// What netebpf's daemon does about its flows, and what they take.
pub(super) fn watch(arm: &Arm, level: &mut Level) -> Result<(), BenchError> {
    let instance = arm.instance()?;
    let pid = arm.status()?.pid;
    let (before, started) = (on_cpu(pid)?, Instant::now());
    thread::sleep(WATCHED);
    let load =
        (on_cpu(pid)?.saturating_sub(before)).as_secs_f64() / started.elapsed().as_secs_f64();
    level.push(Quantity::Daemon, NETEBPF, 100.0 * load);
    let mut doctor = String::new();
    let time = timed(|| {
        doctor = arm.netebpf(&["doctor", "--format", "json"])?;
        Ok(())
    })?;
    level.push(Quantity::Doctor, NETEBPF, time);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&doctor).unwrap_or_default();
    if !rows.iter().any(|row| row["name"] == "flow table" && row["present"] == true) {
        return Err(BenchError::Talk("doctor", doctor));
    }
    level.push(Quantity::Bytes, NETEBPF, memory::bytes(&instance)? as f64);
    Ok(())
}

/// How long the threads of a process were on a CPU.
fn on_cpu(pid: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/task");
    let failed = || BenchError::io(path.clone());
    let mut used = Duration::ZERO;
    for thread in fs::read_dir(Path::new(&path)).map_err(failed())? {
        let at = thread.map_err(failed())?.path().join("schedstat");
        let times = fs::read_to_string(at).map_err(failed())?;
        let first = times.split_whitespace().next().and_then(|time| time.parse().ok());
        used += Duration::from_nanos(first.unwrap_or_default());
    }
    Ok(used)
}
