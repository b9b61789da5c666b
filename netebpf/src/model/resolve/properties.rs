//! What holds for every file, sane or not.

use super::{tests::World, *};
use crate::{
    config::topology,
    ipam::overlaps,
    model::{Attachment, PortMapping},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, net::IpAddr};

/// A few names, ranges, addresses and ports, so that files conflict with one another and themselves.
fn network() -> impl Strategy<Value = String> {
    let subnet = prop_oneof![
        3 => Just(String::new()),
        1 => (0..3u8, 22..=31u8).prop_map(|(third, size)| {
            format!("ipam: {{config: [{{subnet: 10.0.{}.0/{size}}}]}}, ", third * 8)
        }),
        1 => (0..4u8).prop_map(|last| {
            format!("ipam: {{config: [{{subnet: 10.0.0.0/29, gateway: 10.0.0.{last}}}]}}, ")
        }),
        1 => Just("ipam: {config: [{subnet: \"fd00::/125\", ip_range: \"fd00::4/126\"}]}, ".to_owned()),
    ];
    (subnet, any::<bool>(), any::<bool>()).prop_map(|(subnet, internal, v6)| {
        // Switching IPv6 off and giving an IPv6 subnet is an error that needs no resolution.
        let v6 = if v6 { "enable_ipv6: true, " } else { "" };
        format!("{{{subnet}{v6}internal: {internal}}}")
    })
}

fn attachment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("{}".to_owned()),
        1 => (0..9u8).prop_map(|last| format!("{{ipv4_address: 10.0.0.{last}}}")),
        1 => (0..9u8).prop_map(|last| format!("{{ipv6_address: \"fd00::{last}\"}}")),
        1 => (2..4u8).prop_map(|last| format!("{{mac_address: \"02:42:0a:00:00:0{last}\"}}")),
        1 => (0..3u8).prop_map(|n| format!("{{interface_name: eth{n}, gw_priority: {n}}}")),
    ]
}

fn port() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "80",
        "8080:80",
        "127.0.0.1:8080:80",
        "[::1]::80",
        "8080-8082:80",
        "8080:80/udp",
        "0.0.0.0::80",
    ])
}

fn service() -> impl Strategy<Value = String> {
    let networks =
        prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), attachment(), 0..3);
    (networks, prop::collection::vec(port(), 0..3)).prop_map(|(networks, ports)| {
        let join = |(name, attachment): (&str, String)| format!("{name}: {attachment}");
        let networks: Vec<String> = networks.into_iter().map(join).collect();
        let networks = match networks.is_empty() {
            true => String::new(),
            false => format!("networks: {{{}}}, ", networks.join(", ")),
        };
        format!("{{{networks}ports: {ports:?}}}")
    })
}

prop_compose! {
    fn file()(
        name in prop::sample::select(vec!["one", "two"]),
        networks in [network(), network(), network()],
        services in prop::collection::btree_map(
            prop::sample::select(vec!["s", "t", "u", "v", "w"]), service(), 0..5,
        ),
    ) -> String {
        let [a, b, c] = networks;
        // Two files never share a network's name, so that more than one can be up.
        let named = |key: &str| format!("name: {name}{key}");
        let network = |key: &str, text: String| {
            let inner = text.trim_start_matches('{').to_owned();
            format!("  {key}: {{{}, {inner}\n", named(key))
        };
        let services: String =
            services.into_iter().map(|(key, text)| format!("  {name}{key}: {text}\n")).collect();
        let networks =
            [network("a", a), network("b", b), network("c", c), network("default", "{}".to_owned())];
        format!("name: {name}\nnetworks:\n{}services:\n{services}", networks.concat())
    }
}

