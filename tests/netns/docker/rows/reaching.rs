//! Who reaches whom, and as whom.

use super::super::{
    Better, Group, Otherwise, Row, Same,
    engine::Side,
    see::{both_ways, families, tcp},
};
use netebpf_tests::lab::{
    Family,
    family::{BACK, C1, D1, FRONT, I1, LAN, SERVER},
};
use std::net::{IpAddr, SocketAddr};

pub(in super::super) const GROUP: Group = Group { about: "Reaching", set_up, rows: ROWS };

fn set_up(side: &Side) {
    let dual = "--ipv6 --gateway";
    for network in [
        format!(
            "{dual} 10.10.0.1 --subnet 10.10.0.0/24 --subnet fd10::/64 --gateway fd10::1 front"
        ),
        format!("{dual} 10.20.0.1 --subnet 10.20.0.0/24 --subnet fd20::/64 --gateway fd20::1 back"),
        format!(
            "--internal {dual} 10.30.0.1 --subnet 10.30.0.0/24 --subnet fd30::/64 --gateway fd30::1 inner"
        ),
        "--opt com.docker.network.bridge.enable_icc=false --subnet 10.40.0.0/24 quiet".to_owned(),
    ] {
        side.run(&format!("network create {network}")).ok();
    }
    side.start(
        "c1",
        "--network front --ip 10.10.0.11 --ip6 fd10::11 --mac-address 02:11:22:33:44:55",
    );
    side.start("c2", "--network front --ip 10.10.0.12 --ip6 fd10::12");
    side.start("d1", "--network back --ip 10.20.0.11 --ip6 fd20::11");
    side.start("i1", "--network inner --ip 10.30.0.11 --ip6 fd30::11");
    side.start("i2", "--network inner --ip 10.30.0.12 --ip6 fd30::12");
    side.start("q1", "--network quiet --ip 10.40.0.11");
    side.start("q2", "--network quiet --ip 10.40.0.12");
    side.start("b1", "");
    side.start("b2", "");
    // The LAN knows a way, as any neighbour may.
    side.lab.outsiders_know_private_addresses();
    side.lab.lan.ip("route add 10.10.0.0/24 via 192.0.2.1");
    side.lab.lan.ip("route add fd10::/64 via 2001:db8:1::1");
}

const ROWS: &[Row] = &[
    Row { name: "inside a network", look: neighbours, seen: Same("answered, for c2") },
    Row { name: "inside bridge", look: on_bridge, seen: Same("answered") },
    Row {
        name: "to another network",
        look: across,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: answered, for c1",
            row: "IPv6",
        },
    },
    Row {
        name: "to another network's gateway",
        look: others_gateway,
        seen: Otherwise {
            netebpf: "no way",
            docker: "answered",
            why: "networks are isolated, with their gateways",
        },
    },
    Row {
        name: "to the outside",
        look: outside,
        seen: Better {
            netebpf: "answered, for the host",
            docker: "IPv4: answered, for the host; IPv6: TCP: no way; UDP: no answer, though it came from c1",
            row: "IPv6",
        },
    },
    Row {
        name: "from the LAN by a route, not published",
        look: by_a_route,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: answered, for the LAN",
            row: "P4",
        },
    },
    Row {
        name: "from the LAN by a route, to a server of the host's at the gateway's address",
        look: gateway_by_a_route,
        seen: Better { netebpf: "no way", docker: "answered, for the LAN", row: "P4" },
    },
    Row { name: "from the host", look: from_the_host, seen: Same("answered, for the gateway") },
    Row { name: "inside an internal network", look: inside_inner, seen: Same("answered, for i2") },
    Row {
        name: "from an internal network to the outside",
        look: out_of_inner,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: TCP: no way; UDP: no answer, though it came from i1",
            row: "IPv6",
        },
    },
    Row { name: "… to the LAN", look: neighbours_of_the_host, seen: Same("no way") },
    Row {
        name: "default routes on an internal network",
        look: routes_of_inner,
        seen: Otherwise {
            netebpf: "none",
            docker: "by 10.30.0.1, by fd30::1",
            why: "they lead nowhere",
        },
    },
    Row {
        name: "to an internal network from another",
        look: into_inner,
        seen: Better {
            netebpf: "no way",
            docker: "IPv4: no way; IPv6: answered, for c1",
            row: "IPv6",
        },
    },
    Row {
        name: "from the host to an internal network",
        look: host_to_inner,
        seen: Same("answered"),
    },
    Row { name: "inside a network with enable_icc=false", look: quiet, seen: Same("no way") },
    Row { name: "… to the outside", look: quiet_outside, seen: Same("answered, for the host") },
    Row {
        name: "the addresses that were asked for",
        look: addresses,
        seen: Same("10.10.0.11/24, fd10::11/64, 02:11:22:33:44:55"),
    },
];

