//! One packet out, and what comes back: ping, traceroute, closed ports, path MTU.
//!
//! Errors are read from the socket's error queue (`IP_RECVERR`, ip(7)), which tells who sent them.

use super::{Family, Ns, patience, wire::set_option};
use rustix::event::{PollFd, PollFlags};
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The answer of the other end.
    Reply,
    /// An ICMP error, or one of our own kernel.
    Error(IcmpError),
    /// Nothing, for as long as we waited.
    Silence,
}

/// An ICMP error as a socket sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// Who sent it; none when our own kernel refused to send.
    pub from: Option<IpAddr>,
    /// The error number that the socket's owner gets.
    pub errno: i32,
    /// ICMP type and code.
    pub kind: (u8, u8),
    /// The MTU, of "too big".
    pub info: u32,
}

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    ns: &'a Ns,
    to: SocketAddr,
    echo: bool,
    hops: Option<u8>,
    payload: usize,
    dont_fragment: bool,
    wait: Duration,
}

impl Ns {
    /// An ICMP echo request.
    pub fn ping(&self, to: IpAddr) -> Probe<'_> {
        let (wait, to) = (patience(), SocketAddr::new(to, 0));
        let (hops, payload, dont_fragment) = (None, 56, false);
        Probe { ns: self, to, echo: true, hops, payload, dont_fragment, wait }
    }

    /// A UDP datagram to a port.
    pub fn datagram(&self, to: SocketAddr) -> Probe<'_> {
        Probe { to, echo: false, ..self.ping(to.ip()) }
    }

    /// A ping that must be answered.
    #[track_caller]
    pub fn reaches(&self, to: IpAddr) {
        assert_eq!(self.ping(to).send(), Answer::Reply, "ping {} -> {to}", self.name());
    }

    /// A ping that must not be answered by that address; ours is what came instead.
    #[track_caller]
    pub fn never_reaches(&self, to: IpAddr) -> Answer {
        let answer = self.ping(to).within(super::moment()).send();
        assert_ne!(answer, Answer::Reply, "ping {} -> {to}", self.name());
        answer
    }

    /// The path there: who answers at each hop limit, up to the target.
    pub fn trace(&self, probe: impl Fn(u8) -> Answer, target: IpAddr) -> Vec<Option<IpAddr>> {
        let mut path = Vec::new();
        for hops in 1..=8 {
            path.push(match probe(hops) {
                Answer::Reply => Some(target),
                Answer::Error(error) => error.from,
                Answer::Silence => None,
            });
            if path.last() == Some(&Some(target)) {
                break;
            }
        }
        path
    }

    /// traceroute by ICMP echo.
    pub fn trace_echo(&self, to: IpAddr) -> Vec<Option<IpAddr>> {
        self.trace(|hops| self.ping(to).hops(hops).send(), to)
    }

    /// traceroute by UDP to a port that nobody listens on.
    pub fn trace_udp(&self, to: IpAddr) -> Vec<Option<IpAddr>> {
        let port = |hops| SocketAddr::new(to, 33_434 + u16::from(hops));
        self.trace(|hops| self.datagram(port(hops)).hops(hops).send(), to)
    }
}

