//! Interfaces of endpoints: names, Ethernet addresses, the default route.

use super::{
    endpoint::{AttachmentDraft, Draft},
    error::{EndpointProblem, ResolveError},
};
use crate::model::{Attachment, Desired, InterfaceName, MacText, Network};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Who has which Ethernet address, by network: an endpoint of this name, or the gateway.
pub(super) type Macs = BTreeMap<String, BTreeMap<MacText, Option<String>>>;

/// The Ethernet addresses of the gateways, and of the endpoints that stay as they are.
pub(super) fn macs(desired: &Desired) -> Macs {
    let mut macs = Macs::new();
    for network in desired.networks.values() {
        let gateway = BTreeMap::from([(network.mac, None)]);
        macs.insert(network.name.clone(), gateway);
    }
    for endpoint in desired.endpoints.values() {
        for attachment in &endpoint.attachments {
            let on_network = macs.entry(attachment.network.clone()).or_default();
            on_network.insert(attachment.mac, Some(endpoint.name.clone()));
        }
    }
    macs
}

/// The attachments of an endpoint whose addresses are decided, in the order of their interfaces. Those in
/// `others` it has already: their interfaces keep their names.
pub(super) fn attachments(
    draft: &Draft<'_>,
    others: &[Attachment],
    macs: &mut Macs,
) -> Result<Vec<Attachment>, ResolveError> {
    let mut attachments = others.to_vec();
    for (decided, interface) in draft.attachments.iter().zip(names(draft, others)?) {
        attachments.push(attachment(draft, decided, interface, macs)?);
    }
    attachments.sort_by(|a, b| natural(&a.interface).cmp(&natural(&b.interface)));
    Ok(attachments)
}

fn attachment(
    draft: &Draft<'_>,
    decided: &AttachmentDraft<'_>,
    interface: InterfaceName,
    macs: &mut Macs,
) -> Result<Attachment, ResolveError> {
    let request = decided.request;
    let network = request.network.clone();
    let addresses = decided.addresses.iter().flatten().copied();
    let Some(first) = addresses.clone().next() else {
        return Err(draft.error_at(request, EndpointProblem::NoSubnet(network)));
    };
    let mac = request.mac.unwrap_or_else(|| MacText::for_address(first));
    let on_network = macs.entry(network.clone()).or_default();
    if let Some(owner) = on_network.get(&mac) {
        let endpoint = owner.as_ref().map(|name| format!("endpoint {name:?}"));
        let owner = endpoint.unwrap_or_else(|| "the gateway".to_owned());
        let problem = EndpointProblem::MacTaken { network, mac, owner };
        return Err(draft.error_at(request, problem));
    }
    on_network.insert(mac, Some(draft.name.clone()));
    let mut attachment = Attachment {
        network,
        interface,
        host_interface: InterfaceName::veth(&draft.id, &decided.network.id),
        mac,
        v4: None,
        v6: None,
        chosen: request
            .v4
            .map(IpAddr::from)
            .into_iter()
            .chain(request.v6.map(IpAddr::from))
            .collect(),
        aliases: request.aliases.clone(),
        sysctls: request.sysctls.clone(),
        gateway_priority: request.gateway_priority,
        default_route: false,
    };
    for address in addresses {
        match address {
            IpAddr::V4(v4) => attachment.v4 = Some(v4),
            IpAddr::V6(v6) => attachment.v6 = Some(v6),
        }
    }
    Ok(attachment)
}

/// The chosen names, and the first free ones of `eth0`, `eth1` …, or what the network has instead of `eth`, for the
/// others.
fn names(draft: &Draft<'_>, others: &[Attachment]) -> Result<Vec<InterfaceName>, ResolveError> {
    let mut used: BTreeSet<_> = others.iter().map(|other| other.interface.clone()).collect();
    used.insert(InterfaceName::loopback());
    for attachment in &draft.attachments {
        if let Some(name) = &attachment.request.interface
            && !used.insert(name.clone())
        {
            let problem = EndpointProblem::InterfaceTwice(name.clone());
            return Err(draft.error_at(attachment.request, problem));
        }
    }
    let mut free = |network: &Network| {
        let prefix = network.interface_prefix.as_deref().unwrap_or(InterfaceName::PREFIX);
        let mut names = (0..=u16::MAX).map(|number| InterfaceName::numbered(prefix, number));
        names.find(|name| used.insert(name.clone()))
    };
    let name = |attachment: &AttachmentDraft<'_>| {
        attachment.request.interface.clone().or_else(|| free(&attachment.network))
    };
    Ok(draft.attachments.iter().filter_map(name).collect())
}

/// Says where the default routes go: for each family the network with a way out that has the highest gateway
/// priority, then the first name (Docker's rule). A second network, for IPv6, only where it has no
/// IPv4: the flag speaks of both families.
pub(super) fn lead_out(attachments: &mut [Attachment], networks: &BTreeMap<String, Network>) {
    let leads_out = |attachment: &Attachment| {
        networks.get(&attachment.network).is_some_and(|network| !network.internal)
    };
    let best = |v6: bool| {
        let candidates = attachments.iter().enumerate();
        candidates
            .filter(|(_, a)| leads_out(a) && a.has(v6))
            .min_by_key(|(_, a)| (Reverse(a.gateway_priority), &a.network))
            .map(|(place, _)| place)
    };
    let (v4, v6) = (best(false), best(true));
    let alone = v6.filter(|place| {
        let first_has_v6 = v4.is_some_and(|v4| attachments[v4].has(true));
        v4.is_none() || (!first_has_v6 && !attachments[*place].has(false))
    });
    let routes: BTreeSet<usize> = v4.into_iter().chain(alone).collect();
    for (place, attachment) in attachments.iter_mut().enumerate() {
        attachment.default_route = routes.contains(&place);
    }
}

/// A sort key that puts `eth10` after `eth9`.
fn natural(name: &InterfaceName) -> (&str, u64) {
    let text = name.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, text[stem.len()..].parse().unwrap_or(0))
}