fn neighbours(side: &Side) -> String {
    let (c1, c2) = (side.inside("c1"), side.inside("c2"));
    let echo = c1.echo(80);
    families(|family| both_ways(&c2, C1.port(family, 80), &echo))
}

/// Addresses of `bridge` are given, and not the same ones.
fn on_bridge(side: &Side) -> String {
    let address = side.field("b1", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let to = SocketAddr::new(address.parse().expect("an address"), 80);
    let (b1, b2) = (side.inside("b1"), side.inside("b2"));
    let echo = b1.echo(80);
    answered(&both_ways(&b2, to, &echo))
}

/// Without by whom.
fn answered(seen: &str) -> String {
    seen.split(',').next().unwrap_or_default().to_owned()
}

fn across(side: &Side) -> String {
    let (c1, d1) = (side.inside("c1"), side.inside("d1"));
    let echo = d1.echo(80);
    families(|family| both_ways(&c1, D1.port(family, 80), &echo))
}

fn others_gateway(side: &Side) -> String {
    let (c1, echo) = (side.inside("c1"), side.lab.host.echo(2000));
    families(|family| answered(&tcp(&c1, BACK.port(family, 2000), &echo)))
}

fn outside(side: &Side) -> String {
    let (c1, echo) = (side.inside("c1"), side.lab.server.echo(7));
    families(|family| both_ways(&c1, SERVER.port(family, 7), &echo))
}

fn by_a_route(side: &Side) -> String {
    let echo = side.inside("c1").echo(80);
    families(|family| tcp(&side.lab.lan, C1.port(family, 80), &echo))
}

fn gateway_by_a_route(side: &Side) -> String {
    let echo = side.lab.host.echo(2000);
    families(|family| tcp(&side.lab.lan, FRONT.port(family, 2000), &echo))
}

fn from_the_host(side: &Side) -> String {
    let echo = side.inside("c1").echo(80);
    families(|family| both_ways(&side.lab.host, C1.port(family, 80), &echo))
}

fn inside_inner(side: &Side) -> String {
    let (i1, i2) = (side.inside("i1"), side.inside("i2"));
    let echo = i1.echo(80);
    families(|family| both_ways(&i2, I1.port(family, 80), &echo))
}

fn out_of_inner(side: &Side) -> String {
    let (i1, echo) = (side.inside("i1"), side.lab.server.echo(7));
    families(|family| both_ways(&i1, SERVER.port(family, 7), &echo))
}

fn neighbours_of_the_host(side: &Side) -> String {
    let (i1, echo) = (side.inside("i1"), side.lab.lan.echo(7));
    families(|family| tcp(&i1, LAN.port(family, 7), &echo))
}

fn routes_of_inner(side: &Side) -> String {
    let i1 = side.inside("i1");
    let routes = ["-4 route show default", "-6 route show default"].map(|what| i1.ip_json(what));
    let all = routes.iter().flat_map(|routes| routes.as_array().into_iter().flatten());
    let by: Vec<_> =
        all.filter_map(|route| Some(format!("by {}", route["gateway"].as_str()?))).collect();
    if by.is_empty() { "none".to_owned() } else { by.join(", ") }
}

fn into_inner(side: &Side) -> String {
    let (c1, echo) = (side.inside("c1"), side.inside("i1").echo(80));
    families(|family| tcp(&c1, I1.port(family, 80), &echo))
}

fn host_to_inner(side: &Side) -> String {
    let echo = side.inside("i1").echo(80);
    families(|family| answered(&both_ways(&side.lab.host, I1.port(family, 80), &echo)))
}

fn quiet(side: &Side) -> String {
    let (q1, q2) = (side.inside("q1"), side.inside("q2"));
    let echo = q1.echo(80);
    both_ways(&q2, "10.40.0.11:80".parse().expect("an address"), &echo)
}

fn quiet_outside(side: &Side) -> String {
    let (q1, echo) = (side.inside("q1"), side.lab.server.echo(7));
    both_ways(&q1, SERVER.port(Family::V4, 7), &echo)
}

fn addresses(side: &Side) -> String {
    let c1 = side.inside("c1");
    let shown = c1.ip_json("address show dev eth0");
    let all = shown[0]["addr_info"].as_array().into_iter().flatten();
    let global = all.filter(|info| info["scope"] == "global");
    let text = |info: &serde_json::Value| {
        let address: IpAddr = info["local"].as_str().expect("an address").parse().expect("one");
        format!("{address}/{}", info["prefixlen"])
    };
    let mut words: Vec<_> = global.map(text).collect();
    words.extend(shown[0]["address"].as_str().map(str::to_owned));
    words.join(", ")
}
