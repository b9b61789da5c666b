//! Every command, as a user or a script meets it.

use netebpf_tests::lab::{
    Family, Lab, both, eventually,
    family::{HOST, SERVER},
    topology,
};
use serde_json::Value;

netebpf_tests::tests![
    run_and_its_exit_codes,
    run_detached,
    run_whose_caller_is_killed,
    exec,
    create_and_rm,
    ps,
    port,
    inspect,
    networks,
    status,
    doctor,
    gc,
    daemon_in_the_foreground,
];

fn run_and_its_exit_codes() {
    let lab = Lab::bare();
    let no_program = lab.file("no-program", "");
    let no_program = no_program.to_str().expect("plain");
    for (arguments, code, out) in [
        (&["run", "--rm", "--", "echo", "hello"][..], 0, "hello\n"),
        (&["run", "--rm", "--", "sh", "-c", "exit 42"], 42, ""),
        (&["run", "--rm", "--", no_program], 126, ""),
        (&["run", "--rm", "--", "there-is-no-such-program"], 127, ""),
        (&["run", "--rm", "--", "sh", "-c", "kill -9 $$"], 137, ""),
        (&["run", "--rm", "--network", "nowhere", "--", "true"], 125, ""),
        (&["run", "-d", "--", no_program], 126, ""),
        (&["run", "-d", "--", "there-is-no-such-program"], 127, ""),
    ] {
        let ran = lab.netebpf(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (code, out), "{}", ran.err);
        lab.nothing_left();
    }
    // Without --rm the endpoint stays, as Docker's container does.
    lab.run("run --name stays -- true").ok();
    assert_eq!(lab.run("ps --format {{.Name}}").ok(), "stays\n");
    // Its network is that of the endpoint.
    let addresses = lab.netebpf(&["run", "--rm", "--", "ip", "-br", "-4", "address"]).ok();
    assert!(addresses.contains("eth0") && !addresses.contains("up0"), "{addresses}");
}

fn run_detached() {
    let lab = Lab::bare();
    let id = lab
        .netebpf(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "8080:80",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; sleep 1000",
        ])
        .ok();
    assert_eq!(id.trim().len(), 64, "{id}");
    let logged = || {
        let ran = lab.run("logs web");
        ran.out.contains("out") && (ran.out.contains("err") || ran.err.contains("err"))
    };
    eventually("both lines of output", logged);
    let _echo = lab.endpoint("web").echo(80);
    lab.lan.ask_tcp(HOST.port(Family::V4, 8080));
    assert_eq!(lab.json("inspect web")[0]["State"]["Running"], true);
    lab.run("rm web").fails_saying(1, &["web", "rm -f"]);
    lab.run(&format!("rm -f {}", &id[..8])).ok();
    lab.nothing_left();
}

/// `run --rm` is killed after it asked for its endpoint and before it started its command: here by hand,
/// with the daemon watching and without.
fn run_whose_caller_is_killed() {
    let lab = Lab::bare();
    lab.run("create --name other").ok();
    for daemon_sees_it in [true, false] {
        let mut caller = lab.host.command("sleep").arg("1000").spawn().expect("sleep runs");
        let body = format!(
            r#"{{"endpoint":{{"name":"c1","remove_on_exit":true}},"runner":{}}}"#,
            caller.id()
        );
        let socket = format!("/run/netebpf/{}/api.sock", lab.instance());
        let arguments = ["-sf", "--unix-socket", &socket, "-H", "content-type: application/json"];
        let request = ["-d", &body, "http://netebpf/v1/endpoints"];
        lab.host.tool("curl", &[&arguments[..], &request].concat()).ok();
        lab.run("rm c1").fails_saying(1, &["c1", "rm -f"]);
        if !daemon_sees_it {
            lab.kill_daemon();
        }
        caller.kill().expect("ours");
        caller.wait().expect("ours");
        if !daemon_sees_it {
            lab.run("create --name another").ok();
        }
        eventually("the endpoint to go", || !lab.run("ps --format {{.Name}}").ok().contains("c1"));
    }
    assert!(lab.run("ps --format {{.Name}}").ok().contains("other"));
}

