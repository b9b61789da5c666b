//! Which data take the socket shortcut.

use netebpf_common::{
    abi::{Address, Endpoint, InterfaceOptions, Mac, Owner, Sender, SocketPair},
    datapath::connection::{LIMIT, LOOK, Sending, open, send},
    testkit::{Chaos, MemoryState},
};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
};

const HOME: u64 = 7;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

fn endpoint(number: u32, network: u32, options: InterfaceOptions) -> Endpoint {
    let (mac, gateway_mac) = (Mac::default(), Mac::default());
    let (ifindex, slot) = (number, number);
    Endpoint { ifindex, network, slot, generation: 1, mtu: 1500, mac, gateway_mac, options }
}

/// Two endpoints on network 1, which has the shortcut; one each on 2, which has it too, 3, which has not, and 4, whose
/// endpoints are apart.
fn state() -> MemoryState {
    let state = MemoryState::new(4, &Chaos::default().into());
    let short = InterfaceOptions::SHORTCUT;
    for (at, number, network, options) in [
        ("10.10.0.2", 2, 1, short),
        ("10.10.0.3", 3, 1, short),
        ("fd10::2", 2, 1, short),
        ("fd10::3", 3, 1, short),
        ("10.20.0.2", 4, 2, short),
        ("10.30.0.2", 5, 3, InterfaceOptions::default()),
        ("10.30.0.3", 6, 3, InterfaceOptions::default()),
        ("10.40.0.2", 7, 4, short.with(InterfaceOptions::NO_PEERS)),
        ("10.40.0.3", 8, 4, short.with(InterfaceOptions::NO_PEERS)),
    ] {
        state.set_endpoint(address(at), endpoint(number, network, options));
        state.set_home(address(at), HOME);
    }
    state
}

fn pair(near: &str, far: &str) -> SocketPair {
    SocketPair::new(address(near), 40_000, address(far), 80)
}

struct Socket {
    open: Cell<bool>,
    fresh: Cell<bool>,
    /// Whether the other end is in the table of sockets.
    there: Cell<bool>,
    read: Cell<bool>,
    handed: RefCell<u32>,
}

impl Socket {
    fn new() -> Self {
        let [open, fresh, there, read] = [(); 4].map(|()| Cell::new(true));
        Self { open, fresh, there, read, handed: RefCell::new(0) }
    }

    /// Sends a byte; whether it took the shortcut.
    fn sends(&self, state: &MemoryState, sender: &mut Sender, bytes: u32) -> bool {
        self.handed.replace(0);
        send(state, sender, self, bytes);
        self.handed.take() == 1
    }
}

impl Sending for Socket {
    fn is_open(&self) -> bool {
        self.open.get()
    }
    fn is_fresh(&self) -> bool {
        self.fresh.get()
    }
    fn hand_to(&self, _: &SocketPair) -> bool {
        *self.handed.borrow_mut() += u32::from(self.there.get());
        self.there.get()
    }
    fn is_read(&self) -> bool {
        self.read.get()
    }
}

fn sender(state: &MemoryState) -> Sender {
    open(state, HOME, &pair("10.10.0.2", "10.10.0.3")).expect("between two endpoints")
}

#[test]
fn who_may() {
    let state = state();
    for (near, far, namespace, may) in [
        ("10.10.0.2", "10.10.0.3", HOME, true),
        ("fd10::2", "fd10::3", HOME, true),
        ("10.10.0.2", "10.10.0.3", HOME + 1, false),
        ("10.10.0.2", "10.10.0.3", 0, false),
        ("10.10.0.2", "10.10.0.2", HOME, false),
        ("10.10.0.2", "10.10.0.4", HOME, false),
        ("10.10.0.4", "10.10.0.2", HOME, false),
        ("10.10.0.2", "10.20.0.2", HOME, false),
        ("10.30.0.2", "10.30.0.3", HOME, false),
        ("10.40.0.2", "10.40.0.3", HOME, false),
        ("10.10.0.2", "192.0.2.1", HOME, false),
    ] {
        let opened = open(&state, namespace, &pair(near, far));
        assert_eq!(opened.is_some(), may, "{near} to {far} in {namespace}");
    }
    let sender = sender(&state);
    let to = SocketPair::new(address("10.10.0.3"), 80, address("10.10.0.2"), 40_000);
    let [near_owner, far_owner] = [3, 2].map(|slot| Owner { slot, generation: 1 });
    assert_eq!(sender.to, SocketPair { near_owner, far_owner, ..to });
}

