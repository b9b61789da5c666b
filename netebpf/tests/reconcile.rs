//! Desired state onto a real kernel, and everything that somebody may break on it.

mod support;

use netebpf::{
    apply::{self, ApplyError, Report},
    kernel::{Kernel, sysctl},
    model::{Desired, Namespace},
    plan::Action,
    state::Instance,
};
use std::time::{Duration, Instant};
use support::{Memory, desired, on_a_host, run};
use tokio::time::sleep;

/// What is broken inside a namespace.
const WITHIN: &str = "default route gone";

async fn up(kernel: &mut Kernel, desired: &Desired, journal: &mut Memory) -> Report {
    apply::reconcile(kernel, desired, journal).await.unwrap()
}

/// Brings the desired state back, and checks that nothing is left to do.
async fn settles(kernel: &mut Kernel, desired: &Desired, journal: &mut Memory) -> Vec<String> {
    let report = up(kernel, desired, journal).await;
    let again = up(kernel, desired, journal).await;
    let text = |report: &Report| -> Vec<String> {
        report.actions.iter().map(ToString::to_string).collect()
    };
    assert_eq!(text(&again), Vec::<String>::new(), "after {:#?}", text(&report));
    text(&report)
}

fn links() -> Vec<String> {
    let text = run("ip -o link");
    text.lines().filter_map(|l| Some(l.split(": ").nth(1)?.to_owned())).collect()
}

fn ping(from: &std::path::Path, to: &str) {
    let from = from.display();
    run(&format!("nsenter --net={from} ping -c 1 -W 3 {to}"));
}

async fn down(kernel: &mut Kernel, journal: &mut Memory, instance: &Instance) {
    let errors: Vec<String> =
        apply::teardown(kernel, journal).await.iter().map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(journal.saved, Default::default());
    assert!(links().iter().all(|link| !link.starts_with('n')), "{:?}", links());
    for name in ["web", "app", "db"] {
        assert!(!instance.namespace(name).exists());
    }
    assert!(!instance.pin_root().exists());
}

#[test]
fn makes_everything_and_takes_everything_away() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let before = (sysctl::read("net/ipv4/conf/up0/forwarding").unwrap(), links());
        let mut kernel = Kernel::open(&instance).unwrap();
        let dry = apply::prepare(&mut kernel, &wanted, &journal).await.unwrap();
        assert!(!dry.actions.is_empty());
        assert_eq!(before.1, links());
        settles(&mut kernel, &wanted, &mut journal).await;
        assert_eq!(sysctl::read("net/ipv4/conf/up0/forwarding").unwrap().as_deref(), Some("1"));
        let web = instance.namespace("web");
        for to in ["10.97.1.1", "10.97.1.11", "fd97:1::1", "fd97:1::11"] {
            ping(&web, to);
        }

        // Another process takes over: nothing to do, and the programs stay where they are.
        drop(kernel);
        let mut kernel = Kernel::open(&instance).unwrap();
        assert_eq!(settles(&mut kernel, &wanted, &mut journal).await, Vec::<String>::new());
        ping(&web, "10.97.1.11");

        down(&mut kernel, &mut journal, &instance).await;
        down(&mut kernel, &mut journal, &instance).await;
        assert_eq!(before, (sysctl::read("net/ipv4/conf/up0/forwarding").unwrap(), links()));
    });
}

