//! Datagrams.
//!
//! **Invariant**: one task a socket. It answers what it can by itself, all that is there at once, and only
//! what goes to others becomes a task of its own, which knows nothing of the socket: when this task ends,
//! the socket is closed.

use super::{
    answer::Transport,
    asker::Asker,
    datagrams::{self, Exchange},
    memory::Answer,
};
use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::AsFd as _,
    sync::Arc,
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    task::{JoinSet, yield_now},
};

/// After how many queries others have a turn.
const TURN: usize = 2 * datagrams::MOST;

type Forwards = JoinSet<(Option<Answer>, SocketAddr)>;

thread_local! {
    /// One for all sockets of a thread: nothing is in it between two turns.
    static EXCHANGES: RefCell<Box<[Exchange]>> = RefCell::new(Exchange::room());
}

/// Serves a socket for ever.
pub(super) async fn serve(socket: UdpSocket, asker: Arc<Asker>) {
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
                    // One that finds no room is lost, as datagrams are.
                    let _ = socket.try_send_to(&answer.bytes, from);
                }
                continue;
            }
        }
        let turn = |exchanges: &RefCell<Box<[Exchange]>>| {
            serve_turn(&socket, &asker, &mut exchanges.borrow_mut(), &mut forwards)
        };
        if EXCHANGES.with(turn) {
            yield_now().await;
        }
    }
}

/// Answers what is there; whether there may be more.
fn serve_turn(
    socket: &UdpSocket,
    asker: &Arc<Asker>,
    exchanges: &mut [Exchange],
    forwards: &mut Forwards,
) -> bool {
    let mut left = TURN;
    while left > 0 {
        let received = match receive(socket, exchanges) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // About an earlier answer.
            Err(_) => 0,
        };
        left = left.saturating_sub(received.max(1));
        let received = &mut exchanges[..received];
        for exchange in &mut *received {
            let (query, from, out) = exchange.parts();
            if let Some(leave) = asker.answer(query, Transport::Udp, out) {
                out.clear();
                let asker = Arc::clone(asker);
                forwards
                    .spawn(async move { (asker.ask_others(leave, Transport::Udp).await, from) });
            }
        }
        datagrams::send(socket.as_fd(), received);
    }
    true
}

/// Reads what is there. Where that was one query alone, nobody asks much, and the next one is waited for without
/// looking again; where there were several, more have come meanwhile.
fn receive(socket: &UdpSocket, exchanges: &mut [Exchange]) -> io::Result<usize> {
    let mut received = 0;
    let tried = socket.try_io(Interest::READABLE, || {
        received = datagrams::receive(socket.as_fd(), exchanges)?;
        // There were places for more: the socket is empty, and whatever comes now makes it readable again.
        if received == 1 { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    if received > 0 { Ok(received) } else { tried.map(|()| 0) }
}
