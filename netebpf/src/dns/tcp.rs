//! Connections (RFC 7766).
//!
//! **Invariant**: a connection is a task of its own, and there are at most so many; one that says nothing,
//! or does not read its answers, ends. Several questions on one connection do not wait for one another.

use super::{answer::Transport, asker::Asker, memory::Answer, question};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be had.
const BREATH: Duration = Duration::from_millis(50);

/// Serves a listener for ever.
pub(super) async fn serve(listener: TcpListener, asker: Arc<Asker>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // One too many is closed by being dropped.
                    if let Ok(permit) = Arc::clone(&asker.connections).try_acquire_owned() {
                        let asker = Arc::clone(&asker);
                        connections.spawn(async move {
                            let _ = converse(stream, &asker).await;
                            drop(permit);
                        });
                    }
                }
                Err(_) => sleep(BREATH).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers until the other side has no more to say.
async fn converse(mut stream: TcpStream, asker: &Arc<Asker>) -> io::Result<()> {
    let mut read = Vec::new();
    let mut out = Vec::new();
    let mut forwards: JoinSet<Option<Answer>> = JoinSet::new();
    let mut open = true;
    while open || !forwards.is_empty() {
        tokio::select! {
            more = timeout(IDLE, stream.read_buf(&mut read)), if open => match more {
                Ok(Ok(length)) => open = length > 0,
                Ok(Err(error)) => return Err(error),
                Err(_) if forwards.is_empty() => return Ok(()),
                Err(_) => {}
            },
            Some(done) = forwards.join_next() => {
                if let Ok(Some(answer)) = done {
                    send(&mut stream, &answer.bytes).await?;
                }
                continue;
            }
        }
        let mut done = 0;
        while let Some(query) = next(&read[done..]) {
            // Nobody has a reason to send what is no query; one who goes on would keep this thread from others.
            if query.len() < question::HEADER {
                return Ok(());
            }
            done += 2 + query.len();
            if let Some(leave) = asker.answer(query, Transport::Tcp, &mut out) {
                let asker = Arc::clone(asker);
                forwards.spawn(async move { asker.ask_others(leave, Transport::Tcp).await });
            } else if !out.is_empty() {
                send(&mut stream, &out).await?;
            }
            yield_now().await;
        }
        read.drain(..done);
    }
    Ok(())
}

/// The first whole message of what was read.
fn next(read: &[u8]) -> Option<&[u8]> {
    let (length, rest) = read.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

async fn send(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    // In one piece, for those who read but once.
    let message = [&length.to_be_bytes()[..], answer].concat();
    timeout(IDLE, stream.write_all(&message)).await?
}
