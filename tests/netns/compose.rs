//! Three Compose files as people write them, whole: what is networking in them works, and the rest is warned about.
//!
//! Nothing in them was written with netebpf in mind; who answers on a service's ports is the test's.

use netebpf_tests::lab::{
    Family, Lab, Upstream, both, eventually,
    family::{HOST, LAN, LOOPBACK, SERVER},
    traffic::ask,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

netebpf_tests::tests![
    a_shop,
    a_monitoring,
    two_families,
    variables_beside_the_file,
    a_program_of_this_host
];

/// What a name that nobody has here resolves to.
const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(203, 0, 113, 80), Ipv6Addr::new(0x2001, 0xdb8, 80, 0, 0, 0, 0, 80));

/// A laboratory where a file is brought up, and whoever is asked outside.
struct Compose {
    lab: Lab,
    upstream: Upstream,
    file: String,
}

impl Compose {
    /// Brings a file up; these keys in it have no effect, and that is said of each.
    fn up(text: &str, without_effect: &[&str]) -> Self {
        let lab = Lab::bare();
        lab.etc_file("resolv.conf", &format!("nameserver {}\n", SERVER.0));
        let upstream = Upstream::start(&lab.server, SERVER.0.into(), OUTSIDE.0, OUTSIDE.1);
        let file = lab.file("compose.yaml", text).display().to_string();
        let ran = lab.netebpf(&["up", "-f", &file]);
        for key in without_effect {
            let warned = format!("\"{key}\" has no effect here");
            assert!(ran.err.contains(&warned), "{key}: {}", ran.err);
        }
        let warnings = ran.err.lines().all(|line| line.contains("has no effect here"));
        assert!(warnings, "{}", ran.err);
        ran.ok();
        Self { lab, upstream, file }
    }

    /// The only address of a name, as a service sees it.
    #[track_caller]
    fn name(&self, of: &str, name: &str, kind: &str) -> IpAddr {
        let data = self.lab.endpoint(of).resolve(name, kind).ok();
        assert_eq!(data.len(), 1, "{of} asks for {name}: {data:?}");
        data[0].parse().expect("an address")
    }

    /// A service reaches another one's port by its name, and is seen as itself.
    #[track_caller]
    fn reaches(&self, from: &str, name: &str, server: &str, port: u16) {
        let (echo, client) = (self.lab.endpoint(server).echo(port), self.lab.endpoint(from));
        client.ask_both(SocketAddr::new(self.name(from, name, "A"), port));
        let own = self.addresses(from);
        let clients = echo.clients();
        assert!(clients.iter().all(|seen| own.contains(&seen.ip())), "{clients:?} for {from}");
    }

    /// A service neither knows another one by its name nor reaches it by its address.
    #[track_caller]
    fn never_reaches(&self, from: &str, server: &str, port: u16) {
        let (_echo, client) = (self.lab.endpoint(server).echo(port), self.lab.endpoint(from));
        assert_eq!(self.name(from, server, "A"), OUTSIDE.0, "{from} knows {server}");
        for address in self.addresses(server) {
            client.refused(SocketAddr::new(address, port));
            client.never_reaches(address);
        }
    }

    /// The addresses of a service on its networks.
    fn addresses(&self, of: &str) -> Vec<IpAddr> {
        let shown = self.lab.endpoint(of).ip_json("address show");
        let links = shown.as_array().into_iter().flatten();
        let infos = links.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
        let global = infos.filter(|info| info["scope"] == "global");
        global.map(|info| info["local"].as_str().expect("text").parse().expect("one")).collect()
    }

    /// The LAN reaches a published port in these families, and is seen as itself.
    #[track_caller]
    fn published(&self, (host, of, inside): (u16, &str, u16), families: &[Family]) {
        let echo = self.lab.endpoint(of).echo(inside);
        for family in families {
            self.lab.lan.ask_tcp(HOST.port(*family, host));
            assert_eq!(echo.client().ip(), LAN.of(*family));
        }
    }

    /// The LAN does not reach what listens in a service by a route to it, published or not.
    #[track_caller]
    fn not_by_a_route(&self, of: &str, port: u16) {
        self.lab.outsiders_know_private_addresses();
        for address in self.addresses(of) {
            let gateway = HOST.of(Family::of(address));
            self.lab.lan.ip(&format!("route add {address} via {gateway}"));
            self.lab.lan.refused(SocketAddr::new(address, port));
        }
    }

    /// Twice is as good as once, and nothing is left when it goes.
    fn again_and_down(self) {
        let before = self.lab.now();
        let again = self.lab.netebpf(&["up", "-f", &self.file]).ok();
        assert!(again.contains("nothing to change"), "{again}");
        before.same(&self.lab.now());
        self.lab.netebpf(&["down", "-f", &self.file]).ok();
        self.lab.nothing_left();
        assert_eq!(self.lab.netebpf(&["down", "-f", &self.file]).code, 0);
    }
}

