//! `netebpf bench`.

use super::{
    CliError,
    output::{self, Format},
};
use crate::bench::{
    self, Done, Options,
    load::{Exchange, Workload},
    report::ReportFile,
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{
    ffi::OsString,
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
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
    /// Instead, attach an endpoint and detach it with so many others there, beside the least calls to the kernel
    /// that it takes; with --workloads or --ports as well
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(bench::MOST_ENDPOINTS)))]
    endpoints: Vec<u32>,
    /// Instead, open so many flows of one endpoint, and others beside them; with --workloads or --ports as well
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=i64::from(bench::MOST_FLOWS)))]
    flows: Vec<u32>,
    /// Instead, measure what XDP saves in the driver of the first of these two network cards, which are cabled with each
    /// other and nobody's: they are taken for that time and given back
    #[arg(long, value_name = "CARD,CARD", value_parser = two_cards)]
    cards: Option<TwoCards>,
    /// table, json with every round in it, or a template
    #[arg(long, default_value = "table")]
    format: Format,
    /// Show in the table how long things take, instead of how many there are in a second
    #[arg(long)]
    latency: bool,
    /// Write a page with plots and all data to FILE, too; it needs no network to be read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write everything that was measured to FILE, too, as JSON
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
    Server {
        listen: SocketAddr,
    },
    /// A program of somebody else's, on the CPU of all ends
    Alone {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    Answers {
        address: IpAddr,
    },
    Flows {
        address: IpAddr,
        first: u32,
        end: u32,
    },
    Flood {
        from: SocketAddr,
        to: SocketAddr,
        milliseconds: u64,
    },
    Who {
        server: SocketAddr,
    },
    Client {
        server: SocketAddr,
        exchange: Exchange,
        milliseconds: u64,
    },
}

impl Bench {
    pub(super) async fn run(self) -> Result<u8, CliError> {
        if let Some(Part::Load { end }) = self.part {
            return end.run();
        }
        let mut options = if self.quick { Options::quick() } else { Options::usual() };
        options.rounds = self.rounds.unwrap_or(options.rounds);
        options.time = self.milliseconds.map_or(options.time, Duration::from_millis);
        let further = !(self.endpoints.is_empty() && self.flows.is_empty() && self.cards.is_none());
        if further && self.workloads.is_none() && self.ports.is_none() {
            (options.workloads, options.ports) = (Vec::new(), Vec::new());
        }
        options.workloads = in_order(self.workloads.unwrap_or(options.workloads));
        options.ports = in_order(self.ports.unwrap_or(options.ports));
        options.endpoints = in_order(self.endpoints);
        options.flows = in_order(self.flows);
        options.cards = self.cards.map(|TwoCards(names)| names);
        let page = self.html.map(|path| Output::check("--html", &path)).transpose()?;
        let data = self.json.map(|path| Output::check("--json", &path)).transpose()?;
        let Done { record, gone } = measured(options).await?;
        let text = match self.format {
            Format::Table if self.latency => record.latency_table(),
            Format::Table => record.table(shows_dim()),
            Format::Json => output::pretty(&json!(record)),
            Format::Template(template) => template.render(&json!(record))? + "\n",
        };
        // What was measured is shown even if files cannot be written any more.
        output::print(&text).map_err(CliError::io("standard output"))?;
        data.map(|data| data.write(&output::pretty(&json!(record)))).transpose()?;
        page.map(|page| page.write(&record.page())).transpose()?;
        gone?;
        Ok(0)
    }
}

/// A file that somebody wants to have, too.
struct Output {
    what: String,
    file: ReportFile,
}

impl Output {
    fn check(option: &str, path: &Path) -> Result<Self, CliError> {
        let what = format!("{option} {}", path.display());
        let file = ReportFile::check(path).map_err(CliError::io(&*what))?;
        Ok(Self { what, file })
    }

    fn write(self, text: &str) -> Result<(), CliError> {
        self.file.write(text).map_err(CliError::io(self.what))
    }
}

/// Two names of interfaces.
#[derive(Clone, Debug)]
struct TwoCards([String; 2]);

fn two_cards(text: &str) -> Result<TwoCards, &'static str> {
    let names: Vec<_> = text.split(',').map(ToOwned::to_owned).collect();
    match <[String; 2]>::try_from(names) {
        Ok(names) if names.iter().all(|name| !name.is_empty()) => Ok(TwoCards(names)),
        _ => Err("two network cards are needed, with a comma between: eth1,eth2"),
    }
}

/// Each once, the least first.
fn in_order<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}

/// On a terminal, unless its user wants no colours (no-color.org).
fn shows_dim() -> bool {
    let wants_none = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    std::io::stdout().is_terminal() && !wants_none
}

/// Measures, until it is done or somebody wants it to end.
async fn measured(options: Options) -> Result<Done, CliError> {
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
            Self::Alone { command } => return Err(bench::load::alone(&command).into()),
            Self::Answers { address } => return Ok(bench::load::answer(address).map(|()| 0)?),
            Self::Flows { address, first, end } => {
                json!(bench::load::open(address, first..end)?).to_string() + "\n"
            }
            Self::Flood { from, to, milliseconds } => {
                let time = Duration::from_millis(milliseconds);
                json!(bench::load::flood(from, to, time)?).to_string() + "\n"
            }
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
