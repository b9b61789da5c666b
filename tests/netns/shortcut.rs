//! The socket shortcut: what programs see of it, which is nothing, and that it is one.

use netebpf_tests::{
    lab::{
        Family, Lab, Ns, both, eventually,
        family::{C1, C2, Pair},
        moment, patience,
    },
    runner::skip,
};
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    path::PathBuf,
    thread,
    time::Instant,
};

netebpf_tests::tests![
    round_trips_leave_the_network_alone,
    everything_arrives_in_order,
    data_at_once,
    one_side_ends,
    resets,
    a_killed_program,
    a_slow_reader_costs_little,
    without_waiting,
    a_network_that_is_left,
    others_with_the_same_addresses,
    switched_off,
    it_outlives_the_daemon,
    refused_where_it_makes_no_sense,
    mapped_addresses,
    a_socket_used_again,
    several_paths,
];

const PORT: u16 = 7000;

/// Endpoints c1 and c2 on `front`, with the shortcut or without.
fn text(shortcut: bool) -> String {
    let endpoint = |name: &str, at: Pair| {
        format!(
            "  {name}:\n    networks: {{front: {{ipv4_address: {}, ipv6_address: \"{}\"}}}}\n",
            at.0, at.1
        )
    };
    format!(
        "name: lab\nnetworks:\n  front:\n    enable_ipv6: true\n    driver_opts: \
         {{netebpf.socket_shortcut: \"{shortcut}\"}}\n    ipam: {{config: [{{subnet: 10.10.0.0/24}}, \
         {{subnet: \"fd10::/64\"}}]}}\nservices:\n{}{}",
        endpoint("c1", C1),
        endpoint("c2", C2),
    )
}

fn lab(shortcut: bool) -> Lab {
    let lab = Lab::bare();
    lab.up_text(&text(shortcut)).ok();
    lab
}

/// Bytes that have come out of the interface of an endpoint.
fn sent(ns: &Ns) -> u64 {
    let links = ns.ip_json("-s link show dev eth0");
    links[0]["stats64"]["tx"]["bytes"].as_u64().expect("a number")
}

/// A connection from one namespace to the other's address: the client's socket and the server's. Both are in the table of
/// sockets before anything is sent.
fn connected(client: &Ns, server: &Ns, to: IpAddr) -> (TcpStream, TcpStream) {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let listener = server.run(|| TcpListener::bind(any)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let near = client.connect(SocketAddr::new(to, port)).expect("it listens");
    let (far, _) = listener.accept().expect("a connection");
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(patience())).expect("it is a socket");
        socket.set_write_timeout(Some(patience())).expect("it is a socket");
    }
    (near, far)
}

/// Reads. A reader that waits is woken by whatever becomes of its socket, and with the shortcut Linux answers then that there is
/// nothing (docs/decisions.md), as if it had not wanted to wait.
fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> usize {
    let deadline = Instant::now() + patience();
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {}
            length => return length.expect("it arrives"),
        }
    }
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| ((n + seed).wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

fn round_trip(near: &mut TcpStream, far: &mut TcpStream, length: usize) {
    let (request, mut there) = (pattern(length, 1), vec![0; length]);
    near.write_all(&request).expect("it is sent");
    far.read_exact(&mut there).expect("it arrives");
    assert_eq!(there, request);
    far.write_all(&there).expect("the answer is sent");
    near.read_exact(&mut there).expect("the answer arrives");
    assert_eq!(there, request);
}

/// Round trips of some sizes take the shortcut: no byte of them is on the wire.
fn assert_short(client: &Ns, near: &mut TcpStream, far: &mut TcpStream) {
    let before = sent(client);
    for _ in 0..50 {
        round_trip(near, far, 10_000);
    }
    let grown = sent(client) - before;
    assert!(grown < 50_000, "{grown} bytes of 500,000 went by TCP");
}

fn assert_by_tcp(client: &Ns, near: &mut TcpStream, far: &mut TcpStream) {
    let before = sent(client);
    for _ in 0..50 {
        round_trip(near, far, 10_000);
    }
    let grown = sent(client) - before;
    assert!(grown > 450_000, "only {grown} bytes of 500,000 went by TCP");
}

fn round_trips_leave_the_network_alone() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        for length in [1, 2, 100, 1448, 16_384, 60_000] {
            round_trip(&mut near, &mut far, length);
        }
        assert_short(&c1, &mut near, &mut far);
    });
    // Twice changes nothing.
    let second = lab.up_text(&text(true)).ok();
    assert!(!second.contains("shortcut"), "{second}");
}

