//! The file of the contract, and every message.

use super::*;
use crate::model::{InterfaceName, Transport, requests::HostPort};

fn parsed(text: &str) -> (Topology, Vec<String>) {
    let (topology, warnings) =
        parse(text, "demo/netebpf.yaml", Default::default()).unwrap_or_else(|e| panic!("{e}"));
    (topology, warnings.iter().map(ToString::to_string).collect())
}

const CONTRACT: &str = r#"
name: demo
networks:
  front: {ipam: {config: [{subnet: 10.10.0.0/24, gateway: 10.10.0.1}]}}
  back:  {internal: true, enable_ipv6: true}
services:
  web:
    networks: {front: {ipv4_address: 10.10.0.10, aliases: [www]}, back: {}}
    ports: ["8080:80", "127.0.0.1:8443:443", "53:53/udp"]
    command: ["python3", "-m", "http.server", "80"]
  app:
    networks: [front]
    netns: /run/netns/app     # ours: an existing namespace
"#;

#[test]
fn the_file_of_the_contract_is_read() {
    let (topology, warnings) = parsed(CONTRACT);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(topology.name, "demo");
    let [front, back] = topology.networks.as_slice() else { panic!("{:?}", topology.networks) };
    assert_eq!(front.subnets[0].net.to_string(), "10.10.0.0/24");
    assert!(!front.internal && front.ipv4 && !front.ipv6);
    assert!(back.internal && back.ipv4 && back.ipv6 && back.subnets.is_empty());
    let [web, app] = topology.endpoints.as_slice() else { panic!("{:?}", topology.endpoints) };
    assert_eq!(web.name.as_deref(), Some("web"));
    assert_eq!(web.networks[0].v4.map(|v4| v4.to_string()).as_deref(), Some("10.10.0.10"));
    assert_eq!(web.networks[0].aliases, ["www"]);
    assert_eq!(web.publish.len(), 3);
    assert_eq!(web.publish[2].transport, Transport::Udp);
    assert_eq!(web.publish[1].host_port, HostPort::One(8443));
    assert_eq!(web.service.as_ref().map(|s| s.command.len()), Some(4));
    assert_eq!(app.netns.as_deref(), Some(Path::new("/run/netns/app")));
    assert!(app.service.is_none());
}

