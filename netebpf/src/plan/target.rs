//! What the kernel should have: every index, entry and attachment decided.

use super::{
    Attached, GsoChoice, GsoSizes, LOOPBACK, Link, Mechanism, Observed, PlanError, Tables, Uplink,
    places::Places, published, sysctls, xdp::XdpChoice,
};
use crate::{
    kernel::{BridgeSpec, Hook, InterfaceSpec, LOST, NETKIT_LOST, PairSpec, SHORTCUT_LOST},
    model::{
        Attachment, Desired, Device, Endpoint, GatewayMode, Namespace, Network, Subnet,
        UplinkChoice, XdpMode,
    },
};
use ipnet::IpNet;
use netebpf_common::abi::{
    self, Address, INTERFACE_TABLE_SIZE, Interface, InterfaceKind, InterfaceOptions, Mac, Prefix,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

/// A bridge as it should be.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    pub(super) spec: BridgeSpec,
    /// The longest packets that its endpoints' interfaces are given to be cut.
    pub(super) gso: GsoSizes,
    pub(super) addresses: BTreeSet<IpNet>,
    /// Whether the host forwards for it.
    pub(super) routed: bool,
}

impl Bridge {
    pub(super) fn has_family(&self, v6: bool) -> bool {
        self.addresses.iter().any(|address| address.addr().is_ipv6() == v6)
    }
}

/// A pair of devices as it should be, and the endpoint's side of it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) spec: PairSpec,
    pub(super) inside: InterfaceSpec,
    /// Whether the pair is there already, as it should be.
    pub(super) exists: bool,
}

/// A program on an interface as it should be.
#[derive(Clone, Debug)]
pub(super) struct HookTarget {
    pub(super) interface: String,
    pub(super) mechanism: Mechanism,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Target {
    pub(super) programs: bool,
    pub(super) bridges: BTreeMap<String, Bridge>,
    pub(super) namespaces: BTreeSet<PathBuf>,
    pub(super) pairs: Vec<Pair>,
    pub(super) tables: Tables,
    /// Names of the interfaces in `tables`, for people.
    pub(super) names: BTreeMap<u32, String>,
    pub(super) hooks: BTreeMap<(u32, Hook), HookTarget>,
    pub(super) host_sysctls: BTreeMap<String, String>,
    pub(super) own_sysctls: BTreeMap<String, String>,
    /// What cannot be had now.
    pub(super) notes: Vec<String>,
}

impl Target {
    pub(super) fn new(desired: &Desired, observed: &Observed) -> Result<Self, PlanError> {
        let mut target = Self { programs: !desired.networks.is_empty(), ..Self::default() };
        target.note_missing_devices(desired, observed);
        if let (true, Some(other)) = (target.programs, observed.other_instance()) {
            return Err(PlanError::OtherInstance { other: other.to_owned() });
        }
        let mut places = Places::new(observed);
        let default_mtu = default_mtu(&observed.uplinks);
        for network in desired.networks.values() {
            let (mode, device) = (desired.big_tcp, observed.links.get(LOOPBACK));
            let gso = GsoChoice::of(network, mode, &observed.uplinks, device).sizes;
            target.add_network(observed, network, (default_mtu, gso), &mut places)?;
        }
        for endpoint in observed.scope.endpoints(desired) {
            if !target.add_namespace(observed, endpoint)? {
                continue;
            }
            for attachment in &endpoint.attachments {
                if let Some(network) = desired.networks.get(&attachment.network) {
                    target.add_attachment(observed, endpoint, attachment, network, &mut places)?;
                }
            }
        }
        if target.programs {
            target.exempt(desired, &observed.no_masquerade);
            for uplink in &observed.uplinks {
                target.add_uplink(desired, observed, uplink, &mut places)?;
            }
        }
        target.note_missing_uplinks(desired, observed);
        target.note_missing_addresses(desired, observed);
        let ports = published::expand(desired, &observed.scope, &observed.uplinks);
        (target.tables.published, target.tables.sources) = (ports.published, ports.sources);
        target.notes.extend(ports.notes);
        if target.programs {
            target.tables.local_ports = ports.local;
            target.add_host_addresses(observed);
            target.add_socket_hooks(desired, observed);
            target.add_shortcut(desired, observed);
        }
        sysctls::fill(&mut target, observed);
        Ok(target)
    }

