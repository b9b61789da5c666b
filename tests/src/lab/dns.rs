//! Asking for names, and a resolver of the outside that is asked.

use super::{Ns, patience};
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, TXT},
    },
};
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The resolver of every endpoint.
const RESOLVER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

/// How a question is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// In a datagram.
    Udp,
    /// In a datagram, by somebody who takes answers of this length.
    Edns(u16),
    /// By a connection.
    Tcp,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The code.
    pub code: ResponseCode,
    /// The data of the answers, in their order.
    pub data: Vec<String>,
    /// Whether there is more.
    pub truncated: bool,
    /// Whether the one who answers is the one who knows.
    pub authoritative: bool,
}

impl Reply {
    /// The data of a good answer.
    #[track_caller]
    pub fn ok(self) -> Vec<String> {
        assert_eq!(self.code, ResponseCode::NoError, "{self:?}");
        self.data
    }

    /// The same, without an order.
    #[track_caller]
    pub fn set(self) -> BTreeSet<String> {
        self.ok().into_iter().collect()
    }
}

/// A record's data as text.
fn text(data: &RData) -> String {
    match data {
        RData::A(v4) => v4.0.to_string(),
        RData::AAAA(v6) => v6.0.to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => other.to_string(),
    }
}

/// A type of record by its name.
pub fn record(kind: &str) -> RecordType {
    kind.parse().expect("a type of record")
}

impl Ns {
    /// Asks the resolver for a name, by a datagram.
    #[track_caller]
    pub fn resolve(&self, name: &str, kind: &str) -> Reply {
        self.resolve_by(Way::Udp, name, kind)
    }

    /// Asks the resolver for a name.
    #[track_caller]
    pub fn resolve_by(&self, way: Way, name: &str, kind: &str) -> Reply {
        let reply = self.try_resolve(way, name, kind, patience());
        reply.unwrap_or_else(|error| panic!("{} asks for {name} {kind}: {error}", self.name()))
    }

    /// The same, for as long as it is waited for.
    pub fn try_resolve(
        &self,
        way: Way,
        name: &str,
        kind: &str,
        wait: Duration,
    ) -> io::Result<Reply> {
        let question = question(way, name, kind);
        let answer = match way {
            Way::Tcp => {
                let mut stream = self.connect(RESOLVER.into())?;
                stream.set_read_timeout(Some(wait))?;
                send(&mut stream, &question)?;
                receive(&mut stream)?
            }
            Way::Udp | Way::Edns(_) => {
                let socket = self.ask_later(&question);
                socket.set_read_timeout(Some(wait))?;
                let mut buffer = vec![0; 65_536];
                let length = socket.recv(&mut buffer)?;
                buffer.truncate(length);
                buffer
            }
        };
        let most = match way {
            Way::Udp => 512,
            Way::Edns(most) => most.into(),
            Way::Tcp => usize::MAX,
        };
        assert!(answer.len() <= most, "{} bytes are too many for {way:?}", answer.len());
        assert_eq!(answer[..2], question[..2], "another's identifier");
        let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
        assert_eq!(answer.edns.is_some(), matches!(way, Way::Edns(_)), "{answer:?}");
        Ok(Reply {
            code: answer.metadata.response_code,
            data: answer.answers.iter().map(|record| text(&record.data)).collect(),
            truncated: answer.metadata.truncation,
            authoritative: answer.metadata.authoritative,
        })
    }

    /// Asks the resolver, and does not wait: what comes back arrives at the socket.
    pub fn ask_later(&self, question: &[u8]) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).expect("a socket");
        socket.connect(RESOLVER).expect("the resolver's address");
        socket.send(question).expect("loopback takes it");
        socket
    }

    /// A connection to the resolver.
    pub fn resolver(&self) -> TcpStream {
        self.connect(RESOLVER.into()).expect("the resolver accepts")
    }
}

/// A question as it goes over the wire.
pub fn question(way: Way, name: &str, kind: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, record(kind)));
    if let Way::Edns(size) = way {
        message.set_edns(Edns::new().set_max_payload(size).clone());
    }
    message.to_vec().expect("it can be written")
}

fn send(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).expect("short enough");
    stream.write_all(&[&length.to_be_bytes()[..], message].concat())
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Who was asked for what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Asked {
    /// The name, in lower case, without the last dot.
    pub name: String,
    /// The type.
    pub kind: String,
    /// Whether it came by a connection.
    pub tcp: bool,
    /// From whom.
    pub from: SocketAddr,
    /// The question's identifier.
    pub id: u16,
}