fn exec() {
    let lab = Lab::up(&topology());
    assert_eq!(lab.netebpf(&["exec", "c1", "--", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(lab.netebpf(&["exec", "c1", "--", "there-is-no-such-program"]).code, 127);
    let no_program = lab.file("no-program", "");
    assert_eq!(lab.netebpf(&["exec", "c1", "--", no_program.to_str().expect("plain")]).code, 126);
    let text = lab.netebpf(&["exec", "c1", "--", "ip", "-br", "address", "show", "eth0"]).ok();
    assert!(text.contains("10.10.0.11/24") && text.contains("fd10::11/64"), "{text}");
    assert_eq!(lab.netebpf_reading(&["exec", "-i", "c1", "--", "cat"], "through").ok(), "through");
    assert_eq!(lab.netebpf(&["run", "--rm", "-it", "--", "echo", "as Docker"]).ok(), "as Docker\n");
    // Flags of the command are the command's.
    assert_eq!(lab.netebpf(&["exec", "c1", "echo", "-n", "--rm"]).ok(), "--rm");
}

fn create_and_rm() {
    let lab = Lab::bare();
    let network = lab.run("network create front --subnet 10.10.0.0/24 --subnet fd10::/64").ok();
    assert_eq!(network.trim().len(), 64);
    let id = lab.run("create --name c1 --network front:ip=10.10.0.77 -p 8080:80").ok();
    assert_eq!(id.trim().len(), 64);
    let _echo = [lab.endpoint("c1").echo(80), lab.server.echo(7)];
    both(|family| {
        lab.lan.ask_tcp(HOST.port(family, 8080));
        lab.endpoint("c1").ask_both(SERVER.port(family, 7));
    });
    lab.run("rm nobody c1").fails_saying(1, &["nobody"]);
    lab.run("rm -f nobody c1").ok();
    assert_eq!(lab.run("ps -q").ok(), "");
    lab.run("rm -f nobody").ok();
    lab.run("network rm front").ok();
    lab.nothing_left();
}

fn ps() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let table = lab.run("ps").ok();
    let head = table.lines().next().expect("a head");
    assert!(
        head.starts_with("ENDPOINT ID") && head.contains("NAME") && head.contains("PORTS"),
        "{head}"
    );
    assert_eq!(table.lines().count(), 6);
    let ids = lab.run("ps -q").ok();
    assert!(ids.lines().count() == 5 && ids.lines().all(|id| id.len() == 12), "{ids}");
    let one = lab.run("ps --format {{.ID}}/{{.Name}}").ok();
    assert!(one.lines().any(|line| line.ends_with("/c1")), "{one}");
    // One object a line, as Docker's.
    let json = lab.run("ps --format json").ok();
    let rows: Vec<Value> = rows(&json);
    let c1 = rows.iter().find(|row| row["Name"] == "c1").expect("c1");
    assert!(c1["Ports"].as_str().expect("text").contains("8080"), "{c1}");
}

/// An array, or one object a line.
fn rows(json: &str) -> Vec<Value> {
    match serde_json::from_str(json) {
        Ok(Value::Array(rows)) => rows,
        _ => json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
    }
}

fn port() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80", "127.0.0.1:5353:53/udp", "90"]));
    let all = lab.run("port c1").ok();
    for line in ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080", "53/udp -> 127.0.0.1:5353"] {
        assert!(all.lines().any(|l| l == line), "{line:?} is missing in:\n{all}");
    }
    assert_eq!(lab.run("port c1 53/udp").ok(), "127.0.0.1:5353\n");
    let random = lab.run("port c1 90").ok();
    let port: u16 = random
        .lines()
        .next()
        .and_then(|l| l.rsplit_once(':'))
        .expect("a port")
        .1
        .parse()
        .expect("one");
    let _echo = lab.endpoint("c1").echo(90);
    both(|family| {
        lab.lan.ask_tcp(HOST.port(family, port));
    });
    lab.run("port c1 81").fails_saying(1, &["81", "c1"]);
}

