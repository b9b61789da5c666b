//! A small model of what each step does, and that nothing is known which is no longer so.

use super::*;

/// What the kernel would have after an action.
pub(super) fn performed(observed: &mut Observed, action: &Action) {
    let links = &mut observed.links;
    match action.clone() {
        Action::LoadPrograms { .. } => (observed.loaded, observed.pinned) = (true, true),
        Action::Unload => {
            (observed.loaded, observed.pinned, observed.old_programs) = (false, false, false);
            observed.tables = Tables::default();
            observed.hooks.clear();
        }
        Action::DiscardPins { .. } => {
            (observed.foreign_pin, observed.old_programs) = (None, false);
        }
        Action::SaveSysctl { name, value } => {
            observed.saved_sysctls.entry(name).or_insert(value);
        }
        Action::SetSysctl { name, value, earlier, save } => {
            if let (true, Some(earlier)) = (save, earlier) {
                observed.saved_sysctls.entry(name.clone()).or_insert(earlier);
            }
            observed.sysctls.insert(name, value);
        }
        Action::RestoreSysctl { name, value } => {
            observed.saved_sysctls.remove(&name);
            observed.sysctls.insert(name, value);
        }
        Action::CreateBridge(spec) => {
            let link = Link {
                index: spec.index,
                name: spec.name.clone(),
                kind: Some("bridge".to_owned()),
                ethernet: true,
                mac: Some(spec.mac),
                mtu: spec.mtu,
                alias: Some(spec.alias),
                ..Link::default()
            };
            links.insert(spec.name, link);
        }
        Action::CreatePair { spec, namespace } => {
            let side = Link {
                kind: Some(spec.device.kind().to_owned()),
                ethernet: true,
                mtu: spec.mtu,
                gso: spec.gso,
                alias: Some(spec.alias),
                ..Link::default()
            };
            let inside = Link {
                index: 2,
                name: spec.peer_name.clone(),
                mac: Some(spec.peer_mac),
                peer: Some(spec.index),
                ..side.clone()
            };
            observed.namespaces.get_mut(&namespace).unwrap().insert(spec.peer_name, inside);
            let master = Some(spec.bridge);
            let outside = Link { index: spec.index, name: spec.name.clone(), master, ..side };
            links.insert(spec.name, outside);
        }
        Action::ChangeLink { name, change, .. } => {
            let link = links.get_mut(&name).unwrap();
            link.up = change.up.unwrap_or(link.up);
            link.mtu = change.mtu.unwrap_or(link.mtu);
            link.gso = change.gso.unwrap_or(link.gso);
            link.master = change.master.or(link.master);
            link.mac = change.mac.or(link.mac);
            link.alias = change.alias.or(link.alias.take());
        }
        Action::SetAddress { name, address, present, .. } => {
            let addresses = &mut links.get_mut(&name).unwrap().addresses;
            if present {
                addresses.insert(address)
            } else {
                addresses.remove(&address)
            };
        }
        Action::CreateNamespace { path } => {
            let lo = Link { index: 1, name: "lo".to_owned(), ..Link::default() };
            observed.namespaces.insert(path.clone(), BTreeMap::from([("lo".to_owned(), lo)]));
            observed.own_namespaces.insert(path);
        }
        Action::Configure(spec) => {
            let inside = observed.namespaces.get_mut(&spec.namespace).unwrap();
            inside.get_mut("lo").unwrap().up = true;
            let link = inside.get_mut(&spec.name).unwrap();
            (link.up, link.mtu, link.gso) = (true, spec.mtu, spec.gso);
            link.alias = Some(spec.alias);
            link.addresses.extend(spec.addresses);
            link.gateways.extend(spec.gateways);
            link.gateways.retain(|gateway| !spec.no_gateways.contains(gateway));
        }
        Action::SetInterface { new: Some(entry), .. } => {
            let place = |index: u32| index % INTERFACE_TABLE_SIZE;
            let others = |index: &u32| place(*index) != place(entry.ifindex);
            observed.tables.interfaces.retain(|index, _| others(index));
            observed.tables.interfaces.insert(entry.ifindex, entry);
        }
        Action::SetInterface { new: None, earlier, .. } => {
            observed.tables.interfaces.remove(&earlier.unwrap().ifindex);
        }
        Action::SetEndpoint { address, new, .. } => {
            set(&mut observed.tables.endpoints, address, new);
        }
        Action::SetSource { range, present: true } => drop(observed.tables.sources.insert(range)),
        Action::SetSource { range, present: false } => {
            observed.tables.sources.remove(&range);
        }
        Action::SetNetwork { prefix, new, .. } => match new {
            Some(range) => drop(observed.tables.networks.insert(prefix, range)),
            None => drop(observed.tables.networks.remove(&prefix)),
        },
        Action::Publish(PortChanges { outside, local, announced, silenced }) => {
            let tables = &mut observed.tables;
            let lead = |ports: &mut HashMap<_, _>, changes: Vec<PublishChange>| {
                for PublishChange { key, new, .. } in changes {
                    match new {
                        Some(value) => drop(ports.insert(key, value)),
                        None => drop(ports.remove(&key)),
                    }
                }
            };
            lead(&mut tables.published, outside);
            lead(&mut tables.local_ports, local);
            let leads = |port: &(u32, [u8; 2])| {
                let mut keys = tables.published.keys().chain(tables.local_ports.keys());
                keys.any(|key| (key.protocol, key.port) == *port)
            };
            assert!(announced.iter().all(leads), "{announced:?}");
            assert!(!silenced.iter().any(leads), "{silenced:?}");
        }
        Action::SetHostAddresses { added, removed } => {
            let known = &mut observed.tables.host_addresses;
            known.extend(added);
            known.retain(|address| !removed.contains(address));
        }
        Action::Attach { index, hook, mechanism, .. } => {
            observed.hooks.insert((index, hook), Attached { mechanism, current: true });
        }
        Action::Detach { index, hook, .. } => drop(observed.hooks.remove(&(index, hook))),
        Action::RemovePin { path } => observed.dead_pins.retain(|pin| *pin != path),
        Action::ForgetOldPrograms => observed.old_programs = false,
        Action::DeleteLink { name, index } => {
            links.remove(&name);
            for inside in observed.namespaces.values_mut() {
                inside.retain(|_, link| link.peer != Some(index));
            }
        }
        Action::RemoveNamespace { path } => {
            observed.namespaces.remove(&path);
            observed.own_namespaces.remove(&path);
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// What the kernel's room knows once it has read everything.
pub(super) fn known(observed: &Observed) -> Known {
    let stamp = netns::Stamp::default();
    let inside = observed.namespaces.iter();
    Known {
        tables: Some(observed.tables.clone()),
        hooks: Some(observed.hooks.clone()),
        namespaces: inside.map(|(path, links)| (path.clone(), (stamp, links.clone()))).collect(),
        ..Known::default()
    }
}

/// Nothing is known that is no longer so.
pub(super) fn still_true(known: &Known, observed: &Observed) {
    assert!(known.tables.as_ref().is_none_or(|known| *known == observed.tables));
    assert!(known.hooks.as_ref().is_none_or(|known| *known == observed.hooks));
    for (path, (_, links)) in &known.namespaces {
        assert_eq!(Some(links), observed.namespaces.get(path), "{}", path.display());
    }
}
