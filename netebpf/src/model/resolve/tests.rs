//! Idempotence, whose is whose, and every message.

use super::*;
use crate::{
    config::{settings::Settings, topology},
    model::{Attachment, Driver, Transport},
};

/// A host with nothing but a LAN.
pub(super) struct World {
    pub(super) facts: HostFacts,
    pub(super) settings: Settings,
    pub(super) instance: Instance,
}

impl World {
    pub(super) fn new() -> Self {
        let lan =
            HostRoute { net: "192.0.2.0/24".parse().unwrap(), interface: Some("eth0".to_owned()) };
        Self {
            facts: HostFacts { now: 1000, routes: vec![lan], ..HostFacts::default() },
            settings: Settings::new(b"test"),
            instance: "default".parse().unwrap(),
        }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { facts: &self.facts, settings: &self.settings, instance: &self.instance }
    }

    fn up(&self, before: &Desired, text: &str) -> Result<Desired, String> {
        let (topology, _) = topology::parse(text, "demo/netebpf.yaml", Default::default())
            .map_err(|e| e.to_string())?;
        apply_topology(before, &topology, self.context()).map_err(|e| e.to_string())
    }
}

const DEMO: &str = r#"
name: demo
networks:
  front: {ipam: {config: [{subnet: 10.10.0.0/24, gateway: 10.10.0.1}]}}
  back:  {internal: true, enable_ipv6: true}
services:
  web:
    networks: {front: {ipv4_address: 10.10.0.10, aliases: [www]}, back: {}}
    ports: ["8080:80", "127.0.0.1:8443:443", "53:53/udp", "90"]
  app: {networks: [front]}
  lone: {}
"#;