#[test]
fn the_first_data_decide() {
    let state = state();
    let (socket, mut from) = (Socket::new(), sender(&state));
    assert!(socket.sends(&state, &mut from, 1));
    // What it is by then does not matter any more.
    socket.fresh.set(false);
    assert!(socket.sends(&state, &mut from, 1));

    let spoils: [fn(&Socket) -> &Cell<bool>; 2] = [|socket| &socket.fresh, |socket| &socket.there];
    for spoil in spoils {
        let (socket, mut from) = (Socket::new(), sender(&state));
        spoil(&socket).set(false);
        assert!(!socket.sends(&state, &mut from, 1));
        spoil(&socket).set(true);
        assert!(!socket.sends(&state, &mut from, 1), "TCP has data that nobody has read yet");
    }
}

#[test]
fn who_is_gone_is_not_handed_anything() {
    let (near, far) = (address("10.10.0.2"), address("10.10.0.3"));
    let changes: [&dyn Fn(&MemoryState); 6] = [
        &|state| state.remove_endpoint(&near),
        &|state| state.remove_endpoint(&far),
        &|state| {
            let new = endpoint(3, 1, InterfaceOptions::SHORTCUT);
            state.set_endpoint(far, Endpoint { generation: 2, ..new });
        },
        &|state| {
            let new = endpoint(2, 1, InterfaceOptions::SHORTCUT);
            state.set_endpoint(near, Endpoint { generation: 2, ..new });
        },
        &|state| state.set_endpoint(far, endpoint(3, 2, InterfaceOptions::SHORTCUT)),
        &|state| {
            state.set_endpoint(near, endpoint(2, 1, InterfaceOptions::default()));
            state.set_endpoint(far, endpoint(3, 1, InterfaceOptions::default()));
        },
    ];
    for (n, change) in changes.iter().enumerate() {
        let state = state();
        let (socket, mut from) = (Socket::new(), sender(&state));
        assert!(socket.sends(&state, &mut from, 1));
        change(&state);
        assert!(!socket.sends(&state, &mut from, 1), "change {n}");
        assert_eq!(from.way, Sender::BY_TCP, "change {n}");
    }
    // The other end closed its socket: TCP says so.
    let state = state();
    let (socket, mut from) = (Socket::new(), sender(&state));
    assert!(socket.sends(&state, &mut from, 1));
    socket.there.set(false);
    assert!(!socket.sends(&state, &mut from, 1));
    assert_eq!(from.way, Sender::BY_TCP);
}

#[test]
fn after_its_own_end_a_socket_sends_nothing() {
    let state = state();
    let (socket, mut from) = (Socket::new(), sender(&state));
    assert!(socket.sends(&state, &mut from, 1));
    socket.open.set(false);
    assert!(!socket.sends(&state, &mut from, 1));
}

#[test]
fn a_slow_reader_is_sent_by_tcp() {
    let state = state();
    let (socket, mut from) = (Socket::new(), sender(&state));
    // Whoever reads is sent as much as there is.
    for _ in 0..100 {
        assert!(socket.sends(&state, &mut from, LOOK / 2));
    }
    socket.read.set(false);
    let mut unread = 0;
    while socket.sends(&state, &mut from, LOOK / 2) {
        unread += LOOK / 2;
        assert!(unread <= LIMIT + LOOK, "{unread} bytes");
    }
    assert!(unread >= LIMIT - LOOK);
    socket.read.set(true);
    assert!(!socket.sends(&state, &mut from, 1), "what went by TCP is behind what did not");
    // Nor is a reader's patience with many of few bytes without end: each takes the kernel's memory, too.
    let (asleep, mut from) = (Socket::new(), sender(&state));
    asleep.read.set(false);
    let mut calls = 0;
    while asleep.sends(&state, &mut from, 1) {
        calls += 1;
        assert!(calls < 300, "{calls} calls");
    }
    // No number runs over.
    let mut from = sender(&state);
    assert!(socket.sends(&state, &mut from, u32::MAX));
    socket.read.set(false);
    assert!(socket.sends(&state, &mut from, u32::MAX));
    assert!(!socket.sends(&state, &mut from, 1));
}