/// Both ways at once, in pieces of many sizes, with a reader that is now faster and now slower.
fn everything_arrives_in_order() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (near, far) = connected(&c1, &c2, C2.of(family));
        let all = pattern(8 << 20, 3);
        let write = |mut socket: &TcpStream, seed: usize| {
            let (mut at, mut state) = (0, seed);
            while at < all.len() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let most = [10, 700, 9000, 200_000][state >> 60 & 3];
                let end = (at + 1 + (state >> 33) % most).min(all.len());
                socket.write_all(&all[at..end]).expect("it is sent");
                at = end;
            }
            socket.shutdown(Shutdown::Write).expect("it is open");
        };
        let read = |socket: &TcpStream, room: usize| {
            let (mut at, mut buffer) = (0, vec![0; room]);
            loop {
                let length = read(socket, &mut buffer);
                if length == 0 {
                    break;
                }
                assert!(buffer[..length] == all[at..at + length], "after {at} bytes");
                at += length;
                if at & 0x3f_f000 == 0 {
                    thread::yield_now();
                }
            }
            assert_eq!(at, all.len());
        };
        thread::scope(|scope| {
            scope.spawn(|| write(&near, 5));
            scope.spawn(|| write(&far, 77));
            scope.spawn(|| read(&near, 3000));
            read(&far, 100_000);
        });
    });
}

/// Many connections that send as soon as they can; whichever way that goes, nothing is lost or turned round.
fn data_at_once() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = c2.echo(PORT);
    both(|family| {
        for n in 0..200 {
            let mut near = c1.connect(C2.port(family, PORT)).expect("it listens");
            near.set_read_timeout(Some(patience())).expect("a socket");
            let (first, second) = (pattern(100 + n, n), pattern(5000, n));
            near.write_all(&first).expect("it is sent");
            near.write_all(&second).expect("it is sent");
            near.shutdown(Shutdown::Write).expect("it is open");
            let (mut back, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                match read(&near, &mut buffer) {
                    0 => break,
                    length => back.extend_from_slice(&buffer[..length]),
                }
            }
            assert!(back == [first, second].concat(), "connection {n}: {} bytes", back.len());
        }
    });
}

/// The reader gets all data, then the end, and can still answer.
fn one_side_ends() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        assert_short(&c1, &mut near, &mut far);
        near.write_all(b"the last words").expect("it is sent");
        near.shutdown(Shutdown::Write).expect("it is open");
        let late = near.write(b"x").expect_err("it has ended");
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
        let mut words = Vec::new();
        far.read_to_end(&mut words).expect("an end");
        assert_eq!(words, b"the last words");
        let before = sent(&c2);
        let answer = pattern(50_000, 9);
        far.write_all(&answer).expect("the other way is open");
        let mut there = vec![0; answer.len()];
        near.read_exact(&mut there).expect("it arrives");
        assert!(there == answer);
        assert!(sent(&c2) - before < 10_000, "an end of one way is none of the other's shortcut");
        drop(far);
        assert_eq!(near.read(&mut there).expect("an end"), 0);
    });
}

fn linger_nothing(socket: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: an option of this size, of a socket that is open.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
}

/// What was sent before can be read, then comes the error; and whoever sends to one that is gone is told.
fn resets() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        assert_short(&c1, &mut near, &mut far);
        near.write_all(b"before").expect("it is sent");
        linger_nothing(&near);
        drop(near);
        let mut words = [0; 6];
        far.read_exact(&mut words).expect("it was there before");
        let error = far.read(&mut words).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(far.write(b"x").expect_err("no connection").kind(), ErrorKind::BrokenPipe);

        // It closes, and does not read.
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        assert_short(&c1, &mut near, &mut far);
        near.write_all(b"never read").expect("it is sent");
        drop(far);
        eventually("the sender to be told", || near.write(b"x").is_err());
    });
}

/// A killed program's end is like any other's.
fn a_killed_program() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let listener = c1.run(|| TcpListener::bind(C1.port(Family::V4, PORT))).expect("a free port");
    let program =
        "exec 3<>/dev/tcp/10.10.0.11/7000; echo here >&3; read -u 3 x; echo \"$x\" >&3; sleep 100";
    let program = program.replace("10.10.0.11", &C1.of(Family::V4).to_string());
    let mut command = c2.command("bash");
    let mut child = command.args(["-c", &program]).spawn().expect("bash is there");
    let (mut far, _) = listener.accept().expect("a connection");
    far.set_read_timeout(Some(patience())).expect("a socket");
    let mut words = [0; 5];
    far.read_exact(&mut words).expect("it speaks");
    far.write_all(b"again\n").expect("it listens");
    far.read_exact(&mut words).expect("it answers");
    assert_eq!(&words, b"again");
    child.kill().expect("our own child");
    child.wait().expect("it ended");
    let mut rest = Vec::new();
    // The rest of the line, and the sleeping child of a shell keeps the socket until it ends.
    far.set_read_timeout(Some(moment())).expect("a socket");
    let _ = far.read_to_end(&mut rest);
    assert_eq!(rest, b"\n");
}

