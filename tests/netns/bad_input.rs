//! Wrong input: what it says, its exit code, and that nothing changed.

use netebpf_tests::lab::{Lab, Ran, binary, topology};
use std::{
    io::Write,
    os::unix::{net::UnixStream, process::CommandExt},
    process::Command,
};

netebpf_tests::tests![
    files,
    commands,
    while_something_runs,
    usage,
    without_root,
    without_a_capability,
    on_too_old_a_kernel,
    the_control_socket,
];

/// Every wrong file: exit code 1, what, where, what would be right.
#[rustfmt::skip]
const FILES: &[(&str, &str, &[&str])] = &[
    ("no YAML", "services: [", &["netebpf.yaml"]),
    ("empty", "", &["netebpf.yaml", "empty"]),
    ("nothing but comments", "# services:\n", &["netebpf.yaml", "empty"]),
    ("a NUL, which the parser takes for the end", "services:\n  a: {}\n\0\n  a: {}\n", &["netebpf.yaml:3:1:", "NUL"]),
    ("an unknown key", "name: lab\nservices:\n  a: {colour: red}\n", &["netebpf.yaml:3:", "colour", "known are"]),
    ("a list", "- a\n- b\n", &["netebpf.yaml:1:"]),
    ("a gateway outside", "name: lab\nnetworks:\n  web: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.1.1}]}}\n",
        &["web", "10.0.1.1 is outside 10.0.0.0/24"]),
    ("no subnet", "name: lab\nnetworks:\n  web: {ipam: {config: [{subnet: 10.0.0.0/33}]}}\n", &["netebpf.yaml:3:", "10.0.0.0/33"]),
    ("host bits", "name: lab\nnetworks:\n  web: {ipam: {config: [{subnet: 10.0.0.7/24}]}}\n", &["10.0.0.7/24", "10.0.0.0/24 is meant"]),
    ("two that overlap", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/16}]}}\n  b: {ipam: {config: [{subnet: 10.0.5.0/24}]}}\n",
        &["10.0.5.0/24", "overlaps", "10.0.0.0/16"]),
    ("one that the host routes", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 192.0.2.0/25}]}}\n", &["192.0.2.0/25", "route 192.0.2.0/24"]),
    ("too small a subnet", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/32}]}}\n", &["10.0.0.0/32"]),
    ("an address twice", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/24}]}}\nservices:\n  x: {networks: {a: {ipv4_address: 10.0.0.5}}}\n  y: {networks: {a: {ipv4_address: 10.0.0.5}}}\n",
        &["10.0.0.5", "x", "y"]),
    ("an address outside", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/24}]}}\nservices:\n  x: {networks: {a: {ipv4_address: 10.0.1.5}}}\n",
        &["x", "10.0.1.5 is outside 10.0.0.0/24"]),
    ("the gateway's address", "name: lab\nnetworks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/24}]}}\nservices:\n  x: {networks: {a: {ipv4_address: 10.0.0.1}}}\n",
        &["x", "10.0.0.1", "gateway"]),
    ("no address", "name: lab\nservices:\n  x: {networks: {default: {ipv4_address: ten}}}\n", &["netebpf.yaml:3:", "ten"]),
    ("a network that is not defined", "name: lab\nservices:\n  x: {networks: [nowhere]}\n", &["x", "nowhere"]),
    ("a port too large", "name: lab\nservices:\n  x: {ports: [\"70000:80\"]}\n", &["netebpf.yaml:3:", "70000", "65535"]),
    ("no port", "name: lab\nservices:\n  x: {ports: [\"http:80\"]}\n", &["http"]),
    ("no such protocol", "name: lab\nservices:\n  x: {ports: [\"80:80/icmp\"]}\n", &["icmp", "tcp or udp"]),
    ("ranges that do not pair", "name: lab\nservices:\n  x: {ports: [\"8000-8010:80\", \"1-2:1-3\"]}\n", &["ports"]),
    ("a port twice", "name: lab\nservices:\n  x: {ports: [\"8080:80\"]}\n  y: {ports: [\"8080:80\"]}\n", &["8080", "x", "y", "already"]),
    ("an address that is not the host's", "name: lab\nservices:\n  x: {ports: [\"203.0.113.5:80:80\"]}\n", &["203.0.113.5"]),
    ("a name that no file can have", "name: lab\nservices:\n  a/b: {}\n", &["a/b"]),
    ("two of one name", "name: lab\nservices:\n  a: {}\n  a: {}\n", &["netebpf.yaml:4:"]),
    ("too long an interface name", "name: lab\nservices:\n  x: {networks: {default: {interface_name: much-too-long-a-name}}}\n",
        &["much-too-long-a-name", "15"]),
    ("a namespace that is not there", "name: lab\nservices:\n  x: {netns: /run/netns/nowhere-at-all}\n", &["x", "/run/netns/nowhere-at-all"]),
    ("a namespace that is none", "name: lab\nservices:\n  x: {netns: /etc/hostname}\n", &["x", "/etc/hostname"]),
    ("a driver that is not there", "name: lab\nnetworks:\n  a: {driver: overlay}\n", &["overlay", "bridge"]),
    ("an Ethernet address that is none", "name: lab\nservices:\n  x: {networks: {default: {mac_address: \"01:00:5e:00:00:01\"}}}\n", &["01:00:5e:00:00:01"]),
    ("no variable", "name: lab\nservices:\n  x: {command: \"echo ${HOME\"}\n", &["netebpf.yaml:3:", "HOME", "$$"]),
    ("a variable that has to be there", "name: lab\nservices:\n  x: {ports: [\"${NETEBPF_NOT_SET:?which port}:80\"]}\n", &["netebpf.yaml:3:", "NETEBPF_NOT_SET", "which port"]),
];

