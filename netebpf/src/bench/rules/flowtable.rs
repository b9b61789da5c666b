//! nftables' flowtable: connections that the forward chain has seen established go from one interface's ingress to the
//! other interface, past the rules, the routes and the bridge, with their addresses translated.
//!
//! Engines do not make one; this is what an administrator can add, in a table of its own, without touching theirs
//! (Documentation/networking/nf_flowtable.rst in the kernel). Needs CONFIG_NF_FLOW_TABLE, CONFIG_NF_FLOW_TABLE_INET and
//! CONFIG_NFT_FLOW_OFFLOAD: Debian's kernels have them as modules (tried on 6.1 and 6.12), others leave them out.
//!
//! **Invariant**: only what is routed is offered to it. Packets between two ports of the bridge are the bridge's and
//! never met the forward chain, unless `br_netfilter` shows them to it, with a route that is none.

/// Whether the kernel knows flowtables, on an interface that every namespace has.
pub(super) const PROBE: &str = "table inet netebpf-flowtable-probe
delete table inet netebpf-flowtable-probe
table inet netebpf-flowtable-probe {
	flowtable known {
		hook ingress priority filter; devices = { lo };
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		meta l4proto { tcp, udp } flow add @known
	}
}
";

/// The table, in place of one that is there; the host's interfaces have to be there.
///
/// Devices are where packets come in: the uplink, and the bridge's ports rather than the bridge. Since 5.13 the kernel
/// finds the port behind a bridge by itself and sends there directly, but only to one that is listed. Its chain comes
/// after netavark's, so what that drops is not offered. The kernel takes TCP when it is established.
pub(super) fn ruleset() -> String {
    "table inet fast
delete table inet fast
table inet fast {
	flowtable known {
		hook ingress priority filter; devices = { uplink0, web, app };
	}
	chain forward {
		type filter hook forward priority filter + 10; policy accept;
		iifname \"uplink0\" meta l4proto { tcp, udp } flow add @known
		oifname \"uplink0\" meta l4proto { tcp, udp } flow add @known
	}
}
"
    .to_owned()
}
