//! `netebpf logs`.

use super::{CliError, Context};
use crate::daemon::{is_alive, log_beginning};
use clap::Args;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    num::ParseIntError,
    time::Duration,
};
use tokio::time::sleep;

/// How often a log is looked at with `-f`.
const INTERVAL: Duration = Duration::from_millis(200);

/// Print the output of what runs in an endpoint
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The endpoint
    #[arg(value_name = "ENDPOINT")]
    name: String,
    /// Go on until it ends
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES", value_parser = tail)]
    tail: Tail,
}

/// How much of what is there.
#[derive(Clone, Copy, Debug)]
enum Tail {
    All,
    Lines(usize),
}

fn tail(text: &str) -> Result<Tail, ParseIntError> {
    if text == "all" { Ok(Tail::All) } else { text.parse().map(Tail::Lines) }
}

impl Logs {
    pub(super) async fn run(self, context: &Context) -> Result<u8, CliError> {
        let view = context.endpoint(&self.name).await?;
        let name = view.log.display().to_string();
        let mut log = match File::open(&view.log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CliError::NoLog(view.endpoint.name));
            }
            log => log.map_err(CliError::io(format!("log {name}")))?,
        };
        self.seek(&mut log).map_err(CliError::io(format!("log {name}")))?;
        loop {
            // Asked before reading, so that its last words are not missed.
            let alive = view.process.as_ref().is_some_and(is_alive);
            catch_up(&mut log).map_err(CliError::io(format!("log {name}")))?;
            if !copy(&mut log).map_err(CliError::io(format!("log {name}")))? {
                return Ok(0);
            }
            if !self.follow || !alive {
                return Ok(0);
            }
            sleep(INTERVAL).await;
        }
    }

    fn seek(&self, log: &mut File) -> io::Result<()> {
        let beginning = log_beginning(log)?;
        match self.tail {
            Tail::All => log.seek(SeekFrom::Start(beginning)).map(drop),
            Tail::Lines(lines) => seek_to_tail(log, beginning, lines),
        }
    }
}

/// Past what was cut off while nobody read: its beginning, or all of it.
fn catch_up(log: &mut File) -> io::Result<()> {
    let (at, beginning) = (log.stream_position()?, log_beginning(log)?);
    let length = log.metadata()?.len();
    let right = if at > length { 0 } else { at.max(beginning) };
    log.seek(SeekFrom::Start(right)).map(drop)
}

/// What there is, to standard output; `false` when nobody reads it any more.
fn copy(log: &mut File) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match io::copy(log, &mut out).and_then(|_| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

/// Before the last `lines` lines: read backwards, a block at a time.
fn seek_to_tail(log: &mut File, beginning: u64, lines: usize) -> io::Result<()> {
    const BLOCK: u64 = 16 * 1024;
    let mut end = log.seek(SeekFrom::End(0))?;
    let length = end;
    if lines == 0 {
        return Ok(());
    }
    // The newline that ends the last line is not the end of one before.
    let mut missing = lines;
    let mut block = Vec::new();
    while end > beginning {
        let start = end.saturating_sub(BLOCK).max(beginning);
        log.seek(SeekFrom::Start(start))?;
        block.clear();
        (&*log).take(end - start).read_to_end(&mut block)?;
        for (place, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + place as u64 + 1;
            if after == length {
                continue;
            }
            missing = missing.saturating_sub(1);
            if missing == 0 {
                log.seek(SeekFrom::Start(after))?;
                return Ok(());
            }
        }
        end = start;
    }
    log.seek(SeekFrom::Start(beginning)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 1, "c"),
            ("a\nb\nc\n", 9, "a\nb\nc\n"),
            ("a\nb\nc\n", 0, ""),
            ("", 3, ""),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            seek_to_tail(&mut file, 0, lines).unwrap();
            let mut rest = String::new();
            file.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, expected, "{text:?} {lines}");
        }
    }
}
