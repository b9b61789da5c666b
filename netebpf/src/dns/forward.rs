//! Asking others, from the host's own namespace.
//!
//! **Invariant**: each question goes out with an identifier and a source port of its own, both random, and
//! only what comes from the one who was asked, with that identifier and the same question, is an answer.
//! The first resolver has a small start over the next, who is asked at once when it fails; so the order
//! that the host chose holds, and one that is dead costs a moment. There is an end to every question.

use super::{
    Upstreams,
    answer::{self, Transport},
    names::Forward,
    question::{self, Question},
};
use hickory_proto::op::ResponseCode;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
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
/// The longest message.
const LONGEST: usize = u16::MAX as usize;

/// Asks for what is none of ours, and answers with what to send back.
pub(super) async fn forward(
    query: &[u8],
    to: &Forward,
    upstreams: &Upstreams,
    transport: Transport,
) -> Option<Vec<u8>> {
    let question = question::read(query).ok()?;
    let resolvers = match to {
        Forward::Never => Vec::new(),
        Forward::Host => upstreams.current().servers.clone(),
        Forward::To(servers) => servers.to_vec(),
    };
    let mut out = Vec::new();
    match ask_all(query, &resolvers).await {
        Some(mut answer) => {
            answer[..2].copy_from_slice(&query[..2]);
            if answer.len() <= answer::limit(&question, transport) {
                return Some(answer);
            }
            let code = ResponseCode::from_low(answer[3]);
            answer::truncated(&question, code, &mut out);
        }
        None => answer::failure(&question, transport, ResponseCode::ServFail, &mut out),
    }
    Some(out)
}

/// The answer of the first resolver that has one; that of one that failed where none has.
async fn ask_all(query: &[u8], resolvers: &[SocketAddr]) -> Option<Vec<u8>> {
    let mut waiting = JoinSet::new();
    let mut resolvers = resolvers.iter();
    let mut failed = None;
    loop {
        match resolvers.next() {
            Some(resolver) => {
                let (query, resolver) = (query.to_vec(), *resolver);
                waiting.spawn(async move { ask(&query, resolver).await });
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
async fn ask(query: &[u8], resolver: SocketAddr) -> io::Result<(Vec<u8>, bool)> {
    let id: u16 = rand::random();
    let mut query = query.to_vec();
    query[..2].copy_from_slice(&id.to_be_bytes());
    let asked = question::read(&query).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut answer = by_udp(&query, id, &asked, resolver).await?;
    let is_truncated = |answer: &[u8]| answer[2] & 0x02 != 0;
    if is_truncated(&answer) {
        let whole = timeout(BY_TCP, by_tcp(&query, id, &asked, resolver)).await;
        answer = whole.ok().and_then(Result::ok).unwrap_or(answer);
    }
    let settled =
        matches!(ResponseCode::from_low(answer[3]), ResponseCode::NoError | ResponseCode::NXDomain);
    Ok((answer, settled))
}

async fn by_udp(
    query: &[u8],
    id: u16,
    asked: &Question<'_>,
    resolver: SocketAddr,
) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // The kernel chooses the port at random, and takes nothing but from whom we are connected to.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    let mut buffer = vec![0; LONGEST];
    for _ in 0..TIMES {
        socket.send(query).await?;
        let answered = timeout(ONCE, async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if question::is_answer(&buffer[..length], id, asked).is_some() {
                    return io::Result::Ok(length);
                }
            }
        });
        if let Ok(length) = answered.await {
            buffer.truncate(length?);
            return Ok(buffer);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn by_tcp(
    query: &[u8],
    id: u16,
    asked: &Question<'_>,
    resolver: SocketAddr,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    match question::is_answer(&answer, id, asked) {
        Some(_) => Ok(answer),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}
