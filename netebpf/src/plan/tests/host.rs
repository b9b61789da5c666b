//! What plans do to the host itself: forwarding, foreign things in the way, uplinks and their programs.

use super::*;

fn six() -> Subnet {
    Subnet {
        net: "fd97::/64".parse().unwrap(),
        gateway: "fd97::1".parse().unwrap(),
        range: None,
        reserved: BTreeMap::new(),
    }
}

#[test]
fn ipv6_forwarding_without_a_switch_for_each_interface() {
    let mut wanted = two_networks();
    wanted.networks.get_mut("front").unwrap().subnets.push(six());
    let mut observed = host();
    observed.sysctls.insert("net/ipv6/conf/vpn/forwarding".to_owned(), "1".to_owned());
    let before = observed.sysctls.clone();
    let steps = settle(&wanted, &mut observed);
    let at = |step: &str| steps.iter().position(|said| said == step);
    let (saved, set) = (
        at("write down net/ipv6/conf/vpn/forwarding = 1"),
        at("set net/ipv6/conf/all/forwarding = 1 (was 0)"),
    );
    assert!(saved.is_some() && saved < set, "{steps:#?}");
    assert!(at("set net/ipv6/conf/up0/accept_ra = 2 (was 1)").is_some(), "{steps:#?}");
    let steps = settle(&Desired::default(), &mut observed);
    let at = |step: &str| steps.iter().position(|said| said == step).unwrap();
    assert!(
        at("restore net/ipv6/conf/all/forwarding = 0")
            < at("restore net/ipv6/conf/vpn/forwarding = 1")
    );
    for (name, value) in before {
        assert_eq!(observed.sysctls.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn ipv6_forwarding_with_a_switch_for_each_interface() {
    let mut wanted = two_networks();
    wanted.networks.get_mut("front").unwrap().subnets.push(six());
    let mut observed = host();
    observed.sysctls.insert("net/ipv6/conf/default/force_forwarding".to_owned(), "0".to_owned());
    observed.sysctls.insert("net/ipv6/conf/up0/force_forwarding".to_owned(), "0".to_owned());
    let before = observed.sysctls.clone();
    let steps = settle(&wanted, &mut observed);
    let at = |step: &str| steps.iter().position(|said| said == step);
    let (accept, own) = (
        at("set net/ipv6/conf/up0/accept_ra = 2 (was 1)"),
        at("set net/ipv6/conf/up0/forwarding = 1 (was 0)"),
    );
    assert!(accept.is_some() && accept < own, "{steps:#?}");
    assert!(at("set net/ipv6/conf/up0/force_forwarding = 1 (was 0)").is_some(), "{steps:#?}");
    assert!(!steps.iter().any(|step| step.contains("conf/all/")), "{steps:#?}");
    settle(&Desired::default(), &mut observed);
    for (name, value) in before {
        assert_eq!(observed.sysctls.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn an_internal_network_forwards_nothing_and_leads_nowhere() {
    let mut back = network("back", 1);
    back.internal = true;
    let mut db = endpoint("db", &back, 10);
    db.ports = vec![port(None, 5432, 5432)];
    let wanted = desired(vec![back], vec![db]);
    let mut observed = host();
    let steps = settle(&wanted, &mut observed).join("\n");
    assert!(!steps.contains("forwarding") && !steps.contains("default route"), "{steps}");
    assert!(!steps.contains("publish"), "{steps}");
    assert!(steps.contains("attach uplink_ingress"), "the way in is guarded: {steps}");
}

#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    let wanted = two_networks();
    let bridge = wanted.networks["front"].bridge.to_string();
    let mut observed = host();
    let cut_short = Link {
        index: 9,
        name: bridge.clone(),
        kind: Some("bridge".to_owned()),
        mac: Some(wanted.networks["front"].mac.0),
        ..Link::default()
    };
    let mine = Some("mine".to_owned());
    let address = BTreeSet::from(["10.0.0.1/24".parse().unwrap()]);
    for foreign in [
        Link { alias: mine, ..cut_short.clone() },
        Link { up: true, ..cut_short.clone() },
        Link { addresses: address, ..cut_short.clone() },
        Link { mac: Some(Mac([2; 6])), ..cut_short.clone() },
    ] {
        observed.links.insert(bridge.clone(), foreign);
        let refused = Err(PlanError::NotOurs { name: bridge.clone() });
        assert_eq!(plan(&wanted, &observed), refused);
    }
    observed.links.insert(bridge, cut_short);
    assert!(plan(&wanted, &observed).is_ok(), "ours: made, but not yet marked");

    let path = std::path::PathBuf::from("/run/netns/web");
    let mut observed = host();
    observed.namespaces.insert(path.clone(), BTreeMap::new());
    let endpoint = "web".to_owned();
    assert_eq!(
        plan(&wanted, &observed),
        Err(PlanError::NamespaceExists { endpoint, path: path.clone() })
    );

    let mut existing = wanted.clone();
    existing.endpoint_mut("web").unwrap().namespace = Namespace::Existing(path.clone());
    let plan = plan(&existing, &host()).unwrap();
    assert_eq!(
        plan.notes,
        ["endpoint web is left out: its namespace /run/netns/web is gone"],
        "somebody removed it: the rest is made"
    );
    assert!(!plan.actions.iter().any(|action| action.to_string().contains("web")));
}

#[test]
fn a_second_instance_on_one_host_is_refused() {
    let (wanted, mut observed) = (two_networks(), host());
    let bridge = |index: u32, alias: &str| Link {
        index,
        name: format!("br{index}"),
        kind: Some("bridge".to_owned()),
        alias: Some(alias.to_owned()),
        ..Link::default()
    };
    observed.links.insert("br7".to_owned(), bridge(7, "netebpf:other:network:front:0123456789ab"));
    let other = "other".to_owned();
    assert_eq!(plan(&wanted, &observed), Err(PlanError::OtherInstance { other }));
    assert!(plan(&Desired::default(), &observed).is_ok(), "down does its work");
    observed.links.insert("br8".to_owned(), bridge(8, "netebpf:t:network:back:0123456789ab"));
    assert!(plan(&wanted, &observed).is_ok(), "we were here, too");
}

#[test]
fn old_programs_go_whether_ours_are_loaded_or_not() {
    let (wanted, mut observed) = (two_networks(), host());
    let forget = "unload the programs of earlier versions";
    (observed.pinned, observed.old_programs) = (true, true);
    assert_eq!(settle(&wanted, &mut observed).last().unwrap(), forget, "an upgrade");
    observed.old_programs = true;
    assert_eq!(settle(&wanted, &mut observed), [forget], "an upgrade that was cut short");
}

#[test]
fn xdp_by_mode_and_device() {
    let hardware = uplink("eth0", 2, &["192.0.2.1"]);
    let veth = Uplink { kind: Some("veth".to_owned()), ..hardware.clone() };
    let joins = Uplink { joins: true, ..hardware.clone() };
    let trunk = Uplink { vlan: Some("eth0.7".to_owned()), ..hardware.clone() };
    let without = Uplink { index: 3, ..hardware.clone() };
    let native = (without.index, Hook::UplinkXdp, Mechanism::XdpNative);
    let refused = Refusals::from([(native, "it knows none".to_owned())]);
    let table = [
        (XdpMode::Off, &hardware, None, "--xdp native"),
        (XdpMode::Off, &without, None, "--xdp native"),
        (XdpMode::Off, &veth, None, "a veth"),
        (XdpMode::Off, &joins, None, "rx-gro-hw"),
        (XdpMode::Native, &hardware, Some(Mechanism::XdpNative), "asked for"),
        (XdpMode::Native, &without, None, "asked for; no XDP native: it knows none"),
        (XdpMode::Native, &joins, Some(Mechanism::XdpNative), "asked for; its driver joins"),
        (XdpMode::Native, &trunk, Some(Mechanism::XdpNative), "VLAN eth0.7"),
        (XdpMode::Native, &veth, Some(Mechanism::XdpNative), "asked for; a veth"),
        (XdpMode::Generic, &veth, Some(Mechanism::XdpGeneric), "asked for"),
        (XdpMode::Generic, &without, Some(Mechanism::XdpGeneric), "asked for"),
    ];
    for (mode, uplink, mechanism, reason) in table {
        let choice = XdpChoice::new(mode, uplink, &refused);
        assert_eq!(choice.mechanism, mechanism, "{mode:?}: {}", choice.reason);
        assert!(choice.reason.contains(reason), "{mode:?}: {}", choice.reason);
    }
    assert_eq!(serde_json::from_str::<XdpMode>("\"auto\"").unwrap(), XdpMode::Off);
}

#[test]
fn xdp_that_was_refused_is_one_step_away() {
    let (mut wanted, mut observed) = (two_networks(), host());
    wanted.xdp = XdpMode::Native;
    let refused = (2, Hook::UplinkXdp, Mechanism::XdpNative);
    observed.refused.insert(refused, "it knows none".to_owned());
    let steps = settle(&wanted, &mut observed);
    assert!(!steps.iter().any(|step| step.contains("xdp")), "{steps:#?}");
    observed.refused.clear();
    assert_eq!(settle(&wanted, &mut observed), ["attach uplink_xdp on up0 (XDP native)"]);
}

#[test]
fn xdp_goes_before_what_it_stands_on() {
    let (mut wanted, mut observed) = (two_networks(), host());
    let mut without = |change: &dyn Fn(&mut Desired, &mut Observed)| {
        wanted.xdp = XdpMode::Native;
        settle(&wanted, &mut observed);
        change(&mut wanted, &mut observed);
        let steps = settle(&wanted, &mut observed);
        let at = |step: &str| steps.iter().position(|said| said.starts_with(step));
        let xdp = at("detach uplink_xdp from up0 (XDP native)").unwrap();
        let [entry, tc] = ["update up0", "detach uplink_ingress"].map(at);
        assert!([entry, tc].into_iter().flatten().all(|step| xdp < step), "{steps:#?}");
        assert_ne!(entry, tc, "one of them changes: {steps:#?}");
    };
    without(&|wanted, _| wanted.xdp = XdpMode::Off);
    without(&|_, observed| observed.uplinks.clear());
}

#[test]
fn named_uplinks_that_are_not_there_are_noted() {
    let mut wanted = two_networks();
    wanted.uplinks = UplinkChoice::Named(vec![InterfaceName::new("eth9").unwrap()]);
    let observed = Observed { uplinks: Vec::new(), ..host() };
    let notes = plan(&wanted, &observed).unwrap().notes;
    assert_eq!(notes, ["uplink eth9 is not there; it is served as soon as that changes"]);
}