#[test]
fn up_twice_is_nothing_the_second_time() {
    let world = World::new();
    let first = world.up(&Desired::default(), DEMO).unwrap();
    assert_eq!(world.up(&first, DEMO).unwrap(), first);
    let web = &first.endpoints["web"];
    let names: Vec<String> = web
        .attachments
        .iter()
        .map(|a| {
            let v6 = a.v6.map(|_| "+v6").unwrap_or_default();
            format!(
                "{} {} {}{v6} {} {}",
                a.interface,
                a.network,
                a.v4.unwrap(),
                a.mac,
                a.default_route
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "eth0 back 172.18.0.2+v6 02:42:ac:12:00:02 false",
            "eth1 front 10.10.0.10 02:42:0a:0a:00:0a true"
        ]
    );
    assert_eq!(first.endpoints["lone"].attachments[0].network, "default");
    assert_eq!(web.namespace.path(), std::path::Path::new("/run/netns/web"));
}

fn run(world: &World, before: &Desired, request: EndpointRequest) -> Result<Desired, String> {
    add_endpoint(before, &request, world.context()).map_err(|error| error.to_string())
}

fn named(name: &str) -> EndpointRequest {
    EndpointRequest { name: Some(name.to_owned()), ..EndpointRequest::default() }
}

fn published(name: &str, ports: &[&str]) -> EndpointRequest {
    let publish =
        ports.iter().flat_map(|port| crate::config::ports::parse(port).unwrap()).collect();
    EndpointRequest { publish, ..named(name) }
}

#[test]
fn what_the_file_no_longer_has_goes_and_what_others_made_stays() {
    let world = World::new();
    let first = world.up(&Desired::default(), DEMO).unwrap();
    let with_other = run(&world, &first, named("mine")).unwrap();
    let smaller = "name: demo\nservices: {web: {ports: [\"8080:80\"]}}\n";
    let second = world.up(&with_other, smaller).unwrap();
    assert_eq!(second.endpoints.keys().collect::<Vec<_>>(), ["mine", "web"]);
    assert_eq!(second.networks.keys().collect::<Vec<_>>(), ["bridge", "default"]);
    assert_eq!(second.endpoints["mine"], with_other.endpoints["mine"]);
    assert_eq!(second.endpoints["web"].id, first.endpoints["web"].id);
    assert_eq!(second.networks["default"], first.networks["default"]);
    let gone = remove_topology(&second, "demo").unwrap();
    assert_eq!(gone.endpoints.keys().collect::<Vec<_>>(), ["mine"]);
    assert_eq!(remove_topology(&gone, "demo").unwrap(), gone);
    assert_eq!(remove_command_line(&second).unwrap(), Desired::default());
}

#[test]
fn a_new_network_takes_no_number_that_was_just_given_back() {
    let world = World::new();
    let first = world.up(&Desired::default(), "name: n\nnetworks: {a: , b: }\n").unwrap();
    assert_eq!((first.networks["a"].number, first.networks["b"].number), (1, 2));
    let second = world.up(&first, "name: n\nnetworks: {b: , c: }\n").unwrap();
    assert_eq!((second.networks["b"].number, second.networks["c"].number), (2, 3));
}

#[test]
fn open_choices_give_way_to_made_ones() {
    let world = World::new();
    let first = world.up(&Desired::default(), "name: n\nservices: {a: , b: }\n").unwrap();
    let address =
        |desired: &Desired, name: &str| desired.endpoints[name].attachments[0].v4.unwrap();
    assert_eq!(address(&first, "a").to_string(), "172.18.0.2");
    // b asks for what a was given: a moves.
    let text = "name: n\nnetworks: {default: }\nservices: {a: , b: {networks: {default: {ipv4_address: \
                172.18.0.2}}}}\n";
    let second = world.up(&first, text).unwrap();
    assert_eq!(address(&second, "b").to_string(), "172.18.0.2");
    assert_eq!(address(&second, "a").to_string(), "172.18.0.3");
    // Another network asks for the range that the default one was given: the default one moves.
    let text =
        "name: n\nnetworks: {x: {ipam: {config: [{subnet: 172.18.4.0/24}]}}}\nservices: {a: }\n";
    let third = world.up(&second, text).unwrap();
    assert_eq!(address(&third, "a").to_string(), "172.19.0.2");
}

#[test]
fn the_default_network_makes_room_for_docker() {
    let mut world = World::new();
    let usual = run(&world, &Desired::default(), named("a")).unwrap();
    assert_eq!(usual.networks["bridge"].subnets[0].net.to_string(), "172.17.0.0/16");
    assert_eq!(usual.networks["bridge"].subnets[0].gateway.to_string(), "172.17.0.1");
    assert_eq!(usual.networks["bridge"].origin, Origin::CommandLine);
    let docker =
        HostRoute { net: "172.17.0.0/16".parse().unwrap(), interface: Some("docker0".to_owned()) };
    world.facts.routes.push(docker);
    let other = run(&world, &Desired::default(), named("a")).unwrap();
    assert_eq!(other.networks["bridge"].subnets[0].net.to_string(), "172.18.0.0/16");
    world.settings.bip.chosen = true;
    assert_eq!(
        run(&world, &Desired::default(), named("a")).unwrap_err(),
        "network \"bridge\": subnet 172.17.0.0/16 overlaps the host's route 172.17.0.0/16 dev docker0; \
         choose another range"
    );
}

#[test]
fn our_own_routes_and_the_default_route_are_in_nobodys_way() {
    let mut world = World::new();
    let first = world.up(&Desired::default(), DEMO).unwrap();
    for network in first.networks.values() {
        let interface = Some(network.bridge.to_string());
        world.facts.routes.extend(
            network.subnets.iter().map(|s| HostRoute { net: s.net, interface: interface.clone() }),
        );
    }
    for default in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1"] {
        let interface = Some("tun0".to_owned());
        world.facts.routes.push(HostRoute { net: default.parse().unwrap(), interface });
    }
    assert_eq!(world.up(&first, DEMO).unwrap(), first);
    let changed = DEMO.replace("gateway: 10.10.0.1", "gateway: 10.10.0.2");
    world.up(&first, &changed).unwrap();
    assert_eq!(
        world.up(&Desired::default(), "name: n\nservices: {a: }\n").unwrap().endpoints.len(),
        1
    );
}

