//! What the neighbour sends, and who takes it.
//!
//! **Invariant**: nobody answers, so that all that the uplink sees is what was sent; and a published port's flow is one that
//! was answered before, as most packets of the world belong to such.

use super::super::{
    BenchError,
    arms::Arm,
    host::{Family, HOST, NEIGHBOUR, PUBLISHED, SERVED, WEB},
    load::{
        self, Flooded,
        frames::{self, Frame, Interface},
    },
    report::Traffic,
};
use crate::kernel::netns;
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

/// Where it is sent from.
const CLIENT: u16 = 40_000;
/// A port of the host's own.
const OWN: u16 = 9;

/// The neighbour sends into the network by the host, as somebody who believes that it is routed.
pub(super) fn lead_into_the_network(arm: &Arm) -> Result<(), BenchError> {
    let [v4, v6] = Family::BOTH.map(|family| HOST.of(family));
    arm.neighbour.ip([
        &format!("route add 172.18.0.0/16 via {v4}"),
        &format!("route add fd18::/64 via {v6}"),
    ])
}

/// From the neighbour to somewhere.
pub(super) struct Way<'a> {
    arm: &'a Arm,
    from: SocketAddr,
    to: SocketAddr,
    /// Takes what arrives and never reads it; full, it costs the host the least.
    _taker: Option<UdpSocket>,
}

impl<'a> Way<'a> {
    pub(super) fn open(
        arm: &'a Arm,
        [host, neighbour]: &[String; 2],
        traffic: Traffic,
        family: Family,
    ) -> Result<Self, BenchError> {
        let at = |place: super::super::host::Place, port| SocketAddr::new(place.of(family), port);
        let from = at(NEIGHBOUR, CLIENT);
        let web = arm.site.endpoint("web");
        let (to, taker) = match traffic {
            Traffic::Dropped => (at(WEB, SERVED), None),
            Traffic::Published => (at(HOST, PUBLISHED), Some((web.as_str(), at(WEB, SERVED)))),
            Traffic::NotOurs => (at(HOST, OWN), Some((arm.host.name.as_str(), at(HOST, OWN)))),
        };
        if let Some((namespace, served)) = taker {
            let frame = Frame {
                from_mac: Interface::new(&arm.neighbour.name, neighbour).mac()?,
                to_mac: Interface::new(&arm.host.name, host).mac()?,
                from,
                to,
                flows: 1,
            };
            frames::open(&frame, &arm.neighbour.name, namespace, served)?;
        }
        let _taker = taker.map(|(namespace, served)| take(namespace, served)).transpose()?;
        Ok(Self { arm, from, to, _taker })
    }

    /// Sends as much as goes out in a while.
    pub(super) fn flood(&self, time: Duration) -> Result<Flooded, BenchError> {
        load::flood_from(&self.arm.neighbour.name, self.from, self.to, time)
    }
}

fn take(namespace: &str, served: SocketAddr) -> Result<UdpSocket, BenchError> {
    let path = Path::new("/run/netns").join(namespace);
    let bound = netns::run_in(&path, move || UdpSocket::bind(served));
    let bound = bound.map_err(crate::kernel::KernelError::from)?;
    bound.map_err(BenchError::io(format!("listen on {served} (UDP) in namespace {namespace}")))
}
