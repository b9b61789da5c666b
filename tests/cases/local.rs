//! What the host's programs reach, and by which addresses.

use netebpf_common::{
    abi::{
        Address, Endpoint, InterfaceOptions, Mac, Peer, Protocol, Published, PublishedKey,
        PublishedPorts, ResolverPorts, Settings,
    },
    datapath::local::{Call, Led, Socket, is_host, lead, name_of, resolver, resolver_name},
    testkit::{Chaos, MemoryState},
};
use std::net::IpAddr;

const HOST: u64 = 7;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

fn endpoint() -> Endpoint {
    let (mac, gateway_mac) = (Mac::default(), Mac::default());
    let options = InterfaceOptions::default();
    Endpoint {
        ifindex: 9,
        network: 1,
        slot: 1,
        generation: 1,
        mtu: 1500,
        mac,
        gateway_mac,
        options,
    }
}

fn peer(text: &str, port: u16) -> Peer {
    Peer::new(address(text), port.to_be_bytes())
}

/// TCP and UDP port 8080 leads to `10.10.0.11` by every IPv4 address, by `::1` too, and by `192.0.2.2` to
/// `10.10.0.12`; port 9090 leads by `127.0.0.1` alone. Port 5000 leads to `fd10::11` by every IPv6 address, and port
/// 6000 to an endpoint that is gone.
fn state() -> MemoryState {
    let state = MemoryState::new(4, &Chaos::default().into());
    state.set_settings(Settings { host_cookie: HOST, ..Settings::default() });
    for own in ["192.0.2.1", "192.0.2.2", "10.10.0.1", "2001:db8::1", "fd10::1"] {
        state.add_host_address(address(own));
    }
    for there in ["10.10.0.11", "10.10.0.12", "fd10::11"] {
        state.set_endpoint(address(there), endpoint());
    }
    for (on, port, to) in [
        ("0.0.0.0", 8080, "10.10.0.11"),
        ("192.0.2.2", 8080, "10.10.0.12"),
        ("::", 8080, "10.10.0.11"),
        ("127.0.0.1", 9090, "10.10.0.11"),
        ("::", 5000, "fd10::11"),
        ("0.0.0.0", 6000, "10.10.0.99"),
    ] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let key = PublishedKey {
                address: address(on),
                port: u16::to_be_bytes(port),
                padding: [0; 2],
                protocol: protocol as u32,
            };
            let to = Published { address: address(to), port: [0, 80], padding: [0; 2], sources: 0 };
            state.publish_locally(key, to, PublishedPorts::place(protocol, port));
        }
    }
    state
}

fn unbound() -> Socket {
    let (source, has_port) = (Address::NONE, false);
    Socket { cookie: 1, protocol: Protocol::Tcp as u32, source, has_port, interface: 0 }
}

fn connects(state: &MemoryState, socket: &Socket, to: &str, port: u16) -> Led {
    lead(state, Call::Connect, socket, &peer(to, port))
}

#[test]
fn the_most_specific_mapping_wins_on_addresses_of_the_host() {
    let state = state();
    let (first, second) = (Led::To(peer("10.10.0.11", 80)), Led::To(peer("10.10.0.12", 80)));
    for (to, port, led) in [
        ("127.0.0.1", 8080, first),
        ("127.3.2.1", 8080, first),
        ("0.0.0.0", 8080, first),
        ("192.0.2.1", 8080, first),
        ("10.10.0.1", 8080, first),
        ("::1", 8080, first),
        ("::", 8080, first),
        ("2001:db8::1", 8080, first),
        ("192.0.2.2", 8080, second),
        ("127.0.0.1", 9090, first),
        ("127.0.0.2", 9090, Led::Nowhere),
        ("192.0.2.1", 9090, Led::Nowhere),
        ("::1", 9090, Led::Nowhere),
        ("198.51.100.9", 8080, Led::Nowhere),
        ("10.10.0.11", 8080, Led::Nowhere),
        ("127.0.0.1", 8081, Led::Nowhere),
        ("::1", 5000, Led::To(peer("fd10::11", 80))),
        ("fd10::1", 5000, Led::To(peer("fd10::11", 80))),
        ("127.0.0.1", 5000, Led::Nowhere),
        ("127.0.0.1", 6000, Led::Refused),
    ] {
        assert_eq!(connects(&state, &unbound(), to, port), led, "{to} port {port}");
    }
}

#[test]
fn a_source_that_could_not_be_answered_is_refused() {
    let state = state();
    let bound = |source: &str| Socket { source: address(source), has_port: true, ..unbound() };
    let led = Led::To(peer("10.10.0.11", 80));
    for (source, to, expected) in [
        ("0.0.0.0", "127.0.0.1", led),
        ("192.0.2.1", "127.0.0.1", led),
        ("127.0.0.1", "127.0.0.1", Led::NoSource),
        ("127.0.0.1", "192.0.2.1", Led::NoSource),
        ("::1", "::1", Led::NoSource),
        ("2001:db8::1", "::1", Led::NoSource),
    ] {
        assert_eq!(connects(&state, &bound(source), to, 8080), expected, "{source} to {to}");
        assert_eq!(connects(&state, &bound(source), to, 8081), Led::Nowhere);
    }
    let device = Socket { interface: 3, ..unbound() };
    assert_eq!(connects(&state, &device, "127.0.0.1", 8080), Led::Nowhere);
    let icmp = Socket { protocol: Protocol::Icmp as u32, ..unbound() };
    assert_eq!(connects(&state, &icmp, "127.0.0.1", 8080), Led::Nowhere);
}

