//! Sockets inside namespaces: echo servers, their clients, and bulk transfers that compare every byte.

use super::{Family, Ns, moment, patience, wire::set_option};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Answers on a port, TCP and UDP, IPv4 and IPv6: what comes goes back. Remembers who asked.
#[derive(Debug)]
pub struct Echo {
    seen: Arc<Mutex<Vec<SocketAddr>>>,
    tcp: TcpListener,
    udp: UdpSocket,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts one.
    pub fn start(ns: &Ns, port: u16) -> Self {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let tcp = ns.run(|| bound(|| TcpListener::bind(any))).expect("a free TCP port");
        let udp = ns.run(|| bound(|| UdpSocket::bind(any))).expect("a free UDP port");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |seen: &Mutex<Vec<SocketAddr>>, who: SocketAddr| {
            let who = SocketAddr::new(who.ip().to_canonical(), who.port());
            seen.lock().expect("nobody panics with it").push(who);
        };
        let (listener, list) = (tcp.try_clone().expect("a descriptor"), Arc::clone(&seen));
        let accept = move || {
            while let Ok((stream, who)) = listener.accept() {
                note(&list, who);
                thread::spawn(move || echo_stream(stream));
            }
        };
        let (socket, list) = (udp.try_clone().expect("a descriptor"), Arc::clone(&seen));
        let answer = move || {
            let mut buffer = [0; 65_536];
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, who)) => {
                        note(&list, who);
                        // Its client may be gone; then there is nobody to tell.
                        drop(socket.send_to(&buffer[..length], who));
                    }
                    // A socket that was shut down has nobody as its sender.
                    Err(error) if error.kind() == ErrorKind::InvalidInput => break,
                    // An ICMP error about an earlier answer.
                    Err(_) => continue,
                }
            }
        };
        Self { seen, tcp, udp, threads: vec![thread::spawn(accept), thread::spawn(answer)] }
    }

    /// Who asked, in order, and forgets them.
    pub fn clients(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.seen.lock().expect("nobody panics with it"))
    }

    /// The only one who asked.
    pub fn client(&self) -> SocketAddr {
        let clients = self.clients();
        assert_eq!(clients.len(), 1, "one client was expected: {clients:?}");
        clients[0]
    }
}

fn echo_stream(mut stream: TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Linux wakes `accept` and `recv` when the socket is shut down.
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

/// Binds a socket. What we closed is still there for a moment where another thread starts a program just then: its child
/// has all our sockets until it becomes that program.
fn bound<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + moment();
    loop {
        match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

impl Ns {
    /// A server that answers on a port.
    pub fn echo(&self, port: u16) -> Echo {
        Echo::start(self, port)
    }

    /// A TCP connection to there, within patience.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.connect_from(None, to, patience())
    }

    /// A TCP connection from a source port, within a while.
    pub fn connect_from(
        &self,
        source_port: Option<u16>,
        to: SocketAddr,
        wait: Duration,
    ) -> io::Result<TcpStream> {
        let socket = self.tcp_socket(to)?;
        if let Some(port) = source_port {
            set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1 as libc::c_int)?;
            rustix::net::bind(&socket, &SocketAddr::new(Family::of(to.ip()).any(), port))?;
        }
        // The time limit of sending is that of connecting, too.
        let limit = rustix::net::sockopt::Timeout::Send;
        rustix::net::sockopt::set_socket_timeout(&socket, limit, Some(wait))?;
        rustix::net::connect(&socket, &to).map_err(|error| match error {
            rustix::io::Errno::INPROGRESS => ErrorKind::TimedOut.into(),
            other => io::Error::from(other),
        })?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(patience()))?;
        stream.set_read_timeout(Some(patience()))?;
        Ok(stream)
    }

    /// A TCP socket of the family of `to`, connected to nobody yet.
    fn tcp_socket(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        Ok(self.run(|| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None))?)
    }

    /// A UDP socket of a family, on a port (0 for any).
    pub fn udp(&self, family: Family, port: u16) -> UdpSocket {
        let bind = || bound(|| UdpSocket::bind(SocketAddr::new(family.any(), port)));
        let socket = self.run(bind).expect("a free UDP port");
        socket.set_read_timeout(Some(patience())).expect("a time limit");
        socket
    }

    /// Connects from an address of its own.
    pub fn connect_bound(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        port: Port,
    ) -> io::Result<TcpStream> {
        let socket = self.tcp_socket(to)?;
        if port == Port::Later {
            let name = libc::IP_BIND_ADDRESS_NO_PORT;
            set_option(&socket, libc::IPPROTO_IP, name, 1 as libc::c_int)?;
        }
        rustix::net::bind(&socket, &from)?;
        let limit = rustix::net::sockopt::Timeout::Send;
        rustix::net::sockopt::set_socket_timeout(&socket, limit, Some(2 * super::moment()))?;
        rustix::net::connect(&socket, &to)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(patience()))?;
        Ok(stream)
    }

    /// Asks an echo server once by TCP and once by UDP, and must be answered.
    #[track_caller]
    pub fn ask_both(&self, to: SocketAddr) {
        self.ask_tcp(to);
        self.ask_udp(to);
    }

    /// Asks an echo server by TCP, which must answer; our own address.
    #[track_caller]
    pub fn ask_tcp(&self, to: SocketAddr) -> SocketAddr {
        let who = self.name();
        let mut stream = self.connect(to).unwrap_or_else(|e| panic!("TCP {who} -> {to}: {e}"));
        say(&mut stream, b"over TCP").unwrap_or_else(|e| panic!("TCP {who} -> {to}: {e}"));
        stream.local_addr().expect("a connected socket")
    }

    /// Asks an echo server by UDP, which must answer from where it was asked; our own port.
    #[track_caller]
    pub fn ask_udp(&self, to: SocketAddr) -> u16 {
        let socket = self.udp(Family::of(to.ip()), 0);
        let who = self.name();
        ask(&socket, to, b"over UDP").unwrap_or_else(|e| panic!("UDP {who} -> {to}: {e}"));
        socket.local_addr().expect("a bound socket").port()
    }

    /// A TCP connection to there must fail; how.
    #[track_caller]
    pub fn refused(&self, to: SocketAddr) -> ErrorKind {
        match self.connect_from(None, to, super::moment()) {
            Err(error) => error.kind(),
            Ok(_) => panic!("TCP {} -> {to}: connected, which it must not", self.name()),
        }
    }
}