/// Each wrong file and what is said of it, the file's name left out.
#[test]
fn every_wrong_file_has_its_message() {
    let cases: &[(&str, &str)] = &[
        ("", "1:1: the file is empty; it needs at least one service or network"),
        ("\u{feff} \n", "1:1: the file is empty; it needs at least one service or network"),
        ("null\n", "1:1: the file is empty; it needs at least one service or network"),
        ("# web:\n\n# {}\n", "1:1: the file is empty; it needs at least one service or network"),
        (
            "\u{feff}services:\n  a: {}\n  \0b: {}\n",
            "3:3: a NUL character stands here; take it out",
        ),
        ("- a\n", "1:1: a mapping (\"key: value\") is meant here"),
        ("services: [web]\n", "1:11: a mapping (\"key: value\") is meant here"),
        ("services: {web: {ports: 80}}\n", "1:25: a list (\"- item\") is meant here"),
        ("name: [a]\n", "1:7: a single value is meant here, not a list or a mapping"),
        ("a: b: c\n", "1:5: not YAML: mapping values are not allowed in this context"),
        (
            "services:\n  web: {\n",
            "3:1: not YAML: while parsing a node, did not find expected node content",
        ),
        ("name: a\nname: b\n", "2:1: the key \"name\" stands here a second time"),
        ("name: a\n---\nname: b\n", "3:1: a second YAML document begins here; a file has one"),
        ("nets: {}\n", "1:1: the file: unknown key \"nets\"; known are name, networks, services"),
        (
            "services:\n  web:\n    prots: []\n",
            "3:5: service \"web\": unknown key \"prots\"; known are container_name, networks, mac_address, \
             network_mode, ports, command, environment, working_dir, netns, dns, dns_search, dns_opt, labels",
        ),
        (
            "networks: {a: {subnet: 10.0.0.0/8}}\n",
            "1:16: network \"a\": unknown key \"subnet\"; known are name, driver, driver_opts, \
             internal, enable_ipv4, enable_ipv6, external, ipam, labels",
        ),
        (
            "networks: {a: {ipam: {configs: []}}}\n",
            "1:23: network \"a\": ipam: unknown key \"configs\"; known are driver, config",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/8, gate: 1}]}}}\n",
            "1:53: network \"a\": ipam.config: unknown key \"gate\"; known are subnet, gateway, \
             ip_range, aux_addresses",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {ip: 1}}}}\n",
            "2:31: service \"w\": network \"a\": unknown key \"ip\"; known are ipv4_address, \
             ipv6_address, aliases, mac_address, interface_name, driver_opts, link_local_ips, \
             priority, gw_priority",
        ),
        (
            "services: {w: {ports: [{target: 80, hostip: a}]}}\n",
            "1:37: service \"w\": ports: unknown key \"hostip\"; known are target, published, \
             host_ip, protocol, allow_from",
        ),
        (
            "services: {w: {command: \"echo $1\"}}\n",
            "1:25: \"echo $1\": invalid interpolation format; ${NAME}, ${NAME:-default} or ${NAME:?message} is \
             meant, or $$ for a dollar sign",
        ),
        (
            "services: {w: {ports: [\"${PORT:?which?}:80\"]}}\n",
            "1:24: required variable PORT is missing a value: which?",
        ),
        ("services: {w: {command: \"a\\0b\"}}\n", "1:25: a NUL character stands here; take it out"),
        (
            "name: a/b\n",
            "1:7: name: \"a/b\" is no name: 1 to 128 letters, digits, \"_\", \".\" and \"-\" are \
             allowed, the first a letter or a digit",
        ),
        (
            "services: {-w: {}}\n",
            "1:12: service \"-w\": \"-w\" is no name: 1 to 128 letters, digits, \"_\", \".\" and \"-\" \
             are allowed, the first a letter or a digit",
        ),
        (
            "networks: {host: {}}\n",
            "1:12: network \"host\": operation is not permitted on predefined host network; it is \
             always there",
        ),
        (
            "networks: {a: {}, b: {name: a}}\n",
            "1:29: network \"b\": an earlier one has the name \"a\" already",
        ),
        (
            "networks: {a: {driver: overlay}}\n",
            "1:24: network \"a\": driver \"overlay\" is not there; leave the line out, or write \
             \"bridge\"",
        ),
        (
            "networks: {a: {ipam: {driver: dhcp}}}\n",
            "1:31: network \"a\": ipam: driver \"dhcp\" is not there; leave the line out, or write \
             \"default\"",
        ),
        (
            "networks: {a: {internal: maybe}}\n",
            "1:26: network \"a\": internal: \"maybe\" is wrong; true or false is meant",
        ),
        (
            "networks: {a: {driver_opts: {com.docker.network.bridge.colour: red}}}\n",
            "1:30: network \"a\": driver_opts: \"com.docker.network.bridge.colour\" has \
             no meaning here; known are com.docker.network.bridge.name, \
             com.docker.network.bridge.enable_icc, \
             com.docker.network.bridge.enable_ip_masquerade, \
             com.docker.network.bridge.gateway_mode_ipv4, \
             com.docker.network.bridge.gateway_mode_ipv6, com.docker.network.driver.mtu, \
             com.docker.network.host_ipv4, com.docker.network.host_ipv6, \
             com.docker.network.bridge.host_binding_ipv4, com.docker.network.container_iface_prefix, \
             netebpf.socket_shortcut, netebpf.device",
        ),
        (
            "networks: {a: {driver_opts: {com.docker.network.driver.mtu: big}}}\n",
            "1:61: network \"a\": driver_opts: com.docker.network.driver.mtu: \"big\" is wrong; a number of \
             bytes is meant",
        ),
        (
            "networks: {a: {driver_opts: {com.docker.network.host_ipv4: \"::1\"}}}\n",
            "1:60: network \"a\": driver_opts: com.docker.network.host_ipv4: \"::1\" is wrong; an IPv4 address \
             of the host is meant",
        ),
        (
            "networks: {a: {driver_opts: {com.docker.network.bridge.name: a-name-much-too-long}}}\n",
            "1:62: network \"a\": driver_opts: com.docker.network.bridge.name: interface name \
             \"a-name-much-too-long\" is 20 bytes long; the kernel takes 15 at most",
        ),
        (
            "networks: {a: {ipam: {config: [{gateway: 10.0.0.1}]}}}\n",
            "1:42: network \"a\": ipam: an entry without a subnet; write the subnet that it belongs to",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0}]}}}\n",
            "1:41: network \"a\": subnet: \"10.0.0.0\" is wrong; a range such as 10.10.0.0/24 is meant",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.5/24}]}}}\n",
            "1:41: network \"a\": subnet: 10.0.0.5/24 has host bits set; 10.0.0.0/24 is meant",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24, ip_range: 10.0.0.9/25}]}}}\n",
            "1:64: network \"a\": ip_range: 10.0.0.9/25 has host bits set; 10.0.0.0/25 is meant",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: ten}]}}}\n",
            "1:63: network \"a\": gateway: \"ten\" is wrong; an address such as 10.10.0.1 is meant",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24}, {subnet: 10.1.0.0/24}]}}}\n",
            "1:64: network \"a\": ipam: two IPv4 subnets; a network has one of each family",
        ),
        (
            "networks: {a: {enable_ipv6: false, ipam: {config: [{subnet: \"fd00::/64\"}]}}}\n",
            "1:29: network \"a\": subnet fd00::/64, but enable_ipv6 is false; one of the two has to go",
        ),
        (
            "networks: {a: {enable_ipv4: false}}\n",
            "1:12: network \"a\": neither IPv4 nor IPv6; set enable_ipv4 or enable_ipv6 to true",
        ),
        (
            "networks: {a: {external: true, internal: true}}\n",
            "1:12: network \"a\": external: true, so nothing but a name can be said of it; what made \
             it decides the rest",
        ),
        (
            "networks: {a: {labels: 5}}\n",
            "1:24: network \"a\": labels: a mapping or a list of KEY=VALUE is meant here",
        ),
        (
            "networks: {a: {labels: [x=1, x=2]}}\n",
            "1:30: network \"a\": labels: \"x\" stands there twice",
        ),
        (
            "services: {w: {networks: [front]}}\n",
            "1:27: service \"w\": network \"front\" is not defined in this file; add \"networks: \
             {front: {}}\" at the top level",
        ),
        (
            "networks: {back: , a: }\nservices: {w: {networks: [front]}}\n",
            "2:27: service \"w\": network \"front\" is not defined in this file; defined are a, back",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: [a, a]}}\n",
            "2:30: service \"w\": network \"a\" is joined twice",
        ),
        (
            "services: {w: {networks: front}}\n",
            "1:26: service \"w\": networks: a list of networks or a mapping of them is meant here",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {ipv4_address: \"fd00::1\"}}}}\n",
            "2:45: service \"w\": ipv4_address: \"fd00::1\" is wrong; an IPv4 address such as \
             10.10.0.10 is meant",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {ipv6_address: 10.0.0.1}}}}\n",
            "2:45: service \"w\": ipv6_address: \"10.0.0.1\" is wrong; an IPv6 address such as \
             fd00::10 is meant",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {mac_address: \"01:00:5e:00:00:01\"}}}}\n",
            "2:44: service \"w\": mac_address: \"01:00:5e:00:00:01\" is not an Ethernet address of \
             one station, such as 02:42:ac:11:00:02",
        ),
        (
            "services: {w: {network_mode: host, mac_address: \"02:00:00:00:00:01\"}}\n",
            "1:49: service \"w\": conflicting options: mac_address and network_mode; one of the two \
             has to go",
        ),
        (
            "networks: {a: }\nservices: {w: {mac_address: \"02:00:00:00:00:01\", networks: {a: \
             {mac_address: \"02:00:00:00:00:02\"}}}}\n",
            "2:29: service \"w\": mac_address: on network \"a\", which it is for, stands another one; \
             one of the two has to go",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {interface_name: \"a/b\"}}}}\n",
            "2:47: service \"w\": interface_name: interface name \"a/b\" is empty, \".\" or \"..\", or \
             has a \"/\", \":\", \"%\" or white space in it",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {interface_name: \"br%d\"}}}}\n",
            "2:47: service \"w\": interface_name: interface name \"br%d\" is empty, \".\" or \"..\", or \
             has a \"/\", \":\", \"%\" or white space in it",
        ),
        (
            "networks: {a: }\nservices: {w: {networks: {a: {priority: high}}}}\n",
            "2:41: service \"w\": priority: \"high\" is wrong; a whole number is meant",
        ),
        (
            "services:\n  w:\n    ports:\n      - 8080:80/sctp\n",
            "4:9: service \"w\": port \"8080:80/sctp\": \"sctp\" is not a protocol with ports to \
             publish; tcp or udp is meant",
        ),
        (
            "services: {w: {ports: [[80]]}}\n",
            "1:24: service \"w\": ports: text such as \"8080:80\", or a mapping with target and \
             published is meant here",
        ),
        (
            "services: {w: {ports: [{published: 80}]}}\n",
            "1:24: service \"w\": port without a target; write the endpoint's port as target: 80",
        ),
        (
            "services: {w: {ports: [{target: 80, published: 70000}]}}\n",
            "1:24: service \"w\": port \"80\": 70000 is larger than 65535, the last port",
        ),
        (
            "services: {w: {command: \"echo 'a\"}}\n",
            "1:25: service \"w\": command: the ' is not closed",
        ),
        (
            "services: {w: {command: {a: b}}}\n",
            "1:25: service \"w\": command: one line or a list of words is meant here",
        ),
        (
            "services: {w: {netns: run/netns/a}}\n",
            "1:23: service \"w\": netns: \"run/netns/a\" is wrong; a path that begins with / is meant",
        ),
        (
            "services: {w: {ports: [~]}}\n",
            "1:24: service \"w\": port \"\": the endpoint's port is \
             missing; write [ADDRESS:][HOST PORT:]PORT[/PROTOCOL]",
        ),
        ("services: {w: {command: [a, ~]}}\n", "1:29: a value is missing here"),
    ];
    let mut wrong = Vec::new();
    for (text, message) in cases {
        let said = match parse(text, "demo/net.yaml", Default::default()) {
            Ok(_) => "nothing wrong".to_owned(),
            Err(error) => error.to_string(),
        };
        if said != format!("demo/net.yaml:{message}") {
            wrong.push(format!("{text:?}\n  said     {said}\n  expected {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_without_a_name_has_its_directorys() {
    let named = |file: &str| {
        parse("services: {a: }", file, Default::default()).map(|(topology, _)| topology.name)
    };
    assert_eq!(named("/srv/My Shop_2/compose.yaml").as_deref(), Ok("myshop_2"));
    let error = named("compose.yaml").unwrap_err().to_string();
    assert_eq!(
        error,
        "compose.yaml:1:1: the file has no name and stands in no directory to take one from; add a \
         line such as \"name: demo\""
    );
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let (_, warnings) = parsed(
        "version: '3'\nx-common: &c {image: alpine}\nvolumes: {v: }\nservices:\n  w:\n    <<: *c\n    \
         depends_on: [x]\n    ports: [{target: 80, mode: host}]\n  x: {x-note: 1, networks: [i], ports: [80]}\nnetworks: {i: {internal: true, ipam: {options: {a: b}}}}\n",
    );
    assert_eq!(
        warnings,
        [
            "demo/netebpf.yaml:1:1: the file: \"version\" has no effect here",
            "demo/netebpf.yaml:2:1: the file: \"x-common\" has no effect here",
            "demo/netebpf.yaml:3:1: the file: \"volumes\" has no effect here",
            "demo/netebpf.yaml:10:39: network \"i\": ipam: \"options\" has no effect here",
            "demo/netebpf.yaml:7:5: service \"w\": \"depends_on\" has no effect here",
            "demo/netebpf.yaml:2:15: service \"w\": \"image\" has no effect here",
            "demo/netebpf.yaml:8:26: service \"w\": ports: \"mode\" has no effect here",
            "demo/netebpf.yaml:9:7: service \"x\": \"x-note\" has no effect here",
            "demo/netebpf.yaml:9:3: service \"x\": its networks are all internal: its published \
             ports have no effect",
        ]
    );
}

#[test]
fn an_image_has_its_own_program() {
    let text = "name: t\nservices:\n  a: {image: redis, command: --save 60}\n  b: {build: ., command: [sh]}\n  c: {image: x, \
                entrypoint: y, command: sh}\n  d: {command: --save}\n";
    let surroundings = Surroundings { is_program: |name| name == "sh", ..Default::default() };
    let (topology, warnings) = parse(text, "f", surroundings).unwrap();
    let run: Vec<_> =
        topology.endpoints.iter().map(|endpoint| endpoint.service.is_some()).collect();
    assert_eq!(run, [false, true, false, true]);
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for warning in [
        "f:3:30: service \"a\": \"command\" has no effect here: it is the image's",
        "f:4:26: service \"b\": \"command\" runs \"sh\" of this host, with the host's files: the image has no effect here",
        "f:5:17: service \"c\": \"entrypoint\" has no effect here: it is the image's",
        "f:5:41: service \"c\": \"command\" has no effect here: it is the image's",
    ] {
        assert!(warnings.iter().any(|text| text == warning), "{warning}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 7, "{warnings:?}");
    let error = parse("name: t\nservices: {a: {entrypoint: x}}", "f", Default::default());
    assert!(error.unwrap_err().to_string().contains("unknown key \"entrypoint\""));
}

#[test]
fn variables_are_replaced() {
    let variables = [("PORT", "8080"), ("NET", "10.9.0.0/24"), ("HOME", "/root")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let text = "name: ${NAME:-demo}\nnetworks: {default: {ipam: {config: [{subnet: $NET}]}}}\nservices:\n  w:\n    \
                ports: [\"${PORT}:${INSIDE:-80}\"]\n    command: echo $$HOME ${NONE} ${NONE}\n    environment: [HOME, \
                NONE, \"A=${PORT}\"]\n";
    let surroundings = Surroundings { variables, ..Default::default() };
    let (topology, warnings) = parse(text, "f", surroundings).unwrap();
    let service = topology.endpoints[0].service.as_ref().unwrap();
    assert_eq!(service.command, ["echo", "$HOME"]);
    let environment: Vec<_> = service.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(environment, ["A=8080", "HOME=/root"]);
    assert_eq!(topology.name, "demo");
    assert_eq!(topology.endpoints[0].publish[0].host_port, HostPort::One(8080));
    assert_eq!(topology.networks[0].subnets[0].net.to_string(), "10.9.0.0/24");
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["f:6:14: the \"NONE\" variable is not set, defaulting to a blank string"]
    );
}

#[test]
fn compose_shapes_mean_what_they_mean_there() {
    let (topology, _) = parsed(
        "networks:\n  ext: {external: true, name: shared}\n  six: {enable_ipv4: false, enable_ipv6: \
         true}\n  opts:\n    driver_opts: {com.docker.network.bridge.enable_icc: \"false\", \
         com.docker.network.driver.mtu: 9000, com.docker.network.bridge.name: br0}\n    labels: [a=1, \
         b]\n    ipam: {config: [{subnet: \"fd00:1::/64\", aux_addresses: {router: \
         \"fd00:1::9\"}}]}\nservices:\n  w:\n    container_name: web\n    command: sh -c 'exit $$X'\n    \
         environment: {VERSION: 1.10, YES: yes, EMPTY: \"\"}\n    working_dir: /srv\n    ports: [8080, \
         \"[::1]::80/udp\", {target: 80, published: \"8000-8001\", host_ip: 127.0.0.1}]\n    labels: \
         {k: v, n: }\n    networks: {ext: {gw_priority: 5, priority: -1, interface_name: lan0, \
         mac_address: \"02:00:00:00:00:07\"}, opts: }\n",
    );
    assert_eq!(topology.external[0].name, "shared");
    let [six, opts] = topology.networks.as_slice() else { panic!("{:?}", topology.networks) };
    assert!(!six.ipv4 && six.ipv6);
    assert!(opts.ipv4 && opts.ipv6 && !opts.peers);
    assert_eq!(
        (opts.mtu, opts.labels["a"].as_str(), opts.labels["b"].as_str()),
        (Some(9000), "1", "")
    );
    assert_eq!(opts.bridge.as_ref().map(InterfaceName::as_str), Some("br0"));
    let w = &topology.endpoints[0];
    assert_eq!(w.name.as_deref(), Some("web"));
    let service = w.service.as_ref().unwrap();
    assert_eq!(service.command, ["sh", "-c", "exit $X"]);
    assert_eq!(service.environment["VERSION"], "1.10");
    assert_eq!(service.environment["YES"], "yes");
    assert_eq!(service.environment["EMPTY"], "");
    assert_eq!(w.networks[0].network, "shared");
    assert_eq!(w.networks[0].aliases, ["w"]);
    assert_eq!(w.networks[0].interface.as_ref().map(InterfaceName::as_str), Some("lan0"));
    assert_eq!((w.networks[0].gateway_priority, w.networks[0].priority), (5, -1));
    assert_eq!(w.publish.len(), 3);
    assert_eq!(w.publish[0].host_port, HostPort::Any);
    assert_eq!(w.publish[2].host_port, HostPort::Within(8000, 8001));
}

#[test]
fn a_service_without_networks_joins_the_default_one() {
    let named = ["{networks: [default]}", "{networks: {default: {aliases: [www]}}}"];
    for networks in ["{}", "{networks: }", "{networks: []}", "{networks: {}}"].iter().chain(&named)
    {
        let (topology, _) = parsed(&format!("services: {{w: {networks}}}"));
        assert_eq!(topology.networks[0].name, "default", "{networks}");
        assert_eq!(topology.endpoints[0].networks[0].network, "default", "{networks}");
    }
    let (topology, _) = parsed("networks: {a: }\nservices: {w: {networks: [a]}}");
    assert_eq!(topology.networks.len(), 1);
}

#[test]
fn aliases_that_unfold_to_too_much_are_refused() {
    let mut bomb = String::from("x-0: &a0 [l, l, l, l, l, l, l, l, l]\n");
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        let list = vec![alias; 9].join(", ");
        bomb.push_str(&format!("x-{level}: &a{level} [{list}]\n"));
    }
    let error = parse(&bomb, "a/f", Default::default()).unwrap_err().to_string();
    assert!(error.contains("limit") || error.contains("unfolds"), "{error}");
    let deep = format!("x-a: {}{}", "[".repeat(5000), "]".repeat(5000));
    let error = parse(&deep, "a/f", Default::default()).unwrap_err().to_string();
    assert!(error.contains("nested"), "{error}");
    let error =
        parse(&" ".repeat(MAX_BYTES + 1), "a/f", Default::default()).unwrap_err().to_string();
    assert_eq!(error, "a/f:1:1: the file has 4194305 bytes; 4194304 are read at most");
}

#[test]
fn the_schema_knows_every_key() {
    let schema = schema().to_string();
    for key in ["aux_addresses", "gw_priority", "netns", "host_ip", "depends_on", "^x-"] {
        assert!(schema.contains(key), "{key} is not in {schema}");
    }
}
