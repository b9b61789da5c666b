//! Asking others, from the host's own namespace.
//!
//! **Invariant**: each question goes out with an identifier and a source port of its own, both random, and
//! only what comes from the one who was asked, with that identifier and the same question, is an answer.
//! The first resolver has a small start over the next, who is asked at once when it fails; so the order
//! that the host chose holds, and one that is dead costs a moment. There is an end to every question, and one
//! that waits takes no memory for the answer that may come.

use super::{
    MOST_SERVERS, Upstreams,
    answer::{self, LARGEST_DATAGRAM, Transport},
    memory::{Answer, Memory},
    names::Forward,
    question::{self, Question},
};
use hickory_proto::op::ResponseCode;
use rustix::net::{RecvFlags, recv};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long a resolver has before the next one is asked, too.
const HEAD_START: Duration = Duration::from_millis(50);
/// How long a datagram is waited for before it is sent again.
const ONCE: Duration = Duration::from_millis(1500);
/// How often it is sent.
const TIMES: u32 = 2;
/// How long a connection and its answer may take.
const BY_TCP: Duration = Duration::from_secs(3);

/// Asks for what is none of ours, and answers with what to send back.
pub(super) async fn forward(
    query: &[u8],
    to: &Forward,
    upstreams: &Upstreams,
    transport: Transport,
    memory: &Memory,
) -> Option<Answer> {
    let question = question::read(query).ok()?;
    let resolvers = match to {
        Forward::Never => Vec::new(),
        Forward::Host => upstreams.current().servers.clone(),
        Forward::To(servers) => servers.to_vec(),
    };
    let resolvers = &resolvers[..resolvers.len().min(MOST_SERVERS)];
    let mut bytes = Vec::new();
    match ask_all(query, resolvers, memory).await {
        Some(mut answer) => {
            answer.bytes[..2].copy_from_slice(&query[..2]);
            if answer.bytes.len() <= answer::limit(&question, transport) {
                return Some(answer);
            }
            let code = ResponseCode::from_low(answer.bytes[3]);
            answer::truncated(&question, code, &mut bytes);
        }
        None => answer::failure(&question, transport, ResponseCode::ServFail, &mut bytes),
    }
    Some(Answer { bytes, _share: None })
}

/// The answer of the first resolver that has one; that of one that failed where none has.
async fn ask_all(query: &[u8], resolvers: &[SocketAddr], memory: &Memory) -> Option<Answer> {
    let mut waiting = JoinSet::new();
    let mut resolvers = resolvers.iter();
    let mut failed = None;
    loop {
        match resolvers.next() {
            Some(resolver) => {
                let (query, resolver, memory) = (query.to_vec(), *resolver, memory.clone());
                waiting.spawn(async move { ask(query, resolver, &memory).await });
            }
            None if waiting.is_empty() => return failed,
            None => {}
        }
        let others = resolvers.len() > 0;
        tokio::select! {
            Some(answered) = waiting.join_next() => match answered {
                Ok(Ok((answer, true))) => return Some(answer),
                Ok(Ok((answer, false))) => failed = failed.or(Some(answer)),
                Ok(Err(_)) | Err(_) => {}
            },
            () = sleep(HEAD_START), if others => {}
        }
    }
}

/// One resolver's answer, and whether it is one that others need not better.
async fn ask(
    mut query: Vec<u8>,
    resolver: SocketAddr,
    memory: &Memory,
) -> io::Result<(Answer, bool)> {
    let id: u16 = rand::random();
    query[..2].copy_from_slice(&id.to_be_bytes());
    let asked = question::read(&query).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut answer = by_udp(&query, id, &asked, resolver, memory).await?;
    let is_truncated = |answer: &Answer| answer.bytes[2] & 0x02 != 0;
    if is_truncated(&answer) {
        let whole = timeout(BY_TCP, by_tcp(&query, id, &asked, resolver, memory)).await;
        answer = whole.ok().and_then(Result::ok).unwrap_or(answer);
    }
    let code = ResponseCode::from_low(answer.bytes[3]);
    Ok((answer, matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)))
}

async fn by_udp(
    query: &[u8],
    id: u16,
    asked: &Question<'_>,
    resolver: SocketAddr,
    memory: &Memory,
) -> io::Result<Answer> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // The kernel chooses the port at random, and takes nothing but from whom we are connected to.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    for _ in 0..TIMES {
        socket.send(query).await?;
        let answered = timeout(ONCE, async {
            loop {
                socket.readable().await?;
                match receive(&socket, id, asked, memory) {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        });
        if let Ok(answered) = answered.await {
            return answered;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// The datagram that is there, where it is the answer. One that is longer than we take is as if its sender had left
/// something out.
fn receive(
    socket: &UdpSocket,
    id: u16,
    asked: &Question<'_>,
    memory: &Memory,
) -> io::Result<Option<Answer>> {
    // On the stack, and nothing is waited for while it is there.
    let mut buffer = [0; LARGEST_DATAGRAM as usize];
    let (length, sent) = socket
        .try_io(Interest::READABLE, || Ok(recv(socket, &mut buffer[..], RecvFlags::TRUNC)?))?;
    let received = &buffer[..length];
    let Some(header) = question::is_answer(received, id, asked) else { return Ok(None) };
    let share = memory.take(length).ok_or(io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    if sent > length {
        answer::truncated(asked, header.response_code, &mut bytes);
    } else {
        bytes.extend_from_slice(received);
    }
    Ok(Some(Answer { bytes, _share: Some(share) }))
}

async fn by_tcp(
    query: &[u8],
    id: u16,
    asked: &Question<'_>,
    resolver: SocketAddr,
    memory: &Memory,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let length = usize::from(stream.read_u16().await?);
    let share = memory.take(length).ok_or(io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    match question::is_answer(&bytes, id, asked) {
        Some(_) => Ok(Answer { bytes, _share: Some(share) }),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