#[test]
fn repairs_what_was_broken_by_hand() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        let bridge = wanted.networks["front"].bridge.to_string();
        let veth = wanted.endpoints["web"].attachments[0].host_interface.to_string();
        let web = instance.namespace("web");
        let app = instance.namespace("app");
        let links_dir = instance.pin_dir().join("links");
        type Damage<'a> = Box<dyn Fn() + 'a>;
        let damage: [(&str, Damage<'_>); 9] = [
            ("bridge deleted", Box::new(|| drop(run(&format!("ip link del {bridge}"))))),
            ("bridge down", Box::new(|| drop(run(&format!("ip link set {bridge} down"))))),
            (
                "gateway's address gone",
                Box::new(|| {
                    run(&format!("ip addr del 10.97.1.1/24 dev {bridge}"));
                }),
            ),
            ("veth deleted", Box::new(|| drop(run(&format!("ip link del {veth}"))))),
            (
                "namespace gone",
                Box::new(|| {
                    netebpf::kernel::netns::remove(&instance.namespace("web")).unwrap();
                }),
            ),
            (
                "out of the bridge",
                Box::new(|| {
                    run(&format!("ip link set {veth} nomaster"));
                }),
            ),
            (
                WITHIN,
                Box::new(|| {
                    run(&format!("nsenter --net={} ip route del default", web.display()));
                }),
            ),
            (
                "everything unpinned",
                Box::new(|| std::fs::remove_dir_all(instance.pin_root()).unwrap()),
            ),
            (
                "programs detached",
                Box::new(|| {
                    for pin in std::fs::read_dir(&links_dir).unwrap().flatten() {
                        std::fs::remove_file(pin.path()).unwrap();
                    }
                }),
            ),
        ];
        for (what, harm) in damage {
            harm();
            if what == WITHIN {
                // Seen by one who looks at everything again, as `up` does.
                kernel.look_again();
            }
            let steps = settles(&mut kernel, &wanted, &mut journal).await;
            assert!(!steps.is_empty(), "{what} was not noticed");
            ping(&web, "10.97.1.1");
            ping(&app, "10.97.1.10");
        }
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn a_change_among_more_than_the_kernel_can_queue_is_noticed() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        for change in 0..400 {
            run(&format!("ip link set lo alias n{change}"));
        }
        let veth = wanted.endpoints["web"].attachments[0].host_interface.to_string();
        run(&format!("ip link del {veth}"));
        let steps = settles(&mut kernel, &wanted, &mut journal).await;
        assert!(steps.iter().any(|step| step.contains(&veth)), "{steps:#?}");
        ping(&instance.namespace("web"), "10.97.1.1");
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    on_a_host(|instance| async move {
        let wanted = desired(&instance);
        let mut journal = Memory { broken: true, ..Memory::default() };
        let before = links();
        let mut kernel = Kernel::open(&instance).unwrap();
        let error = apply::reconcile(&mut kernel, &wanted, &mut journal).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("write down the earlier value"), "{error}");
        assert_eq!(before, links());
        assert!(!instance.pin_root().exists());

        // At the last step but one: the endpoint's interface cannot be had under its name.
        let mut journal = Memory::default();
        let mut wanted = desired(&instance);
        let path = instance.namespace("taken");
        netebpf::kernel::netns::create(&path).unwrap();
        run(&format!("nsenter --net={} ip link add eth0 type bridge", path.display()));
        let taken = wanted.endpoint_mut("web").unwrap();
        taken.namespace = Namespace::Existing(path.clone());
        let error = apply::reconcile(&mut kernel, &wanted, &mut journal).await.unwrap_err();
        assert!(matches!(error, ApplyError::Plan(_)), "{error}");
        netebpf::kernel::netns::remove(&path).unwrap();
        assert_eq!(before, links());
        assert!(!instance.namespace("app").exists());
    });
}

#[test]
fn clsact_serves_kernels_without_tcx() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        kernel.avoid_tcx();
        settles(&mut kernel, &wanted, &mut journal).await;
        assert!(run("tc filter show dev up0 ingress").contains("uplink_ingress"));
        drop(kernel);
        // The next process finds them, TCX or not.
        let mut kernel = Kernel::open(&instance).unwrap();
        assert_eq!(settles(&mut kernel, &wanted, &mut journal).await, Vec::<String>::new());
        ping(&instance.namespace("web"), "10.97.1.11");
        down(&mut kernel, &mut journal, &instance).await;
        assert!(!run("tc qdisc show dev up0").contains("clsact"));
    });
}

