//! `netebpf bench`.

use super::{
    CliError,
    output::{self, Format},
};
use crate::bench::{
    self, Kind, Options,
    load::{Exchange, Workload},
    report::Record,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Compare netebpf with a bare veth and with the rules of Docker and podman, in throw-away namespaces
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    /// In less than a minute: fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; medians count
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How long one measurement takes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    milliseconds: Option<u64>,
    /// What is measured: all but streams, and with --quick round trips and connections alone
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Option<Vec<Workload>>,
    /// With how many published ports connections are measured, beside one: 10000, and none with --quick
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(2..=40_000))]
    ports: Option<Vec<u16>>,
    /// table, json with every round in it, or a template
    #[arg(long, default_value = "table")]
    format: Format,
    /// Write everything that was measured to a file, too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What it starts itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// One end of a measurement
    #[command(hide = true)]
    Load {
        #[command(subcommand)]
        end: End,
    },
}

#[derive(Debug, Subcommand)]
enum End {
    Server { listen: SocketAddr },
    Who { server: SocketAddr },
    Client { server: SocketAddr, exchange: Exchange, milliseconds: u64 },
}

impl Bench {
    pub(super) async fn run(self) -> Result<u8, CliError> {
        if let Some(Part::Load { end }) = self.part {
            return end.run();
        }
        let mut options = if self.quick { Options::quick() } else { Options::usual() };
        options.rounds = self.rounds.unwrap_or(options.rounds);
        options.time = self.milliseconds.map_or(options.time, Duration::from_millis);
        options.workloads = self.workloads.unwrap_or(options.workloads);
        options.ports = self.ports.unwrap_or(options.ports);
        let record = measured(options).await?;
        if let Some(path) = self.json {
            let what = path.display().to_string();
            std::fs::write(&path, output::pretty(&json!(record))).map_err(CliError::io(what))?;
        }
        let text = match self.format {
            Format::Table => table(&record),
            Format::Json => output::pretty(&json!(record)),
            Format::Template(template) => template.render(&json!(record))? + "\n",
        };
        output::print(&text).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// Measures, until it is done or somebody wants it to end.
async fn measured(options: Options) -> Result<Record, CliError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let listen = |kind| signal(kind).map_err(CliError::io("signals"));
    let mut signals = [
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
    ];
    let flag = Arc::clone(&interrupted);
    let mut work = tokio::task::spawn_blocking(move || bench::run(&options, &flag));
    let [interrupt, terminate, hangup] = &mut signals;
    loop {
        tokio::select! {
            done = &mut work => {
                return Ok(done.map_err(|error| CliError::io("bench")(error.into()))??);
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        interrupted.store(true, Ordering::Relaxed);
    }
}

impl End {
    fn run(self) -> Result<u8, CliError> {
        let said = match self {
            Self::Server { listen } => return Ok(bench::load::server(listen).map(|()| 0)?),
            Self::Who { server } => bench::load::who_am_i(server)?,
            Self::Client { server, exchange, milliseconds } => {
                let time = Duration::from_millis(milliseconds);
                json!(bench::load::client(server, exchange, time)?).to_string() + "\n"
            }
        };
        output::print(&said).map_err(CliError::io("standard output"))?;
        Ok(0)
    }
}

/// One row for what was measured, with the median of each arm and how netebpf compares with it.
fn table(record: &Record) -> String {
    let others = record.others();
    let mut header = vec!["WAY".to_owned(), "FAMILY".to_owned(), "PER SECOND".to_owned()];
    header.push("netebpf".to_owned());
    for other in &others {
        header.extend([other.to_string(), "RATIO".to_owned()]);
    }
    let rows = record.results.iter().map(|result| {
        let mut row =
            vec![result.way.to_string(), result.family.to_string(), result.workload.to_string()];
        let rate =
            |arm| result.of(arm).map_or(f64::NAN, |of| of.median(|sample| sample.per_second));
        row.push(format!("{:.0}", rate(Kind::Netebpf)));
        for other in &others {
            row.push(format!("{:.0}", rate(*other)));
            row.push(result.beside(*other).map_or_else(String::new, |ratio| {
                format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.lowest, ratio.highest)
            }));
        }
        row
    });
    let mut text = output::table(header, rows);
    for absent in &record.absent {
        text.push_str(&format!("not here: {}: {}\n", absent.arm, absent.why));
    }
    if record.machine.bridge_netfilter == Some(false) {
        text.push_str(
            "br_netfilter, which Docker loads, is not there: endpoint to endpoint met no rule\n",
        );
    }
    text
}