fn a_shop() {
    let compose = Compose::up(
        include_str!("compose/shop.yaml"),
        &[
            "x-logging",
            "secrets",
            "volumes",
            "image",
            "build",
            "depends_on",
            "healthcheck",
            "deploy",
            "expose",
            "command",
            "entrypoint",
        ],
    );
    let lab = &compose.lab;
    // What their images would run does not run here.
    assert_eq!(lab.run("ps --filter status=created --format {{.Name}}").ok().lines().count(), 5);
    let v4 = [Family::V4];
    compose.published((8080, "proxy", 80), &v4);
    compose.published((8443, "proxy", 443), &v4);
    assert_eq!(lab.run("port proxy 80").ok(), "0.0.0.0:8080\n[::]:8080\n");
    lab.lan.refused(HOST.port(Family::V4, 80));

    compose.reaches("proxy", "app", "app", 3000);
    compose.reaches("app", "database", "db", 5432);
    compose.reaches("app", "db", "db", 5432);
    compose.reaches("worker", "cache", "cache", 6379);
    for alias in ["www", "shop.example.org"] {
        compose.reaches("app", alias, "proxy", 80);
        // On front only.
        assert_eq!(lab.endpoint("worker").resolve(alias, "A").code.to_string(), "Server Failure");
    }
    compose.never_reaches("proxy", "db", 5432);
    compose.never_reaches("proxy", "cache", 6379);

    // What is exposed is not published, and what is internal stays so.
    lab.lan.refused(HOST.port(Family::V4, 3000));
    for (name, port) in [("app", 3000), ("db", 5432)] {
        let _echo = lab.endpoint(name).echo(port);
        compose.not_by_a_route(name, port);
    }
    let server = lab.server.echo(7);
    lab.endpoint("app").ask_both(SERVER.port(Family::V4, 7));
    assert!(server.clients().iter().all(|seen| seen.ip() == HOST.of(Family::V4)));
    for name in ["worker", "db", "cache"] {
        let inside = lab.endpoint(name);
        assert_eq!(inside.ip("route show default"), "");
        inside.refused(SERVER.port(Family::V4, 7));
    }
    compose.upstream.asked();
    assert_eq!(
        lab.endpoint("db").resolve("www.example.org", "A").code.to_string(),
        "Server Failure"
    );
    assert_eq!(compose.upstream.asked(), []);
    let labels = &lab.json("network inspect back")[0]["Labels"];
    assert_eq!(labels["org.example.tier"], "data");
    compose.again_and_down();
}

fn a_monitoring() {
    let compose = Compose::up(
        include_str!("compose/monitoring.yaml"),
        &["version", "volumes", "image", "restart", "pid", "depends_on"],
    );
    let lab = &compose.lab;
    let v4 = Family::V4;
    // Published on the loopback: for the host alone.
    let echo = lab.endpoint("prom").echo(9090);
    lab.host.ask_tcp(LOOPBACK.port(v4, 9090));
    lab.host.refused(HOST.port(v4, 9090));
    lab.lan.refused(HOST.port(v4, 9090));
    drop(echo);
    for port in 3000..=3002 {
        compose.published((port, "grafana", port), &[v4]);
    }
    let echo = lab.endpoint("statsd").echo(8125);
    lab.lan.ask_udp(HOST.port(v4, 8125));
    assert_eq!(echo.client().ip(), LAN.of(v4));
    lab.lan.refused(HOST.port(v4, 8125));
    let chosen = lab.run("port statsd 9102").ok();
    let chosen = chosen.lines().next().and_then(|line| line.rsplit(':').next()?.parse().ok());
    compose.published((chosen.expect("a port"), "statsd", 9102), &[v4]);

    // By the container's name and by the service's, and one that has no network has none.
    compose.reaches("grafana", "prom", "prom", 9090);
    compose.reaches("grafana", "prometheus", "prom", 9090);
    compose.reaches("prom", "statsd", "statsd", 9102);
    for name in ["reloader", "node", "rotate"] {
        assert_eq!(compose.name("grafana", name, "A"), OUTSIDE.0);
    }

    // In another's namespace, in the host's, and in one with nothing.
    let addresses = |of: &str| lab.netebpf(&["exec", of, "--", "ip", "-br", "address"]).ok();
    assert_eq!(addresses("reloader"), addresses("prom"));
    assert!(addresses("node").contains("192.0.2.1/24"));
    let rotate = addresses("rotate");
    assert!(rotate.lines().count() == 1 && rotate.contains("127.0.0.1/8"), "{rotate}");
    lab.endpoint("rotate").refused(SERVER.port(v4, 7));
    lab.endpoint("grafana").reaches(SERVER.of(v4));
    compose.again_and_down();
}