fn inspect() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let c1 = &lab.json("inspect c1")[0];
    assert_eq!(c1["Name"], "c1");
    let front = &c1["NetworkSettings"]["Networks"]["front"];
    assert_eq!(front["IPAddress"], "10.10.0.11");
    assert_eq!(front["GlobalIPv6Address"], "fd10::11");
    assert_eq!(front["Gateway"], "10.10.0.1");
    assert_eq!(front["MacAddress"], "02:42:0a:0a:00:0b");
    assert_eq!(c1["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
    // Those that are there are shown.
    let both = lab.run("inspect --format {{.Name}} c1 nobody c2");
    assert_eq!((both.code, both.out.as_str()), (1, "c1\nc2\n"), "{}", both.err);
    assert!(both.err.contains("No such endpoint: nobody"), "{}", both.err);
    let id = c1["Id"].as_str().expect("an identifier");
    assert_eq!(lab.run(&format!("inspect --format {{{{.Name}}}} {}", &id[..6])).ok(), "c1\n");
}

fn networks() {
    let lab = Lab::up(&topology());
    let table = lab.run("network ls").ok();
    let head = table.lines().next().expect("a head");
    let columns = ["NETWORK ID", "NAME", "DRIVER", "SCOPE"];
    assert!(columns.iter().all(|column| head.contains(column)), "{head}");
    let names = lab.run("network ls --format {{.Name}}").ok();
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["back", "bridge", "front", "host", "inner", "none"]
    );
    assert_eq!(lab.run("network ls -q").ok().lines().count(), 6);
    let front = &lab.json("network inspect front")[0];
    assert_eq!(front["Name"], "front");
    assert_eq!(front["Driver"], "bridge");
    assert_eq!(front["IPAM"]["Config"][0]["Subnet"], "10.10.0.0/24");
    assert_eq!(front["IPAM"]["Config"][0]["Gateway"], "10.10.0.1");
    assert_eq!(front["Containers"].as_object().expect("endpoints").len(), 2);
}

fn status() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let _echo = [lab.server.echo(7), lab.endpoint("c2").echo(7)];
    both(|family| lab.endpoint("c1").ask_both(SERVER.port(family, 7)));
    let text = lab.run("status").ok();
    for word in ["up0", "front", "back", "inner", "c1", "8080"] {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
    let hook = if cfg!(target_os = "linux") { ["tcx", "clsact"] } else { unreachable!() };
    assert!(hook.iter().any(|hook| text.to_lowercase().contains(hook)), "{text}");
    // Each sysctl that was changed is listed.
    let changes = lab.before().changes(&lab.now());
    let sysctls = changes.iter().filter_map(|line| line.strip_prefix("changed: /proc/sys/net/"));
    for change in sysctls {
        let path = change.split(' ').next().expect("a path");
        let listed = text.contains(path)
            || text.contains(&path.replace('/', "."))
            || text.contains(&format!("net.{}", path.replace('/', ".")));
        // `all.forwarding` writes those of every interface.
        assert!(
            listed || path.ends_with("/forwarding"),
            "{path} is changed and not listed in:\n{text}"
        );
    }
    assert!(lab.json("status").is_object());
    lab.run("down").ok();
    // Without an instance there is nothing to tell, which is no failure.
    lab.run("status").ok();
}

fn doctor() {
    let lab = Lab::bare();
    let text = lab.run("doctor").ok();
    assert!(text.to_lowercase().contains("tcx") && text.lines().count() > 5, "{text}");
    assert!(text.contains("is not up"), "{text}");
    assert_eq!(lab.flow_findings(), None);
    lab.nothing_left();
}

/// Takes away what an instance without a state left, and nothing of others.
fn gc() {
    let lab = Lab::up(&topology());
    assert!(lab.run("gc").ok().contains("nothing"));
    lab.endpoint("c1").reaches(SERVER.0.into());
    let bridge = lab.bridge("front");
    lab.kill_daemon();
    std::fs::remove_dir_all(format!("/var/lib/netebpf/{}", lab.instance())).expect("the state");
    let said = lab.run("gc --dry-run").ok();
    assert!(said.contains(&bridge), "{said}");
    assert!(lab.host.ifindex(&bridge).is_some());
    lab.run("gc").ok();
    lab.run("down").ok();
    lab.nothing_left();
}

/// `netebpf daemon` stays in the foreground; a second one is refused; commands find it.
fn daemon_in_the_foreground() {
    let lab = Lab::bare();
    let mut daemon = lab.start(&["daemon"]);
    let socket = format!("/run/netebpf/{}/api.sock", lab.instance());
    eventually("the socket", || std::path::Path::new(&socket).exists());
    lab.run("daemon").fails_saying(1, &["runs already"]);
    lab.up_again(&topology(), &[]).ok();
    assert_eq!(lab.daemon_pid(), Some(daemon.0.id()));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // The control socket is not reachable from an endpoint: it is a path, and no port. Names are all that is there.
    let listening = lab.endpoint("c1").tool("ss", &["-Hlntu"]).out;
    assert!(listening.lines().all(|line| line.contains(" 127.0.0.11:")), "{listening}");
    lab.run("down").ok();
    drop(daemon.0.kill());
    drop(daemon.0.wait());
}
