//! Plans, without a kernel: the observed side is written by hand, or by a small model of what each
//! action does.

mod host;
mod model;
mod scope;

use super::*;
use crate::{
    kernel::{Hook, known::Known, netns},
    model::{
        Attachment, Device, Driver, Endpoint, GatewayMode, Id, InterfaceName, MacText, Namespace,
        Network, Origin, PortMapping, Subnet, Transport, UplinkChoice, XdpMode,
    },
};
use model::{known, performed, still_true};
use netebpf_common::abi::{INTERFACE_TABLE_SIZE, InterfaceOptions, Mac};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

fn network(name: &str, number: u32) -> Network {
    let id = Id::random();
    let gateway: IpAddr = format!("10.97.{number}.1").parse().unwrap();
    Network {
        bridge: InterfaceName::bridge(&id),
        id,
        number,
        name: name.to_owned(),
        driver: Driver::Bridge,
        mac: MacText::for_address(gateway),
        subnets: vec![Subnet {
            net: format!("10.97.{number}.0/24").parse().unwrap(),
            gateway,
            range: None,
            reserved: BTreeMap::new(),
        }],
        internal: false,
        peers: true,
        gateway_mode_v4: GatewayMode::Nat,
        gateway_mode_v6: GatewayMode::Nat,
        masquerade: true,
        snat_v4: None,
        snat_v6: None,
        binding_v4: None,
        interface_prefix: None,
        shortcut: false,
        device: Device::Veth,
        mtu: None,
        labels: BTreeMap::new(),
        created: 0,
        origin: Origin::CommandLine,
    }
}

fn endpoint(name: &str, network: &Network, host: u8) -> Endpoint {
    let id = Id::random();
    let v4 = format!("10.97.{}.{host}", network.number).parse().unwrap();
    Endpoint {
        name: name.to_owned(),
        namespace: Namespace::Own(format!("/run/netns/{name}").into()),
        attachments: vec![Attachment {
            network: network.name.clone(),
            interface: InterfaceName::new("eth0").unwrap(),
            host_interface: InterfaceName::veth(&id, &network.id),
            mac: MacText::for_address(IpAddr::V4(v4)),
            v4: Some(v4),
            v6: None,
            aliases: Vec::new(),
            sysctls: BTreeMap::new(),
            chosen: Vec::new(),
            gateway_priority: 0,
            default_route: true,
        }],
        alone: false,
        ports: Vec::new(),
        service: None,
        dns: Default::default(),
        remove_on_exit: false,
        labels: BTreeMap::new(),
        created: 0,
        origin: Origin::CommandLine,
        id,
    }
}

fn port(host_address: Option<&str>, host_port: u16, endpoint_port: u16) -> PortMapping {
    let host_address = host_address.map(|address| address.parse().unwrap());
    let transport = Transport::Tcp;
    PortMapping { host_address, host_port, endpoint_port, transport, allow_from: Vec::new() }
}

pub(super) fn uplink(name: &str, index: u32, addresses: &[&str]) -> Uplink {
    let addresses: BTreeSet<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let family = |v6: bool| addresses.iter().find(move |address| address.is_ipv6() == v6).copied();
    Uplink {
        name: name.to_owned(),
        index,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        gso: GsoSizes::USUAL,
        kind: None,
        v4: family(false).and_then(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }),
        v6: family(true).and_then(|address| match address {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        }),
        addresses,
        default_route: true,
        joins: false,
        vlan: None,
    }
}

