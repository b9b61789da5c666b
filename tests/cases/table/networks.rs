//! Between endpoints, and between networks.

use netebpf_common::{
    abi::Protocol::Tcp,
    testkit::*,
    verdict::{DropReason::*, PassReason},
};

/// A local multicast group's address (mDNS).
const GROUP: Station = Station {
    name: "GROUP",
    v4: [224, 0, 0, 251],
    v6: [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb],
    ..EVERYBODY
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("neighbours meet past the bridge, and the hop limit stays")
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(peer(WEB_2))
            .send(tcp(WEB_2, 80, WEB_1, 40_000).syn().ack())
            .expect(peer(WEB_1))
            .send(udp(WEB_1, 40_000, WEB_2, 53).hop_limit(1))
            .expect(peer(WEB_2))
            .send(echo_request(WEB_1, WEB_2, 7))
            .expect(peer(WEB_2))
            .flows(0),
        case("neighbours exchange what nobody translates")
            .send(raw(WEB_1, WEB_2, Protocols::SCTP))
            .expect(peer(WEB_2))
            .send(udp(WEB_1, 40_000, WEB_2, 53).payload(&[1; 64]).fragment(0, true))
            .expect(peer(WEB_2))
            .send(udp(WEB_1, 40_000, WEB_2, 53).payload(&[1; 64]).fragment(9, false))
            .expect(peer(WEB_2))
            .send(icmp_error(ErrorKind::PortUnreachable, WEB_2, udp(WEB_1, 40_000, WEB_2, 53)))
            .expect(peer(WEB_1)),
        case("neighbours are not limited by our tables")
            .given(quota(0))
            .given(capacity(0))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(peer(WEB_2)),
        case("a neighbour is reached by its own Ethernet address only")
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().to_mac(WEB.gateway.mac))
            .expect(pass(PassReason::Bridge))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn().to_mac(EVERYBODY.mac))
            .expect(pass(PassReason::Bridge)),
        case("a neighbour that is not there is the bridge's to look for")
            .send(tcp(WEB_1, 40_000, WEB_NOBODY, 80).syn())
            .expect(pass(PassReason::Bridge)),
        case("a removed neighbour is not delivered to")
            .given(remove(WEB_2))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(pass(PassReason::Bridge))
            .given(bring_back(WEB_2))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(peer(WEB_2)),
        case("the gateway is the host")
            .send(echo_request(WEB_1, WEB.gateway, 7))
            .expect(pass(PassReason::ToHost)),
        case("the gateway of another network is another network")
            .send(echo_request(WEB_1, DB.gateway, 7))
            .expect(refuse(OtherNetwork)),
        case("broadcast and multicast stay on the bridge")
            .send(udp(WEB_1, 40_000, EVERYBODY, 9))
            .expect(pass(PassReason::Neighbours))
            .send(udp(WEB_1, 5353, GROUP, 5353))
            .expect(pass(PassReason::Neighbours)),
        case("no network reaches another")
            .send(tcp(WEB_1, 40_000, DB_1, 80).syn())
            .expect(refuse(OtherNetwork))
            .send(echo_request(DB_1, WEB_1, 7))
            .expect(refuse(OtherNetwork))
            .send(raw(WEB_1, DB_1, Protocols::ESP))
            .expect(refuse(OtherNetwork))
            .send(tcp(WEB_1, 40_000, INNER_1, 80).syn())
            .expect(refuse(OtherNetwork)),
        case("not even by the Ethernet address of the endpoint there")
            .send(tcp(WEB_1, 40_000, DB_1, 80).syn().to_mac(DB_1.mac))
            .expect(pass(PassReason::Bridge))
            .send_at(into_network(DB, WEB.bridge), tcp(WEB_1, 40_000, DB_1, 80).syn())
            .expect(refuse(NotPublished)),
        case("peers that are kept apart reach the gateway and the world, not one another")
            .given(peers_apart(WEB))
            .send(tcp(WEB_1, 40_000, WEB_2, 80).syn())
            .expect(refuse(PeersApart))
            .send(echo_request(WEB_1, WEB.gateway, 7))
            .expect(pass(PassReason::ToHost))
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
            .expect(tx(tcp(HOST, 40_000, WORLD, 443).syn())),
        case("nothing leaves an internal network")
            .send(tcp(INNER_1, 40_000, WORLD, 443).syn())
            .expect(refuse(InternalNetwork))
            .send(raw(INNER_1, WORLD, Protocols::GRE))
            .expect(refuse(InternalNetwork))
            .send_at(to_outside_from(INNER.bridge), tcp(INNER_1, 40_000, WORLD, 443).syn())
            .expect(refuse(InternalNetwork))
            .flows(0),
        case("an unknown interface is not ours")
            .given(remove(WEB_1))
            .send(tcp(WEB_1, 40_000, WORLD, 443).syn())
            .expect(pass(PassReason::NotOurs)),
        case("an address that no longer exists has no way out past its network")
            .given(publish(Tcp, 8080, WEB_2, 80))
            .given(remove(WEB_2))
            .send_at(to_outside(), tcp(WEB_2, 80, WORLD, 40_000).ack())
            .expect(refuse(PrivateSource)),
    ]
}
