//! Answers, from a topology file to the bytes.

use super::{
    names::{Forward, Names, View, views},
    question,
    resolv_conf::ResolvConf,
    served::{Changes, Served},
    *,
};
use crate::{
    config::{settings::Settings, topology},
    model::{
        Desired, DnsChoice, Endpoint, Network,
        resolve::{self, Context, HostFacts},
    },
    state::Instance,
};
use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    str::FromStr as _,
    sync::{Arc, LazyLock},
};

const FILE: &str = r#"
name: lab
networks:
  front:
    enable_ipv6: true
    ipam: {config: [{subnet: 10.10.0.0/24}, {subnet: "fd10::/64"}]}
  back: {internal: true, ipam: {config: [{subnet: 10.20.0.0/24}]}}
  six: {enable_ipv4: false, enable_ipv6: true, ipam: {config: [{subnet: "fd30::/64"}]}}
services:
  web:
    networks:
      front: {ipv4_address: 10.10.0.10, ipv6_address: "fd10::10", aliases: [www, Both]}
      back: {ipv4_address: 10.20.0.10}
  app: {networks: {front: {ipv4_address: 10.10.0.11, ipv6_address: "fd10::11", aliases: [both]}}}
  db: {networks: {back: {ipv4_address: 10.20.0.12}}}
  v6: {networks: {six: {ipv6_address: "fd30::13"}, back: {ipv4_address: 10.20.0.13}}}
  own: {networks: [front], dns: [192.0.2.53, "2001:db8::53"]}
"#;

static DESIRED: LazyLock<Desired> = LazyLock::new(|| desired(FILE));

fn desired(file: &str) -> Desired {
    let (topology, _) =
        topology::parse(file, "netebpf.yaml", Default::default()).expect("a good file");
    let (facts, settings) = (HostFacts::default(), Settings::new(b"test"));
    let instance = Instance::from_str("default").expect("a good name");
    let context = Context { facts: &facts, settings: &settings, instance: &instance };
    resolve::apply_topology(&Desired::default(), &topology, context).expect("it fits")
}

fn view(endpoint: &str) -> View {
    views(&DESIRED, false).remove(endpoint).expect("it is on a network with names")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn ask(endpoint: &str, message: &Message, turn: u32, transport: Transport) -> Option<Message> {
    let mut out = Vec::new();
    let bytes = message.to_vec().expect("encodable");
    match answer(&bytes, &view(endpoint), turn, transport, &mut out) {
        Outcome::Answer => Some(Message::from_vec(&out).expect("a DNS message")),
        _ => None,
    }
}

/// Code and data of the answers.
fn data(endpoint: &str, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
    let answer = ask(endpoint, &query(name, kind), 0, Transport::Udp)?;
    assert_eq!(answer.metadata.id, 4711);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    assert!(answer.answers.iter().all(|record| record.ttl == TTL));
    let data = answer.answers.iter().map(|record| match &record.data {
        RData::A(v4) => v4.0.to_string(),
        RData::AAAA(v6) => v6.0.to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => panic!("{other:?}"),
    });
    Some((answer.metadata.response_code, data.collect()))
}

#[test]
fn names_are_those_of_shared_networks() {
    use RecordType::{A, AAAA, ANY, MX, PTR, TXT};
    let id = DESIRED.endpoints["app"].id.short();
    let good = ResponseCode::NoError;
    let cases: &[(&str, &str, RecordType, &[&str])] = &[
        ("web", "app.", A, &["10.10.0.11"]),
        ("web", "APP", A, &["10.10.0.11"]),
        ("web", "app.front.", A, &["10.10.0.11"]),
        ("web", "app.Front.", AAAA, &["fd10::11"]),
        ("web", id, A, &["10.10.0.11"]),
        ("web", "app.", ANY, &["10.10.0.11", "fd10::11"]),
        ("web", "app.", MX, &[]),
        ("web", "app.", TXT, &[]),
        ("web", "web.", A, &["10.20.0.10", "10.10.0.10"]),
        ("web", "web.back.", A, &["10.20.0.10"]),
        ("app", "web.", A, &["10.10.0.10"]),
        ("app", "www.", A, &["10.10.0.10"]),
        ("app", "www.front.", AAAA, &["fd10::10"]),
        ("db", "web.", A, &["10.20.0.10"]),
        ("db", "web.", AAAA, &[]),
        ("db", "v6.", AAAA, &[]),
        ("v6", "v6.", AAAA, &["fd30::13"]),
        ("web", "11.0.10.10.in-addr.arpa.", PTR, &["app.front."]),
        ("web", "12.0.20.10.in-addr.arpa.", PTR, &["db.back."]),
        ("web", "11.0.10.10.in-addr.arpa.", TXT, &[]),
        (
            "app",
            "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.d.f.ip6.arpa.",
            PTR,
            &["web.front."],
        ),
    ];
    for (endpoint, name, kind, expected) in cases {
        let (code, data) = data(endpoint, name, *kind).expect("known");
        assert_eq!((code, data), (good, expected.map_owned()), "{endpoint} asks {name} {kind}");
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|word| (*word).to_owned()).collect()
    }
}

