//! `network` and its commands: what they print, how they end, what they say.

use super::{
    super::{
        Group, Otherwise, Row, Same,
        engine::Side,
        see::{ended, lines, split},
    },
    keys,
};
use std::collections::BTreeSet;

pub(in super::super) const GROUP: Group = Group { about: "Commands", set_up, rows: ROWS };

fn set_up(side: &Side) {
    side.run("network create --subnet 10.10.0.0/24 --label tier=web front").ok();
    side.run("network create --subnet 10.20.0.0/24 --label tier=db --internal back").ok();
    side.start("c1", "--network front");
    side.start("c2", "--network back --ip 10.20.0.22");
    side.start("b1", "-p 8088:80 -p 5353:53/udp --label tier=web --label old");
}

/// A row about one command, and which of the words it says.
macro_rules! says {
    ($name:literal, [$($word:expr),* $(,)?], $seen:expr) => {
        says!($name, $name, [$($word),*], $seen)
    };
    ($name:literal, $command:expr, [$($word:expr),* $(,)?], $seen:expr) => {
        Row { name: concat!("`", $name, "`"), look: |side| ended(side.run($command), &[$($word),*]), seen: $seen }
    };
}

/// A row about what a command prints.
macro_rules! prints {
    ($name:literal, $seen:expr) => {
        Row {
            name: concat!("`", $name, "`"),
            look: |side| {
                let words = split($name);
                lines(side, &words.iter().map(String::as_str).collect::<Vec<_>>())
            },
            seen: $seen,
        }
    };
}

const USAGE: &str = "wrong usage ends with 2";