fn files() {
    let lab = Lab::bare();
    for (what, text, words) in FILES {
        println!("— {what} —");
        lab.up_text(text).few_words(what).fails_saying(1, words);
        lab.nothing_left();
    }
}

/// The same by arguments.
#[rustfmt::skip]
const COMMANDS: &[(&str, i32, &[&str])] = &[
    ("up -f /there/is/no/file.yaml", 1, &["/there/is/no/file.yaml"]),
    ("create --name x -p 70000:80", 1, &["70000", "65535"]),
    ("create --name x -p 80:80/icmp", 1, &["icmp", "tcp or udp"]),
    ("create --name a/b", 1, &["a/b"]),
    ("create --name x --network nowhere", 1, &["nowhere"]),
    ("create --name x --ip 10.255.255.300", 2, &["10.255.255.300"]),
    ("create --name x --netns /run/netns/nowhere-at-all", 1, &["/run/netns/nowhere-at-all"]),
    ("rm nobody", 1, &["nobody"]),
    ("inspect nobody", 1, &["nobody"]),
    ("port nobody", 1, &["nobody"]),
    ("logs nobody", 1, &["nobody"]),
    ("exec nobody -- true", 125, &["nobody"]),
    ("run --name a/b -- true", 125, &["a/b"]),
    ("run --network nowhere -- true", 125, &["nowhere"]),
    ("network create a/b", 1, &["network create: \"a/b\" is no name"]),
    ("network create x --subnet 10.0.0.7/24", 1, &["10.0.0.7/24", "10.0.0.0/24"]),
    ("network create x --subnet 192.0.2.0/25", 1, &["192.0.2.0/25", "192.0.2.0/24"]),
    ("network create x --subnet 10.0.0.0/24 --gateway 10.0.1.1", 1, &["10.0.1.1", "10.0.0.0/24"]),
    ("network create x --ipv6=false --subnet fd00:1::/64", 1, &["fd00:1::/64", "one too many"]),
    ("network create x --subnet 10.0.0.0/24 --aux-address 10.0.0.9", 2, &["router=10.0.0.9 would be right"]),
    ("network rm nowhere", 1, &["nowhere"]),
    ("network inspect nowhere", 1, &["nowhere"]),
    ("up -f netebpf.yaml --uplink much-too-long-a-name", 2, &["much-too-long-a-name", "15"]),
    ("up -f netebpf.yaml --xdp sometimes", 2, &["native", "generic"]),
    ("up -f netebpf.yaml --big-tcp sometimes", 2, &["auto, on or off"]),
    ("ps --format {{.Nonsense", 2, &["{{"]),
    ("ps --filter colour=red", 2, &["colour=red", "id=, label=, name=, network=, publish= and status="]),
];