/// A host with one uplink and nothing of ours.
fn host() -> Observed {
    let up0 = uplink("up0", 2, &["192.0.2.1"]);
    let link = Link { index: 2, name: "up0".to_owned(), up: true, ..Link::default() };
    let sysctls = [
        ("net/ipv4/conf/up0/forwarding", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/up0/forwarding", "0"),
        ("net/ipv6/conf/up0/accept_ra", "1"),
    ];
    Observed {
        mark: "netebpf:t:".to_owned(),
        tcx: true,
        links: BTreeMap::from([("up0".to_owned(), link)]),
        uplinks: vec![up0],
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Observed::default()
    }
}

fn desired(networks: Vec<Network>, endpoints: Vec<Endpoint>) -> Desired {
    Desired {
        networks: networks.into_iter().map(|n| (n.name.clone(), n)).collect(),
        endpoints: endpoints.into_iter().map(|e| (e.name.clone(), Arc::new(e))).collect(),
        ..Desired::default()
    }
}

/// Performs the plan, and checks that the next one is empty.
fn settle(desired: &Desired, observed: &mut Observed) -> Vec<String> {
    let first = plan(desired, observed).unwrap().actions;
    let mut known = known(observed);
    for action in &first {
        known.follow(action);
        performed(observed, action);
        still_true(&known, observed);
    }
    let sentences =
        |actions: &[Action]| -> Vec<String> { actions.iter().map(ToString::to_string).collect() };
    let second = plan(desired, observed).unwrap().actions;
    assert_eq!(sentences(&second), Vec::<String>::new(), "after {:#?}", sentences(&first));
    sentences(&first)
}

fn two_networks() -> Desired {
    let (front, back) = (network("front", 1), network("back", 2));
    let mut web = endpoint("web", &front, 10);
    web.ports = vec![port(None, 8080, 80)];
    let db = endpoint("db", &back, 10);
    desired(vec![front, back], vec![web, db])
}

#[test]
fn a_performed_plan_leaves_nothing_to_do() {
    let (wanted, mut observed) = (two_networks(), host());
    assert!(!settle(&wanted, &mut observed).is_empty());
    let nothing = Desired::default();
    settle(&nothing, &mut observed);
    let before = host();
    assert_eq!(observed.links, before.links);
    assert_eq!(observed.saved_sysctls, before.saved_sysctls);
    for (name, value) in &before.sysctls {
        assert_eq!(observed.sysctls.get(name), Some(value), "{name}");
    }
    assert!(!observed.pinned && observed.own_namespaces.is_empty());
}

#[test]
fn any_half_of_a_plan_is_a_state_to_go_on_from() {
    let wanted = two_networks();
    let steps = plan(&wanted, &host()).unwrap().actions.len();
    for cut in 0..=steps {
        let mut observed = host();
        for action in plan(&wanted, &observed).unwrap().actions.iter().take(cut) {
            performed(&mut observed, action);
        }
        settle(&wanted, &mut observed);
        settle(&Desired::default(), &mut observed);
        assert_eq!(observed.links, host().links, "after {cut} steps");
    }
}

#[test]
fn undone_in_reverse_nothing_is_left() {
    let wanted = two_networks();
    let actions = plan(&wanted, &host()).unwrap().actions;
    let mut observed = host();
    for action in &actions {
        performed(&mut observed, action);
    }
    for undo in actions.iter().rev().filter_map(Action::undo) {
        performed(&mut observed, &undo);
    }
    assert_eq!(observed.links, host().links);
    assert_eq!(observed.tables, Tables::default());
    assert_eq!(observed.saved_sysctls, BTreeMap::new());
    assert!(observed.hooks.is_empty() && observed.own_namespaces.is_empty());
    assert!(!observed.loaded);
}

/// A network's device is what the kernel has of it, and the program hangs where that device wants it.
#[test]
fn netkit_devices_where_the_kernel_has_them() {
    let mut wanted = two_networks();
    wanted.networks.get_mut("front").unwrap().device = Device::Netkit;
    let mut observed = host();
    observed.no_netkit = Some("the kernel has none".to_owned());
    let said = plan(&wanted, &observed).unwrap().notes;
    assert!(
        said.iter().any(|note| note.contains("front") && note.contains("has none")),
        "{said:?}"
    );
    let steps = settle(&wanted, &mut observed);
    assert!(!steps.iter().any(|step| step.contains("netkit")), "{steps:#?}");
    // The next kernel has them.
    observed.no_netkit = None;
    let steps = settle(&wanted, &mut observed);
    let at = |step: &str| steps.iter().position(|said| said.starts_with(step));
    assert!(
        at("remove interface").is_some() && at("remove interface") < at("create netkit"),
        "{steps:#?}"
    );
    assert!(steps.iter().any(|step| step.contains("endpoint_ingress") && step.contains("netkit")));
    let of =
        |kind: &str| observed.links.values().filter(|l| l.kind.as_deref() == Some(kind)).count();
    let on_front = wanted.endpoints.values().flat_map(|e| &e.attachments);
    let on_front = on_front.filter(|attachment| attachment.network == "front").count();
    assert_eq!(of("netkit"), on_front);
    let entry = |index: &u32| observed.tables.interfaces[index].options;
    let netkits = observed.links.values().filter(|l| l.kind.as_deref() == Some("netkit"));
    assert!(netkits.map(|l| &l.index).all(|index| entry(index).contains(InterfaceOptions::NETKIT)));
}

#[test]
fn damage_is_a_difference() {
    type Damage = fn(&mut Observed, &Desired);
    let table: [(&str, Damage, &str); 9] = [
        (
            "bridge deleted",
            |o, d| drop(o.links.remove(d.networks["front"].bridge.as_str())),
            "create bridge",
        ),
        (
            "veth deleted",
            |o, d| {
                let veth = &d.endpoints["web"].attachments[0].host_interface;
                o.links.remove(veth.as_str());
                o.namespaces
                    .get_mut(std::path::Path::new("/run/netns/web"))
                    .unwrap()
                    .remove("eth0");
            },
            "create veth",
        ),
        (
            "namespace gone",
            |o, d| {
                o.namespaces.remove(std::path::Path::new("/run/netns/web"));
                o.links.remove(d.endpoints["web"].attachments[0].host_interface.as_str());
            },
            "create namespace /run/netns/web",
        ),
        (
            "program detached",
            |o, _| o.hooks.retain(|(_, h), _| *h != Hook::UplinkIngress),
            "attach",
        ),
        ("older program", |o, _| o.hooks.values_mut().for_each(|h| h.current = false), "replace"),
        ("interface's entry missing", |o, _| o.tables.interfaces.clear(), "register"),
        ("endpoint's entry missing", |o, _| o.tables.endpoints.clear(), "lead 10.97.1.10"),
        ("port's entry missing", |o, _| o.tables.published.clear(), "publish 192.0.2.1:8080/tcp"),
        (
            "sysctl reset",
            |o, _| drop(o.sysctls.insert("net/ipv4/conf/up0/forwarding".into(), "0".into())),
            "set net/ipv4/conf/up0/forwarding = 1 (was 0)",
        ),
    ];
    for (what, damage, step) in table {
        let (wanted, mut observed) = (two_networks(), host());
        settle(&wanted, &mut observed);
        damage(&mut observed, &wanted);
        let steps = settle(&wanted, &mut observed);
        assert!(steps.iter().any(|said| said.starts_with(step)), "{what}: {steps:#?}");
    }
}

#[test]
fn the_most_specific_binding_wins_whatever_the_order() {
    let front = network("front", 1);
    let (mut a, mut b) = (endpoint("a", &front, 10), endpoint("b", &front, 11));
    a.ports = vec![port(None, 53, 5300), port(Some("127.0.0.1"), 80, 80)];
    b.ports = vec![port(Some("192.0.2.1"), 53, 5301), port(Some("198.51.100.9"), 99, 99)];
    for (first, second) in [("a", "b"), ("b", "a")] {
        // The map is ordered by name, so the names change places.
        let (mut one, mut two) = (a.clone(), b.clone());
        (one.name, two.name) = (first.to_owned(), second.to_owned());
        let wanted = desired(vec![front.clone()], vec![one, two]);
        let mut observed = host();
        observed.uplinks = vec![uplink("up0", 2, &["192.0.2.1", "192.0.2.2", "2001:db8::1"])];
        let target = Target::new(&wanted, &observed).unwrap();
        let mut found: Vec<_> = target
            .tables
            .published
            .iter()
            .map(|(key, value)| {
                let number = u16::from_be_bytes;
                (key.address.to_string(), number(key.port), number(value.port))
            })
            .collect();
        found.sort();
        let expected = [("192.0.2.1".to_owned(), 53, 5301), ("192.0.2.2".to_owned(), 53, 5300)];
        assert_eq!(found, expected, "an IPv6 address leads to no IPv4 endpoint");
    }
}

#[test]
fn the_host_itself_reaches_what_is_published() {
    let mut front = network("front", 1);
    front.subnets.truncate(1);
    let (mut a, mut b) = (endpoint("a", &front, 10), endpoint("b", &front, 11));
    a.ports = vec![port(None, 53, 5300), port(Some("127.0.0.1"), 80, 80)];
    b.ports = vec![port(Some("192.0.2.1"), 54, 5301), port(Some("::1"), 80, 81)];
    let wanted = desired(vec![front], vec![a, b]);
    let mut observed = host();
    let own: [ipnet::IpNet; 3] =
        ["192.0.2.1/24", "2001:db8::1/64", "127.0.0.1/8"].map(|net| net.parse().unwrap());
    observed.links.get_mut("up0").unwrap().addresses.extend(own);
    let target = Target::new(&wanted, &observed).unwrap();
    let mut found: Vec<_> = target
        .tables
        .local_ports
        .iter()
        .map(|(key, value)| {
            let number = u16::from_be_bytes;
            let to = (value.address.to_string(), number(value.port));
            (key.address.to_string(), number(key.port), to)
        })
        .collect();
    found.sort();
    let row =
        |on: &str, port: u16, to: &str, inner: u16| (on.to_owned(), port, (to.to_owned(), inner));
    let expected = [
        row("0.0.0.0", 53, "10.97.1.10", 5300),
        row("127.0.0.1", 80, "10.97.1.10", 80),
        row("192.0.2.1", 54, "10.97.1.11", 5301),
        row("::", 53, "10.97.1.10", 5300),
        row("::1", 80, "10.97.1.11", 81),
    ];
    assert_eq!(found, expected);
    let addresses: Vec<_> = target.tables.host_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.97.1.1", "192.0.2.1", "2001:db8::1"]);
    let of_sockets = target.hooks.keys().filter(|(_, hook)| hook.is_of_sockets()).count();
    assert_eq!(of_sockets, Hook::of_sockets().count());
    settle(&wanted, &mut observed);
    // Another station has the uplink's address, too; then it is gone.
    let lost: ipnet::IpNet = "2001:db8::1/64".parse().unwrap();
    observed.links.get_mut("up0").unwrap().duplicates.insert(lost);
    assert_eq!(settle(&wanted, &mut observed), ["forget 2001:db8::1 as the host's"]);
    observed.links.get_mut("up0").unwrap().addresses.remove(&lost);
    assert_eq!(settle(&wanted, &mut observed), [""; 0]);
}

#[test]
fn the_shortcut_hangs_while_a_network_has_it() {
    let mut front = network("front", 1);
    let web = endpoint("web", &front, 10);
    let without = desired(vec![front.clone()], vec![web.clone()]);
    front.shortcut = true;
    let with = desired(vec![front], vec![web]);
    let hangs = |observed: &Observed| {
        observed.hooks.contains_key(&(Hook::NO_INTERFACE, Hook::ShortcutOpened))
    };
    let mut observed = host();
    settle(&without, &mut observed);
    assert!(!hangs(&observed));
    settle(&with, &mut observed);
    assert!(hangs(&observed));
    assert_eq!(settle(&with, &mut observed), [""; 0]);
    let options = |observed: &Observed| {
        let mut endpoints = observed.tables.endpoints.values();
        endpoints.all(|entry| entry.options.contains(InterfaceOptions::SHORTCUT))
    };
    assert!(options(&observed));
    settle(&without, &mut observed);
    assert!(!hangs(&observed) && !options(&observed));
    observed.no_shortcut = Some("there is none".to_owned());
    assert_eq!(plan(&without, &observed).unwrap().notes, [""; 0]);
    let notes = plan(&with, &observed).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("front") && notes[0].contains("there is none"));
}