#[test]
fn the_default_route_goes_where_the_user_says() {
    let world = World::new();
    let routes = |networks: &str| {
        let text = format!(
            "name: n\nnetworks: {{a: , b: , inner: {{internal: true}}, six: {{enable_ipv4: false, \
             enable_ipv6: true}}}}\nservices: {{w: {{networks: {networks}}}}}\n"
        );
        let desired = world.up(&Desired::default(), &text).unwrap();
        let attachments = &desired.endpoints["w"].attachments;
        let chosen = attachments.iter().filter(|attachment| attachment.default_route);
        chosen.map(|attachment| attachment.network.clone()).collect::<Vec<_>>()
    };
    assert_eq!(routes("[a, b]"), ["a"]);
    assert_eq!(routes("{a: , b: {gw_priority: 1}}"), ["b"]);
    assert_eq!(routes("{a: {gw_priority: -1}, b: }"), ["b"]);
    assert_eq!(routes("{a: , inner: {gw_priority: 9}}"), ["a"]);
    assert_eq!(routes("[inner]"), Vec::<String>::new());
    assert_eq!(routes("[b, six]"), ["b", "six"]);
}

#[test]
fn interfaces_are_named_in_the_order_of_priority() {
    let world = World::new();
    let text = "name: n\nnetworks: {a: , b: , c: }\nservices: {w: {mac_address: \"02:00:00:00:00:01\", \
                networks: {a: , b: {priority: 9}, c: {interface_name: eth0}}}}\n";
    let desired = world.up(&Desired::default(), text).unwrap();
    let attachments = &desired.endpoints["w"].attachments;
    let name = |joined: &Attachment| format!("{} {}", joined.interface, joined.network);
    assert_eq!(attachments.iter().map(name).collect::<Vec<_>>(), ["eth0 c", "eth1 b", "eth2 a"]);
    // The service's Ethernet address is that of the network which is joined first.
    let given: Vec<bool> =
        attachments.iter().map(|a| a.mac.to_string() == "02:00:00:00:00:01").collect();
    assert_eq!(given, [false, true, false]);
}

#[test]
fn open_ports_are_free_and_stay() {
    let mut world = World::new();
    let socket = |port| HostSocket { transport: Transport::Tcp, address: None, port };
    world.facts.sockets = vec![socket(8000), socket(8001)].into();
    let first = run(&world, &Desired::default(), published("a", &["8000-8003:80", "80"])).unwrap();
    let ports: Vec<u16> = first.endpoints["a"].ports.iter().map(|port| port.host_port).collect();
    assert_eq!(ports[0], 8002);
    assert!(ports[1] >= 49_153);
    let second = run(&world, &first, published("b", &["8000-8003:80"])).unwrap();
    assert_eq!(second.endpoints["b"].ports[0].host_port, 8003);
    assert_eq!(
        run(&world, &second, published("c", &["8000-8003:80"])).unwrap_err(),
        "endpoint \"c\": no host port is free for tcp port 80 in 8000-8003"
    );
    // The daemon's own socket holds a port that is published already.
    let text = "name: n\nservices: {w: {ports: [\"9000:80\"]}}\n";
    let up = world.up(&Desired::default(), text).unwrap();
    world.facts.sockets = vec![socket(8000), socket(8001), socket(9000)].into();
    assert_eq!(world.up(&up, text).unwrap(), up);
}