fn commands() {
    let lab = Lab::bare();
    for (command, code, words) in COMMANDS {
        lab.run(command).fails_saying(*code, words);
        lab.nothing_left();
    }
}

/// What is there already is in the way, and stays.
fn while_something_runs() {
    let lab = Lab::up(&topology().ports("c1", &["8080:80"]));
    let _echo = lab.endpoint("c1").echo(80);
    let before = (lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok());
    let other = |services: &str| format!("name: other\n{services}");
    let file = |text: &str| lab.up_text(&other(text));
    file("services:\n  c1: {}\n").fails_saying(1, &["c1", "already in use", "lab"]);
    file("networks:\n  front: {}\n")
        .fails_saying(1, &["network with name front already exists", "lab"]);
    file("services:\n  x: {ports: [\"8080:80\"]}\n")
        .fails_saying(1, &["8080", "already allocated", "c1"]);
    file("networks:\n  x: {ipam: {config: [{subnet: 10.10.0.0/25}]}}\n")
        .fails_saying(1, &["10.10.0.0/25", "overlaps", "front"]);
    lab.run("create --name c1").fails_saying(1, &["c1", "already in use"]);
    lab.run("create --name x --network front --ip 10.10.0.11")
        .fails_saying(1, &["10.10.0.11", "c1"]);
    lab.run("create --name x --network front --ip 10.10.0.1")
        .fails_saying(1, &["10.10.0.1", "gateway"]);
    lab.run("create --name x --network front -p 8080:80")
        .fails_saying(1, &["8080", "already allocated"]);
    lab.run("network create front")
        .fails_saying(1, &["network with name front already exists", "lab"]);
    lab.run("network rm front").fails_saying(1, &["front", "has active endpoints", "c1"]);
    lab.run("network create x --subnet 10.10.0.0/16")
        .fails_saying(1, &["10.10.0.0/16", "overlaps"]);
    lab.run("run --name c1 -- true").fails_saying(125, &["c1", "already in use"]);
    assert_eq!((lab.pins(), lab.now(), lab.run("ps --format {{.ID}}{{.Ports}}").ok()), before);
    lab.lan.ask_tcp(netebpf_tests::lab::family::HOST.port(netebpf_tests::lab::Family::V4, 8080));
}

/// What is no request, or none that makes sense, is answered or dropped, and stalls nothing.
fn the_control_socket() {
    let lab = Lab::up(&topology());
    let socket = format!("/run/netebpf/{}/api.sock", lab.instance());
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /v1/up HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut open = Vec::new();
    for garbage in [
        "\0\0\0\0",
        "GET / HTTP/9.9\r\n\r\n",
        &long,
        &post("{\"topology\":"),
        &post(&nested),
        "POST ",
    ] {
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        // It may hang up before it has read all.
        let _ = stream.write_all(garbage.as_bytes());
        open.push(stream);
    }
    assert_eq!(lab.run("ps -q").ok().lines().count(), 5);
    drop(open);
    assert_eq!(lab.run("ps -q").ok().lines().count(), 5);
}