    /// Destinations for which no source is translated. Part of a network of ours is none: its own entry must be found.
    fn exempt(&mut self, desired: &Desired, ranges: &[IpNet]) {
        let subnets = || desired.networks.values().flat_map(|network| &network.subnets);
        for range in ranges {
            if let Some(subnet) = subnets().find(|subnet| subnet.net.contains(range)) {
                self.notes.push(format!(
                    "no_masquerade: {range} is left out: it lies in {}, which is a network's",
                    subnet.net
                ));
                continue;
            }
            let prefix = Prefix::new(range.network(), range.prefix_len());
            self.tables.networks.insert(prefix, abi::NetworkRange::NEVER_MASQUERADED);
        }
    }

    fn add_interface(
        &mut self,
        name: &str,
        entry: Interface,
        places: &mut Places<'_>,
    ) -> Result<Interface, PlanError> {
        let entry = places.settle(entry)?;
        self.tables.interfaces.insert(entry.ifindex, entry);
        self.names.insert(entry.ifindex, name.to_owned());
        Ok(entry)
    }

    fn add_hook(&mut self, index: u32, name: &str, hook: Hook, mechanism: Mechanism) {
        let interface = name.to_owned();
        self.hooks.insert((index, hook), HookTarget { interface, mechanism });
    }

    fn add_uplink(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        uplink: &Uplink,
        places: &mut Places<'_>,
    ) -> Result<(), PlanError> {
        let place = |index: u32| index % INTERFACE_TABLE_SIZE;
        let same = |index: &u32| place(*index) == place(uplink.index);
        let named = self.names.iter().find(|(index, _)| same(index)).map(|(_, name)| name.as_str());
        let other =
            observed.others.interfaces.iter().any(same).then_some("an endpoint's interface");
        if let Some(other) = named.or(other) {
            self.notes.push(format!(
                "uplink {} is left out: its index and that of {other} cannot be told apart by the \
                 packet path; plugging it in again gives it another",
                uplink.name
            ));
            return Ok(());
        }
        // Also where the driver refuses: it costs nothing there.
        let options = match desired.xdp {
            XdpMode::Off => InterfaceOptions::default(),
            XdpMode::Native | XdpMode::Generic => InterfaceOptions::XDP,
        };
        let entry = Interface {
            ifindex: uplink.index,
            kind: InterfaceKind::Uplink as u32,
            options,
            mtu: uplink.mtu,
            v4: uplink.v4.map_or(Address::NONE, Into::into),
            v6: uplink.v6.map_or(Address::NONE, Into::into),
            mac: uplink.mac,
            ..Interface::FREE
        };
        self.add_interface(&uplink.name, entry, places)?;
        for hook in [Hook::UplinkIngress, Hook::UplinkEgress] {
            let mechanism = tc_mechanism(observed, uplink.index, hook);
            self.add_hook(uplink.index, &uplink.name, hook, mechanism);
        }
        if let Some(mechanism) = XdpChoice::new(desired.xdp, uplink, &observed.refused).mechanism {
            self.add_hook(uplink.index, &uplink.name, Hook::UplinkXdp, mechanism);
        }
        Ok(())
    }

    /// Uplinks, bridges and whatever else has an address.
    fn add_host_addresses(&mut self, observed: &Observed) {
        let others = observed.links.values().filter(|link| !observed.is_ours(link));
        let others = others.flat_map(|link| link.addresses.difference(&link.duplicates));
        let others = others.map(IpNet::addr);
        let uplinks = observed.uplinks.iter().flat_map(|uplink| uplink.addresses.iter().copied());
        let bridges = self.bridges.values().flat_map(|bridge| &bridge.addresses).map(IpNet::addr);
        let all = others.chain(uplinks).chain(bridges).filter(|address| !address.is_loopback());
        self.tables.host_addresses = all.map(Address::from).collect();
    }

    fn add_socket_hooks(&mut self, desired: &Desired, observed: &Observed) {
        let Some(reason) = &observed.no_socket_hooks else {
            for hook in Hook::of_sockets() {
                let name = Hook::HOST_PROGRAMS;
                self.add_hook(Hook::NO_INTERFACE, name, hook, Mechanism::Cgroup);
            }
            return;
        };
        let endpoints = || observed.scope.endpoints(desired);
        let ports = || endpoints().flat_map(|e| e.ports.iter().map(move |p| (e, p)));
        if ports().next().is_some() {
            self.notes.push(format!("{LOST}: {reason}"));
        }
        for (endpoint, mapping) in ports() {
            if let Some(address) = mapping.host_address.filter(|a| a.to_canonical().is_loopback()) {
                self.notes.push(format!(
                    "endpoint {}: port {}: published on {address}: it has no effect: {reason}",
                    endpoint.name, mapping.endpoint_port
                ));
            }
        }
    }