#[test]
fn an_endpoint_comes_and_goes_while_the_others_stay() {
    on_a_host(|instance| async move {
        let (mut wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        let web = wanted.endpoints.remove("web").unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        assert!(!instance.namespace("web").exists());
        wanted.endpoints.insert("web".to_owned(), web);
        settles(&mut kernel, &wanted, &mut journal).await;
        ping(&instance.namespace("web"), "10.97.1.11");
        // The uplink gets another address, then goes.
        run("ip addr add 192.0.2.77/24 dev up0");
        let steps = settles(&mut kernel, &wanted, &mut journal).await.join("\n");
        assert!(steps.contains("192.0.2.77:8010"), "{steps}");
        run("ip link del up0");
        settles(&mut kernel, &wanted, &mut journal).await;
        ping(&instance.namespace("web"), "10.97.1.11");
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn flows_are_listed_and_their_places_come_back() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        let (web, app) = (instance.namespace("web"), instance.namespace("app"));
        ping(&web, "192.0.2.254");
        ping(&app, "2001:db8::254");
        let flows = kernel.flows().await.unwrap();
        let of = |name: &str| {
            let mut mine = flows.iter().filter(|flow| flow.endpoint.as_deref() == Some(name));
            mine.next().unwrap_or_else(|| panic!("{name} has no flow: {flows:#?}"))
        };
        let flow = of("web");
        assert_eq!((flow.protocol.as_str(), flow.state.as_str()), ("icmp", "REPLIED"));
        assert_eq!(flow.original.source.to_string(), "10.97.1.10");
        assert_eq!(flow.reply.destination.to_string(), "192.0.2.1");
        assert_eq!(flow.packets, [1, 1]);
        assert_eq!(of("app").reply.destination.to_string(), "2001:db8::1");
        let counters = kernel.counters().await.unwrap();
        let of_web = counters.iter().find(|c| c.name.as_deref() == Some("web")).unwrap();
        assert_eq!(of_web.packets.get("forward/masquerade_or_reply"), Some(&1), "{of_web:?}");
        assert_eq!(of_web.flows, 1);
        let hooks = kernel.hooks(&wanted).await.unwrap();
        let xdp = hooks.iter().find(|h| h.program == "uplink_xdp").unwrap();
        assert!(xdp.mechanism.is_none() && xdp.reason.as_deref().unwrap().contains("veth"));

        let removed = kernel.remove_flows(|flow| flow.endpoint.as_deref() == Some("web")).await;
        assert_eq!(removed.unwrap(), 1);
        assert_eq!(kernel.flows().await.unwrap().len(), 1);
        // An endpoint that goes takes its flows along; another process gives the places back.
        let mut without_app = wanted.clone();
        without_app.endpoints.remove("app");
        settles(&mut kernel, &without_app, &mut journal).await;
        assert_eq!(kernel.flows().await.unwrap().len(), 0);
        assert_eq!(kernel.expire_flows().unwrap().ended, 1);
        drop(kernel);
        let mut kernel = Kernel::open(&instance).unwrap();
        assert_eq!(kernel.expire_flows().unwrap().freed, 0);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(kernel.expire_flows().unwrap().freed, 2);
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn a_foreign_pin_is_named_and_replaced() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        let maps = instance.pin_dir().join("maps");
        std::fs::remove_file(maps.join("ENDPOINTS")).unwrap();
        std::fs::rename(maps.join("NETWORKS"), maps.join("ENDPOINTS")).unwrap();
        aya::maps::MapData::from_pin(maps.join("SETTINGS"))
            .unwrap()
            .pin(maps.join("NETWORKS"))
            .unwrap();
        let mut kernel = Kernel::open(&instance).unwrap();
        let steps = settles(&mut kernel, &wanted, &mut journal).await;
        assert!(steps[0].contains("has another layout"), "{steps:#?}");
        ping(&instance.namespace("web"), "192.0.2.254");
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn changes_of_the_host_are_told() {
    use futures_util::StreamExt as _;
    on_a_host(|instance| async move {
        let kernel = Kernel::open(&instance).unwrap();
        let mut changes = kernel.watch().unwrap();
        run("ip addr add 192.0.2.9/24 dev up0");
        let wait = std::time::Duration::from_secs(5);
        let told = async {
            // The kernel's own routes may come in between: a wire was made just now.
            while changes.next().await.unwrap() != netebpf::kernel::Change::Address {}
        };
        tokio::time::timeout(wait, told).await.unwrap();
    });
}

#[test]
fn this_kernel_has_what_is_needed() {
    on_a_host(|_| async {
        assert_eq!(netebpf::kernel::probe::obstacle(), None);
    });
}

#[test]
fn programs_of_an_earlier_version_are_replaced_in_place() {
    on_a_host(|instance| async move {
        let (wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        ping(&instance.namespace("web"), "192.0.2.254");
        let pins = instance.pin_dir();
        let programs = || {
            let names = std::fs::read_dir(&pins).unwrap().flatten().map(|entry| entry.path());
            names.filter(|path| path.to_string_lossy().contains("programs-")).collect::<Vec<_>>()
        };
        let ours = programs();
        // As a process of another version sees it: the programs that run are not its own.
        std::fs::rename(&ours[0], pins.join("programs-0123456789ab")).unwrap();
        let mut kernel = Kernel::open(&instance).unwrap();
        let steps = settles(&mut kernel, &wanted, &mut journal).await;
        assert!(
            steps.iter().any(|step| step == "replace uplink_ingress on up0 (TCX)"),
            "{steps:#?}"
        );
        assert_eq!(programs(), ours);
        // The flows went on.
        assert_eq!(kernel.flows().await.unwrap().len(), 1);
        ping(&instance.namespace("web"), "192.0.2.254");
        down(&mut kernel, &mut journal, &instance).await;
        // The same handle serves the next `up`.
        settles(&mut kernel, &wanted, &mut journal).await;
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn xdp_of_another_layout_makes_room() {
    on_a_host(|instance| async move {
        let (mut wanted, mut journal) = (desired(&instance), Memory::default());
        wanted.xdp = netebpf::model::XdpMode::Native;
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        // As a process sees it whose maps have another layout.
        let pins = instance.pin_dir();
        std::fs::rename(&pins, pins.with_file_name("v0")).unwrap();
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        ping(&instance.namespace("web"), "192.0.2.254");
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn programs_of_another_layout_go_when_an_upgrade_was_cut_short() {
    on_a_host(|instance| async move {
        let (mut wanted, mut journal) = (desired(&instance), Memory::default());
        wanted.xdp = netebpf::model::XdpMode::Native;
        let mut kernel = Kernel::open(&instance).unwrap();
        settles(&mut kernel, &wanted, &mut journal).await;
        let (pins, old) = (instance.pin_dir(), instance.pin_dir().with_file_name("v0"));
        std::fs::rename(&pins, &old).unwrap();
        // A process whose maps have another layout dies before its last step.
        wanted.xdp = netebpf::model::XdpMode::Off;
        let mut kernel = Kernel::open(&instance).unwrap();
        let mut plan = apply::prepare(&mut kernel, &wanted, &journal).await.unwrap();
        assert_eq!(plan.actions.pop(), Some(Action::ForgetOldPrograms));
        apply::execute(&mut kernel, plan, &mut journal).await.unwrap();
        assert!(run("ip link show up0").contains("xdp"));
        let mut kernel = Kernel::open(&instance).unwrap();
        let steps = settles(&mut kernel, &wanted, &mut journal).await;
        assert_eq!(steps, ["unload the programs of earlier versions"]);
        assert!(!old.exists());
        // The kernel takes off what was pinned a little later.
        let deadline = Instant::now() + Duration::from_secs(5);
        while run("ip link show up0").contains("xdp") {
            assert!(Instant::now() < deadline, "XDP of the other layout stays");
            sleep(Duration::from_millis(10)).await;
        }
        ping(&instance.namespace("web"), "192.0.2.254");
        down(&mut kernel, &mut journal, &instance).await;
    });
}

#[test]
fn xdp_runs_where_it_is_told_to() {
    use netebpf::model::{InterfaceName, UplinkChoice, XdpMode};
    on_a_host(|instance| async move {
        let (mut wanted, mut journal) = (desired(&instance), Memory::default());
        let mut kernel = Kernel::open(&instance).unwrap();
        let modes = [
            (XdpMode::Generic, Some("XDP generic")),
            (XdpMode::Native, Some("XDP native")),
            (XdpMode::Off, None),
        ];
        for (mode, expected) in modes {
            wanted.xdp = mode;
            settles(&mut kernel, &wanted, &mut journal).await;
            let hooks = kernel.hooks(&wanted).await.unwrap();
            let xdp = hooks.iter().find(|hook| hook.program == "uplink_xdp").unwrap();
            assert_eq!(xdp.mechanism.as_deref(), expected);
            ping(&instance.namespace("web"), "192.0.2.254");
            // Somebody removes the pin: the kernel lets go of the link a little later.
            for pin in std::fs::read_dir(instance.pin_dir().join("links")).unwrap().flatten() {
                if pin.file_name().to_string_lossy().contains("uplink_xdp") {
                    std::fs::remove_file(pin.path()).unwrap();
                }
            }
            let report = up(&mut kernel, &wanted, &mut journal).await;
            assert_eq!(report.notes, Vec::<String>::new());
            assert_eq!(report.actions.is_empty(), expected.is_none());
        }
        wanted.uplinks = UplinkChoice::Named(vec![InterfaceName::new("nope").unwrap()]);
        let report = up(&mut kernel, &wanted, &mut journal).await;
        assert_eq!(
            report.notes,
            ["uplink nope is not there; it is served as soon as that changes"]
        );
        down(&mut kernel, &mut journal, &instance).await;
    });
}
