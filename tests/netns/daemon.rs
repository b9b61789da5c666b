//! The daemon dies; the packets do not.

use netebpf_tests::lab::{
    Family, Lab, Ns, both, eventually,
    family::{HOST, LOOPBACK, SERVER},
    patience, topology,
    traffic::{ask, expect_pattern, say, send_pattern},
};
use serde_json::Value;
use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

netebpf_tests::tests![
    killed_during_transfers,
    killed_between_datagrams,
    dead_and_still_forwarding,
    adopted_as_it_was,
    started_while_the_uplink_is_down,
    services_live_on,
    a_port_lost_meanwhile,
    damaged_records,
    damaged_records_of_an_existing_namespace,
    ended_by_sigterm,
];

const PART: usize = 4 << 20;

/// A transfer that the daemon's death falls into: every byte arrives, and is right.
fn with_a_kill(lab: &Lab, client: &Ns, server: &Ns, to: SocketAddr) {
    let any = SocketAddr::new(Family::V6.any(), 5001);
    let listener = server.run(|| TcpListener::bind(any)).expect("a free TCP port");
    let mut stream = client.connect(to).expect("connected");
    let (mut accepted, _) = listener.accept().expect("connected");
    accepted.set_read_timeout(Some(patience())).expect("a time limit");
    let (killed, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let received = scope.spawn(|| expect_pattern(&mut accepted, usize::MAX));
        let sent = scope.spawn(|| -> io::Result<usize> {
            let mut done = 0;
            // Eight parts more once the daemon is dead.
            let mut after = 0;
            while after < 8 {
                after += usize::from(killed.load(Ordering::Relaxed));
                send_pattern(&mut stream, done, PART)?;
                done += PART;
                begun.store(true, Ordering::Relaxed);
            }
            stream.shutdown(Shutdown::Write)?;
            Ok(done)
        });
        eventually("the transfer to begin", || begun.load(Ordering::Relaxed));
        lab.kill_daemon();
        killed.store(true, Ordering::Relaxed);
        let sent = sent.join().expect("no panic").expect("all is sent");
        let received = received.join().expect("no panic").expect("every byte is right");
        assert_eq!(sent, received);
    });
}

fn killed_during_transfers() {
    let published = topology().ports("c1", &["8001:5001"]);
    let lab = Lab::up(&published);
    let c1 = lab.endpoint("c1");
    both(|family| {
        with_a_kill(&lab, &c1, &lab.server, SERVER.port(family, 5001));
        lab.up_again(&published, &[]).ok();
        with_a_kill(&lab, &lab.server, &c1, HOST.port(family, 8001));
        lab.up_again(&published, &[]).ok();
    });
}

/// A datagram every millisecond; the kill and the restart are somewhere among them; none is missing.
fn killed_between_datagrams() {
    let published = topology().ports("c1", &["8080:80/udp"]);
    let lab = Lab::up(&published);
    let c1 = lab.endpoint("c1");
    let _echo = [lab.server.echo(7), c1.echo(80)];
    both(|family| {
        let (out, inward) = (c1.udp(family, 0), lab.lan.udp(family, 0));
        thread::scope(|scope| {
            let (stop, stopped) = mpsc::channel::<()>();
            let talk = scope.spawn(move || {
                let mut count = 0_u32;
                while matches!(stopped.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                    ask(&out, SERVER.port(family, 7), &count.to_be_bytes()).expect("answered");
                    ask(&inward, HOST.port(family, 8080), &count.to_be_bytes()).expect("answered");
                    thread::sleep(std::time::Duration::from_millis(1));
                    count += 1;
                }
                count
            });
            lab.kill_daemon();
            lab.up_again(&published, &[]).ok();
            stop.send(()).expect("it talks");
            println!("{} datagrams each way", talk.join().expect("none is missing"));
        });
    });
}

/// With the daemon dead, new connections are still made.
/// Each way of a packet and a call, with a daemon and without. What other kernels are tried with: under emulation each
/// start takes a minute there.
fn dead_and_still_forwarding() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "8080:80/udp"]));
    let (c1, c2) = (lab.endpoint("c1"), lab.endpoint("c2"));
    let _echo = [lab.server.echo(7), c1.echo(80)];
    let all = || {
        both(|family| {
            c1.reaches(SERVER.of(family));
            c2.ask_both(SERVER.port(family, 7));
            c2.ask_both(netebpf_tests::lab::family::C1.port(family, 80));
            c2.ask_both(HOST.port(family, 8080));
            lab.lan.ask_both(HOST.port(family, 8080));
            lab.server.ask_both(HOST.port(family, 8080));
            lab.host.ask_both(LOOPBACK.port(family, 8080));
            lab.host.ask_both(HOST.port(family, 8080));
            lab.lan.refused(HOST.port(family, 8081));
        });
    };
    assert_eq!(c2.resolve("c1", "A").ok(), ["10.10.0.11"]);
    all();
    for (of, name) in [
        ("c2", "deliver/peer"),
        ("c2", "deliver/hairpin"),
        ("c2", "forward/masquerade_or_reply"),
        ("up0", "deliver/inward"),
    ] {
        assert!(lab.counter(of, name) > 0, "{of}: {name}");
    }
    lab.kill_daemon();
    all();
    // `down` needs none, or starts one.
}