/// Everything that may never be, whatever was asked for.
fn check(desired: &Desired) {
    let subnets: Vec<_> = desired.networks.values().flat_map(|network| &network.subnets).collect();
    for (place, subnet) in subnets.iter().enumerate() {
        assert!(subnet.net.contains(&subnet.gateway));
        for other in &subnets[place + 1..] {
            assert!(!overlaps(&subnet.net, &other.net), "{} {}", subnet.net, other.net);
        }
    }
    let numbers: BTreeSet<u32> = desired.networks.values().map(|network| network.number).collect();
    assert_eq!(numbers.len(), desired.networks.len());
    assert!(!numbers.contains(&0));
    let mut addresses: BTreeSet<IpAddr> = subnets.iter().map(|subnet| subnet.gateway).collect();
    let mut macs = BTreeSet::new();
    let mut veths = BTreeSet::new();
    let mut ports: Vec<&PortMapping> = Vec::new();
    for endpoint in desired.endpoints.values() {
        let inside: BTreeSet<_> = endpoint.attachments.iter().map(|a| &a.interface).collect();
        assert_eq!(inside.len(), endpoint.attachments.len());
        for attachment in &endpoint.attachments {
            let network = &desired.networks[&attachment.network];
            assert!(attachment.addresses().next().is_some());
            assert_eq!(attachment.v4.is_some(), network.subnet(false).is_some());
            assert_eq!(attachment.v6.is_some(), network.subnet(true).is_some());
            for address in attachment.addresses() {
                assert!(addresses.insert(address), "{address} twice");
                assert!(network.subnets.iter().any(|subnet| subnet.net.contains(&address)));
            }
            assert!(macs.insert((&attachment.network, attachment.mac)));
            assert_ne!(attachment.mac, network.mac);
            assert!(veths.insert(&attachment.host_interface));
            assert!(!(network.internal && attachment.default_route));
        }
        let routes = |family: fn(&Attachment) -> bool| {
            endpoint.attachments.iter().filter(|a| a.default_route && family(a)).count()
        };
        assert!(routes(|a| a.v4.is_some()) <= 1 && routes(|a| a.v6.is_some()) <= 1);
        for port in &endpoint.ports {
            let meets = |other: &&&PortMapping| {
                (other.transport, other.host_port) == (port.transport, port.host_port)
                    && (other.host_address.is_none()
                        || port.host_address.is_none()
                        || other.host_address == port.host_address)
            };
            assert_eq!(ports.iter().find(meets), None);
            ports.push(port);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn nothing_is_ever_shared_and_a_second_up_is_nothing(
        files in prop::collection::vec(file(), 1..6),
    ) {
        let world = World::new();
        let mut desired = Desired::default();
        for file in files {
            let (topology, _) = topology::parse(&file, "a/f", Default::default()).unwrap_or_else(|e| panic!("{e}\n{file}"));
            if let Ok(next) = apply_topology(&desired, &topology, world.context()) {
                check(&next);
                prop_assert_eq!(&apply_topology(&next, &topology, world.context()).unwrap(), &next);
                desired = next;
            }
            let request = EndpointRequest::default();
            if let Ok(next) = add_endpoint(&desired, &request, world.context()) {
                check(&next);
            }
        }
        prop_assert_eq!(remove_command_line(&desired).unwrap(), Desired::default());
    }

    #[test]
    fn no_text_is_too_much_for_the_parser(text in ".*") {
        let _ = topology::parse(&text, "a/f", Default::default());
        let _ = crate::config::ports::parse(&text);
        let _ = crate::config::settings::parse(&text, "f", b"");
    }

    #[test]
    fn no_yaml_is_too_much_for_the_parser(text in "([ \n]{0,4}(name|networks|services|ports|ipam|config|subnet|command|labels|a|\\$|&a|\\*a|<<|\\||>|'|\"|~|!!binary)?[:,\\[\\]{}-]? ?){0,24}") {
        let _ = topology::parse(&text, "a/f", Default::default());
    }

    #[test]
    fn a_file_with_a_hole_in_it_panics_nobody(
        file in file(),
        start in any::<prop::sample::Index>(),
        length in 0..9usize,
        patch in "[^\u{0}]{0,3}",
    ) {
        let chars: Vec<char> = file.chars().collect();
        let start = start.index(chars.len());
        let end = (start + length).min(chars.len());
        let text: String = chars[..start].iter().copied().chain(patch.chars()).chain(chars[end..].iter().copied()).collect();
        if let Ok((topology, _)) = topology::parse(&text, "a/f", Default::default())
            && let Ok(desired) = apply_topology(&Desired::default(), &topology, World::new().context())
        {
            check(&desired);
        }
    }
}