#[test]
fn what_is_not_ours_goes_to_others_or_to_nobody() {
    use RecordType::{A, PTR};
    for (endpoint, name, kind) in [
        ("app", "db.", A),
        ("app", "web.back.", A),
        ("app", "example.com.", A),
        ("app", "single.", A),
        ("app", ".", RecordType::NS),
        ("app", "1.2.0.192.in-addr.arpa.", PTR),
        ("app", "10.in-addr.arpa.", PTR),
        ("app", "x.1.2.3.in-addr.arpa.", PTR),
    ] {
        assert_eq!(data(endpoint, name, kind), None, "{name}");
    }
    let nobody = Some((ResponseCode::NXDomain, Vec::new()));
    // Another network's, the gateway's, and one that nobody has.
    for address in ["12.0.20.10", "1.0.10.10", "99.0.10.10"] {
        assert_eq!(data("app", &format!("{address}.in-addr.arpa."), PTR), nobody, "{address}");
    }
    // On internal networks only: nothing goes outside, as with Docker.
    let failed = Some((ResponseCode::ServFail, Vec::new()));
    assert_eq!(data("db", "example.com.", A), failed);
    assert_eq!(data("db", "app.", A), failed);
    assert_eq!(data("db", "1.2.0.192.in-addr.arpa.", PTR), failed);
    assert_eq!(view("db").forward, Forward::Never);
    assert_eq!(view("v6").forward, Forward::Host, "one of its networks leads outside");
    let own = ["192.0.2.53:53", "[2001:db8::53]:53"].map(|text| text.parse().expect("good"));
    assert_eq!(view("own").forward, Forward::To(own.into()));
}

#[test]
fn an_alias_of_several_takes_turns() {
    let first = |turn| {
        let answer = ask("web", &query("both.", RecordType::A), turn, Transport::Udp);
        let answers = answer.expect("known").answers;
        assert_eq!(answers.len(), 2);
        match answers[0].data {
            RData::A(v4) => v4.0.to_string(),
            _ => panic!("an address"),
        }
    };
    assert_eq!([first(0), first(1), first(2)], ["10.10.0.11", "10.10.0.10", "10.10.0.11"]);
}

#[test]
fn the_default_network_has_no_names() {
    let mut desired = DESIRED.clone();
    let front = desired.networks.remove("front").expect("it is there");
    desired.networks.insert("bridge".to_owned(), Network { name: "bridge".to_owned(), ..front });
    let names: Vec<String> = desired.endpoints.keys().cloned().collect();
    for name in names {
        let joined = &mut desired.endpoint_mut(&name).expect("it is there").attachments;
        for joined in joined.iter_mut().filter(|joined| joined.network == "front") {
            joined.network = "bridge".to_owned();
        }
    }
    assert!(!views(&desired, false).contains_key("app"));
    let all = views(&desired, true);
    assert_eq!(all["app"].find(b"\x03app\0", true, true), None);
    assert_eq!(all["app"].forward, Forward::Host);
    assert!(!all.contains_key("own"), "it asks the resolvers that its user named");
    assert!(all["web"].find(b"\x02db\0", true, true).is_some(), "its other network has");
}