/// A new daemon takes over programs, links, maps and interfaces; it makes none again.
fn adopted_as_it_was() {
    let published = topology().ports("c1", &["8080:80"]);
    let lab = Lab::up(&published);
    let echo = lab.endpoint("c1").echo(80);
    // From outside, and from a neighbour by the host's address.
    let neighbour = lab.endpoint("c2");
    let mut streams = [&lab.lan, &neighbour]
        .map(|ns| ns.connect(HOST.port(Family::V4, 8080)).expect("connected"));
    let (pins, links) = (lab.pins(), lab.host.links());
    assert!(!pins.is_empty(), "nothing is pinned");
    lab.kill_daemon();
    let said = lab.up_again(&published, &[]).ok();
    assert!(said.contains("nothing to change"), "{said}");
    assert!(lab.daemon_pid().is_some());
    assert_eq!((lab.pins(), lab.host.links()), (pins, links));
    for stream in &mut streams {
        say(stream, b"still here").expect("answered");
    }
    assert_eq!(echo.clients().len(), 2);
}

/// A TCP connection to what listens on a port of the server: the client's end and the server's.
fn connection(client: &Ns, server: &Ns, port: u16, to: SocketAddr) -> [TcpStream; 2] {
    let any = SocketAddr::new(Family::V6.any(), port);
    let listener = server.run(|| TcpListener::bind(any)).expect("a free TCP port");
    let ours = client.connect(to).expect("connected");
    let (theirs, _) = listener.accept().expect("connected");
    theirs.set_read_timeout(Some(patience())).expect("a time limit");
    [ours, theirs]
}

/// What a new daemon finds down was an uplink before, and stays one: connections go on when it comes up, from the same
/// address and port outside, and published ports are reachable at once.
fn started_while_the_uplink_is_down() {
    let published = topology().ports("c1", &["8080:80", "8080:80/udp", "8081:81"]);
    let lab = Lab::bare();
    // A second address: published ports answer there, and IPv6's is gone while the interface is down.
    let second = SocketAddr::new("2001:db8:1::52".parse().expect("an address"), 8080);
    let add_second =
        || lab.host.ip(&format!("-6 address replace {}/64 dev up0 nodad", second.ip()));
    add_second();
    lab.up_again(&published, &[]).ok();
    let c1 = lab.endpoint("c1");
    let (outside, _inside) = (lab.server.echo(7), c1.echo(80));
    // Each by who speaks first. Of what comes from outside no flow is opened for a masqueraded connection, and of what
    // c1 says none for one to its port.
    let mut connections = Vec::new();
    both(|family| {
        let [ours, theirs] = connection(&c1, &lab.server, 5001, SERVER.port(family, 5001));
        connections.push([theirs, ours]);
        let inward = || connection(&lab.lan, &c1, 81, HOST.port(family, 8081));
        let [theirs, ours] = inward();
        connections.extend([inward(), [ours, theirs]]);
    });
    let sockets = [Family::V4, Family::V6].map(|family| (family, c1.udp(family, 0)));
    let seen_from = || {
        drop(outside.clients());
        for (family, socket) in &sockets {
            ask(socket, SERVER.port(*family, 7), b"who am I").expect("answered");
        }
        outside.clients()
    };
    let before = (seen_from(), lab.pins(), lab.json("status")["uplinks"].clone());

    let restart = || {
        lab.kill_daemon();
        let said = lab.up_again(&published, &[]).ok();
        assert!(said.contains("nothing to change"), "{said}");
    };
    let mut all_goes_on = || {
        for [first, _] in &mut connections {
            first.write_all(b"still here").expect("sent");
        }
        both(|family| lab.lan.ask_both(HOST.port(family, 8080)));
        lab.lan.ask_both(second);
        for [first, second] in &mut connections {
            second.read_exact(&mut [0; 10]).expect("it arrives");
            second.write_all(b"so am I").expect("sent");
            first.read_exact(&mut [0; 7]).expect("it arrives");
        }
        assert_eq!((seen_from(), lab.pins(), lab.json("status")["uplinks"].clone()), before);
    };
    all_goes_on();
    println!("— the cable —");
    lab.segment.ip("link set to-host down");
    restart();
    lab.segment.ip("link set to-host up");
    all_goes_on();
    println!("— the interface —");
    lab.host.ip("link set up0 down");
    restart();
    // One that found the uplink down may be killed, too.
    restart();
    lab.uplink_comes_up("up0");
    add_second();
    all_goes_on();
    lab.host.ip(&format!("-6 address del {}/64 dev up0", second.ip()));
}