/// A source without a port can still be another one, but only where the socket connects.
#[test]
fn a_loopback_source_without_a_port_is_released() {
    let state = state();
    let bound = |source: &str| Socket { source: address(source), ..unbound() };
    let released = Led::Released(peer("10.10.0.11", 80));
    for (source, to, expected) in [
        ("127.0.0.1", "127.0.0.1", released),
        ("127.0.0.2", "192.0.2.1", released),
        ("::1", "::1", released),
        ("2001:db8::1", "::1", Led::NoSource),
    ] {
        assert_eq!(connects(&state, &bound(source), to, 8080), expected, "{source} to {to}");
        assert_eq!(connects(&state, &bound(source), to, 8081), Led::Nowhere);
    }
    assert_eq!(connects(&state, &bound("127.0.0.1"), "127.0.0.1", 6000), Led::Refused);
    let sends = lead(&state, Call::Send, &bound("127.0.0.1"), &peer("127.0.0.1", 8080));
    assert_eq!(sends, Led::NoSource);
}

/// Ranges of sources are for who comes by packets.
#[test]
fn the_host_may_use_a_port_that_is_for_others() {
    let state = state();
    let key = PublishedKey::new(Protocol::Tcp, address("0.0.0.0"), 7000_u16.to_be_bytes());
    let to =
        Published { address: address("10.10.0.11"), port: [0, 80], padding: [0; 2], sources: 1 };
    state.publish_locally(key, to, PublishedPorts::place(Protocol::Tcp, 7000));
    for own in ["127.0.0.1", "192.0.2.1"] {
        assert_eq!(connects(&state, &unbound(), own, 7000), Led::To(peer("10.10.0.11", 80)));
    }
}

#[test]
fn a_datagram_to_ipv6_goes_to_no_ipv4_endpoint() {
    let state = state();
    let sends = |to, port| lead(&state, Call::Send, &unbound(), &peer(to, port));
    assert_eq!(sends("::1", 8080), Led::Refused);
    assert_eq!(sends("::1", 5000), Led::To(peer("fd10::11", 80)));
    assert_eq!(sends("::ffff:127.0.0.1", 8080), Led::To(peer("10.10.0.11", 80)));
}

#[test]
fn who_was_led_is_told_what_it_used() {
    let state = state();
    let endpoint = peer("10.10.0.11", 80);
    assert_eq!(name_of(&state, 1, endpoint), None);
    let _ = connects(&state, &unbound(), "127.0.0.2", 8080);
    assert_eq!(name_of(&state, 1, endpoint), Some(peer("127.0.0.2", 8080)));
    assert_eq!(name_of(&state, 2, endpoint), None, "another socket");
    assert_eq!(name_of(&state, 1, peer("10.10.0.11", 81)), None);
    let _ = connects(&state, &unbound(), "::", 8080);
    assert_eq!(name_of(&state, 1, endpoint), Some(peer("::1", 8080)));
}

#[test]
fn a_host_is_known_by_its_namespace() {
    let state = state();
    assert!(is_host(&state, HOST));
    assert!(!is_host(&state, HOST + 1));
    assert!(!is_host(&state, 0));
    state.set_settings(Settings::default());
    assert!(!is_host(&state, 0) && !is_host(&state, HOST), "nobody said whose it is");
}

/// In a namespace with a resolver, calls to port 53 of 127.0.0.11 are led to it, and nothing else is.
#[test]
fn port_53_leads_to_the_resolver() {
    let state = state();
    let ports = ResolverPorts { udp: 40_000_u16.to_be_bytes(), tcp: 40_001_u16.to_be_bytes() };
    state.add_resolver(11, ports);
    let asked =
        |namespace, protocol: Protocol, to: Peer| resolver(&state, namespace, protocol as u32, &to);
    let here = peer("127.0.0.11", 53);
    assert_eq!(asked(11, Protocol::Udp, here), Some(peer("127.0.0.11", 40_000)));
    assert_eq!(asked(11, Protocol::Tcp, here), Some(peer("127.0.0.11", 40_001)));
    assert_eq!(asked(11, Protocol::Icmp, here), None);
    assert_eq!(asked(12, Protocol::Udp, here), None);
    for other in [peer("127.0.0.1", 53), peer("127.0.0.11", 54), peer("10.10.0.11", 53)] {
        assert_eq!(asked(11, Protocol::Udp, other), None);
    }
    for port in [40_000, 40_001] {
        assert_eq!(resolver_name(&state, 11, &peer("127.0.0.11", port)), Some(here));
        assert_eq!(resolver_name(&state, 12, &peer("127.0.0.11", port)), None);
        assert_eq!(resolver_name(&state, 11, &peer("127.0.0.1", port)), None);
    }
    assert_eq!(resolver_name(&state, 11, &peer("127.0.0.11", 40_002)), None);
}
