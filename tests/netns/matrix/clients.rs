//! A program's side of a probe: one datagram, or one connection, with a socket of its own.

use super::{
    desired::OWN,
    probes::{Probe, Protocol, number_in, tcp_port, words},
};
use netebpf_tests::lab::Family;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, socket_with,
        sockopt::set_socket_linger,
    },
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// Who asked, and has not been answered yet.
#[derive(Debug)]
pub(super) struct Client {
    number: u16,
    to: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Datagram(UdpSocket),
    Connecting(TcpStream),
    Connected(TcpStream),
    Over,
}

impl Client {
    /// Asks from the namespace that this is called in, unless that fails at once.
    pub(super) fn begin(probe: &Probe) -> Option<Self> {
        let Probe { number, to, protocol, .. } = *probe;
        let any = Family::of(to.ip()).any();
        let state = match protocol {
            Protocol::Udp => {
                let socket = UdpSocket::bind((any, 0)).expect("a port for each");
                socket.set_nonblocking(true).expect("a socket of ours");
                socket.send_to(&words(number), to).ok()?;
                State::Datagram(socket)
            }
            Protocol::Tcp => {
                let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(family, SocketType::STREAM, flags, None);
                let socket = socket.expect("a socket for each");
                bind(&socket, &SocketAddr::new(any, tcp_port(probe))).expect("a port for each");
                // No port stays behind: the end is a reset.
                set_socket_linger(&socket, Some(Duration::ZERO)).expect("a socket of ours");
                match connect(&socket, &to) {
                    Ok(()) | Err(Errno::INPROGRESS) => State::Connecting(socket.into()),
                    Err(_) => return None,
                }
            }
        };
        Some(Self { number, to, state })
    }

    /// Does what can be done now; its number, once that has come back from where it was sent.
    pub(super) fn go_on(&mut self) -> Option<u16> {
        let mut back = [0; 64];
        loop {
            let done = match &mut self.state {
                State::Over => return None,
                State::Datagram(socket) => socket.recv_from(&mut back).map(|(length, from)| {
                    // A server at all of the host's addresses answers from the one that the route has (udp(7)).
                    let right = from == self.to || (from.port(), self.to.port()) == (OWN, OWN);
                    if right { length } else { 0 }
                }),
                State::Connecting(stream) => stream.write(&words(self.number)),
                State::Connected(stream) => stream.read(&mut back),
            };
            let length = match done {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                done => done.unwrap_or(0),
            };
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Connecting(stream) if length > 0 => State::Connected(stream),
                _ => return number_in(&back[..length]).filter(|number| *number == self.number),
            };
        }
    }
}
