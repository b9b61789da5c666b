//! Addresses of endpoints: those that the user chose, those that they have, the lowest free ones.

use super::{
    endpoint::{AttachmentDraft, Draft},
    error::{EndpointProblem, ResolveError},
};
use crate::{
    ipam::{Taken, check_address, choose_address},
    model::{Attachment, Desired},
};
use std::{collections::BTreeMap, net::IpAddr};

/// Who has which address, by network.
pub(super) type Addresses = BTreeMap<String, Taken>;

/// The addresses of the endpoints that stay as they are.
pub(super) fn taken(desired: &Desired) -> Addresses {
    let mut taken = Addresses::new();
    for endpoint in desired.endpoints.values() {
        for attachment in &endpoint.attachments {
            let on_network = taken.entry(attachment.network.clone()).or_default();
            on_network
                .extend(attachment.addresses().map(|address| (address, endpoint.name.clone())));
        }
    }
    taken
}

/// Takes the addresses that the user chose.
pub(super) fn chosen(draft: &mut Draft<'_>, taken: &mut Addresses) -> Result<(), ResolveError> {
    for place in 0..draft.attachments.len() {
        let AttachmentDraft { request, network, .. } = &draft.attachments[place];
        let request = *request;
        let asked = [request.v4.map(IpAddr::from), request.v6.map(IpAddr::from)];
        let on_network = taken.entry(network.name.clone()).or_default();
        for address in asked.iter().flatten().copied() {
            let v6 = address.is_ipv6();
            let name = network.name.clone();
            let Some(subnet) = network.subnet(v6) else {
                let family = if v6 { "IPv6" } else { "IPv4" };
                let problem = EndpointProblem::NoFamily { address, network: name, family };
                return Err(draft.error_at(request, problem));
            };
            check_address(subnet, on_network, address).map_err(|error| {
                let problem = EndpointProblem::Address { network: name, error };
                draft.error_at(request, problem)
            })?;
            on_network.insert(address, draft.name.clone());
        }
        draft.attachments[place].addresses = asked;
    }
    Ok(())
}

/// Lets an endpoint keep the addresses it had where the request leaves them open.
pub(super) fn keep(draft: &mut Draft<'_>, taken: &mut Addresses) {
    let Some(previous) = draft.previous else { return };
    for attachment in &mut draft.attachments {
        let network = &attachment.network;
        let on_network = taken.entry(network.name.clone()).or_default();
        let had = previous.attachments.iter().find(|had| had.network == network.name);
        for address in had.into_iter().flat_map(Attachment::addresses) {
            let v6 = address.is_ipv6();
            let open = &mut attachment.addresses[usize::from(v6)];
            let Some(subnet) = network.subnet(v6).filter(|_| open.is_none()) else { continue };
            if check_address(subnet, on_network, address).is_ok() {
                on_network.insert(address, draft.name.clone());
                *open = Some(address);
            }
        }
    }
}

/// Chooses the addresses that are still open.
pub(super) fn choose(draft: &mut Draft<'_>, taken: &mut Addresses) -> Result<(), ResolveError> {
    for place in 0..draft.attachments.len() {
        let AttachmentDraft { request, network, addresses } = &draft.attachments[place];
        let mut addresses = *addresses;
        let on_network = taken.entry(network.name.clone()).or_default();
        for v6 in [false, true] {
            let open = &mut addresses[usize::from(v6)];
            let Some(subnet) = network.subnet(v6).filter(|_| open.is_none()) else { continue };
            let address = choose_address(subnet, on_network).map_err(|error| {
                let network = network.name.clone();
                draft.error_at(request, EndpointProblem::Address { network, error })
            })?;
            on_network.insert(address, draft.name.clone());
            *open = Some(address);
        }
        draft.attachments[place].addresses = addresses;
    }
    Ok(())
}