/// A resolver of the outside, at port 53 of a namespace. `nx…` does not exist, `fail…` fails, `silent…` is never
/// answered, `forged…` is answered wrongly at first, `big…` does not fit a datagram, `long…` is sent in one that is
/// longer than anybody asks for; every other name has the addresses that it was started with.
#[derive(Debug)]
pub struct Upstream {
    asked: Arc<Mutex<Vec<Asked>>>,
    udp: UdpSocket,
    tcp: TcpListener,
    threads: Vec<JoinHandle<()>>,
}

impl Upstream {
    /// Starts one that answers with these addresses.
    pub fn start(ns: &Ns, at: IpAddr, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let (udp, tcp) = ns.run(|| (UdpSocket::bind((at, 53)), TcpListener::bind((at, 53))));
        let (udp, tcp) = (udp.expect("a free UDP port"), tcp.expect("a free TCP port"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (socket, list) = (udp.try_clone().expect("a descriptor"), Arc::clone(&asked));
        let datagrams = move || {
            let mut buffer = [0; 65_536];
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((0, _)) => break,
                    Ok((length, from)) => {
                        for answer in answers(&buffer[..length], false, from, (v4, v6), &list) {
                            drop(socket.send_to(&answer, from));
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                    Err(_) => {}
                }
            }
        };
        let (listener, list) = (tcp.try_clone().expect("a descriptor"), Arc::clone(&asked));
        let connections = move || {
            while let Ok((mut stream, from)) = listener.accept() {
                while let Ok(message) = receive(&mut stream) {
                    for answer in answers(&message, true, from, (v4, v6), &list) {
                        drop(send(&mut stream, &answer));
                    }
                }
            }
        };
        Self {
            asked,
            udp,
            tcp,
            threads: vec![thread::spawn(datagrams), thread::spawn(connections)],
        }
    }

    /// What it was asked, in order, and forgets it.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("nobody panics with it"))
    }

    /// The names that it was asked for, and forgets them.
    pub fn names(&self) -> BTreeSet<String> {
        self.asked().into_iter().map(|asked| asked.name).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // SAFETY: our own descriptors, open until the end of this function.
        unsafe {
            libc::shutdown(self.tcp.as_raw_fd(), libc::SHUT_RDWR);
            libc::shutdown(self.udp.as_raw_fd(), libc::SHUT_RDWR);
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn answers(
    message: &[u8],
    tcp: bool,
    from: SocketAddr,
    (v4, v6): (Ipv4Addr, Ipv6Addr),
    asked: &Mutex<Vec<Asked>>,
) -> Vec<Vec<u8>> {
    let Ok(message) = Message::from_vec(message) else { return Vec::new() };
    let query = message.queries[0].clone();
    let name = query.name().to_string().to_lowercase().trim_end_matches('.').to_owned();
    let id = message.metadata.id;
    let kind = query.query_type();
    let note = Asked { name: name.clone(), kind: kind.to_string(), tcp, from, id };
    asked.lock().expect("nobody panics with it").push(note);
    let edns = message.edns.is_some();
    let mut answer = message.into_response();
    answer.metadata.recursion_available = true;
    answer.edns = edns.then(Edns::new);
    let add = |answer: &mut Message, data| {
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
    };
    if name.starts_with("silent") {
        return Vec::new();
    } else if name.starts_with("nx") {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else if name.starts_with("fail") {
        answer.metadata.response_code = ResponseCode::ServFail;
    } else if name.starts_with("big") || name.starts_with("long") {
        let whole = tcp || name.starts_with("long");
        answer.metadata.truncation = !whole;
        let words = (0..if whole { 100 } else { 0 }).map(|n| format!("{n:0100}"));
        words.for_each(|word| add(&mut answer, RData::TXT(TXT::new(vec![word]))));
    } else if kind == RecordType::A {
        add(&mut answer, RData::A(A(v4)));
    } else if kind == RecordType::AAAA {
        add(&mut answer, RData::AAAA(AAAA(v6)));
    } else if kind == RecordType::TXT {
        add(&mut answer, RData::TXT(TXT::new(vec!["outside".to_owned()])));
    }
    let write = |answer: &Message| answer.to_vec().expect("it can be written");
    if !name.starts_with("forged") {
        return vec![write(&answer)];
    }
    // Another's identifier, another name, no answer at all; then the right one.
    let (mut id, mut other) = (answer.clone(), answer.clone());
    id.metadata.id ^= 1;
    id.answers[0].data = RData::A(A(Ipv4Addr::BROADCAST));
    other.queries[0].set_name(Name::from_ascii("other.example.").expect("a name"));
    vec![write(&id), write(&other), vec![0xff; 7], write(&answer)]
}