const ROWS: &[Row] = &[
    prints!("ps --filter name=b --format {{.Names}}", Same("b1")),
    prints!("ps -f name=^/c1$ --format {{.Names}}", Same("c1")),
    prints!("ps --filter network=front --format {{.Names}}", Same("c1")),
    prints!("ps -a -f network=back -f name=1 --format {{.Names}}", Same("")),
    prints!("ps --filter name=c1 --filter name=nosuch --format {{.Names}}", Same("c1")),
    prints!("ps --filter label=tier=web --filter label=old --format {{.Names}}", Same("b1")),
    prints!("ps --filter label=tier=db --format {{.Names}}", Same("")),
    prints!("ps --filter publish=8088 --format {{.Names}}", Same("b1")),
    prints!("ps --filter publish=5300-5400/udp --format {{.Names}}", Same("b1")),
    prints!("ps --filter publish=5353 --format {{.Names}}", Same("")),
    prints!("ps --filter status=running --filter name=c1 --format {{.Names}}", Same("c1")),
    prints!("ps --filter status=exited --format {{.Names}}", Same("")),
    Row { name: "`ps --filter id=`, a part of it", look: by_id, seen: Same("c1") },
    says!(
        "ps --filter nosuch=1",
        ["nosuch"],
        Otherwise { netebpf: "2: nosuch", docker: "1: nosuch", why: USAGE }
    ),
    says!(
        "ps --filter status=asleep",
        ["asleep"],
        Otherwise { netebpf: "2: asleep", docker: "1: asleep", why: USAGE }
    ),
    prints!(
        "network ls --format {{.Name}}/{{.Driver}}/{{.Scope}}",
        Same(
            "back/bridge/local, bridge/bridge/local, front/bridge/local, host/host/local, none/null/local"
        )
    ),
    Row {
        name: "`network ls`: its columns",
        look: columns,
        seen: Same("NETWORK ID, NAME, DRIVER, SCOPE"),
    },
    Row {
        name: "`network ls -f type=custom --format 'table {{.Name}}\\t{{json .Driver}}\\t{{.Internal}}'`",
        look: |side| {
            let template = "table {{.Name}}\\t{{json .Driver}}\\t{{.Internal}}";
            cells(side, &["network", "ls", "-f", "type=custom", "--format", template])
        },
        seen: Same(
            "NAME · DRIVER · INTERNAL, back · \"bridge\" · true, front · \"bridge\" · false",
        ),
    },
    Row {
        name: "`network ls -f name=nosuch --format 'table {{.CreatedAt}}\\t{{.IPv6}}\\t{{.Labels}}'`",
        look: |side| {
            let template = "table {{.CreatedAt}}\\t{{.IPv6}}\\t{{.Labels}}";
            cells(side, &["network", "ls", "-f", "name=nosuch", "--format", template])
        },
        seen: Same("CREATED AT · IPV6 · LABELS"),
    },
    Row {
        name: "`ps -f name=b1 --format 'table {{.Names}}\\t{{.State}}\\t{{.Networks}}'`",
        look: |side| {
            let template = "table {{.Names}}\\t{{.State}}\\t{{.Networks}}";
            cells(side, &["ps", "-f", "name=b1", "--format", template])
        },
        seen: Same("NAMES · STATE · NETWORKS, b1 · running · bridge"),
    },
    Row {
        name: "`network ls -q`: characters of an ID",
        look: |side| id_length(side, "network ls -q"),
        seen: Same("12"),
    },
    Row {
        name: "… with `--no-trunc`",
        look: |side| id_length(side, "network ls -q --no-trunc"),
        seen: Same("64"),
    },
    prints!("network ls --filter name=ron --format {{.Name}}", Same("front")),
    prints!("network ls --filter driver=bridge --format {{.Name}}", Same("back, bridge, front")),
    prints!(
        "network ls --filter driver=host --filter driver=null --format {{.Name}}",
        Same("host, none")
    ),
    prints!("network ls --filter label=tier --format {{.Name}}", Same("back, front")),
    prints!("network ls --filter label=tier=db --format {{.Name}}", Same("back")),
    prints!("network ls --filter type=custom --format {{.Name}}", Same("back, front")),
    prints!("network ls --filter type=builtin --format {{.Name}}", Same("bridge, host, none")),
    prints!("network ls --filter scope=local --filter name=host --format {{.Name}}", Same("host")),
    prints!(
        "network ls --filter dangling=true --format {{.Name}}",
        Otherwise { netebpf: "", docker: "back, front", why: "somebody is on them" }
    ),
    prints!(
        "network ls --filter name=back --format {{.Internal}}/{{.IPv6}}/{{.Labels}}",
        Same("true/false/tier=db")
    ),
    Row {
        name: "`network ls --format '{{json .}}'`: keys of Docker's that are missing",
        look: keys::of_ls,
        seen: Same(""),
    },
    Row {
        name: "`network inspect front`: keys of Docker's that are missing",
        look: keys::of_a_network,
        seen: Same(""),
    },
    Row {
        name: "`inspect c1`: keys of Docker's NetworkSettings that are missing",
        look: keys::of_an_endpoint,
        seen: Otherwise {
            netebpf: "Bridge, HairpinMode, LinkLocalIPv6Address, LinkLocalIPv6PrefixLen, \
                      Networks.front.Links, SecondaryIPAddresses, SecondaryIPv6Addresses",
            docker: "",
            why: "of parts that are not there",
        },
    },
    Row {
        name: "`EndpointID` of c1: the same in both, with characters",
        look: endpoint_id,
        seen: Same("64"),
    },
    prints!(
        "inspect --format {{json .NetworkSettings.Networks.back.IPAMConfig}} c2",
        Same(r#"{"IPv4Address":"10.20.0.22"}"#)
    ),
    prints!(
        "inspect --format {{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}} b1",
        Same("172.17.0.2/16")
    ),
    prints!(
        "inspect --format {{.NetworkSettings.Gateway}},{{.NetworkSettings.MacAddress}} b1",
        Same("172.17.0.1,02:42:ac:11:00:02")
    ),
    prints!(
        "inspect --format '{{.NetworkSettings.IPAddress}}{{.NetworkSettings.MacAddress}}' c1",
        Same("''")
    ),
    prints!(
        "inspect --format {{.NetworkSettings.IPPrefixLen}}{{.NetworkSettings.Gateway}} c1",
        Same("0")
    ),
    prints!(
        "inspect --format {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} b1",
        Same("172.17.0.2")
    ),
    prints!("network inspect --format {{range .Containers}}{{.Name}}{{end}} front", Same("c1")),
    prints!(
        "network inspect --format {{.Name}}/{{.Driver}}/{{.Internal}} front back",
        Same("front/bridge/false, back/bridge/true")
    ),
    prints!(
        "network inspect --format {{json .IPAM.Config}} front",
        Otherwise {
            netebpf: r#"[{"Subnet":"10.10.0.0/24","Gateway":"10.10.0.1"}]"#,
            docker: r#"[{"Subnet":"10.10.0.0/24"}]"#,
            why: "a gateway is a gateway, whoever chose it"
        }
    ),
    prints!("network inspect --format {{.Labels.tier}} front", Same("web")),
    prints!(
        "network inspect --format {{(index .IPAM.Config 0).Subnet}} front",
        Same("10.10.0.0/24")
    ),
    prints!(
        "network inspect --format {{if .Internal}}yes{{else}}no{{end}} front back",
        Same("no, yes")
    ),
    prints!(
        "network inspect --format {{range $k, $v := .Labels}}{{$k}}={{$v}}{{end}} back",
        Same("tier=db")
    ),
    prints!("network inspect --format {{index .Labels \"tier\"}} back", Same("db")),
    prints!(
        "inspect --format {{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}} c1",
        Same("front")
    ),
    Row {
        name: "`network inspect` by the beginning of an ID",
        look: by_prefix,
        seen: Same("front"),
    },
    says!("inspect nosuch", ["[]", "nosuch"], Same("1: [], nosuch")),
    says!(
        "inspect --format {{.NetworkSettings.IPPrefixLen}}@ c1 nosuch",
        ["0@", "nosuch"],
        Same("1: 0@, nosuch")
    ),
    says!(
        "network inspect nosuch",
        ["[]", "No such network: nosuch"],
        Same("1: [], No such network: nosuch")
    ),
    says!("network inspect --format {{.Nosuch}} front", ["Nosuch"], Same("1: Nosuch")),
    says!(
        "network create front",
        ["network with name front already exists"],
        Same("1: network with name front already exists")
    ),
    says!(
        "network create bridge",
        ["operation is not permitted on predefined bridge network"],
        Same("1: operation is not permitted on predefined bridge network")
    ),
    says!(
        "network create --subnet 10.10.0.0/25 over",
        ["Pool overlaps with other one on this address space"],
        Same("1: Pool overlaps with other one on this address space")
    ),
    says!(
        "network create --subnet 10.50.0.0/24 --gateway 10.51.0.1 out",
        ["no matching subnet for gateway 10.51.0.1"],
        Same("1: no matching subnet for gateway 10.51.0.1")
    ),
    says!(
        "network create --subnet 10.50.0.0/24 --ip-range 10.51.0.0/25 out",
        ["no matching subnet for"],
        Same("1: no matching subnet for")
    ),
    says!(
        "network create --subnet 10.50.0.0/24 --aux-address a=10.51.0.1 out",
        ["no matching subnet for"],
        Same("1: no matching subnet for")
    ),
    says!(
        "network create --gateway 10.50.0.1 out",
        ["every ip-range or gateway must have a corresponding subnet"],
        Same("1: every ip-range or gateway must have a corresponding subnet")
    ),
    says!(
        "network create --subnet 10.50.0.0/99 wrong",
        ["invalid CIDR address: 10.50.0.0/99"],
        Otherwise {
            netebpf: "2: invalid CIDR address: 10.50.0.0/99",
            docker: "1: invalid CIDR address: 10.50.0.0/99",
            why: USAGE
        }
    ),
    says!(
        "network create --subnet nonsense wrong",
        ["invalid CIDR address: nonsense"],
        Otherwise {
            netebpf: "2: invalid CIDR address: nonsense",
            docker: "1: invalid CIDR address: nonsense",
            why: USAGE
        }
    ),
    says!(
        "network create -d host second",
        ["only one instance of \"host\" network is allowed"],
        Same("1: only one instance of \"host\" network is allowed")
    ),
    says!(
        "network create -d null second",
        ["only one instance of \"null\" network is allowed"],
        Same("1: only one instance of \"null\" network is allowed")
    ),
    says!(
        "network create -d nosuch wrong",
        ["nosuch"],
        Otherwise { netebpf: "2: nosuch", docker: "1: nosuch", why: USAGE }
    ),
    Row {
        name: "`network create --subnet 10.61.0.0/24 --ipam-opt pool=a tuned`",
        look: |side| {
            let ran = side.run("network create --subnet 10.61.0.0/24 --ipam-opt pool=a tuned");
            side.run("network rm tuned").ok();
            let said = if ran.err.contains("no effect") { ", and a warning" } else { "" };
            format!("{}{said}", ran.code)
        },
        seen: Otherwise {
            netebpf: "0, and a warning",
            docker: "0",
            why: "Docker's default driver does not look at them either",
        },
    },
    says!(
        "network create",
        ["Usage"],
        Otherwise { netebpf: "2: Usage", docker: "1: Usage", why: USAGE }
    ),
    says!(
        "network create --nosuch wrong",
        ["--nosuch"],
        Otherwise { netebpf: "2: --nosuch", docker: "125: --nosuch", why: USAGE }
    ),
    says!(
        "network nosuch",
        ["Usage"],
        Otherwise { netebpf: "2: Usage", docker: "1: Usage", why: USAGE }
    ),
    says!(
        "network ls --filter nosuch=1",
        ["nosuch"],
        Otherwise { netebpf: "2: nosuch", docker: "1: nosuch", why: USAGE }
    ),
    says!(
        "network rm bridge",
        ["bridge is a pre-defined network and cannot be removed"],
        Same("1: bridge is a pre-defined network and cannot be removed")
    ),
    says!("network rm front", ["has active endpoints"], Same("1: has active endpoints")),
    says!("network rm nosuch", ["No such network: nosuch"], Same("1: No such network: nosuch")),
    says!(
        "network connect nosuch c1",
        ["No such network: nosuch", "network nosuch not found"],
        Otherwise {
            netebpf: "1: No such network: nosuch",
            docker: "1: network nosuch not found",
            why: "the same words as in inspect and rm"
        }
    ),
    says!(
        "network connect front nosuch",
        ["No such endpoint: nosuch", "No such container: nosuch"],
        Otherwise {
            netebpf: "1: No such endpoint: nosuch",
            docker: "1: No such container: nosuch",
            why: "an endpoint may be no container"
        }
    ),
    says!(
        "network connect front c1",
        ["already exists in network front"],
        Same("1: already exists in network front")
    ),
    says!("network connect --ip 10.99.0.9 back c1", [], Same("1")),
    says!(
        "network connect host c1",
        ["cannot be disconnected from host network or connected to host network"],
        Same("1: cannot be disconnected from host network or connected to host network")
    ),
    says!("network connect none c1", ["private (none) mode"], Same("1: private (none) mode")),
    says!(
        "network disconnect bridge c1",
        ["is not connected to network bridge"],
        Same("1: is not connected to network bridge")
    ),
    says!(
        "network disconnect front nosuch",
        ["No such endpoint: nosuch", "No such container: nosuch"],
        Otherwise {
            netebpf: "1: No such endpoint: nosuch",
            docker: "1: No such container: nosuch",
            why: "an endpoint may be no container"
        }
    ),
    says!("network create --subnet 10.60.0.0/24 idle", [], Same("0")),
    prints!("network prune -f", Same("Deleted Networks:, idle")),
    prints!("network prune -f --filter label=nosuch", Same("")),
    says!("rm nosuch", ["nosuch"], Same("1: nosuch")),
    says!("rm -f nosuch", ["nosuch"], Same("0: nosuch")),
    says!("rm -f nosuch c1", ["c1"], Same("0: c1")),
    says!("network rm front (nobody is on it)", "network rm front", ["front"], Same("0: front")),
];

fn columns(side: &Side) -> String {
    let lines = cells(side, &["network", "ls"]);
    lines.split(", ").next().unwrap_or_default().replace(" · ", ", ")
}

/// Each line of a table, and what stands in its columns.
fn cells(side: &Side, words: &[&str]) -> String {
    let out = side.words(words).ok();
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(" · ")
    };
    out.lines().map(cells).collect::<Vec<_>>().join(", ")
}

fn endpoint_id(side: &Side) -> String {
    let of_endpoint = side.field("c1", "{{.NetworkSettings.Networks.front.EndpointID}}");
    let template = "{{range .Containers}}{{.EndpointID}}{{end}}";
    let of_network = side.words(&["network", "inspect", "--format", template, "front"]).ok();
    match of_network.trim() {
        of_network if of_network == of_endpoint.trim() => of_network.len().to_string(),
        of_network => format!("{of_endpoint} and {of_network}"),
    }
}

fn id_length(side: &Side, command: &str) -> String {
    let lengths: BTreeSet<_> =
        side.run(command).ok().lines().map(|id| id.len().to_string()).collect();
    lengths.into_iter().collect::<Vec<_>>().join(", ")
}

fn by_id(side: &Side) -> String {
    let id = side.field("c1", "{{.Id}}");
    lines(side, &["ps", "--format", "{{.Names}}", "--filter", &format!("id={}", &id[..12])])
}

fn by_prefix(side: &Side) -> String {
    let id = side.words(&["network", "inspect", "--format", "{{.Id}}", "front"]).ok();
    lines(side, &["network", "inspect", "--format", "{{.Name}}", &id[..8]])
}
