//! What the two processes do.

use super::{super::histogram::Histogram, Asked, Exchange, PATIENCE, READY, Sample, cpu};
use rustix::net::sockopt;
use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::Command,
    time::{Duration, Instant},
};

/// Sent instead of a byte that comes back: who is it that asks?
const WHO: u8 = b'?';
/// What comes back.
const BYTE: u8 = 1;

/// An end that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody there, or nothing on the way.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// The port is somebody's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The system does not take it.
    #[error("cannot send: {0}")]
    Send(io::Error),
    /// What was sent, or what should come back, is lost.
    #[error("no answer: {0}")]
    Answer(io::Error),
    /// The other end has ended.
    #[error("the server closed the connection")]
    Closed,
    /// Somebody else's program.
    #[error("cannot be started: {0}")]
    Program(io::Error),
    /// It was told to run here.
    #[error("cannot have a CPU for itself: {0}")]
    Cpu(io::Error),
}

/// Sends each byte back, one connection after the other, until standard input is closed.
pub fn server(listen: SocketAddr) -> Result<(), LoadError> {
    cpu::take_the_last().map_err(LoadError::Cpu)?;
    let listener = TcpListener::bind(listen).map_err(|error| LoadError::Listen(listen, error))?;
    println!("{READY}");
    std::thread::spawn(|| until_input_ends());
    loop {
        let (mut stream, client) = listener.accept().map_err(LoadError::Answer)?;
        stream.set_nodelay(true).map_err(LoadError::Answer)?;
        let mut byte = [0];
        // Its end, by FIN or RST, is the end of this client only.
        while stream.read_exact(&mut byte).is_ok() {
            let sent = match byte {
                [WHO] => writeln!(stream, "{}", client.ip().to_canonical()),
                byte => stream.write_all(&byte),
            };
            if sent.is_err() {
                break;
            }
        }
    }
}

/// Becomes another program, on the CPU of all ends; answers where it cannot.
pub fn alone(command: &[OsString]) -> LoadError {
    if let Err(error) = cpu::take_the_last() {
        return LoadError::Cpu(error);
    }
    let [program, arguments @ ..] = command else {
        return LoadError::Program(io::ErrorKind::InvalidInput.into());
    };
    LoadError::Program(Command::new(program).args(arguments).exec())
}

/// However the starter ends, its pipe is closed then.
pub(super) fn until_input_ends() -> ! {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    std::process::exit(0)
}

/// As whom the server sees this process.
pub fn who_am_i(server: SocketAddr) -> Result<String, LoadError> {
    let mut stream = connect(server)?;
    stream.write_all(&[WHO]).map_err(LoadError::Answer)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(LoadError::Answer)?;
    Ok(line)
}

/// Asks for the given time.
pub fn client(server: SocketAddr, exchange: Exchange, time: Duration) -> Result<Asked, LoadError> {
    cpu::take_the_last().map_err(LoadError::Cpu)?;
    match exchange {
        Exchange::RoundTrips => {
            let mut stream = connect(server)?;
            measure(time, || ask(&mut stream))
        }
        Exchange::Connections => measure(time, || ask(&mut connect(server)?)),
    }
}

fn connect(server: SocketAddr) -> Result<TcpStream, LoadError> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .map_err(|error| LoadError::Connect(server, error))?;
    let prepare = || {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // RST at the end: no port stays in TIME-WAIT, so none runs out.
        Ok::<_, io::Error>(sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?)
    };
    prepare().map_err(|error| LoadError::Connect(server, error))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> Result<(), LoadError> {
    let mut byte = [BYTE];
    stream.write_all(&byte).map_err(LoadError::Answer)?;
    match stream.read(&mut byte).map_err(LoadError::Answer)? {
        0 => Err(LoadError::Closed),
        _ => Ok(()),
    }
}

/// What is done again and again for the given time.
fn measure(
    time: Duration,
    mut operation: impl FnMut() -> Result<(), LoadError>,
) -> Result<Asked, LoadError> {
    // A vector that grows meanwhile would be in the measurement.
    let mut taken: Vec<u32> = Vec::with_capacity(1 << 20);
    let started = Instant::now();
    let mut before = started;
    while before - started < time {
        operation()?;
        let now = Instant::now();
        taken.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
        before = now;
    }
    let per_second = taken.len() as f64 / (before - started).as_secs_f64();
    let mut times = Histogram::default();
    taken.into_iter().for_each(|taken| times.count(taken));
    Ok(Asked { sample: Sample { latency: times.latency(), ..Sample::rate(per_second) }, times })
}