    fn add_shortcut(&mut self, desired: &Desired, observed: &Observed) {
        let networks = desired.networks.values().filter(|network| network.shortcut);
        let names: Vec<&str> = networks.map(|network| network.name.as_str()).collect();
        match &observed.no_shortcut {
            _ if names.is_empty() => {}
            Some(reason) => {
                self.notes.push(format!("network {}: {SHORTCUT_LOST}: {reason}", names.join(", ")));
            }
            None => {
                let (hook, name) = (Hook::ShortcutOpened, Hook::HOST_PROGRAMS);
                self.add_hook(Hook::NO_INTERFACE, name, hook, Mechanism::Cgroup);
            }
        }
    }

    fn note_missing_devices(&mut self, desired: &Desired, observed: &Observed) {
        let Some(reason) = &observed.no_netkit else { return };
        let networks = desired.networks.values().filter(|n| n.device == Device::Netkit);
        let names: Vec<&str> = networks.map(|network| network.name.as_str()).collect();
        self.notes.push(format!("network {}: {NETKIT_LOST}: {reason}", names.join(", ")));
    }

    fn note_missing_uplinks(&mut self, desired: &Desired, observed: &Observed) {
        let UplinkChoice::Named(names) = &desired.uplinks else { return };
        for name in names {
            if !observed.uplinks.iter().any(|uplink| uplink.name == name.as_str()) {
                let state = match observed.links.get(name.as_str()) {
                    None => "is not there",
                    Some(link) if link.mac.is_none() => "has no Ethernet address",
                    Some(_) => "has no address",
                };
                self.notes
                    .push(format!("uplink {name} {state}; it is served as soon as that changes"));
            }
        }
    }

    fn note_missing_addresses(&mut self, desired: &Desired, observed: &Observed) {
        for network in desired.networks.values() {
            let fixed = [network.snat_v4.map(IpAddr::from), network.snat_v6.map(IpAddr::from)];
            for address in fixed.into_iter().flatten() {
                if !observed.uplinks.iter().any(|uplink| uplink.addresses.contains(&address)) {
                    self.notes.push(format!(
                        "network {}: no uplink has the address {address} that its packets leave \
                         with; they are not answered until one does",
                        network.name
                    ));
                }
            }
        }
    }

    fn add_network(
        &mut self,
        observed: &Observed,
        network: &Network,
        (default_mtu, gso): (u32, GsoSizes),
        places: &mut Places<'_>,
    ) -> Result<(), PlanError> {
        let name = network.bridge.as_str();
        let existing = observed.links.get(name);
        // One that was made and not yet marked when the process died: the mark comes right after, before
        // anything else is done to it.
        let cut_short = |link: &Link| {
            link.alias.is_none()
                && !link.up
                && link.addresses.is_empty()
                && link.mac == Some(network.mac.0)
        };
        if let Some(link) = existing
            && (link.kind.as_deref() != Some("bridge")
                || !(observed.is_ours(link) || cut_short(link)))
        {
            return Err(PlanError::NotOurs { name: name.to_owned() });
        }
        let index = match existing {
            Some(link) => link.index,
            None => places.index()?,
        };
        let mtu = network.mtu.unwrap_or(default_mtu);
        let joined = |subnet: &&Subnet| {
            network.gateway_mode(subnet.net.addr().is_ipv6()) != GatewayMode::Isolated
        };
        let addresses: BTreeSet<_> = network
            .subnets
            .iter()
            .filter(joined)
            .filter_map(|subnet| IpNet::new(subnet.gateway, subnet.net.prefix_len()).ok())
            .collect();
        let spec = BridgeSpec {
            name: name.to_owned(),
            index,
            mac: network.mac.0,
            mtu,
            alias: format!("{}network:{}:{}", observed.mark, network.name, network.id.short()),
        };
        let gateway = |v6| {
            let subnet = network.subnet(v6).filter(joined);
            subnet.map_or(Address::NONE, |subnet| subnet.gateway.into())
        };
        let entry = Interface {
            kind: InterfaceKind::Gateway as u32,
            v4: gateway(false),
            v6: gateway(true),
            mac: network.mac.0,
            ..member(network, index, mtu)
        };
        self.add_interface(name, entry, places)?;
        let mechanism = tc_mechanism(observed, index, Hook::GatewayEgress);
        self.add_hook(index, name, Hook::GatewayEgress, mechanism);
        for subnet in &network.subnets {
            let prefix = Prefix::new(subnet.net.network(), subnet.net.prefix_len());
            self.tables.networks.insert(prefix, abi::NetworkRange { network: network.number });
        }
        let bridge = Bridge { spec, gso, addresses, routed: !network.internal };
        self.bridges.insert(name.to_owned(), bridge);
        Ok(())
    }

