//! Networks that come and go, those that are always there, and endpoints on none.

use super::*;

#[test]
fn networks_come_and_go() {
    let world = World::new();
    let before = world.up(&Desired::default(), DEMO).unwrap();
    let join = |desired: &Desired, request: &AttachmentRequest| {
        connect(desired, "app", request, world.context()).map_err(|error| error.to_string())
    };
    let leave = |desired: &Desired, network: &str| {
        disconnect(desired, "app", network).map_err(|error| error.to_string())
    };
    let led = |desired: &Desired| -> Vec<(String, bool)> {
        let attachments = &desired.endpoints["app"].attachments;
        attachments
            .iter()
            .map(|a| (format!("{} {}", a.interface, a.network), a.default_route))
            .collect()
    };
    let is = |text: &str, leads: bool| (text.to_owned(), leads);
    let request = AttachmentRequest { gateway_priority: 1, ..AttachmentRequest::new("default") };
    let both = join(&before, &request).unwrap();
    assert_eq!(led(&both), [is("eth0 front", false), is("eth1 default", true)]);
    assert_eq!(both.endpoints["web"], before.endpoints["web"]);
    // An internal network leads nowhere; the name that is free is taken.
    let back = AttachmentRequest { gateway_priority: 9, ..AttachmentRequest::new("back") };
    let two = join(&leave(&both, "front").unwrap(), &back).unwrap();
    assert_eq!(led(&two), [is("eth0 back", false), is("eth1 default", true)]);
    assert_eq!(leave(&both, "default").unwrap(), before);
    let none = leave(&before, "front").unwrap();
    assert_eq!(led(&none), []);
    // `bridge` is made for the first who joins it.
    let bridge = join(&none, &AttachmentRequest::new("bridge")).unwrap();
    assert!(bridge.networks.contains_key("bridge"));
    assert_eq!(led(&bridge), [is("eth0 bridge", true)]);
    // The file's own word counts again with the next `up`.
    assert_eq!(world.up(&both, DEMO).unwrap(), before);

    let at = |address: [u8; 4]| AttachmentRequest {
        v4: Some(address.into()),
        ..AttachmentRequest::new("default")
    };
    let web = before.endpoints["lone"].attachments[0].v4.unwrap();
    for (request, message) in [
        (at([10, 99, 0, 1]), "10.99.0.1 is outside"),
        (at(web.octets()), "lone"),
        (AttachmentRequest::new("front"), "endpoint with name app already exists in network front"),
        (AttachmentRequest::new("nowhere"), "network nowhere not found"),
        (
            AttachmentRequest { aliases: vec!["-".into()], ..AttachmentRequest::new("back") },
            "alias",
        ),
    ] {
        let error = join(&before, &request).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let error = leave(&before, "default").unwrap_err();
    assert!(error.contains("endpoint app is not connected to network default"), "{error}");
    assert!(disconnect(&before, "nobody", "front").is_err());
}

#[test]
fn networks_that_are_always_there() {
    let mut world = World::new();
    let told = |world: &World, desired: &Desired| -> Vec<String> {
        let networks = predefined_networks(desired, world.context());
        let text = |network: &crate::model::Network| {
            let nets: Vec<_> =
                network.subnets.iter().map(|subnet| subnet.net.to_string()).collect();
            format!("{} {}", network.name, nets.join(" "))
        };
        networks.iter().map(text).collect()
    };
    let nothing = Desired::default();
    assert_eq!(told(&world, &nothing), ["bridge 172.17.0.0/16", "host ", "none "]);
    let first = predefined_networks(&nothing, world.context())[0].id.clone();
    let made = run(&world, &nothing, named("a")).unwrap();
    assert_eq!(made.networks["bridge"].id, first);
    assert_eq!(told(&world, &made), ["host ", "none "]);
    let other: Instance = "other".parse().unwrap();
    let there = crate::model::predefined::id(&other, "bridge");
    assert_ne!(there, first);
    // It is told of even where it cannot be had.
    let interface = Some("docker0".to_owned());
    world.facts.routes.push(HostRoute { net: "172.17.0.0/16".parse().unwrap(), interface });
    world.settings.bip.chosen = true;
    assert_eq!(told(&world, &nothing), ["bridge ", "host ", "none "]);
    let error = remove_network(&made, "bridge").unwrap_err().to_string();
    assert_eq!(error, "bridge is a pre-defined network and cannot be removed");
}

#[test]
fn endpoints_on_no_network_of_their_own() {
    use crate::model::{Namespace, requests::NetworkMode};
    let world = World::new();
    let with = |name: &str, mode: NetworkMode| EndpointRequest { mode: Some(mode), ..named(name) };
    let of = |name: &str| NetworkMode::Container(name.to_owned());
    let publishing = |request: EndpointRequest| EndpointRequest {
        publish: crate::config::ports::parse("8080:80").unwrap(),
        ..request
    };
    let host = run(&world, &Desired::default(), publishing(with("h", NetworkMode::Host))).unwrap();
    assert!(host.networks.is_empty() && host.endpoints["h"].ports.is_empty());
    assert_eq!(host.endpoints["h"].predefined(), Some("host"));
    let none = run(&world, &host, with("n", NetworkMode::None)).unwrap();
    let path = none.endpoints["n"].namespace.path().to_owned();
    assert!(none.endpoints["n"].alone && none.endpoints["n"].attachments.is_empty());
    let joined = run(&world, &none, with("j", of("n"))).unwrap();
    assert_eq!(joined.endpoints["j"].namespace, Namespace::Of("n".to_owned(), path.clone()));
    let twice = run(&world, &joined, with("k", of("j"))).unwrap();
    assert_eq!(twice.endpoints["k"].namespace, Namespace::Of("j".to_owned(), path));
    for (request, message) in [
        (with("x", of("x")), "own network"),
        (with("x", of("nobody")), "container:nobody: there is no such endpoint"),
        (publishing(with("x", of("n"))), "port publishing and the container type network mode"),
        (
            EndpointRequest {
                networks: vec![AttachmentRequest::new("bridge")],
                ..with("x", NetworkMode::Host)
            },
            "conflicting options: cannot attach both",
        ),
        (
            EndpointRequest { netns: Some("/run/netns/y".into()), ..with("x", NetworkMode::Host) },
            "conflicting options: a namespace by its path",
        ),
    ] {
        let error = run(&world, &none, request).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    // Nobody is left behind unless somebody insists.
    let gone = remove_endpoints(&joined, &["n"]).unwrap();
    assert_eq!(
        left_behind(&joined, &gone).map(|(name, by)| (name, by.name.as_str())),
        Some(("n", "j"))
    );
    assert_eq!(remove_command_line(&twice).unwrap(), Desired::default());
    let file = "name: f\nservices: {a: {network_mode: none}}\n";
    let up = world.up(&Desired::default(), file).unwrap();
    assert_eq!(world.up(&up, file).unwrap(), up);
    let up = run(&world, &up, with("j", of("a"))).unwrap();
    let error = remove_topology(&up, "f").unwrap_err().to_string();
    assert!(error.contains("endpoint \"j\" of the command line is in its namespace"), "{error}");
    let connected = |name: &str, network: &str| {
        connect(&joined, name, &AttachmentRequest::new(network), world.context())
    };
    for (name, network, message) in [
        ("h", "bridge", "sharing network namespace"),
        ("j", "bridge", "sharing network namespace"),
        ("j", "none", "sharing network namespace"),
        ("n", "bridge", "private (none) mode"),
        ("n", "none", "endpoint with name n already exists in network none"),
        ("n", "host", "host network"),
    ] {
        let error = connected(name, network).unwrap_err().to_string();
        assert!(error.contains(message), "{name} {network}: {error}");
    }
    assert!(disconnect(&joined, "h", "host").unwrap_err().to_string().contains("host network"));
    assert!(!disconnect(&joined, "n", "none").unwrap().endpoints["n"].alone);
}

#[test]
fn what_a_network_says_where_nobody_else_does() {
    let world = World::new();
    let file = "name: n\n\
        networks:\n  \
          lan: {driver_opts: {com.docker.network.container_iface_prefix: lan, \
                              com.docker.network.bridge.host_binding_ipv4: 127.0.0.1}}\n  \
          wan: {}\n\
        services:\n  \
          a: {networks: {lan: , wan: }, ports: [\"80:80\", \"192.0.2.1:81:81\"]}\n  \
          b: {networks: {wan: }, ports: [\"82:82\"]}\n";
    let up = world.up(&Desired::default(), file).unwrap();
    let a = &up.endpoints["a"];
    let interfaces: Vec<_> = a.attachments.iter().map(|a| a.interface.as_str()).collect();
    assert_eq!(interfaces, ["eth0", "lan0"]);
    let address = |name: &str, place: usize| {
        up.endpoints[name].ports[place].host_address.map(|address| address.to_string())
    };
    assert_eq!(address("a", 0).as_deref(), Some("127.0.0.1"));
    assert_eq!(address("a", 1).as_deref(), Some("192.0.2.1"));
    assert_eq!(address("b", 0), None);
    assert_eq!(world.up(&up, file).unwrap(), up);
}
