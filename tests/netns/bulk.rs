//! Every byte of bulk transfers, on all three ways, with offloads on and off.

use netebpf_tests::lab::{
    Family, Lab, Ns, both, eventually,
    family::{C2, HOST, SERVER},
    needs, topology,
    traffic::bulk,
};
use std::{net::SocketAddr, process::Stdio};

netebpf_tests::tests![every_byte, every_byte_without_offloads, iperf3];

const MANY: usize = 64 << 20;
const LISTEN: u16 = 5001;

/// One of the three ways that a packet can take.
struct Way {
    client: Ns,
    server: Ns,
    to: fn(Family) -> SocketAddr,
}

impl Way {
    fn bulk(&self, family: Family, bytes: usize) {
        bulk(&self.client, &self.server, LISTEN, (self.to)(family), bytes);
    }
}

fn ways(lab: &Lab) -> [Way; 3] {
    let [c1, c2] = ["c1", "c2"].map(|name| lab.endpoint(name));
    let way =
        |client: &Ns, server: &Ns, to| Way { client: client.clone(), server: server.clone(), to };
    [
        way(&c1, &c2, |family| C2.port(family, LISTEN)),
        way(&c1, &lab.server, |family| SERVER.port(family, LISTEN)),
        way(&lab.server, &c1, |family| HOST.port(family, 8001)),
    ]
}

fn published() -> Lab {
    Lab::up(&topology().ports("c1", &["8001:5001"]))
}

fn every_byte() {
    let lab = published();
    both(|family| {
        ways(&lab).iter().for_each(|way| way.bulk(family, MANY));
    });
}

fn every_byte_without_offloads() {
    let lab = published();
    for endpoint in ["c1", "c2"] {
        lab.endpoint(endpoint).offloads("eth0", false);
    }
    lab.server.offloads("eth0", false);
    lab.host.offloads("up0", false);
    both(|family| {
        ways(&lab).iter().for_each(|way| way.bulk(family, MANY / 8));
    });
    // Whatever one side has switched off, the other may use.
    lab.server.offloads("eth0", true);
    lab.endpoint("c1").offloads("eth0", true);
    both(|family| {
        ways(&lab).iter().for_each(|way| way.bulk(family, MANY / 8));
    });
    lab.host.offloads("up0", true);
}

/// The tool that people try first, both directions.
fn iperf3() {
    needs("iperf3");
    let lab = published();
    both(|family| {
        for Way { client, server, to } in ways(&lab) {
            let (address, port) = (to(family).ip().to_string(), to(family).port().to_string());
            for options in ["", "--reverse", "--udp --bitrate 200M"] {
                // A published port of UDP would be another one.
                if options.starts_with("--udp") && to(family).ip() == HOST.of(family) {
                    continue;
                }
                let mut command = server.command("iperf3");
                command.args(["--server", "--one-off", "--port", &LISTEN.to_string()]);
                let mut serving = command.stdout(Stdio::null()).spawn().expect("iperf3 runs");
                let filter = format!("sport = :{LISTEN}");
                let listens = || !server.tool("ss", &["-Hltn", &filter]).out.is_empty();
                eventually("iperf3 to listen", listens);
                let fixed = ["--client", &address, "--port", &port, "--bytes", "20M"];
                let options: Vec<&str> = options.split_whitespace().collect();
                client.tool("iperf3", &[&fixed[..], &options].concat()).ok();
                serving.wait().expect("our own child");
            }
        }
    });
}
