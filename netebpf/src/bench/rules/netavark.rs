//! Netavark's rules: what podman 5 with its nftables driver (netavark 1.14, as in Debian 13) leaves in the table
//! `inet netavark` for one bridge network of both families and one container with published ports.
//!
//! Its commands go through nft's JSON; what the kernel holds then is what `nft list` shows, and that is written here.
//! The network is not isolated, has names resolved on port 53, and its identifier begins with that of podman's own
//! network. Ports are published one by one, as containers publish them: netavark makes one jump for a range.
//!
//! **Invariant**: a port has one jump and three rules for IPv4, one jump and two rules for IPv6, all jumps of IPv4
//! before those of IPv6: netavark goes through the families, and through the ports of each. No rule has a counter.

use super::Published;
use crate::bench::host::{Family, WEB};
use std::net::SocketAddr;

/// Tables of both families in one, and NAT in it.
pub(super) const PROBE: &str = "table inet netebpf-probe
delete table inet netebpf-probe
table inet netebpf-probe {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local tcp dport 80 dnat ip to 192.0.2.1:80
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x2000 == 0x2000 masquerade
	}
	chain FORWARD {
		type filter hook forward priority filter; policy accept;
		ct state invalid drop
	}
}
";

/// A subnet as rules have it.
struct Subnet {
    family: Family,
    /// What nft calls the family.
    ip: &'static str,
    net: &'static str,
    /// What is not masqueraded. For IPv6 netavark says `ff::/8`, which is `::/8` and not multicast; so do we.
    multicast: &'static str,
    /// Named after the network's identifier and the subnet.
    chain: &'static str,
}

const SUBNETS: [Subnet; 2] = [
    Subnet {
        family: Family::V4,
        ip: "ip",
        net: "172.18.0.0/16",
        multicast: "224.0.0.0/4",
        chain: "nv_2f259bab_172_18_0_0_nm16",
    },
    Subnet {
        family: Family::V6,
        ip: "ip6",
        net: "fd18::/64",
        multicast: "::/8",
        chain: "nv_2f259bab_fd18--_nm64",
    },
];

impl Subnet {
    fn input(&self) -> String {
        let Self { ip, net, .. } = self;
        format!("\t\t{ip} saddr {net} meta l4proto {{ tcp, udp }} th dport 53 accept\n")
    }

    fn forward(&self) -> String {
        let Self { ip, net, .. } = self;
        format!(
            "\t\t{ip} daddr {net} ct state established,related accept\n\
             \t\t{ip} saddr {net} accept\n"
        )
    }

    fn postrouting(&self) -> String {
        let Self { ip, net, chain, .. } = self;
        format!("\t\t{ip} saddr {net} jump {chain}\n")
    }

    fn jump(&self, port: &Published) -> String {
        format!("\t\t{} dport {} jump {}_dnat\n", port.transport, port.host, self.chain)
    }

    fn dnat(&self, port: &Published) -> String {
        let Self { family, ip, net, .. } = self;
        let Published { host, endpoint, transport } = port;
        let local = match family {
            Family::V4 => {
                format!(
                    "\t\tip saddr 127.0.0.1 {transport} dport {host} jump NETAVARK-HOSTPORT-SETMARK\n"
                )
            }
            Family::V6 => String::new(),
        };
        let to = SocketAddr::new(WEB.of(*family), *endpoint);
        format!(
            "\t\t{ip} saddr {net} {transport} dport {host} jump NETAVARK-HOSTPORT-SETMARK\n\
             {local}\t\t{transport} dport {host} dnat {ip} to {to}\n"
        )
    }

    /// Its two chains: of what leaves, and of published ports.
    fn chains(&self, ports: &[Published]) -> String {
        let Self { ip, net, multicast, chain, .. } = self;
        let dnat: String = ports.iter().map(|port| self.dnat(port)).collect();
        format!(
            "	chain {chain} {{
		{ip} daddr {net} accept
		{ip} daddr != {multicast} masquerade
	}}
	chain {chain}_dnat {{
{dnat}	}}
"
        )
    }
}

/// The table, in place of one that is there.
pub(super) fn ruleset(ports: &[Published]) -> String {
    let each = |rules: fn(&Subnet) -> String| SUBNETS.iter().map(rules).collect::<String>();
    let (input, forward) = (each(Subnet::input), each(Subnet::forward));
    let postrouting = each(Subnet::postrouting);
    let jumps: String =
        SUBNETS.iter().flat_map(|subnet| ports.iter().map(|port| subnet.jump(port))).collect();
    let chains: String = SUBNETS.iter().map(|subnet| subnet.chains(ports)).collect();
    // Chains that others jump to stand before them. -100 is `dstnat`, a word that older programs refuse for this hook.
    format!(
        "table inet netavark
delete table inet netavark
table inet netavark {{
	chain NETAVARK-HOSTPORT-SETMARK {{
		meta mark set meta mark | 0x2000
	}}
	chain NETAVARK-ISOLATION-1 {{
	}}
	chain NETAVARK-ISOLATION-2 {{
	}}
	chain NETAVARK-ISOLATION-3 {{
		oifname \"br-front\" drop
		jump NETAVARK-ISOLATION-2
	}}
{chains}	chain NETAVARK-HOSTPORT-DNAT {{
{jumps}	}}
	chain INPUT {{
		type filter hook input priority filter; policy accept;
{input}	}}
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		ct state invalid drop
		jump NETAVARK-ISOLATION-1
{forward}	}}
	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x2000 == 0x2000 masquerade
{postrouting}	}}
	chain PREROUTING {{
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump NETAVARK-HOSTPORT-DNAT
	}}
	chain OUTPUT {{
		type nat hook output priority -100; policy accept;
		fib daddr type local jump NETAVARK-HOSTPORT-DNAT
	}}
}}
"
    )
}
