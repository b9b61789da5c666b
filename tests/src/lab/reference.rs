//! The same laboratory by Linux's own means: bridges, and the netfilter rules that Docker makes. What netebpf
//! does is compared with what this does.
//!
//! **Invariant**: endpoints have the names, addresses and published ports that netebpf would have given
//! them, so that a test cannot tell the two apart but by how packets fare.

use super::{
    Lab, Ns, address, cable,
    family::{BACK, C1, C2, D1, FRONT, Pair},
};
use std::{fmt::Display, io::Write as _, process::Stdio};

/// Endpoint, its bridge, its gateway, its address.
const ENDPOINTS: [(&str, &str, Pair, Pair); 3] =
    [("c1", "br-front", FRONT, C1), ("c2", "br-front", FRONT, C2), ("d1", "br-back", BACK, D1)];

impl Lab {
    /// Endpoints c1 and c2 on one network and d1 on another, ports published as `host:inside` of c1, for
    /// TCP and UDP.
    pub fn reference(published: &[(u16, u16)]) -> Self {
        for program in ["iptables-restore", "ip6tables-restore", "conntrack"] {
            super::needs(program);
        }
        let lab = Self::bare();
        lab.reference.set(true);
        for (bridge, gateway) in [("br-front", FRONT), ("br-back", BACK)] {
            lab.host.ip(&format!("link add {bridge} type bridge mcast_snooping 0"));
            lab.host.sysctl(&format!("net/ipv6/conf/{bridge}/accept_dad"), "0");
            address(&lab.host, bridge, gateway);
            lab.host.ip(&format!("link set {bridge} up"));
        }
        ENDPOINTS.iter().for_each(|(name, ..)| lab.reference_endpoint(name));
        lab.host.sysctl("net/ipv4/ip_forward", "1");
        lab.host.sysctl("net/ipv6/conf/all/forwarding", "1");
        lab.restore("iptables-restore", &rules("10.10.0.0/24", "10.20.0.0/24", C1.0, published));
        let to = format!("[{}]", C1.1);
        lab.restore("ip6tables-restore", &rules("fd10::/64", "fd20::/64", to, published));
        lab
    }

    /// Makes one of the endpoints.
    pub fn reference_endpoint(&self, name: &str) {
        let known = ENDPOINTS.iter().find(|(known, ..)| *known == name);
        let (_, bridge, gateway, own) = known.expect("one of the endpoints");
        let endpoint = Ns::create(format!("{}.{name}", self.instance));
        let port = format!("to-{name}");
        cable((&self.host, &port), (&endpoint, "eth0"));
        self.host.ip(&format!("link set {port} master {bridge}"));
        // Docker does so without its proxy: what an endpoint sends to its own published port comes back.
        self.host.ip(&format!("link set {port} type bridge_slave hairpin on"));
        // Docker's, too: the same address has the same Ethernet address.
        let [a, b, c, d] = own.0.octets();
        endpoint.ip(&format!("link set eth0 address 02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
        address(&endpoint, "eth0", *own);
        endpoint.ip(&format!("route add default via {}", gateway.0));
        endpoint.ip(&format!("route add default via {}", gateway.1));
    }

    /// Whether this one has Linux's own means.
    pub fn is_reference(&self) -> bool {
        self.reference.get()
    }

    fn restore(&self, program: &str, rules: &str) {
        let mut child = self.host.command(program).stdin(Stdio::piped()).spawn().expect(program);
        let mut input = child.stdin.take().expect("piped");
        input.write_all(rules.as_bytes()).expect("it reads");
        drop(input);
        assert!(child.wait().expect("our child").success(), "{program} refuses:\n{rules}");
    }
}

/// As `iptables-save` prints them on a host with Docker, its proxy switched off.
fn rules(front: &str, back: &str, to: impl Display, published: &[(u16, u16)]) -> String {
    let (mut dnat, mut hairpin, mut accept) = (String::new(), String::new(), String::new());
    for (host, inside) in published {
        for protocol in ["tcp", "udp"] {
            let bare = to.to_string().replace(['[', ']'], "");
            let ports = format!("-p {protocol} -m {protocol} --dport");
            dnat += &format!("-A DOCKER {ports} {host} -j DNAT --to-destination {to}:{inside}\n");
            hairpin +=
                &format!("-A POSTROUTING -s {bare} -d {bare} {ports} {inside} -j MASQUERADE\n");
            accept += &format!("-A DOCKER -d {bare} -o br-front {ports} {inside} -j ACCEPT\n");
        }
    }
    format!(
        "*nat\n:DOCKER - [0:0]\n\
         -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
         -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER\n\
         -A POSTROUTING -s {front} ! -o br-front -j MASQUERADE\n\
         -A POSTROUTING -s {back} ! -o br-back -j MASQUERADE\n\
         -A POSTROUTING -m addrtype --src-type LOCAL -o br-front -j MASQUERADE\n\
         {hairpin}{dnat}COMMIT\n\
         *filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:ISOLATION - [0:0]\n\
         -A FORWARD -j ISOLATION\n\
         -A FORWARD -o br-front -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A FORWARD -o br-back -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A FORWARD -o br-front -j DOCKER\n\
         -A FORWARD -i br-front ! -o br-front -j ACCEPT\n\
         -A FORWARD -i br-front -o br-front -j ACCEPT\n\
         -A FORWARD -i br-back ! -o br-back -j ACCEPT\n\
         -A FORWARD -i br-back -o br-back -j ACCEPT\n\
         -A ISOLATION -i br-front -o br-back -j DROP\n\
         -A ISOLATION -i br-back -o br-front -j DROP\n\
         {accept}COMMIT\n"
    )
}