#[test]
fn what_is_lost_without_control_groups_is_said() {
    let front = network("front", 1);
    let mut web = endpoint("web", &front, 10);
    web.ports = vec![port(Some("127.0.0.1"), 8080, 80)];
    let wanted = desired(vec![front.clone()], vec![web]);
    let mut observed = host();
    settle(&wanted, &mut observed);
    observed.no_socket_hooks = Some("there are none".to_owned());
    let found = plan(&wanted, &observed).unwrap();
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    assert!(
        found.notes[0].contains("not by 127.0.0.1") && found.notes[0].contains("there are none")
    );
    assert!(found.notes[1].contains("web: port 80: published on 127.0.0.1: it has no effect"));
    let detached = found.actions.iter().filter(|action| matches!(action, Action::Detach { .. }));
    assert_eq!(detached.count(), Hook::of_sockets().count(), "half of them is of no use");
    let quiet = plan(&desired(vec![front], Vec::new()), &observed).unwrap();
    assert_eq!(quiet.notes, Vec::<String>::new());
}

#[test]
fn places_and_generations() {
    let (wanted, mut observed) = (two_networks(), host());
    // Somebody's interface on the topmost places: ours go below.
    for place in [INTERFACE_TABLE_SIZE - 1, 2 * INTERFACE_TABLE_SIZE - 2] {
        let link = Link { index: place, name: format!("x{place}"), ..Link::default() };
        observed.links.insert(link.name.clone(), link);
    }
    settle(&wanted, &mut observed);
    let places: BTreeSet<_> =
        observed.links.values().map(|link| link.index % INTERFACE_TABLE_SIZE).collect();
    assert_eq!(places.len(), observed.links.len());
    let slots: BTreeSet<_> = observed.tables.interfaces.values().map(|entry| entry.slot).collect();
    assert_eq!(slots.len(), observed.tables.interfaces.len());
    assert!(!slots.contains(&0));

    // A new owner of a slot has a new generation; what stays keeps its own.
    let mut without = wanted.clone();
    let web = without.endpoints.remove("web").unwrap();
    let of_web = |observed: &Observed| {
        let address = IpAddr::V4(web.attachments[0].v4.unwrap()).into();
        observed.tables.endpoints.get(&address).copied()
    };
    let (before, old) = (observed.tables.clone(), of_web(&observed).unwrap());
    settle(&without, &mut observed);
    for (index, entry) in &observed.tables.interfaces {
        assert_eq!(before.interfaces.get(index), Some(entry));
    }
    observed.generations = vec![7; 64];
    settle(&wanted, &mut observed);
    let new = of_web(&observed).unwrap();
    assert_eq!((new.slot, new.generation), (old.slot, 8));
}