    /// `false` where there is no namespace to put anything in.
    fn add_namespace(
        &mut self,
        observed: &Observed,
        endpoint: &Endpoint,
    ) -> Result<bool, PlanError> {
        let path = endpoint.namespace.path().to_owned();
        let exists = observed.namespaces.contains_key(&path);
        match &endpoint.namespace {
            Namespace::Own(_) if exists && !observed.own_namespaces.contains(&path) => {
                Err(PlanError::NamespaceExists { endpoint: endpoint.name.clone(), path })
            }
            Namespace::Own(_) => {
                self.namespaces.insert(path);
                Ok(true)
            }
            // Its owner removed it, which must not hold up the others. Whoever asks for a new endpoint
            // in a namespace checks that it is there.
            Namespace::Existing(_) if !exists => {
                let (name, path) = (&endpoint.name, path.display());
                self.notes
                    .push(format!("endpoint {name} is left out: its namespace {path} is gone"));
                Ok(false)
            }
            Namespace::Existing(_) => Ok(true),
            // Nothing of its own is in it.
            Namespace::Host | Namespace::Of(..) => Ok(false),
        }
    }

    fn add_attachment(
        &mut self,
        observed: &Observed,
        endpoint: &Endpoint,
        attachment: &Attachment,
        network: &Network,
        places: &mut Places<'_>,
    ) -> Result<(), PlanError> {
        let name = attachment.host_interface.as_str();
        let namespace = endpoint.namespace.path().to_owned();
        let Mac(gateway_mac) = network.mac.0;
        let (bridge_index, mtu, gso) = match self.bridges.get(network.bridge.as_str()) {
            Some(bridge) => (bridge.spec.index, bridge.spec.mtu, bridge.gso),
            None => return Ok(()),
        };
        let existing = observed.links.get(name);
        if let Some(link) = existing
            && (!link.is_of_pair() || (link.alias.is_some() && !observed.is_ours(link)))
        {
            return Err(PlanError::NotOurs { name: name.to_owned() });
        }
        let device = match observed.no_netkit {
            Some(_) => Device::Veth,
            None => network.device,
        };
        // Healthy: both sides are there, belong together, and the inner one is where it should be.
        let inside = observed
            .namespaces
            .get(&namespace)
            .and_then(|links| links.get(attachment.interface.as_str()));
        let healthy = existing.filter(|host| {
            let wanted = host.kind.as_deref() == Some(device.kind());
            inside.filter(|_| wanted).is_some_and(|inside| {
                inside.peer == Some(host.index) && inside.mac == Some(attachment.mac.0)
            })
        });
        // One of ours that is not this one goes first, with its host-side.
        if healthy.is_none()
            && let Some(inside) = inside
            && !observed.is_ours(inside)
        {
            return Err(PlanError::InterfaceExists {
                endpoint: endpoint.name.clone(),
                name: attachment.interface.to_string(),
            });
        }
        let index = match healthy {
            Some(link) => link.index,
            None => places.index()?,
        };
        let (v4, v6) = (attachment.v4.map(IpAddr::from), attachment.v6.map(IpAddr::from));
        let addresses: BTreeSet<_> = [v4, v6]
            .into_iter()
            .flatten()
            .filter_map(|address| {
                let subnet = network.subnet(address.is_ipv6())?;
                IpNet::new(address, subnet.net.prefix_len()).ok()
            })
            .collect();
        let ours = addresses.iter();
        let ours: BTreeSet<_> = ours
            .filter_map(|address| Some(network.subnet(address.addr().is_ipv6())?.gateway))
            .collect();
        let leads_out = attachment.default_route && !network.internal;
        let (gateways, no_gateways) =
            if leads_out { (ours, BTreeSet::new()) } else { (BTreeSet::new(), ours) };
        let alias = format!("{}endpoint:{}:{}", observed.mark, endpoint.name, network.name);
        let leaves_with = |own: Option<IpAddr>, fixed: Option<IpAddr>, v6| {
            let address = if network.keeps_sources(v6) { own } else { fixed };
            address.map_or(Address::NONE, Into::into)
        };
        let (mechanism, options) = match device {
            Device::Veth => {
                let mechanism = tc_mechanism(observed, index, Hook::EndpointIngress);
                (mechanism, InterfaceOptions::default())
            }
            Device::Netkit => (Mechanism::Netkit, InterfaceOptions::NETKIT),
        };
        let member = member(network, index, mtu);
        let entry = Interface {
            kind: InterfaceKind::Endpoint as u32,
            options: member.options.with(options),
            v4: v4.map_or(Address::NONE, Into::into),
            v6: v6.map_or(Address::NONE, Into::into),
            snat_v4: leaves_with(v4, network.snat_v4.map(IpAddr::from), false),
            snat_v6: leaves_with(v6, network.snat_v6.map(IpAddr::from), true),
            mac: attachment.mac.0,
            gateway_mac: Mac(gateway_mac),
            gateway_ifindex: bridge_index,
            ..member
        };
        let entry = self.add_interface(name, entry, places)?;
        for address in [v4, v6].into_iter().flatten() {
            let value = abi::Endpoint {
                ifindex: index,
                network: network.number,
                slot: entry.slot,
                generation: entry.generation,
                mtu,
                mac: attachment.mac.0,
                gateway_mac: Mac(gateway_mac),
                options: entry.options,
            };
            self.tables.endpoints.insert(address.into(), value);
        }
        self.add_hook(index, name, Hook::EndpointIngress, mechanism);
        self.pairs.push(Pair {
            spec: PairSpec {
                device,
                name: name.to_owned(),
                index,
                bridge: bridge_index,
                mtu,
                gso,
                alias: alias.clone(),
                peer_name: attachment.interface.to_string(),
                peer_mac: attachment.mac.0,
            },
            inside: InterfaceSpec {
                namespace,
                name: attachment.interface.to_string(),
                alias,
                mtu,
                gso,
                addresses,
                gateways,
                own_sysctls: attachment.own_sysctls(),
                no_gateways,
            },
            exists: healthy.is_some(),
        });
        Ok(())
    }
}

/// What the entries of all interfaces of a network have in common.
fn member(network: &Network, ifindex: u32, mtu: u32) -> Interface {
    let prefix = |v6| network.subnet(v6).map_or(0, |subnet| subnet.net.prefix_len());
    let mut options = InterfaceOptions::default();
    if network.internal {
        options = options.with(InterfaceOptions::INTERNAL);
    }
    if !network.peers {
        options = options.with(InterfaceOptions::NO_PEERS);
    }
    if network.shortcut {
        options = options.with(InterfaceOptions::SHORTCUT);
    }
    Interface {
        ifindex,
        network: network.number,
        mtu,
        options,
        prefix_v4: prefix(false),
        prefix_v6: prefix(true),
        ..Interface::FREE
    }
}

/// How a TC program is attached: what is there stays as it is, the rest as the kernel can.
fn tc_mechanism(observed: &Observed, index: u32, hook: Hook) -> Mechanism {
    match observed.hooks.get(&(index, hook)) {
        Some(Attached { mechanism: Mechanism::Clsact, .. }) => Mechanism::Clsact,
        _ if observed.tcx => Mechanism::Tcx,
        _ => Mechanism::Clsact,
    }
}

/// The uplinks' MTU: of those with a default route the smallest, so that no packet of an endpoint is
/// too long for the way out.
fn default_mtu(uplinks: &[Uplink]) -> u32 {
    const ETHERNET: u32 = 1500;
    let smallest = |default_route: bool| {
        uplinks.iter().filter(|u| u.default_route || !default_route).map(|u| u.mtu).min()
    };
    smallest(true).or_else(|| smallest(false)).unwrap_or(ETHERNET)
}