/// A reader who does not read holds up the writer, as TCP does, after less than a few megabytes.
fn a_slow_reader_costs_little() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        for size in [1, 1000, 200_000] {
            let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
            assert_short(&c1, &mut near, &mut far);
            near.set_nonblocking(true).expect("a socket");
            let all = pattern(size, 1);
            let (mut total, mut idle) = (0_usize, 0);
            while idle < 20 {
                match near.write(&all) {
                    Ok(length) => (total, idle) = (total + length, 0),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        idle += 1;
                        thread::sleep(moment() / 20);
                    }
                }
                assert!(total < 24 << 20, "{total} bytes were taken of a writer of {size}");
            }
            near.set_nonblocking(false).expect("a socket");
            // All of it is there.
            near.shutdown(Shutdown::Write).expect("it is open");
            let mut read = 0;
            let mut buffer = vec![0; 100_000];
            loop {
                let length = far.read(&mut buffer).expect("it arrives");
                if length == 0 {
                    break;
                }
                read += length;
            }
            assert_eq!(read, total);
        }
    });
}

/// `poll` and sockets that do not block.
fn without_waiting() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        far.set_nonblocking(true).expect("a socket");
        let mut byte = [0];
        assert_eq!(far.read(&mut byte).expect_err("nothing").kind(), ErrorKind::WouldBlock);
        let poll = |socket: &TcpStream, events: i16, wait: i32| {
            let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
            // SAFETY: one entry, of a socket that is open.
            let ready = unsafe { libc::poll(&mut poll, 1, wait) };
            (ready > 0).then_some(poll.revents)
        };
        // SAFETY: descriptors of our own.
        let waiting = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events: edge, u64: 1 };
        // SAFETY: as above.
        let added =
            unsafe { libc::epoll_ctl(waiting, libc::EPOLL_CTL_ADD, far.as_raw_fd(), &mut event) };
        assert_eq!(added, 0);
        for n in 0..100_u8 {
            assert_eq!(poll(&far, libc::POLLIN, 0), None);
            near.write_all(&[n]).expect("it is sent");
            // SAFETY: room for one event.
            let ready = unsafe { libc::epoll_wait(waiting, &mut event, 1, 15_000) };
            assert_eq!(ready, 1, "byte {n}");
            assert_eq!(far.read(&mut byte).expect("it is there"), 1);
            assert_eq!(byte, [n]);
            assert_eq!(far.read(&mut byte).expect_err("no more").kind(), ErrorKind::WouldBlock);
        }
        // Looked at and left there.
        near.write_all(b"ab").expect("it is sent");
        eventually("two bytes", || far.peek(&mut [0; 4]).is_ok_and(|length| length == 2));
        assert_eq!(far.read(&mut [0; 4]).expect("still there"), 2);
        near.shutdown(Shutdown::Write).expect("it is open");
        eventually("the end", || poll(&far, libc::POLLIN, 100).is_some());
        assert_eq!(far.read(&mut byte).expect("the end"), 0);
        // SAFETY: our own.
        unsafe { libc::close(waiting) };
    });
}

/// Nothing goes past the network that an endpoint has left.
fn a_network_that_is_left() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V4));
    assert_short(&c1, &mut near, &mut far);
    lab.run("network disconnect front c2").ok();
    near.write_all(b"is anybody there").expect("TCP takes it");
    far.set_read_timeout(Some(moment())).expect("a socket");
    let nothing = far.read(&mut [0; 20]).expect_err("nothing arrives");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    // TCP may take it, and has no way.
    drop(far.write_all(b"no"));
    near.set_read_timeout(Some(moment())).expect("a socket");
    assert!(near.read(&mut [0; 20]).is_err());
}

/// Namespaces that are not ours have the same addresses.
fn others_with_the_same_addresses() {
    let lab = lab(true);
    let pair = [0, 1].map(|n| Ns::create(format!("{}-other{n}", lab.instance())));
    netebpf_tests::lab::cable((&pair[0], "eth0"), (&pair[1], "eth0"));
    netebpf_tests::lab::address(&pair[0], "eth0", C1);
    netebpf_tests::lab::address(&pair[1], "eth0", C2);
    both(|family| {
        let (mut near, mut far) = connected(&pair[0], &pair[1], C2.of(family));
        assert_by_tcp(&pair[0], &mut near, &mut far);
    });
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V4));
    assert_short(&c1, &mut near, &mut far);
    pair.iter().for_each(|ns| netebpf_tests::lab::delete_namespace(ns.name()));
}