/// A service's process survives its daemon, and the next one knows it.
fn services_live_on() {
    let topology = topology().command("c1", &["sh", "-c", "echo begun; exec sleep 1000"]);
    let lab = Lab::up(&topology);
    let pid = || lab.json("inspect c1")[0]["State"]["Pid"].as_u64().expect("a pid");
    let before = pid();
    assert!(lab.endpoint("c1").processes().contains(&(before as u32)));
    lab.kill_daemon();
    lab.up_again(&topology, &[]).ok();
    assert_eq!(pid(), before);
    assert_eq!(lab.json("inspect c1")[0]["State"]["Running"], true);
    eventually("the output of the service", || lab.run("logs c1").ok().contains("begun"));
    lab.run("down").ok();
    eventually("the service to end", || !std::path::Path::new(&format!("/proc/{before}")).exists());
}

/// A port that somebody took while no daemon held it is told of, and holds up no change.
fn a_port_lost_meanwhile() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    lab.kill_daemon();
    let address = HOST.port(Family::V4, 8080);
    let _holder = lab.host.run(|| TcpListener::bind(address)).expect("a free port");
    let more = topology().ports("c1", &["8080:80"]).ports("c2", &["9090:90"]);
    let ran = lab.up_again(&more, &[]);
    assert!(ran.clone().ok().contains("9090") && ran.err.contains("already"), "{ran:?}");
    let taken = lab.host.run(|| TcpListener::bind(HOST.port(Family::V4, 9090)));
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

/// The records of processes are damaged: a service still runs once.
fn damaged_records() {
    let topology = topology().command("c1", &["sleep", "1000"]);
    let lab = Lab::up(&topology);
    lab.kill_daemon();
    let records = lose_records(&lab);
    lab.up_again(&topology, &[]).ok();
    eventually("one process", || lab.endpoint("c1").processes().len() == 1);
    assert_eq!(lab.json("inspect c1")[0]["State"]["Running"], true);
    lab.run("down").ok();
    restore_sysctls(&lab, &records);
}

/// Damages what is written down of this boot; answers with what it was.
fn lose_records(lab: &Lab) -> Value {
    let file = format!("/run/netebpf/{}/runtime.json", lab.instance());
    let text = std::fs::read_to_string(&file).expect("records");
    std::fs::write(file, "{").expect("written");
    serde_json::from_str(&text).expect("JSON")
}

/// What they were before stood in the records and nowhere else.
fn restore_sysctls(lab: &Lab, records: &Value) {
    for (name, value) in records["state"]["sysctls"].as_object().expect("names and values") {
        lab.host.sysctl(name, value.as_str().expect("a value"));
    }
}

/// The same in a namespace that is not ours: what else runs there is left alone.
fn damaged_records_of_an_existing_namespace() {
    let lab = Lab::bare();
    let own = Ns::create(format!("{}-own", lab.instance()));
    let mut theirs = own.command("sleep").arg("2000").spawn().expect("sleep runs");
    let text = format!(
        "name: lab\nservices:\n  app: {{netns: {}, command: [sleep, '1000']}}\n",
        own.path().display()
    );
    lab.up_text(&text).ok();
    lab.kill_daemon();
    let records = lose_records(&lab);
    let service = records["state"]["processes"]["app"]["pid"].as_u64().expect("its record");
    lab.up_text(&text).ok();
    eventually("the first service to end", || !own.processes().contains(&(service as u32)));
    assert_eq!(own.processes().len(), 2, "theirs and one service");
    lab.run("down").ok();
    eventually("the service to end", || own.processes() == [theirs.id()]);
    drop(theirs.kill());
    drop(theirs.wait());
    restore_sysctls(&lab, &records);
}

/// A daemon that is told to end leaves what it made: `down` is the other word.
fn ended_by_sigterm() {
    let lab = Lab::up(&topology());
    let _echo = lab.server.echo(7);
    let pid = lab.daemon_pid().expect("a daemon");
    let raw = rustix::process::Pid::from_raw(pid as i32).expect("not 0");
    rustix::process::kill_process(raw, rustix::process::Signal::TERM).expect("ours");
    eventually("the daemon to end", || lab.daemon_pid().is_none());
    both(|family| lab.endpoint("c1").ask_both(SERVER.port(family, 7)));
    let said = lab.up_again(&topology(), &[]).ok();
    assert!(said.contains("nothing to change"), "{said}");
}
