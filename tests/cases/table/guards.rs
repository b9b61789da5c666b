//! What an endpoint may say of itself.

use netebpf_common::{
    datapath::FamilyId::{V4, V6},
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// WEB_1 with the link-local address that its Ethernet address gives.
const WEB_1_LINK: Station = Station { v6: WEB_1.mac.link_local().octets(), ..WEB_1 };
/// Flags of an advertisement (RFC 4861 §4.4).
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// WEB_2 likewise.
const WEB_2_LINK: Station = Station { v6: WEB_2.mac.link_local().octets(), ..WEB_2 };
/// WEB_1 before it has an address.
const WEB_1_NEW: Station = WEB_1.calling_itself(&UNSPECIFIED);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("an Ethernet address that is another's is refused")
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().from_mac(WEB_2.mac))
            .expect(refuse(SpoofedMac))
            .send(arp(WEB_1, WEB_1).from_mac(WEB_2.mac))
            .expect(refuse(SpoofedMac)),
        case("an address that is another's is refused")
            .send(tcp(WEB_1.calling_itself(&WEB_2), 40_000, WORLD, 443).syn())
            .expect(refuse(SpoofedAddress))
            .send(tcp(WEB_1.calling_itself(&DB_1), 40_000, WEB_2, 80).syn())
            .expect(refuse(SpoofedAddress))
            .send(udp(WEB_1.calling_itself(&WORLD_2), 40_000, WORLD, 53))
            .expect(refuse(SpoofedAddress))
            .send(raw(WEB_1.calling_itself(&WEB_2), WORLD, Protocols::GRE))
            .expect(refuse(SpoofedAddress)),
        case("one's own link-local address is one's own")
            .send(echo_request(WEB_1_LINK, EVERYBODY, 7).only(V6))
            .expect(pass(PassReason::Neighbours))
            .send(echo_request(WEB_1.calling_itself(&WEB_2_LINK), EVERYBODY, 7).only(V6))
            .expect(refuse(SpoofedAddress)),
        case("an endpoint without an address asks for one")
            .send(udp(WEB_1_NEW, 68, EVERYBODY, 67))
            .expect(pass(PassReason::Neighbours)),
        case("without an address nobody speaks to one station, or to the outside")
            .send(udp(WEB_1_NEW, 68, WEB_2, 67))
            .expect(refuse(SpoofedAddress))
            .send(udp(WEB_1_NEW, 68, WORLD, 67))
            .expect(refuse(SpoofedAddress)),
        case("ARP speaks for the sender")
            .send(arp(WEB_1, WEB_1))
            .expect(answered(WEB_1, arp_reply(WEB.gateway, WEB_1)))
            .send(arp(WEB_1, UNSPECIFIED))
            .expect(answered(WEB_1, arp_reply(WEB.gateway, WEB_1_NEW)))
            .send(arp(WEB_1, WEB_2))
            .expect(refuse(SpoofedNeighbour))
            .send(arp(WEB_1, WEB.gateway))
            .expect(refuse(SpoofedNeighbour))
            .send(arp(WEB_1, WEB_1).saying(WEB_2.mac))
            .expect(refuse(SpoofedNeighbour)),
        case("ARP that is cut off is malformed")
            .send(arp(WEB_1, WEB_1).cut(40))
            .expect(refuse(Malformed)),
        case("a neighbour advertisement is about oneself")
            .send(neighbour_advertisement(WEB_1, WEB_1))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_advertisement(WEB_1, WEB_1).saying_nothing())
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_advertisement(WEB_1_LINK, WEB_1_LINK))
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_advertisement(WEB_1, WEB_2))
            .expect(refuse(SpoofedNeighbour))
            .send(neighbour_advertisement(WEB_1, WEB.gateway))
            .expect(refuse(SpoofedNeighbour))
            .send(neighbour_advertisement(WEB_1, WEB_1).saying(WEB_2.mac))
            .expect(refuse(SpoofedNeighbour)),
        case("a neighbour solicitation says one's own Ethernet address, for any target")
            .send(neighbour_solicitation(WEB_1, WEB_2))
            .expect(answered(WEB_1, neighbour_answer(WEB_2, WEB_1, SOLICITED | OVERRIDE)))
            .send(neighbour_solicitation(WEB_1_NEW, WEB_1).saying_nothing())
            .expect(pass(PassReason::Neighbours))
            .send(neighbour_solicitation(WEB_1, WEB_2).saying(WEB_2.mac))
            .expect(refuse(SpoofedNeighbour)),
        case("neighbour discovery does not hide behind extension headers")
            .send(neighbour_advertisement(WEB_1, WEB_1).hop_by_hop())
            .expect(refuse(SpoofedNeighbour))
            .send(neighbour_solicitation(WEB_1, WEB_2).destination_options())
            .expect(refuse(SpoofedNeighbour))
            .send(
                neighbour_advertisement(WEB_1, WEB_1)
                    .destination_options()
                    .destination_options()
                    .destination_options()
                    .destination_options()
                    .destination_options(),
            )
            .expect(refuse(Malformed)),
        case("an endpoint is no router")
            .send(icmp_message(WEB_1, EVERYBODY, 9, 134).only(V6))
            .expect(refuse(RogueRouter))
            .send(icmp_message(WEB_1_LINK, EVERYBODY, 9, 134).hop_by_hop())
            .expect(refuse(RogueRouter)),
        case("an endpoint redirects nobody")
            .send(icmp_message(WEB_1, WEB_2, 5, 137).payload(&[0; 32]))
            .expect(refuse(RogueRouter)),
        case("an endpoint asks for routers")
            .send(icmp_message(WEB_1_LINK, EVERYBODY, 10, 133).only(V6))
            .expect(pass(PassReason::Neighbours)),
        case("an endpoint is no DHCP server")
            .send(udp(WEB_1, 67, EVERYBODY, 68).only(V4))
            .expect(refuse(RogueDhcp))
            .send(udp(WEB_1, 67, WEB_2, 68).only(V4))
            .expect(refuse(RogueDhcp)),
        case("an endpoint is no DHCPv6 server")
            .send(udp(WEB_1_LINK, 547, WEB_2_LINK, 546).only(V6))
            .expect(refuse(RogueDhcp)),
        case("an endpoint's port is untagged")
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().vlan(5))
            .expect(refuse(VlanTag))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().vlan(0))
            .expect(refuse(VlanTag))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().service_tag(5).vlan(7))
            .expect(refuse(VlanTag)),
    ]
}
