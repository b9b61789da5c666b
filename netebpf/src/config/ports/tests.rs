//! Every form that Docker takes, and every message.

use super::*;

/// One spec as text: `address>host>endpoint/protocol`.
fn shown(specs: &[PublishSpec]) -> Vec<String> {
    let show = |spec: &PublishSpec| {
        let address = spec.host_address.map_or("*".to_owned(), |address| address.to_string());
        format!("{address}>{}>{}/{}", spec.host_port, spec.endpoint_port, spec.transport)
    };
    specs.iter().map(show).collect()
}

#[test]
fn every_form_of_docker_is_read() {
    let cases: [(&str, &[&str]); 15] = [
        ("80", &["*>any>80/tcp"]),
        (":80", &["*>any>80/tcp"]),
        ("8080:80", &["*>8080>80/tcp"]),
        ("8080:80/tcp", &["*>8080>80/tcp"]),
        ("53:53/udp", &["*>53>53/udp"]),
        ("53:53/UDP", &["*>53>53/udp"]),
        ("127.0.0.1:8080:80", &["127.0.0.1>8080>80/tcp"]),
        ("127.0.0.1::80", &["127.0.0.1>any>80/tcp"]),
        ("[::1]:8080:80", &["::1>8080>80/tcp"]),
        ("[::1]::80", &["::1>any>80/tcp"]),
        ("::1:8080:80", &["::1>8080>80/tcp"]),
        ("0.0.0.0:80:80", &["0.0.0.0>80>80/tcp"]),
        ("80-82", &["*>any>80/tcp", "*>any>81/tcp", "*>any>82/tcp"]),
        ("8000-8001:80-81/udp", &["*>8000>80/udp", "*>8001>81/udp"]),
        ("8000-8010:80", &["*>8000-8010>80/tcp"]),
    ];
    for (text, expected) in cases {
        assert_eq!(
            parse(text).as_deref().map(shown),
            Ok(expected.iter().map(ToString::to_string).collect()),
            "{text}"
        );
    }
    assert_eq!(parse("8000-8010:80-90").map(|specs| specs.len()), Ok(11));
}

#[test]
fn every_wrong_form_has_its_message() {
    let no_port = "the endpoint's port is missing; write [ADDRESS:][HOST PORT:]PORT[/PROTOCOL]";
    let address =
        "is not an address of the host; one such as 127.0.0.1 or [::1] is meant, and no name";
    let brackets = "an IPv6 address stands in brackets, with a colon after them: [::1]:8080:80";
    let cases = [
        ("", no_port.to_owned()),
        ("8080:", no_port.to_owned()),
        ("[::1]:80", no_port.to_owned()),
        ("/udp", no_port.to_owned()),
        ("http", "\"http\" is not a port; a number from 1 to 65535 is meant".to_owned()),
        ("+80", "\"+80\" is not a port; a number from 1 to 65535 is meant".to_owned()),
        ("80-", "\"\" is not a port; a number from 1 to 65535 is meant".to_owned()),
        ("0", "0 is not a port to publish; leave the host's port out for any free one".to_owned()),
        (
            "0:80",
            "0 is not a port to publish; leave the host's port out for any free one".to_owned(),
        ),
        ("65536:80", "65536 is larger than 65535, the last port".to_owned()),
        (
            "99999999999999999999",
            "99999999999999999999 is larger than 65535, the last port".to_owned(),
        ),
        ("90-80", "the range 90-80 runs backwards; write 80-90".to_owned()),
        (
            "8000-8002:80-81",
            "3 ports of the host for 2 of the endpoint; ranges of one length are meant".to_owned(),
        ),
        (
            "8000:80-81",
            "1 ports of the host for 2 of the endpoint; ranges of one length are meant".to_owned(),
        ),
        (
            "80/sctp",
            "\"sctp\" is not a protocol with ports to publish; tcp or udp is meant".to_owned(),
        ),
        ("80/", "\"\" is not a protocol with ports to publish; tcp or udp is meant".to_owned()),
        ("localhost:80:80", format!("\"localhost\" {address}")),
        ("::80", format!("\"\" {address}")),
        ("10.0.0.256:80:80", format!("\"10.0.0.256\" {address}")),
        ("[::1:8080:80", brackets.to_owned()),
        ("[::1]8080:80", brackets.to_owned()),
        ("[]:80:80", format!("\"\" {address}")),
    ];
    for (text, message) in cases {
        let said = parse(text).map(|specs| shown(&specs)).map_err(|error| error.to_string());
        assert_eq!(said, Err(format!("port {text:?}: {message}")));
    }
}