impl Probe<'_> {
    /// With this hop limit.
    #[must_use]
    pub fn hops(self, hops: u8) -> Self {
        Self { hops: Some(hops), ..self }
    }

    /// With so many bytes of payload, never to be fragmented.
    #[must_use]
    pub fn whole(self, payload: usize) -> Self {
        Self { payload, dont_fragment: true, ..self }
    }

    /// With so many bytes of payload, fragmented where it must be.
    #[must_use]
    pub fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    /// Waits only so long.
    #[must_use]
    pub fn within(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Sends it and waits for what comes back.
    pub fn send(&self) -> Answer {
        let socket = self.ns.run(|| self.socket());
        let socket = socket.unwrap_or_else(|e| panic!("probe of {}: {e}", self.to));
        let message = self.message();
        match rustix::net::send(&socket, &message, rustix::net::SendFlags::empty()) {
            Ok(_) => self.wait(&socket).unwrap_or_else(|e| panic!("probe of {}: {e}", self.to)),
            // The kernel itself refuses: too long for what it knows of the path, or no route.
            Err(error) => {
                let known = read_error(&socket).ok().flatten();
                Answer::Error(known.unwrap_or(IcmpError {
                    from: None,
                    errno: error.raw_os_error(),
                    kind: (0, 0),
                    info: 0,
                }))
            }
        }
    }

    fn socket(&self) -> io::Result<OwnedFd> {
        use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};
        let v4 = self.to.is_ipv4();
        let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let (kind, protocol): (_, Option<Protocol>) = match (self.echo, v4) {
            (false, _) => (SocketType::DGRAM, None),
            (true, true) => (SocketType::RAW, Some(ipproto::ICMP)),
            (true, false) => (SocketType::RAW, Some(ipproto::ICMPV6)),
        };
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        let level = if v4 { libc::IPPROTO_IP } else { libc::IPPROTO_IPV6 };
        let set = |v4_name, v6_name, value: libc::c_int| {
            set_option(&socket, level, if v4 { v4_name } else { v6_name }, value)
        };
        set(libc::IP_RECVERR, libc::IPV6_RECVERR, 1)?;
        if let Some(hops) = self.hops {
            set(libc::IP_TTL, libc::IPV6_UNICAST_HOPS, hops.into())?;
        }
        let discover = match (self.dont_fragment, v4) {
            (true, true) => libc::IP_PMTUDISC_DO,
            (true, false) => libc::IPV6_PMTUDISC_DO,
            (false, true) => libc::IP_PMTUDISC_DONT,
            (false, false) => libc::IPV6_PMTUDISC_WANT,
        };
        set(libc::IP_MTU_DISCOVER, libc::IPV6_MTU_DISCOVER, discover)?;
        rustix::net::connect(&socket, &self.to)?;
        Ok(socket)
    }

    /// An echo request, whose checksum the kernel fills in for IPv6 only, or a datagram's payload.
    fn message(&self) -> Vec<u8> {
        if !self.echo {
            return vec![b'p'; self.payload];
        }
        let kind = if self.to.is_ipv4() { 8 } else { 128 };
        let [high, low] = identifier().to_be_bytes();
        let mut message = vec![kind, 0, 0, 0, high, low, 0, 1];
        message.resize(8 + self.payload, b'p');
        if self.to.is_ipv4() {
            let sum = super::frame::checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        message
    }

    fn wait(&self, socket: &OwnedFd) -> io::Result<Answer> {
        let deadline = std::time::Instant::now() + self.wait;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let mut wanted = [PollFd::new(socket, PollFlags::IN)];
            let left = rustix::time::Timespec::try_from(left).map_err(io::Error::other)?;
            if rustix::event::poll(&mut wanted, Some(&left))? == 0 {
                return Ok(Answer::Silence);
            }
            if wanted[0].revents().contains(PollFlags::ERR)
                && let Some(error) = read_error(socket)?
            {
                return Ok(Answer::Error(error));
            }
            let mut buffer = [0; 65_536];
            let flags = rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(socket, &mut buffer, flags) {
                Ok((_, length)) if self.is_reply(&buffer[..length]) => return Ok(Answer::Reply),
                Ok(_) => {}
                Err(error) if io::Error::from(error).kind() == ErrorKind::WouldBlock => {}
                Err(_) => {} // The error itself is on the queue.
            }
        }
    }

    fn is_reply(&self, message: &[u8]) -> bool {
        if !self.echo {
            return true;
        }
        // An IPv4 raw socket gets the IP header, too.
        let v4 = self.to.is_ipv4();
        let header = if v4 { usize::from(message[0] & 15) * 4 } else { 0 };
        let kind = if v4 { 0 } else { 129 };
        let [high, low] = identifier().to_be_bytes();
        message.get(header..header + 6)
            == Some(&[kind, 0, message[header + 2], message[header + 3], high, low])
    }
}

/// The identifier of our echo requests.
fn identifier() -> u16 {
    std::process::id() as u16 | 1
}

/// Takes one error from a socket's queue.
fn read_error(socket: &OwnedFd) -> io::Result<Option<IcmpError>> {
    let mut control = [0_u64; 64];
    let mut payload = [0_u8; 64];
    let mut part = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    // SAFETY: all pointers lead to buffers of the given lengths that live until the function's end; the
    // kernel writes whole control messages, which the CMSG functions walk within their length.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        if libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let (level, kind) = ((*header).cmsg_level, (*header).cmsg_type);
            if (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            {
                let data = libc::CMSG_DATA(header);
                let error: libc::sock_extended_err =
                    data.cast::<libc::sock_extended_err>().read_unaligned();
                let offender = data.add(size_of::<libc::sock_extended_err>());
                return Ok(Some(IcmpError {
                    from: address(offender),
                    errno: error.ee_errno as i32,
                    kind: (error.ee_type, error.ee_code),
                    info: error.ee_info,
                }));
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(None)
}

/// The address of a `sockaddr` that may be unspecified.
///
/// # Safety
/// `at` leads to a whole `sockaddr` of the family that its first two bytes tell.
unsafe fn address(at: *const u8) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    unsafe {
        match i32::from(at.cast::<u16>().read_unaligned()) {
            libc::AF_INET => {
                let address = at.cast::<libc::sockaddr_in>().read_unaligned().sin_addr.s_addr;
                Some(Ipv4Addr::from(u32::from_be(address)).into())
            }
            libc::AF_INET6 => {
                let address = at.cast::<libc::sockaddr_in6>().read_unaligned().sin6_addr.s6_addr;
                Some(Ipv6Addr::from(address).to_canonical())
            }
            _ => None,
        }
    }
}

/// "Port unreachable" of a family, as ICMP type and code.
pub fn port_unreachable(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (3, 3),
        Family::V6 => (1, 4),
    }
}

/// "Time exceeded" of a family.
pub fn time_exceeded(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (11, 0),
        Family::V6 => (3, 0),
    }
}

/// "Too big" of a family.
pub fn too_big(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (3, 4),
        Family::V6 => (2, 0),
    }
}