fn pin(lab: &Lab) -> bool {
    let instance = PathBuf::from("/sys/fs/bpf/netebpf").join(lab.instance());
    let layouts = std::fs::read_dir(instance).into_iter().flatten().flatten();
    let mut links = layouts.map(|layout| layout.path().join("links/0-shortcut_opened"));
    links.any(|path| path.exists())
}

/// Without the option nothing hangs anywhere, and with the last network that has it the program goes.
fn switched_off() {
    let lab = lab(false);
    assert!(!pin(&lab));
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V4));
    assert_by_tcp(&c1, &mut near, &mut far);
    lab.up_text(&text(true)).ok();
    assert!(pin(&lab));
    assert_by_tcp(&c1, &mut near, &mut far);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V4));
    assert_short(&c1, &mut near, &mut far);
    lab.up_text(&text(false)).ok();
    assert!(!pin(&lab));
    // A connection that is there goes on by TCP.
    assert_by_tcp(&c1, &mut near, &mut far);
}

fn it_outlives_the_daemon() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V4));
    lab.kill_daemon();
    assert_short(&c1, &mut near, &mut far);
    let (mut near, mut far) = connected(&c1, &c2, C2.of(Family::V6));
    assert_short(&c1, &mut near, &mut far);
}

fn refused_where_it_makes_no_sense() {
    let lab = Lab::bare();
    let apart = "--opt com.docker.network.bridge.enable_icc=false";
    lab.run(&format!("network create {apart} --opt netebpf.socket_shortcut=true apart"))
        .fails_saying(1, &["apart", "netebpf.socket_shortcut", "enable_icc"]);
    lab.run("network create --opt netebpf.socket_shortcut=maybe odd")
        .fails_saying(2, &["netebpf.socket_shortcut", "true or false"]);
    lab.run("network create --opt netebpf.socket_shortcut=true short").ok();
    let shown = lab.run("network inspect short").ok();
    assert!(shown.contains("\"netebpf.socket_shortcut\": \"true\""), "{shown}");
}

/// A server that listens for both families with one socket sees IPv4 clients by mapped addresses: the same connection.
fn mapped_addresses() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let listener = c2.run(|| TcpListener::bind(("0.0.0.0", PORT))).expect("a free port");
    let mapped = match C2.of(Family::V4) {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(_) => unreachable!("of IPv4"),
    };
    let mut near = c1.run(|| TcpStream::connect((mapped, PORT))).expect("it listens");
    let (mut far, _) = listener.accept().expect("a connection");
    assert_short(&c1, &mut near, &mut far);
}

/// A program that gives a connection up and has its socket connected again: what it sends is for the new one.
fn a_socket_used_again() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    both(|family| {
        let (mut near, mut far) = connected(&c1, &c2, C2.of(family));
        assert_short(&c1, &mut near, &mut far);
        rustix::net::connect_unspec(&near).expect("the kernel lets it go");
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = c2.run(|| TcpListener::bind(any)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        rustix::net::connect(&near, &SocketAddr::new(C2.of(family), port)).expect("it listens");
        let (mut second, _) = listener.accept().expect("a connection");
        second.set_read_timeout(Some(patience())).expect("it is a socket");
        for length in [1, 100, 60_000] {
            round_trip(&mut near, &mut second, length);
        }
        let mut buffer = [0; 16];
        let got = far.read(&mut buffer);
        assert!(!matches!(got, Ok(1..)), "the first one got {got:?}");
    });
}

/// A server that takes connections of several paths (MPTCP, as programs in Go do) and a client that knows of none, and one
/// that does.
fn several_paths() {
    let lab = lab(true);
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let mptcp = Protocol::from_raw(262.try_into().expect("IPPROTO_MPTCP is a number"));
    let open = || socket(AddressFamily::INET6, SocketType::STREAM, Some(mptcp));
    both(|family| {
        let listener = c2.run(open).unwrap_or_else(|error| skip(format!("MPTCP: {error}")));
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        rustix::net::bind(&listener, &any).expect("a free port");
        rustix::net::listen(&listener, 8).expect("a free port");
        let listener = TcpListener::from(listener);
        let port = listener.local_addr().expect("an address").port();
        let plain = c1.connect(SocketAddr::new(C2.of(family), port)).expect("it listens");
        let several = TcpStream::from(c1.run(open).expect("as before"));
        let to = match C2.of(family) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            v6 @ IpAddr::V6(_) => v6,
        };
        rustix::net::connect(&several, &SocketAddr::new(to, port)).expect("it listens");
        for mut near in [plain, several] {
            let (mut far, _) = listener.accept().expect("a connection");
            for length in [1, 100, 60_000] {
                round_trip(&mut near, &mut far, length);
            }
        }
    });
}
