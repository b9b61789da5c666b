//! The file of the contract, and every message.

use super::*;
use crate::model::{Transport, requests::HostPort};

fn parsed(text: &str) -> (Topology, Vec<String>) {
    let (topology, warnings) = parse(text, "demo/netebpf.yaml").unwrap_or_else(|e| panic!("{e}"));
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
