//! Defaults and messages.

use super::*;

#[test]
fn the_defaults_are_dockers() {
    let settings = parse("", "config.toml", b"host").unwrap();
    assert_eq!(settings, Settings::new(b"host"));
    let pools: Vec<String> =
        settings.pools.iter().map(|pool| format!("{} {}", pool.base, pool.size)).collect();
    assert_eq!(pools.len(), 16);
    assert_eq!(pools[0], "172.18.0.0/16 16");
    assert_eq!(pools[13], "172.31.0.0/16 16");
    assert_eq!(pools[14], "192.168.0.0/16 20");
    let ula = settings.pools[15].base;
    assert!(ula.to_string().starts_with("fd") && ula.prefix_len() == 48, "{ula}");
    assert_ne!(Settings::new(b"other").pools[15].base, ula);
    assert_eq!(settings.bip.gateway.to_string(), "172.17.0.1");
    assert_eq!(settings.snat_ports, (32_768, 60_999));
    assert_eq!(
        load(Path::new("/nonexistent/config.toml")).unwrap().pools[..15],
        settings.pools[..15]
    );
}

#[test]
fn every_setting_is_read() {
    let text = r#"
        bip = "10.1.0.254/24"
        snat_port_range = "40000-50000"
        default_address_pools = [{ base = "10.2.0.0/16", size = 24 }]
        [flows]
        capacity = 4096
        quota = 1024
        embryonic_quota = 100
        [dns]
        upstreams = ["9.9.9.9", "127.0.0.1:5353", "fd00::1", "[fd00::1]:5353"]
    "#;
    let settings = parse(text, "config.toml", b"host").unwrap();
    assert_eq!(settings.bip.net.to_string(), "10.1.0.0/24");
    assert_eq!(settings.bip.gateway.to_string(), "10.1.0.254");
    assert_eq!(settings.snat_ports, (40_000, 50_000));
    assert_eq!((settings.flow_capacity, settings.flow_quota), (4096, 1024));
    assert_eq!(settings.embryonic_quota, 100);
    let upstreams: Vec<String> = settings.upstreams.iter().map(ToString::to_string).collect();
    assert_eq!(upstreams, ["9.9.9.9:53", "127.0.0.1:5353", "[fd00::1]:53", "[fd00::1]:5353"]);
    let bases: Vec<bool> = settings.pools.iter().map(|pool| pool.base.addr().is_ipv6()).collect();
    assert_eq!(bases, [true, false], "IPv6 keeps its default pool");
}

#[test]
fn every_wrong_setting_has_its_message() {
    let cases = [
        (
            "[dns]\nupstreams = [\"nine\"]",
            "dns: upstreams: \"nine\" is wrong; write ADDRESS or ADDRESS:PORT, such as 9.9.9.9 or \
             [fd00::1]:5353",
        ),
        (
            "api.listen = [\"127.0.0.1:2380\"]",
            "api: it is not there yet, a later version reads it; take it out",
        ),
        (
            "bip = \"172.17.0.0/16\"",
            "bip: 172.17.0.0/16 is no address in the middle of its subnet; write it as 172.17.0.1/16",
        ),
        (
            "bip = \"172.17.0.1/32\"",
            "bip: 172.17.0.1/32 is no address in the middle of its subnet; write it as 172.17.0.1/16",
        ),
        (
            "snat_port_range = \"5-3\"",
            "snat_port_range: \"5-3\" is wrong; write FIRST-LAST, such as 32768-60999",
        ),
        (
            "snat_port_range = \"0-3\"",
            "snat_port_range: \"0-3\" is wrong; write FIRST-LAST, such as 32768-60999",
        ),
        ("flows.capacity = 1", "flows: capacity 1 has to be from 1024 to 16777216"),
        (
            "flows = {capacity = 2048, quota = 4096}",
            "flows: quota 4096 has to be from 1 to the capacity, 2048",
        ),
        (
            "default_address_pools = [{base = \"10.0.0.1/8\", size = 24}]",
            "default_address_pools: 10.0.0.1/8 has host bits set; 10.0.0.0/8 is meant",
        ),
        (
            "default_address_pools = [{base = \"10.0.0.0/16\", size = 8}]",
            "default_address_pools: subnets of /8 do not fit 10.0.0.0/16; a size from 16 to 30 is meant",
        ),
    ];
    for (text, message) in cases {
        let said = parse(text, "config.toml", b"").map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(said, Err(format!("config.toml: {message}")));
    }
    let error = parse("\nbib = 5", "config.toml", b"").unwrap_err().to_string();
    assert!(error.starts_with("config.toml: TOML parse error at line 2, column 1"), "{error}");
    assert!(
        error.contains("unknown field `bib`, expected one of `default_address_pools`"),
        "{error}"
    );
}

#[test]
fn a_small_host_does_not_pay_for_a_large_one() {
    const GIB: u64 = 1 << 30;
    for (memory, capacity) in [
        (0, 8_064),
        (GIB / 8, 8_064),
        (GIB / 2, 16_128),
        (GIB, 32_256),
        (2 * GIB, 64_512),
        (4 * GIB, 129_024),
        (1024 * GIB, 129_024),
    ] {
        assert_eq!(capacity_for(memory), capacity, "{memory} bytes");
        let defaults = Settings { flow_capacity: capacity, ..Settings::new(b"host") };
        let settings = parse_over("", "f", defaults).unwrap();
        assert_eq!((settings.flow_quota, settings.embryonic_quota), (capacity / 2, capacity / 8));
    }
}