/// Wrong usage is 2, help and version are 0.
fn usage() {
    let lab = Lab::bare();
    for wrong in [
        "frobnicate",
        "up --frobnicate",
        "create --name",
        "ps extra",
        "network",
        "--instance a/b ps",
    ] {
        let ran = lab.run(wrong);
        assert_eq!(ran.code, 2, "{ran:#?}");
        assert_eq!(ran.out, "");
    }
    for fine in [
        "help",
        "--help",
        "--version",
        "up --help",
        "network --help",
        "completion bash",
        "man",
        "schema",
    ] {
        assert!(!lab.run(fine).ok().is_empty());
    }
    lab.nothing_left();
}

/// One sentence, exit code 1.
fn without_root() {
    let lab = Lab::bare();
    let copy = lab.file("netebpf", "");
    std::fs::copy(binary(), &copy).expect("a copy that nobody can read, too");
    let open = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("ours");
    };
    open(&copy);
    open(copy.parent().expect("a directory"));
    let file = lab.file("netebpf.yaml", &topology().to_string());
    for arguments in [
        "up -f FILE",
        "down",
        "status",
        "ps",
        "create --name x",
        "run --name x -- true",
        "exec x true",
        "network ls",
        "doctor",
        "gc",
    ] {
        let mut command = Command::new(&copy);
        lab.host.enter(&mut command);
        let arguments = arguments.replace("FILE", file.to_str().expect("plain"));
        command.args(["--instance", lab.instance()]).args(arguments.split(' '));
        // Root first enters the namespace, then becomes nobody.
        let nobody = || {
            // SAFETY: system calls without pointers, on the only thread of a new process.
            let done = unsafe {
                libc::setgroups(0, std::ptr::null()) | libc::setgid(65_534) | libc::setuid(65_534)
            };
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(nobody) };
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains("root"), "{arguments}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{arguments}: {said}");
    }
    lab.nothing_left();
}

/// A root that lacks one capability is told which.
fn without_a_capability() {
    let lab = Lab::bare();
    let file = lab.file("netebpf.yaml", &topology().to_string());
    for (dropped, named) in [("-net_admin", "CAP_NET_ADMIN"), ("-bpf", "CAP_BPF")] {
        let binary = binary();
        let words = [binary.to_str(), file.to_str()].map(|path| path.expect("plain"));
        let set = format!("--bounding-set={dropped}");
        let arguments = [&set, words[0], "--instance", lab.instance(), "up", "-f", words[1]];
        lab.host.tool("setpriv", &arguments).fails_saying(1, &[named, "root"]);
        lab.nothing_left();
    }
}

/// On a kernel that takes no program of ours (here: one that is told to answer so) the feature has a name,
/// and nothing is left.
fn on_too_old_a_kernel() {
    let lab = Lab::bare();
    let file = lab.file("netebpf.yaml", &topology().to_string());
    let mut command = Command::new(binary());
    lab.host.enter(&mut command);
    command.args(["--instance", lab.instance(), "up", "-f"]).arg(file);
    // SAFETY: the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(refuse_programs) };
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["TC programs", "missing", "a newer kernel"] {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    lab.nothing_left();
}

/// Has `bpf(BPF_PROG_LOAD)` answer EINVAL, as a kernel that does not know a program's type.
fn refuse_programs() -> std::io::Result<()> {
    const BPF_PROG_LOAD: u32 = 5;
    // Offsets in `struct seccomp_data`: the system call's number, the low half of its first argument.
    const NUMBER: u32 = 0;
    const FIRST: u32 = 16;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut filter = [
        step(LOAD, NUMBER, 0),
        step(EQUAL, libc::SYS_bpf as u32, 3),
        step(LOAD, FIRST, 0),
        step(EQUAL, BPF_PROG_LOAD, 1),
        step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, 0),
        step(ANSWER, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the filter lives until the call has copied it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// For a table's tests.
trait Said {
    fn few_words(self, what: &str) -> Self;
}

impl Said for Ran {
    /// A wrong file is answered in few words, whatever else is wrong with it.
    fn few_words(self, what: &str) -> Self {
        let lines = self.err.trim().lines().count();
        assert!(lines <= 2, "{what}: {lines} lines: {}", self.err);
        self
    }
}