#[test]
fn an_uplink_on_our_place_is_left_out_and_named() {
    let (wanted, mut observed) = (two_networks(), host());
    settle(&wanted, &mut observed);
    let taken = *observed.tables.interfaces.keys().next_back().unwrap();
    observed.uplinks.push(uplink("up1", taken + INTERFACE_TABLE_SIZE, &["203.0.113.1"]));
    let plan = plan(&wanted, &observed).unwrap();
    assert!(plan.notes[0].contains("uplink up1 is left out"), "{:?}", plan.notes);
}

/// An endpoint joins a network that leads out instead of the first, and leaves it.
#[test]
fn one_default_route_goes_before_the_next_comes() {
    let alone = two_networks();
    let mut both = alone.clone();
    let back = both.networks["back"].clone();
    let web = both.endpoint_mut("web").unwrap();
    let mut joined = endpoint("web", &back, 40).attachments.remove(0);
    joined.interface = InterfaceName::new("eth1").unwrap();
    joined.host_interface = InterfaceName::veth(&web.id, &back.id);
    web.attachments[0].default_route = false;
    web.attachments.push(joined);
    let mut observed = host();
    settle(&alone, &mut observed);
    let configured = |steps: Vec<String>| -> Vec<String> {
        let words = steps.iter().map(|step| step.split(' ').take(2).collect::<Vec<_>>().join(" "));
        words.filter(|step| step.starts_with("configure")).collect()
    };
    assert_eq!(configured(settle(&both, &mut observed)), ["configure eth0", "configure eth1"]);
    let inside = &observed.namespaces[std::path::Path::new("/run/netns/web")];
    assert!(inside["eth0"].gateways.is_empty() && !inside["eth1"].gateways.is_empty());
    assert_eq!(configured(settle(&alone, &mut observed)), ["configure eth0"]);
}