/// When a socket that is bound to an address gets its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// At once.
    Now,
    /// When it connects (`IP_BIND_ADDRESS_NO_PORT`, ip(7)), as of programs that make many connections from one address.
    Later,
}

/// Sends something on a connection to an echo server and reads it back.
pub fn say(stream: &mut TcpStream, what: &[u8]) -> io::Result<()> {
    stream.write_all(what)?;
    let mut back = vec![0; what.len()];
    stream.read_exact(&mut back)?;
    if back == what { Ok(()) } else { Err(io::Error::other("not what was sent came back")) }
}

/// Sends a datagram to an echo server; the answer must come from there.
pub fn ask(socket: &UdpSocket, to: SocketAddr, what: &[u8]) -> io::Result<()> {
    socket.send_to(what, to)?;
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    if from != to {
        return Err(io::Error::other(format!("the answer came from {from}")));
    }
    if buffer[..length] == *what { Ok(()) } else { Err(io::Error::other("another answer came")) }
}

/// Lets a socket send many datagrams of this size with one call, as one packet that is cut late (`UDP_SEGMENT`, udp(7)).
pub fn in_segments(socket: &UdpSocket, size: u16) {
    let size = libc::c_int::from(size);
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, size).expect("the kernel can");
}

/// How long the pattern of a bulk transfer is: a prime, so that no two segments are alike.
const PATTERN: usize = 1_000_003;

/// Random enough that a lost, doubled or exchanged piece never goes unseen.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..=PATTERN / 8).flat_map(|_| next()).collect();
    bytes.truncate(PATTERN);
    bytes
}

/// Writes so many bytes of the pattern, after the first `done` of them.
pub fn send_pattern(stream: &mut TcpStream, done: usize, bytes: usize) -> io::Result<()> {
    let pattern = pattern();
    let (mut at, end) = (done, done + bytes);
    while at < end {
        let place = at % PATTERN;
        let part = (PATTERN - place).min(end - at);
        stream.write_all(&pattern[place..place + part])?;
        at += part;
    }
    Ok(())
}

/// Reads the pattern to the end of the stream, or so many bytes of it, and compares each; how many
/// there were.
pub fn expect_pattern(stream: &mut TcpStream, most: usize) -> io::Result<usize> {
    let pattern = pattern();
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0;
    while done < most {
        let at = done % PATTERN;
        let room = buffer.len().min(PATTERN - at).min(most - done);
        let length = stream.read(&mut buffer[..room])?;
        if length == 0 {
            break;
        }
        if buffer[..length] != pattern[at..at + length] {
            return Err(io::Error::other(format!("a wrong byte after {done}")));
        }
        done += length;
    }
    Ok(done)
}

/// The same, and there must be all of them.
fn expect_whole_pattern(stream: &mut TcpStream, bytes: usize) -> io::Result<()> {
    match expect_pattern(stream, bytes)? {
        done if done == bytes => Ok(()),
        done => Err(io::Error::other(format!("ended after {done} of {bytes} bytes"))),
    }
}

/// Moves so many bytes each way over one connection, and compares each of them.
#[track_caller]
pub fn bulk(client: &Ns, server: &Ns, listen: u16, to: SocketAddr, bytes: usize) {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, listen));
    let listener = server.run(|| TcpListener::bind(any)).expect("a free TCP port");
    // The time limit of receiving is that of accepting, too: a client that fails must not hang us.
    let limit = rustix::net::sockopt::Timeout::Recv;
    rustix::net::sockopt::set_socket_timeout(&listener, limit, Some(patience())).expect("a limit");
    thread::scope(|scope| {
        let serving = scope.spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(patience()))?;
            stream.set_write_timeout(Some(patience()))?;
            expect_whole_pattern(&mut stream, bytes)?;
            send_pattern(&mut stream, 0, bytes)
        });
        let run = || -> io::Result<()> {
            let mut stream = client.connect(to)?;
            send_pattern(&mut stream, 0, bytes)?;
            expect_whole_pattern(&mut stream, bytes)
        };
        let ours = run();
        if let Err(error) = ours {
            panic!("bulk {} -> {to}, client: {error}", client.name());
        }
        let theirs = serving.join().expect("no panic");
        theirs.unwrap_or_else(|error| panic!("bulk {} -> {to}, server: {error}", client.name()));
    });
}