/// With a thousand others there, a change is one endpoint's, and who was there before knows it without being told.
#[test]
fn a_change_costs_what_it_changes() {
    let file = |count: usize| {
        let services: String =
            (0..count).map(|n| format!("  s{n}: {{networks: [front]}}\n")).collect();
        let network = "networks: {front: {ipam: {config: [{subnet: 10.10.0.0/16}]}}}";
        desired(&format!("name: lab\n{network}\nservices:\n{services}"))
    };
    let mut now = file(1000);
    let host = Arc::new(ResolvConf::parse(""));
    let (mut served, mut names) = (Served::default(), Names::default());
    let first = served.changes(&now, &host);
    assert_eq!((first.endpoints.len(), first.all), (1000, true));
    names.follow(&now, &first.endpoints);
    assert_eq!(served.changes(&now, &host), Changes { endpoints: BTreeSet::new(), all: false });
    let key = |name: &str| question::key(&Name::from_ascii(name).expect("a name"));
    let view = names.view(&now, &now.endpoints["s1"], false).expect("on a network");
    let find = |view: &View, name: &str| view.find(&key(name), true, true);
    assert_eq!(find(&view, "new"), None);
    // One comes, two have an alias from now on, one goes.
    let mut new = Endpoint::clone(&now.endpoints["s7"]);
    new.name = "new".to_owned();
    new.attachments[0].v4 = Some([10, 10, 200, 1].into());
    now.endpoints.insert("new".to_owned(), new.into());
    for name in ["s7", "s8"] {
        let endpoint = now.endpoint_mut(name).expect("there");
        endpoint.attachments[0].aliases.push("both".to_owned());
    }
    now.endpoints.remove("s9");
    let changes = served.changes(&now, &host);
    let expected = ["new", "s7", "s8", "s9"].map(str::to_owned);
    assert_eq!(changes, Changes { endpoints: expected.into(), all: false });
    names.follow(&now, &changes.endpoints);
    let address = IpAddr::from([10, 10, 200, 1]);
    assert_eq!(find(&view, "new"), Some(vec![address]));
    assert_eq!(view.name_of(address), Some(key("new.front")));
    assert_eq!(find(&view, "s9"), None);
    assert_eq!(find(&view, "both").map(|all| all.len()), Some(2));
    // What one leaves another takes, in one change.
    let of_seven = now.endpoints["s7"].attachments[0].v4;
    now.endpoint_mut("new").expect("there").attachments[0].v4 = of_seven;
    now.endpoints.remove("s7");
    names.follow(&now, &served.changes(&now, &host).endpoints);
    assert_eq!((find(&view, "s7"), view.name_of(address)), (None, None));
    assert_eq!(view.name_of(of_seven.expect("one").into()), Some(key("new.front")));
    // As if all had been made at once.
    let whole = views(&now, false);
    for name in ["s1", "new", "both", "s8.front", "s7", "s9"] {
        assert_eq!(find(&view, name), find(&whole["s1"], name), "{name}");
    }
    let other = Arc::new(ResolvConf::parse(""));
    assert!(served.changes(&now, &other).all, "the host's file is another one");
}

#[test]
fn an_answer_is_never_longer_than_the_asker_takes() {
    let services: String = (2..200)
        .map(|host| format!("  s{host}: {{networks: {{front: {{ipv4_address: 10.10.0.{host}, aliases: [all]}}}}}}\n"))
        .collect();
    let file = format!(
        "name: lab\nnetworks: {{front: {{ipam: {{config: [{{subnet: 10.10.0.0/24}}]}}}}}}\nservices:\n{services}"
    );
    let view = views(&desired(&file), false).remove("s2").expect("on a network");
    let mut plain = query("all.", RecordType::A);
    let mut with = |size: Option<u16>, transport| {
        if let Some(size) = size {
            let mut edns = Edns::new();
            edns.set_max_payload(size).set_dnssec_ok(true);
            plain.set_edns(edns);
        }
        let mut out = Vec::new();
        let bytes = plain.to_vec().expect("encodable");
        assert_eq!(answer(&bytes, &view, 7, transport, &mut out), Outcome::Answer);
        let answer = Message::from_vec(&out).expect("a DNS message");
        if let Some(edns) = &answer.edns {
            assert!(edns.flags().dnssec_ok && edns.version() == 0);
        }
        (out.len(), answer.answers.len(), answer.metadata.truncation, answer.edns.is_some())
    };
    assert_eq!(with(None, Transport::Udp), (501, 30, true, false));
    assert_eq!(with(None, Transport::Tcp), (3189, 198, false, false));
    assert_eq!(with(Some(100), Transport::Udp), (512, 30, true, true), "512 at least");
    assert_eq!(with(Some(1232), Transport::Udp), (1232, 75, true, true));
    assert_eq!(with(Some(65_535), Transport::Udp), (3200, 198, false, true));
}

