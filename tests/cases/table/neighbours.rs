//! Who asks for an Ethernet address, and who is asked.

use netebpf_common::{
    abi::Mac,
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// Flags of an advertisement (RFC 4861 §4.4).
const ROUTER_FLAG: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Everybody who speaks IPv6, on an Ethernet.
const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// WEB_1 before it has an address.
const WEB_1_NEW: Station = WEB_1.calling_itself(&UNSPECIFIED);

/// The gateway of WEB with the link-local address that its Ethernet address gives.
const GATEWAY_LINK: Station = Station { v6: WEB.gateway.mac.link_local().octets(), ..WEB.gateway };

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("an endpoint is told where its gateway and its neighbour are")
            .send(arp_request(WEB_1, WEB.gateway))
            .expect(answered(WEB_1, arp_reply(WEB.gateway, WEB_1)))
            .send(arp_request(WEB_1, WEB_2))
            .expect(answered(WEB_1, arp_reply(WEB_2, WEB_1)))
            .flows(0),
        case("so it is in IPv6")
            .send(neighbour_solicitation(WEB_1, WEB.gateway))
            .expect(answered(
                WEB_1,
                neighbour_answer(WEB.gateway, WEB_1, ROUTER_FLAG | SOLICITED | OVERRIDE),
            ))
            .send(neighbour_solicitation(WEB_1, WEB_2))
            .expect(answered(WEB_1, neighbour_answer(WEB_2, WEB_1, SOLICITED | OVERRIDE)))
            .flows(0),
        case("who has no address yet is told whose the one is that it would like")
            .send(arp_request(WEB_1_NEW, WEB.gateway))
            .expect(answered(WEB_1, arp_reply(WEB.gateway, WEB_1_NEW)))
            .send(arp_request(WEB_1_NEW, WEB_2))
            .expect(answered(WEB_1, arp_reply(WEB_2, WEB_1_NEW)))
            .send(arp_request(WEB_1_NEW, WEB_1))
            .expect(pass(PassReason::Neighbours)),
        case("so it is in IPv6, as everybody")
            .send(neighbour_solicitation(WEB_1_NEW, WEB.gateway).with_nonce())
            .expect(answered(
                WEB_1,
                neighbour_answer(WEB.gateway, EVERYBODY, ROUTER_FLAG | OVERRIDE).to_mac(ALL_NODES),
            ))
            .send(neighbour_solicitation(WEB_1_NEW, WEB_2).with_nonce())
            .expect(answered(WEB_1, neighbour_answer(WEB_2, EVERYBODY, OVERRIDE).to_mac(ALL_NODES)))
            .send(neighbour_solicitation(WEB_1_NEW, WEB_1).with_nonce())
            .expect(pass(PassReason::Neighbours)),
        case("announcements are for everybody")
            .send(arp_request(WEB_1, WEB_1))
            .expect(pass(PassReason::Neighbours))
            .send(arp_reply(WEB_1, WEB_1).to_mac(EVERYBODY.mac))
            .expect(pass(PassReason::Neighbours)),
        case("so they are in IPv6")
            .send(neighbour_advertisement(WEB_1, WEB_1))
            .expect(pass(PassReason::Neighbours)),
        case("who is asked alone answers by itself")
            .send(arp_request(WEB_1, WEB_2).to_mac(WEB_2.mac))
            .expect(pass(PassReason::Neighbours))
            .send(arp_request(WEB_1, WEB.gateway).to_mac(WEB.gateway.mac))
            .expect(pass(PassReason::Neighbours)),
        case("who is not known may be there nevertheless")
            .send(arp_request(WEB_1, WEB_NOBODY))
            .expect(pass(PassReason::Neighbours))
            .send(arp_request(WEB_1, WORLD))
            .expect(pass(PassReason::Neighbours)),
        case("so it may in IPv6")
            .send(neighbour_solicitation(WEB_1, WEB_NOBODY))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1, UNSPECIFIED))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1, GATEWAY_LINK))
            .expect(pass(PassReason::Neighbours)),
        case("an endpoint that is gone is nobody")
            .given(remove(WEB_2))
            .send(arp_request(WEB_1, WEB_2))
            .expect(pass(PassReason::Neighbours))
            .given(bring_back(WEB_2))
            .send(arp_request(WEB_1, WEB_2))
            .expect(answered(WEB_1, arp_reply(WEB_2, WEB_1))),
        case("nothing is told of another network")
            .send(arp_request(WEB_1, DB_1))
            .expect(pass(PassReason::Neighbours))
            .send(arp_request(WEB_1, DB.gateway))
            .expect(pass(PassReason::Neighbours)),
        case("nor in IPv6")
            .send(neighbour_solicitation(WEB_1, DB_1))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1, DB.gateway))
            .expect(pass(PassReason::Neighbours)),
        case("peers that are kept apart are told of their gateway alone")
            .given(peers_apart(WEB))
            .send(arp_request(WEB_1, WEB.gateway))
            .expect(answered(WEB_1, arp_reply(WEB.gateway, WEB_1)))
            .send(arp_request(WEB_1, WEB_2))
            .expect(pass(PassReason::Neighbours)),
        case("on an internal network they are told of each other")
            .send(arp_request(INNER_1, INNER.gateway))
            .expect(answered(INNER_1, arp_reply(INNER.gateway, INNER_1))),
        case("what is no question of a neighbour's is not answered")
            .send(neighbour_solicitation(WEB_1, WEB_2).hop_limit(254))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1, WEB_2).transport_bytes(1, &[1]))
            .expect(pass(PassReason::Neighbours))
            // Who has no address has no business to name its Ethernet address.
            .send(neighbour_solicitation(WEB_1_NEW, WEB_2))
            .expect(pass(PassReason::Neighbours)),
        case("a question without room for its answer is the bridge's")
            .send(neighbour_solicitation(WEB_1, WEB_2).saying_nothing())
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1_NEW, WEB_2).saying_nothing())
            .expect(pass(PassReason::Neighbours)),
        case("who lies about itself is told nothing")
            .send(arp_request(WEB_1.calling_itself(&WEB_2), WEB.gateway))
            .expect(refuse(SpoofedNeighbour)),
        case("the host asks the endpoint alone")
            .send_at(into_network(WEB, 0), arp_request(WEB.gateway, WEB_1))
            .expect(asked(WEB_1))
            .send_at(into_network(WEB, 0), arp_request(WEB.gateway, WEB_1).to_mac(WEB_1.mac))
            .expect(pass(PassReason::NotOurs))
            .send_at(into_network(WEB, 0), arp_request(WEB.gateway, WEB_NOBODY))
            .expect(pass(PassReason::NotOurs))
            .send_at(into_network(WEB, 0), arp_request(WEB.gateway, DB_1))
            .expect(pass(PassReason::NotOurs))
            .send_at(into_network(WEB, 0), arp_reply(WEB.gateway, WEB_1).to_mac(EVERYBODY.mac))
            .expect(pass(PassReason::NotOurs)),
        case("in IPv6, too, by whichever address of its own")
            .send_at(into_network(WEB, 0), neighbour_solicitation(WEB.gateway, WEB_1))
            .expect(asked(WEB_1))
            .send_at(into_network(WEB, 0), neighbour_solicitation(GATEWAY_LINK, WEB_2))
            .expect(asked(WEB_2))
            .send_at(into_network(WEB, 0), neighbour_solicitation(WEB.gateway, WEB_NOBODY))
            .expect(pass(PassReason::NotOurs))
            .send_at(into_network(WEB, 0), neighbour_advertisement(WEB.gateway, WEB.gateway))
            .expect(pass(PassReason::NotOurs)),
        case("what the host says to everybody, everybody hears")
            .send_at(into_network(WEB, 0), udp(WEB.gateway, 5353, EVERYBODY, 5353))
            .expect(pass(PassReason::NotOurs)),
    ]
}