#[test]
fn ten_thousand_ports_are_no_wait() {
    let world = World::new();
    let text = "name: n\nservices: {w: {ports: [\"20000-29999:20000-29999\", \"30000-39999\"]}}\n";
    let begin = std::time::Instant::now();
    let first = world.up(&Desired::default(), text).unwrap();
    assert_eq!(world.up(&first, text).unwrap(), first);
    // Linear work takes half a second without optimization; quadratic work took fifteen.
    assert!(begin.elapsed() < std::time::Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn every_conflict_of_a_file_has_its_message() {
    let world = World::new();
    let mine = run(&world, &Desired::default(), published("mine", &["8080:80"])).unwrap();
    let head = "networks: {a: {ipam: {config: [{subnet: 10.1.0.0/24}]}}, six: {enable_ipv4: false, \
                enable_ipv6: true}}\nservices:\n";
    let in_head = |services: &str| format!("{head}{services}");
    let net = |config: &str| format!("networks: {{a: {{ipam: {{config: [{config}]}}}}}}\n");
    let cases: Vec<(String, &str)> = vec![
        (
            net("{subnet: 10.1.0.0/24, gateway: 10.2.0.1}"),
            "2:41: network \"a\": gateway 10.2.0.1 is outside 10.1.0.0/24; no matching subnet for \
             gateway 10.2.0.1",
        ),
        (
            net("{subnet: 10.1.0.0/24, gateway: 10.1.0.255}"),
            "2:41: network \"a\": gateway 10.1.0.255 is the broadcast address of 10.1.0.0/24; one \
             between the two is meant",
        ),
        (
            net("{subnet: 10.1.0.0/24, gateway: 10.1.0.9, aux_addresses: {r: 10.1.0.9}}"),
            "2:41: network \"a\": gateway 10.1.0.9 is reserved as \"r\"",
        ),
        (
            net("{subnet: 10.1.0.0/24, aux_addresses: {r: 10.2.0.9}}"),
            "2:41: network \"a\": reserved address \"r\": 10.2.0.9 is outside 10.1.0.0/24",
        ),
        (
            net("{subnet: 10.1.0.0/24, ip_range: 10.1.0.0/16}"),
            "2:41: network \"a\": ip_range 10.1.0.0/16 is outside 10.1.0.0/24",
        ),
        (
            net("{subnet: 127.0.0.0/24}"),
            "2:41: network \"a\": subnet 127.0.0.0/24: 127.0.0.0/8 is kept for loopback",
        ),
        (
            net("{subnet: 192.0.0.0/8}"),
            "2:41: network \"a\": subnet 192.0.0.0/8 overlaps the host's route 192.0.2.0/24 dev eth0; \
             choose another range",
        ),
        (
            net("{subnet: 172.17.9.0/24}"),
            "2:41: network \"a\": Pool overlaps with other one on this address space: subnet 172.17.9.0/24 overlaps 172.17.0.0/16 of network \"bridge\"; \
             choose another range",
        ),
        (
            "networks: {bridge: }\n".to_owned(),
            "2:12: network \"bridge\": operation is not permitted on predefined bridge network; it is \
             always there",
        ),
        (
            "services: {mine: }\n".to_owned(),
            "2:12: endpoint name \"mine\" is already in use: the command line made it; choose another \
             name",
        ),
        (
            "services: {a: {container_name: w}, w: }\n".to_owned(),
            "2:36: endpoint name \"w\" is already in use: the topology \"t\" made it; choose another name",
        ),
        (
            "networks: {a: {external: true}}\n".to_owned(),
            "2:12: network \"a\" is external and is not there; make it first: netebpf network create a",
        ),
        (
            "networks: {a: {driver_opts: {com.docker.network.bridge.name: br0}}, b: {driver_opts: \
             {com.docker.network.bridge.name: br0}}}\n"
                .to_owned(),
            "2:69: network \"b\": bridge br0 is that of network \"a\" already; choose another name",
        ),
        (
            "networks: {a: {enable_ipv6: true, driver_opts: {com.docker.network.driver.mtu: 1000}}}\n"
                .to_owned(),
            "2:12: network \"a\": mtu 1000: a number of bytes from 1280 to 65535 is meant",
        ),
        (
            in_head("  w: {networks: {a: {ipv4_address: 10.2.0.5}}}\n"),
            "4:36: endpoint \"w\": network \"a\": 10.2.0.5 is outside 10.1.0.0/24",
        ),
        (
            in_head("  w: {networks: {a: {ipv4_address: 10.1.0.1}}}\n"),
            "4:36: endpoint \"w\": network \"a\": 10.1.0.1 is the gateway's",
        ),
        (
            in_head(
                "  v: {networks: {a: {ipv4_address: 10.1.0.5}}}\n  w: {networks: {a: {ipv4_address: \
                 10.1.0.5}}}\n",
            ),
            "5:36: endpoint \"w\": network \"a\": Address already in use: 10.1.0.5 is taken by endpoint \"v\"",
        ),
        (
            in_head("  w: {networks: {a: {ipv6_address: \"fd00::5\"}}}\n"),
            "4:36: endpoint \"w\": fd00::5: network \"a\" has no IPv6",
        ),
        (
            in_head(
                "  v: {networks: {a: {mac_address: \"02:42:0a:01:00:02\"}}}\n  w: {networks: {a: \
                 {mac_address: \"02:42:0a:01:00:02\"}}}\n",
            ),
            "5:18: endpoint \"w\": network \"a\": Ethernet address 02:42:0a:01:00:02 is that of \
             endpoint \"v\" already; choose another one",
        ),
        (
            in_head("  w: {networks: {a: {mac_address: \"02:42:0a:01:00:01\"}}}\n"),
            "4:18: endpoint \"w\": network \"a\": Ethernet address 02:42:0a:01:00:01 is that of the \
             gateway already; choose another one",
        ),
        (
            in_head("  w: {networks: {a: {interface_name: x}, six: {interface_name: x}}}\n"),
            "4:42: endpoint \"w\": two interfaces named x",
        ),
        (
            "services: {w: {netns: /run/netns/mine}}\n".to_owned(),
            "2:12: endpoint \"w\": namespace /run/netns/mine is that of endpoint \"mine\" already",
        ),
        (
            "services: {w: {ports: [\"127.0.0.1:8080:80\"]}}\n".to_owned(),
            "2:12: endpoint \"w\": port 127.0.0.1:8080/tcp is already allocated: endpoint \"mine\" has \
             8080/tcp",
        ),
        (
            "services: {w: {ports: [\"0.0.0.0:90:80\", \"127.0.0.1:90:80\"]}}\n".to_owned(),
            "2:12: endpoint \"w\": port 127.0.0.1:90/tcp is already allocated: endpoint \"w\" has \
             0.0.0.0:90/tcp",
        ),
        (
            "services: {w: {ports: [\"[::1]:90:80\"]}}\n".to_owned(),
            "2:12: endpoint \"w\": port 80 cannot be published on ::1: the endpoint has no IPv6 address; give its network IPv6, or publish it on another address",
        ),
        (
            "services: {w: {ports: [\"22:22\"]}}\n".to_owned(),
            "2:12: endpoint \"w\": port 22/tcp is already allocated: a socket of the host holds it; \
             choose another one, or stop what holds it",
        ),
    ];
    let mut world = world;
    let ssh = HostSocket { transport: Transport::Tcp, address: None, port: 22 };
    world.facts.sockets = vec![ssh].into();
    let mut wrong = Vec::new();
    for (text, message) in cases {
        let said = match world.up(&mine, &format!("name: t\n{text}")) {
            Ok(_) => "nothing wrong".to_owned(),
            Err(error) => error,
        };
        if said != format!("demo/netebpf.yaml:{message}") {
            wrong.push(format!("{text}  said     {said}\n  expected {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ports_that_do_not_meet_are_no_conflict() {
    let world = World::new();
    let ports = ["127.0.0.1:53:53", "127.0.0.1:53:53/udp", "10.0.0.1:53:53", "0.0.0.0:54:54"];
    run(&world, &Desired::default(), published("a", &ports)).unwrap();
}

#[test]
fn the_pools_and_the_subnets_run_out_with_a_message() {
    let mut world = World::new();
    world.settings.pools.truncate(1);
    let error = world.up(&Desired::default(), "name: n\nnetworks: {a: , b: }\n").unwrap_err();
    assert_eq!(
        error,
        "demo/netebpf.yaml:2:17: network \"b\": no IPv4 subnet is left in the address pools that overlaps \
         neither a network nor a route of the host; give the network a subnet, or more pools in \
         /etc/netebpf/config.toml"
    );
    let text = "name: n\nnetworks: {default: {ipam: {config: [{subnet: 10.0.0.0/30}]}}}\nservices: {a: , \
                b: }\n";
    assert_eq!(
        world.up(&Desired::default(), text).unwrap_err(),
        "demo/netebpf.yaml:3:17: endpoint \"b\": network \"default\": no address is left in 10.0.0.0/30; \
         make the range larger or take endpoints away"
    );
}

#[test]
fn what_is_in_use_stays() {
    let world = World::new();
    let up = world.up(&Desired::default(), "name: t\nnetworks: {n: }\n").unwrap();
    let request = EndpointRequest { networks: vec![AttachmentRequest::new("n")], ..named("mine") };
    let used = run(&world, &up, request).unwrap();
    let in_use = "network \"n\" has active endpoints: it is in use by \"mine\" of the command line; remove that endpoint \
                  first";
    let text = |error: ResolveError| error.to_string();
    assert_eq!(remove_network(&used, "n").map_err(text), Err(in_use.to_owned()));
    assert_eq!(remove_topology(&used, "t").map_err(text), Err(in_use.to_owned()));
    assert_eq!(world.up(&used, "name: t\nnetworks: {m: }\n"), Err(in_use.to_owned()));
    let moved = "name: t\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n";
    assert_eq!(world.up(&used, moved), Err(in_use.to_owned()));
    let free = remove_endpoints(&used, &["mine"]).unwrap();
    assert_eq!(free, up);
    assert_eq!(remove_network(&free, "n").unwrap(), Desired::default());
    assert_eq!(
        remove_network(&used, "x").map_err(text),
        Err("network x not found; see netebpf network ls".to_owned())
    );
    assert_eq!(
        remove_endpoints(&used, &["x"]).map_err(text),
        Err("endpoint \"x\" is not there; see netebpf ps".to_owned())
    );
}

#[test]
fn requests_over_the_api_are_checked() {
    let world = World::new();
    let zero = |mut request: EndpointRequest| {
        request.publish[0].endpoint_port = 0;
        request
    };
    let service = crate::model::Service {
        command: Vec::new(),
        environment: Default::default(),
        working_dir: None,
    };
    let on = |attachment: AttachmentRequest| EndpointRequest {
        networks: vec![attachment],
        ..named("a")
    };
    let alias =
        AttachmentRequest { aliases: vec!["-".to_owned()], ..AttachmentRequest::new("bridge") };
    let twice = vec![AttachmentRequest::new("bridge"), AttachmentRequest::new("bridge")];
    let name_rule = "is no name: 1 to 128 letters, digits, \"_\", \".\" and \"-\" are allowed, the first \
                     a letter or a digit";
    let cases = [
        (named(""), format!("\"\" {name_rule}")),
        (named("../a"), format!("\"../a\" {name_rule}")),
        (
            zero(published("a", &["80"])),
            "endpoint \"a\": a published port is 0, or a range of them runs backwards; 1 to 65535 are \
             meant"
                .to_owned(),
        ),
        (
            EndpointRequest { service: Some(service), ..named("a") },
            "endpoint \"a\": its command is empty; leave it out for a namespace to work in".to_owned(),
        ),
        (
            EndpointRequest { netns: Some("run/x".into()), ..named("a") },
            "endpoint \"a\": namespace \"run/x\" is wrong; a path that begins with / is meant".to_owned(),
        ),
        (on(alias), format!("endpoint \"a\": network \"bridge\": alias \"-\" {name_rule}")),
        (
            on(AttachmentRequest::new("x")),
            "endpoint \"a\": network x not found; see netebpf network ls".to_owned(),
        ),
        (
            EndpointRequest { networks: twice, ..named("a") },
            "endpoint \"a\": network \"bridge\" is joined twice".to_owned(),
        ),
    ];
    for (request, message) in cases {
        assert_eq!(run(&world, &Desired::default(), request).unwrap_err(), message);
    }
    let mut bits = NetworkRequest::new("n");
    bits.subnets.push(crate::model::requests::SubnetRequest {
        net: "10.0.0.5/24".parse().unwrap(),
        gateway: None,
        range: None,
        reserved: Default::default(),
        place: None,
    });
    let said = add_network(&Desired::default(), &bits, world.context());
    assert_eq!(
        said.unwrap_err().to_string(),
        "network \"n\": subnet 10.0.0.5/24 has host bits set; 10.0.0.0/24 is meant"
    );
    for (driver, name) in [(Driver::Host, "host"), (Driver::Null, "null")] {
        let second = NetworkRequest { driver, ..NetworkRequest::new("n") };
        let said = add_network(&Desired::default(), &second, world.context()).unwrap_err();
        let words = format!("network \"n\": only one instance of \"{name}\" network is allowed");
        assert!(said.to_string().starts_with(&words), "{said}");
    }
    let neither = NetworkRequest { ipv4: false, ..NetworkRequest::new("n") };
    let said = add_network(&Desired::default(), &neither, world.context());
    assert_eq!(
        said.unwrap_err().to_string(),
        "network \"n\": neither IPv4 nor IPv6; one of them is needed"
    );
}

#[test]
fn an_endpoint_without_a_name_has_its_identifiers() {
    let world = World::new();
    let desired = run(&world, &Desired::default(), EndpointRequest::default()).unwrap();
    let (name, endpoint) = desired.endpoints.iter().next().unwrap();
    assert_eq!(name, endpoint.id.short());
}

mod networks;
