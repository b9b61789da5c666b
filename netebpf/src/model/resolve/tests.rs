//! Idempotence, whose is whose, and every message.

use super::*;
use crate::config::{settings::Settings, topology};

/// A host with nothing but a LAN.
struct World {
    facts: HostFacts,
    settings: Settings,
    instance: Instance,
}

impl World {
    fn new() -> Self {
        let lan =
            HostRoute { net: "192.0.2.0/24".parse().unwrap(), interface: Some("eth0".to_owned()) };
        Self {
            facts: HostFacts { now: 1000, routes: vec![lan], sockets: Vec::new() },
            settings: Settings::new(b"test"),
            instance: "default".parse().unwrap(),
        }
    }

    fn context(&self) -> Context<'_> {
        Context { facts: &self.facts, settings: &self.settings, instance: &self.instance }
    }

    fn up(&self, before: &Desired, text: &str) -> Result<Desired, String> {
        let (topology, _) =
            topology::parse(text, "demo/netebpf.yaml").map_err(|e| e.to_string())?;
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