#[test]
fn what_is_wrong_has_its_code() {
    let code = |bytes: &[u8]| {
        let mut out = Vec::new();
        let outcome = answer(bytes, &view("app"), 0, Transport::Udp, &mut out);
        (outcome == Outcome::Answer).then(|| {
            let answer = Message::from_vec(&out).expect("a DNS message");
            assert_eq!(answer.metadata.id.to_be_bytes(), bytes[..2]);
            answer.metadata.response_code
        })
    };
    let whole = query("web.", RecordType::A).to_vec().expect("encodable");
    assert_eq!(code(&whole), Some(ResponseCode::NoError));
    assert_eq!(code(&[]), None);
    assert_eq!(code(&whole[..1]), None);
    for length in 2..whole.len() {
        assert_eq!(code(&whole[..length]), Some(ResponseCode::FormErr), "{length}");
    }
    let mut response = whole.clone();
    response[2] |= 0x80;
    assert_eq!(code(&response), None, "an answer is never answered");
    let mut two = whole.clone();
    two[5] = 2;
    assert_eq!(code(&two), Some(ResponseCode::FormErr));
    for op_code in [OpCode::Notify, OpCode::Update, OpCode::Status] {
        let mut other = query("web.", RecordType::A);
        other.metadata.op_code = op_code;
        let bytes = other.to_vec().expect("encodable");
        assert_eq!(code(&bytes), Some(ResponseCode::NotImp), "{op_code:?}");
    }
    let mut later = query("web.", RecordType::A);
    later.set_edns(Edns::new().set_version(1).clone());
    // Number 16 has two names.
    assert_eq!(code(&later.to_vec().expect("encodable")), Some(ResponseCode::BADSIG));
    let transfer = query("web.", RecordType::AXFR).to_vec().expect("encodable");
    assert_eq!(code(&transfer), Some(ResponseCode::NotImp));
    let mut chaos = query("web.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos.to_vec().expect("encodable")), Some(ResponseCode::NoError));
    // A name that points at the header's bytes.
    let pointing = [&whole[..12], &[0xc0, 4, 0, 1, 0, 1]].concat();
    assert_eq!(code(&pointing), Some(ResponseCode::FormErr));
}

#[test]
fn only_what_was_asked_is_an_answer() {
    let asked = query("Example.com.", RecordType::A).to_vec().expect("encodable");
    let question = question::read(&asked).expect("good");
    let good = |name: &str, kind, id: u16| {
        let mut message = query(name, kind).into_response();
        message.metadata.id = id;
        question::is_answer(&message.to_vec().expect("encodable"), 7, &question).is_some()
    };
    assert!(good("example.com.", RecordType::A, 7), "resolvers may change the case");
    assert!(!good("example.com.", RecordType::A, 8));
    assert!(!good("example.com.", RecordType::AAAA, 7));
    assert!(!good("example.org.", RecordType::A, 7));
    assert!(question::is_answer(&asked, 4711, &question).is_none(), "a question is none");
    assert!(question::is_answer(&asked[..7], 4711, &question).is_none());
}

#[test]
fn resolv_conf_is_the_hosts_through_us() {
    let host = ResolvConf::parse(
        "# a comment\nnameserver 192.0.2.53\nnameserver 127.0.0.53\nnameserver nonsense\n\
         domain old.example\nsearch example.com corp.example ; why not\noptions ndots:2 timeout:1\n\
         options edns0\nnameserver 2001:db8::53\n",
    );
    let none = DnsChoice::default();
    assert_eq!(
        host.through_us("# mark", &none),
        "# mark\nnameserver 127.0.0.11\nsearch example.com corp.example\n\
         options ndots:0 timeout:1 edns0\n"
    );
    assert_eq!(
        host.of_the_host("# mark", &none, false).as_deref(),
        Some(
            "# mark\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n\
             search example.com corp.example\noptions ndots:2 timeout:1 edns0\n"
        )
    );
    let word = |text: &str| text.parse().expect("a word");
    let choice = DnsChoice {
        servers: vec![IpAddr::from([192, 0, 2, 1])],
        search: vec![word(".")],
        options: vec![word("ndots:5")],
    };
    assert_eq!(
        host.through_us("# mark", &choice),
        "# mark\nnameserver 127.0.0.11\noptions ndots:5\n"
    );
    assert_eq!(
        host.of_the_host("# mark", &choice, false).as_deref(),
        Some("# mark\nnameserver 192.0.2.1\noptions ndots:5\n")
    );
    let loopback = ResolvConf::parse("nameserver 127.0.0.53\n");
    assert!(loopback.is_only_for_the_host() && !host.is_only_for_the_host());
    assert_eq!(loopback.of_the_host("# mark", &none, false), None);
    assert_eq!(
        loopback.of_the_host("# mark", &none, true).as_deref(),
        Some("# mark\nnameserver 127.0.0.53\n")
    );
    let many: String = (1..=5).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
    let asked = ResolvConf::parse(&many).servers;
    assert_eq!(
        asked.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>(),
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    );
    let empty = ResolvConf::parse("");
    assert_eq!(empty.servers, ["127.0.0.1:53".parse().expect("an address")]);
}

#[test]
fn a_word_of_resolv_conf_stays_one() {
    for wrong in ["", "a b", "a\nnameserver 192.0.2.1", "a#b", "ü"] {
        assert!(wrong.parse::<crate::model::DnsWord>().is_err(), "{wrong:?}");
    }
}

/// A query, some of its bytes changed, some cut off, some added.
fn nearly_a_query() -> impl Strategy<Value = Vec<u8>> {
    let names = ["web", "both.front", "x.example", "11.0.10.10.in-addr.arpa", "1.ip6.arpa", "."];
    let kinds = [1_u16, 28, 12, 15, 16, 255, 252, 41, 250, 64, 65_535];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let rest = prop::collection::vec(any::<u8>(), 0..40);
    (
        prop::sample::select(names.to_vec()),
        prop::sample::select(kinds.to_vec()),
        any::<Option<u16>>(),
        changes,
        rest,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(name, kind, size, changes, rest, end, cut)| {
            let mut message = query(name, kind.into());
            if let Some(size) = size {
                message.set_edns(Edns::new().set_max_payload(size).clone());
            }
            let mut bytes = message.to_vec().expect("encodable");
            bytes.extend(rest);
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

/// Whatever comes, what goes out is an answer to it, and fits.
fn holds(bytes: &[u8]) {
    for endpoint in ["web", "db"] {
        let view = view(endpoint);
        for (transport, most) in [(Transport::Udp, 4096), (Transport::Tcp, 65_535)] {
            let mut out = Vec::new();
            match answer(bytes, &view, 3, transport, &mut out) {
                Outcome::Answer => {
                    let answer = Message::from_vec(&out).expect("a DNS message");
                    assert!(out.len() <= most);
                    assert_eq!(answer.metadata.id.to_be_bytes(), bytes[..2]);
                    assert!(out[2] & 0x80 != 0 && answer.queries.len() <= 1);
                }
                Outcome::Forward => {
                    let question = question::read(bytes).expect("only a good one is forwarded");
                    assert_ne!(view.forward, Forward::Never);
                    assert_eq!(view.find(&question::key(&question.name), true, true), None);
                }
                Outcome::Silence => assert!(bytes.len() < 2 || bytes[2] & 0x80 != 0),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        holds(&bytes);
    }

    #[test]
    fn nearly_good_queries_are_answered_or_not(bytes in nearly_a_query()) {
        holds(&bytes);
    }

    #[test]
    fn any_file_is_read(text in "[a-z0-9 .:#;%\n]{0,200}") {
        let read = ResolvConf::parse(&text);
        prop_assert!(!read.servers.is_empty());
    }
}
