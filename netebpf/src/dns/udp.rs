//! Datagrams.
//!
//! **Invariant**: one task a socket. It answers what it can by itself, one query after the other, and only
//! what goes to others becomes a task of its own, which knows nothing of the socket: when this task ends,
//! the socket is closed.

use super::{
    answer::{LARGEST_DATAGRAM, Transport},
    asker::Asker,
    memory::Answer,
};
use std::{io::ErrorKind, net::SocketAddr, sync::Arc};
use tokio::{
    net::UdpSocket,
    task::{JoinSet, yield_now},
};

/// After how many queries others have a turn.
const BATCH: usize = 64;

type Forwards = JoinSet<(Option<Answer>, SocketAddr)>;

/// Serves a socket for ever.
pub(super) async fn serve(socket: UdpSocket, asker: Arc<Asker>) {
    let mut buffer = vec![0; usize::from(LARGEST_DATAGRAM)];
    let mut out = Vec::with_capacity(usize::from(LARGEST_DATAGRAM));
    let mut forwards = Forwards::new();
    loop {
        tokio::select! {
            ready = socket.readable() => match ready {
                Ok(()) => {}
                // The runtime is going down.
                Err(_) => return,
            },
            Some(done) = forwards.join_next() => {
                if let Ok((Some(answer), from)) = done {
                    send(&socket, &answer.bytes, from);
                }
                continue;
            }
        }
        if serve_batch(&socket, &asker, &mut buffer, &mut out, &mut forwards) {
            yield_now().await;
        }
    }
}

/// Answers what is there; whether there may be more.
fn serve_batch(
    socket: &UdpSocket,
    asker: &Arc<Asker>,
    buffer: &mut [u8],
    out: &mut Vec<u8>,
    forwards: &mut Forwards,
) -> bool {
    for _ in 0..BATCH {
        let (length, from) = match socket.try_recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // About an earlier answer.
            Err(_) => continue,
        };
        if let Some(leave) = asker.answer(&buffer[..length], Transport::Udp, out) {
            let asker = Arc::clone(asker);
            forwards.spawn(async move { (asker.ask_others(leave, Transport::Udp).await, from) });
        } else if !out.is_empty() {
            send(socket, out, from);
        }
    }
    true
}

/// An answer that finds no room is lost, as datagrams are.
fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    let _ = socket.try_send_to(answer, to);
}
