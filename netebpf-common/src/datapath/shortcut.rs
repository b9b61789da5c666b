//! Endpoint to endpoint on one network: past the bridge, straight to the peer.

use super::{datagram::Datagram, table::Lookup as _, table::State};
use crate::{
    abi::{Interface, InterfaceOptions},
    verdict::{DeliverReason, DropReason, PassReason, Verdict},
    wire::ethernet::Ethernet,
};

/// One look-up, nothing written: as on a bridge, the hop limit stays. What is addressed to nobody we
/// know is the bridge's: the gateway, an address that is not there.
#[inline(always)]
pub(super) fn to_neighbour<S: State>(
    state: &S,
    frame: &Ethernet,
    sender: &Interface,
    datagram: &Datagram,
) -> Verdict {
    let Some(endpoint) = state.endpoints().get(&datagram.destination) else {
        let to_host = frame.destination == sender.gateway_mac;
        return Verdict::Pass(if to_host { PassReason::ToHost } else { PassReason::Bridge });
    };
    if endpoint.network != sender.network {
        return Verdict::Drop(DropReason::OtherNetwork);
    }
    if sender.options.contains(InterfaceOptions::NO_PEERS) {
        return Verdict::Drop(DropReason::PeersApart);
    }
    if frame.destination != endpoint.mac {
        return Verdict::Pass(PassReason::Bridge);
    }
    Verdict::Deliver { ifindex: endpoint.ifindex, reason: DeliverReason::Peer }
}
