//! The two ends of a measurement: a server and a client on one CPU, with blocking sockets.
//!
//! **Invariant**: a client prints one number, operations per second, or fails; it never waits longer than
//! [`PATIENCE`] for an answer.

use super::{flows::Servers, queries::Queries};
use anyhow::{Context as _, Result, bail};
use rustix::{
    net::sockopt,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(5);

/// What the server prints when it can be connected to.
pub(super) const READY: &str = "ready";

/// One end of a measurement
#[derive(clap::Args)]
pub(crate) struct Load {
    #[command(subcommand)]
    end: End,
}

#[derive(clap::Subcommand)]
enum End {
    /// Sends each byte back, one connection after the other, until standard input is closed
    Server { listen: SocketAddr },
    /// Answers datagrams on many ports, until standard input is closed
    Answers {
        #[command(flatten)]
        servers: Servers,
    },
    /// Opens so many flows to them and prints how fast
    Flows {
        #[command(flatten)]
        servers: Servers,
        flows: u32,
    },
    /// Asks for a name and prints how fast it is answered
    Ask {
        #[command(flatten)]
        queries: Queries,
    },
    /// Attaches an endpoint and detaches it, many times, and prints how long that took
    Attach { netebpf: PathBuf, rounds: u32 },
    /// Asks for the given time and prints operations per second
    Client {
        server: SocketAddr,
        #[arg(long, value_enum)]
        metric: Metric,
        #[arg(long)]
        milliseconds: u64,
    },
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// One byte there and back, on one connection
    RoundTrips,
    /// A connection, one byte there and back, and its end
    Connections,
}

impl Load {
    pub(crate) fn run(self) -> Result<()> {
        // Commands are measured as they are.
        if !matches!(self.end, End::Attach { .. }) {
            pin_to_last_cpu()?;
            // What else the machine does shall not count.
            rustix::process::nice(-20).context("cannot take precedence")?;
        }
        match self.end {
            End::Server { listen } => serve(listen),
            End::Answers { servers } => {
                servers.answer()?;
                println!("{READY}");
                until_input_ends()
            }
            End::Flows { servers, flows } => servers.open(flows),
            End::Ask { queries } => queries.ask(),
            End::Attach { netebpf, rounds } => super::attach::measure_as_root(netebpf, rounds),
            End::Client { server, metric, milliseconds } => {
                let time = Duration::from_millis(milliseconds);
                let rate = match metric {
                    Metric::RoundTrips => round_trips(server, time)?,
                    Metric::Connections => connections(server, time)?,
                };
                println!("{rate:.1}");
                Ok(())
            }
        }
    }
}

/// Both ends share a CPU, so that what is measured is the work and not the wake-up of another CPU.
fn pin_to_last_cpu() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let last =
        (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no CPU is allowed")?;
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).context("cannot pin to one CPU")
}

fn serve(listen: SocketAddr) -> Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!("{READY}");
    std::thread::spawn(until_input_ends);
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        // Its end, by FIN or RST, is the end of this client only.
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    }
}

/// However the starter ends, its pipe is closed then.
fn until_input_ends() -> ! {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(0)
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("cannot connect to {server}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // RST at the end: no port stays in TIME-WAIT, so none runs out.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> Result<()> {
    let mut byte = [1];
    stream.write_all(&byte)?;
    if stream.read(&mut byte).context("no answer")? == 0 {
        bail!("the server closed the connection");
    }
    Ok(())
}

fn round_trips(server: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = connect(server)?;
    rate(time, || ask(&mut stream))
}

fn connections(server: SocketAddr, time: Duration) -> Result<f64> {
    rate(time, || ask(&mut connect(server)?))
}

/// Operations per second of what is done again and again for the given time.
fn rate(time: Duration, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    let mut done = 0.0;
    while started.elapsed() < time {
        operation()?;
        done += 1.0;
    }
    Ok(done / started.elapsed().as_secs_f64())
}