fn two_families() {
    let compose = Compose::up(
        include_str!("compose/dual.yaml"),
        &["x-service", "x-resolver", "mode", "app_protocol", "logging"],
    );
    let lab = &compose.lab;
    let (web, api) = (lab.endpoint("web"), lab.endpoint("api"));
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    // As they are written down; what is not is taken from the range, without what is reserved there.
    let of = |name: &str| compose.addresses(name).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(of("web"), [ip("172.28.5.10"), ip("fd28:5::10"), ip("10.99.0.10")].into());
    assert_eq!(of("api"), [ip("172.28.6.2"), ip("fd28:5::20"), ip("10.99.0.2")].into());
    assert_eq!(of("files"), [ip("10.99.0.20")].into());
    assert_eq!(web.mac("eth0"), [2, 0x42, 0xac, 0x1c, 5, 0x0a]);
    assert_eq!(lab.endpoint("files").mac("eth0"), [2, 0x42, 0x0a, 0x63, 0, 0xf1]);
    assert_eq!(web.ip_json("link show dev eth0")[0]["mtu"], 1400);
    assert_eq!(api.ip_json("route show default")[0]["gateway"], "172.28.5.254");

    // What the file's commands serve: by names, in both families, and from outside.
    both(|family| {
        let kind = if family == Family::V4 { "A" } else { "AAAA" };
        let www = SocketAddr::new(compose.name("api", "www", kind), 8000);
        eventually("web to serve", || api.connect(www).is_ok());
        let metrics = SocketAddr::new(www.ip(), 9100);
        eventually("metrics to serve in web's namespace", || api.connect(metrics).is_ok());
        lab.lan.connect(HOST.port(family, 8000)).expect("published");
        lab.lan.refused(HOST.port(family, 8001));
        lab.lan.refused(HOST.port(family, 9100));
    });
    lab.host.connect(LOOPBACK.port(Family::V4, 8001)).expect("published for the host");
    let echo = web.echo(5353);
    both(|family| {
        let to = HOST.port(family, 5353);
        ask(&lab.lan.udp(family, 0), to, b"who is there").expect("answered from there");
        assert_eq!(echo.client().ip(), LAN.of(family));
    });
    drop(echo);

    // Two networks here, one there; the names of storage are IPv4's alone.
    assert_eq!(compose.name("api", "files", "A"), ip("10.99.0.20"));
    assert_eq!(api.resolve("files", "AAAA").ok(), Vec::<String>::new());
    compose.reaches("api", "files", "files", 2049);
    let server = lab.server.echo(7);
    both(|family| {
        api.ask_both(SERVER.port(family, 7));
        assert!(server.clients().iter().all(|seen| seen.ip() == HOST.of(family)));
    });
    lab.endpoint("files").refused(SERVER.port(Family::V4, 7));
    compose.not_by_a_route("web", 8000);
    let resolv_conf = lab.netebpf(&["exec", "api", "--", "cat", "/etc/resolv.conf"]).ok();
    assert!(resolv_conf.contains("search example.org"), "{resolv_conf}");
    compose.again_and_down();
}

/// `.env` is read where the file is, from wherever; another file instead of it where one is named.
fn variables_beside_the_file() {
    let lab = Lab::bare();
    let text = "name: ${NAME:?not named}\nservices:\n  web:\n    ports: [\"${PORT:-8000}:80\"]\n";
    let file = lab.file("compose.yaml", text).display().to_string();
    lab.netebpf(&["up", "-f", &file]).fails_saying(1, &["NAME", "not named"]);
    lab.file(".env", "# of the test\nexport NAME='shop' # its name\nPORT=80${TENS:-80}\n");
    lab.netebpf(&["up", "-f", &file]).ok();
    assert_eq!(lab.run("port web 80").ok(), "0.0.0.0:8080\n[::]:8080\n");
    let other = lab.file("other.env", "NAME=shop\nPORT=8081\n").display().to_string();
    lab.netebpf(&["up", "-f", &file, "--env-file", &other]).ok();
    assert_eq!(lab.run("port web 80").ok(), "0.0.0.0:8081\n[::]:8081\n");
    // What is wrong there changes nothing.
    let wrong = lab.file("wrong.env", "NAME=shop\nPORT='8082\n").display().to_string();
    let up = ["up", "-f", &file, "--env-file"];
    lab.netebpf(&[&up[..], &[&wrong]].concat()).fails_saying(1, &["wrong.env:2:6", "closes"]);
    lab.netebpf(&[&up[..], &["/no/such/file"]].concat()).fails_saying(1, &["/no/such/file"]);
    assert_eq!(lab.run("port web 80").ok(), "0.0.0.0:8081\n[::]:8081\n");
    lab.netebpf(&["down", "-f", &file]).ok();
    lab.nothing_left();
}

/// A `command` beside an `image` runs where its program is here, and that is said.
fn a_program_of_this_host() {
    let lab = Lab::bare();
    let text = "name: t\nservices:\n  a: {image: nginx, command: [sleep, \"1000\"]}\n  b: {image: redis, \
                command: [--save, \"60\"]}\n";
    let ran = lab.up_text(text);
    for words in
        ["\"a\": \"command\" runs \"sleep\" of this host", "\"b\": \"command\" has no effect"]
    {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    ran.ok();
    let running = lab.run("ps --filter status=running --format {{.Name}}").ok();
    assert_eq!(running, "a\n");
}
