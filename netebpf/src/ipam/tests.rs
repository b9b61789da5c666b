//! Subnets, addresses, and every message.

use super::*;
use crate::model::Subnet;
use ipnet::IpNet;
use std::net::IpAddr;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn subnet(range: &str, gateway: &str) -> Subnet {
    Subnet { net: net(range), gateway: ip(gateway), range: None, reserved: Default::default() }
}

fn taken(addresses: &[&str]) -> Taken {
    addresses.iter().map(|text| (ip(text), "web".to_owned())).collect()
}

#[test]
fn the_first_free_subnet_is_chosen() {
    let pools = [
        Pool { base: net("10.0.0.0/30"), size: 31 },
        Pool { base: net("192.168.0.0/16"), size: 20 },
        Pool { base: net("fd00::/8"), size: 64 },
    ];
    let cases: [(bool, &[&str], Option<&str>); 7] = [
        (false, &[], Some("10.0.0.0/31")),
        (false, &["10.0.0.1/32"], Some("10.0.0.2/31")),
        (false, &["10.0.0.0/8"], Some("192.168.0.0/20")),
        (false, &["10.0.0.0/8", "192.168.16.0/24", "192.168.0.0/20"], Some("192.168.32.0/20")),
        (false, &["0.0.0.0/0"], None),
        (true, &["fd00::/9"], Some("fd80::/64")),
        (true, &["fd00::/8", "10.0.0.0/8"], None),
    ];
    for (v6, busy, expected) in cases {
        let busy: Vec<IpNet> = busy.iter().map(|text| net(text)).collect();
        assert_eq!(choose_subnet(&pools, v6, &busy), expected.map(net), "{busy:?}");
    }
}

#[test]
fn the_lowest_free_address_is_chosen() {
    let plain = subnet("10.0.0.0/29", "10.0.0.1");
    let mut ranged = subnet("10.0.0.0/24", "10.0.0.1");
    ranged.range = Some(net("10.0.0.248/29"));
    let mut reserved = plain.clone();
    reserved.reserved.insert("router".to_owned(), ip("10.0.0.2"));
    let all = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    let exhausted =
        "no address is left in 10.0.0.0/29; make the range larger or take endpoints away";
    let cases: [(&Subnet, &[&str], Result<&str, &str>); 9] = [
        (&plain, &[], Ok("10.0.0.2")),
        (&plain, &["10.0.0.2", "10.0.0.4"], Ok("10.0.0.3")),
        (&plain, &all, Err(exhausted)),
        (&reserved, &[], Ok("10.0.0.3")),
        (&ranged, &[], Ok("10.0.0.248")),
        (&subnet("10.0.0.0/31", "10.0.0.0"), &[], Ok("10.0.0.1")),
        (&subnet("fd00::/64", "fd00::1"), &["fd00::2"], Ok("fd00::3")),
        (&subnet("fd00::/127", "fd00::"), &[], Ok("fd00::1")),
        (&subnet("10.0.0.0/29", "10.0.0.6"), &[], Ok("10.0.0.1")),
    ];
    for (subnet, busy, expected) in cases {
        let said = choose_address(subnet, &taken(busy)).map(|a| a.to_string());
        let said = said.map_err(|error| error.to_string());
        assert_eq!(said, expected.map(str::to_owned).map_err(str::to_owned), "{subnet:?}");
    }
}

#[test]
fn a_chosen_address_is_checked() {
    let mut subnet = subnet("10.0.0.0/24", "10.0.0.1");
    subnet.reserved.insert("router".to_owned(), ip("10.0.0.9"));
    let cases = [
        ("10.0.0.7", Ok(())),
        ("10.0.1.7", Err("10.0.1.7 is outside 10.0.0.0/24")),
        ("fd00::1", Err("fd00::1 is outside 10.0.0.0/24")),
        (
            "10.0.0.0",
            Err("10.0.0.0 is the network address of 10.0.0.0/24; one between the two is meant"),
        ),
        (
            "10.0.0.255",
            Err("10.0.0.255 is the broadcast address of 10.0.0.0/24; one between the two is meant"),
        ),
        ("10.0.0.1", Err("10.0.0.1 is the gateway's")),
        ("10.0.0.9", Err("10.0.0.9 is reserved as \"router\"")),
        ("10.0.0.8", Err("Address already in use: 10.0.0.8 is taken by endpoint \"web\"")),
    ];
    for (address, expected) in cases {
        let said = check_address(&subnet, &taken(&["10.0.0.8"]), ip(address));
        assert_eq!(said.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }
}

#[test]
fn a_subnet_that_means_something_else_is_refused() {
    let cases = [
        ("10.0.0.0/24", Ok(())),
        ("100.64.0.0/10", Ok(())),
        ("10.0.0.0/31", Ok(())),
        ("fd00::/64", Ok(())),
        ("0.0.0.0/0", Err("0.0.0.0/8 is kept for \"this network\"")),
        ("127.1.0.0/16", Err("127.0.0.0/8 is kept for loopback")),
        ("239.0.0.0/8", Err("224.0.0.0/3 is kept for multicast and the future")),
        ("fe80::/64", Err("fe80::/10 is kept for link-local addresses")),
        ("::ffff:0:0/96", Err("::/8 is kept for loopback and IPv4-mapped addresses")),
        (
            "10.0.0.1/32",
            Err("a gateway and one endpoint do not fit; a prefix of /31 or shorter is meant"),
        ),
    ];
    for (text, expected) in cases {
        let said = check_subnet(&net(text)).map_err(|error| error.to_string());
        assert_eq!(said, expected.map_err(str::to_owned), "{text}");
    }
}
