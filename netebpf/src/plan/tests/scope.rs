//! A plan about some of the endpoints has the steps that one about all of them has.

use super::*;
use proptest::{collection::vec, prelude::*};

/// What is desired of one endpoint: nothing, or its network and ports.
type Wish = Option<(usize, Vec<(Option<&'static str>, u16)>)>;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn wish() -> impl Strategy<Value = Wish> {
    let address = prop_oneof![
        Just(None),
        Just(Some("192.0.2.1")),
        Just(Some("203.0.113.1")),
        Just(Some("127.0.0.1")),
    ];
    let ports = vec((address, 80_u16..84), 0..3);
    proptest::option::of((0_usize..3, ports))
}

/// Networks of which the third is routed, and the endpoints that were wished for.
fn state(networks: &[Network], all: &[Endpoint], wishes: &[Wish]) -> Desired {
    let endpoints = all.iter().enumerate().zip(wishes).filter_map(|((host, endpoint), wish)| {
        let (on, ports) = wish.as_ref()?;
        let mut wanted = endpoint.clone();
        let mut on_it = super::endpoint(&endpoint.name, &networks[*on], host as u8 + 10);
        on_it.attachments[0].host_interface = InterfaceName::veth(&endpoint.id, &networks[*on].id);
        wanted.attachments = on_it.attachments;
        wanted.ports = ports.iter().map(|(address, number)| port(*address, *number, 80)).collect();
        Some(wanted)
    });
    desired(networks.to_vec(), endpoints.collect())
}

/// What the kernel's room reads for a plan that is not about everything.
fn narrowed(full: &Observed, before: &Desired, after: &Desired) -> Observed {
    let scope = Scope::of(before, after, &BTreeSet::new());
    let prefix = format!("{}endpoint:", full.mark);
    let is_other = |link: &Link| {
        let name =
            link.alias.as_deref().and_then(|alias| alias.strip_prefix(&prefix)?.split(':').next());
        name.is_some_and(|name| !scope.covers(name))
    };
    let others: BTreeSet<u32> =
        full.links.values().filter(|link| is_other(link)).map(|link| link.index).collect();
    let mut observed = full.clone();
    observed.links.retain(|_, link| !is_other(link));
    observed.hooks.retain(|(index, _), _| !others.contains(index));
    let covered = |all: &Desired| -> Vec<std::path::PathBuf> {
        scope.endpoints(all).map(|endpoint| endpoint.namespace.path().to_owned()).collect()
    };
    let paths = [covered(before), covered(after)].concat();
    observed.namespaces.retain(|path, _| paths.contains(path));
    observed.own_namespaces.retain(|path| paths.contains(path));
    (observed.tables, observed.others) =
        full.tables.narrow(&scope, others, [before, after], &full.uplinks);
    Observed { scope, ..observed }
}

proptest! {
    #[test]
    fn some_are_planned_as_all_would_be(
        mut wishes in vec(wish(), NAMES.len()),
        changes in vec((0..NAMES.len(), wish()), 1..8),
    ) {
        let mut networks = vec![network("one", 1), network("two", 2), network("routed", 3)];
        networks[2].gateway_mode_v4 = GatewayMode::Routed;
        let all: Vec<Endpoint> = NAMES.iter().map(|name| endpoint(name, &networks[0], 9)).collect();
        let mut observed = host();
        observed.uplinks = vec![
            uplink("up0", 2, &["192.0.2.1", "203.0.113.1"]),
            // Where one of the endpoints' interfaces stands, too.
            uplink("up1", 2 * INTERFACE_TABLE_SIZE - 5, &["198.51.100.1"]),
        ];
        let mut before = state(&networks, &all, &wishes);
        settle(&before, &mut observed);
        for (which, wish) in changes {
            wishes[which] = wish;
            let after = state(&networks, &all, &wishes);
            let steps = |observed: &Observed| -> Vec<String> {
                let plan = plan(&after, observed).unwrap();
                let mut steps: Vec<_> = plan.actions.iter().map(|step| format!("{step:?}")).collect();
                // Some come from tables without an order.
                steps.sort();
                steps
            };
            prop_assert_eq!(steps(&narrowed(&observed, &before, &after)), steps(&observed));
            settle(&after, &mut observed);
            before = after;
        }
    }
}
