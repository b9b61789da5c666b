//! Where small packets enter each arm, and where they come out.
//!
//! **Invariant**: a packet enters where the endpoint's or the neighbour's own would, with the addresses that these have,
//! in a flow that was answered before; so each arm does with it what it does with most packets of the world.

use super::{
    BenchError,
    arms::{Arm, Kind, Way},
    host::{APP, Family, GATEWAY, HOST, NEIGHBOUR, OUTSIDE, PUBLISHED, SERVED, WEB},
    load::Sample,
    load::frames::{self, Frame, Frames, FramesError, Interface, Mac},
    process,
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

/// How many go in at once: some tens of milliseconds' worth.
const FRAMES: u32 = 20_000;
/// The port that they come from.
const CLIENT: u16 = 40_000;

/// One way through an arm.
struct Path {
    /// Who sends, by namespace and interface.
    client: Interface,
    /// Where in the host the packet appears.
    entry: Interface,
    /// The Ethernet address that it is for.
    next: Mac,
    from: SocketAddr,
    to: SocketAddr,
    /// Whom it reaches, and at which address.
    server: Interface,
    served: SocketAddr,
}

/// Packets per second that come out, and how many of them do.
pub(super) fn measure(arm: &Arm, way: Way, family: Family) -> Result<Sample, BenchError> {
    let path = path(arm, way, family)?;
    path.send(arm, &path.open()?)
}

/// Opens the flow that they would be of, by one datagram there and one back.
pub(super) fn open(arm: &Arm, way: Way, family: Family) -> Result<(), BenchError> {
    path(arm, way, family)?.open().map(drop)
}

/// The same of flows that are there already: from so many ports of `app`, which follow each other, to somebody outside.
pub(super) fn known(
    arm: &Arm,
    first: u16,
    flows: u16,
    to: SocketAddr,
) -> Result<Sample, BenchError> {
    let mut path = path(arm, Way::Masquerade, Family::V4)?;
    path.from.set_port(first);
    path.to = to;
    path.send(arm, &path.frame(flows)?)
}

impl Path {
    fn frame(&self, flows: u16) -> Result<Frame, BenchError> {
        let from_mac = self.client.mac()?;
        Ok(Frame { from_mac, to_mac: self.next, from: self.from, to: self.to, flows })
    }

    fn open(&self) -> Result<Frame, BenchError> {
        let frame = self.frame(1)?;
        frames::open(&frame, &self.client.namespace, &self.server.namespace, self.served)?;
        Ok(frame)
    }

    fn send(&self, arm: &Arm, frame: &Frame) -> Result<Sample, BenchError> {
        let frames = match arm.site.kind {
            Kind::BareVeth => Frames::on_a_wire(&self.entry, frame, &self.server)?,
            _ => Frames::prepare(&self.entry, frame, &self.server)?,
        };
        let rate = frames.measure(FRAMES)?;
        Ok(Sample { lost: Some(rate.lost()), ..Sample::rate(rate.per_second()) })
    }
}

fn path(arm: &Arm, way: Way, family: Family) -> Result<Path, BenchError> {
    let at = |place: super::host::Place, port| SocketAddr::new(place.of(family), port);
    let uplink = Interface::new(&arm.host.name, "uplink0");
    let neighbour = Interface::new(&arm.neighbour.name, "lan0");
    if arm.site.kind == Kind::BareVeth {
        return Ok(Path {
            next: neighbour.mac()?,
            client: uplink.clone(),
            entry: uplink,
            from: at(HOST, CLIENT),
            to: at(OUTSIDE, SERVED),
            server: neighbour,
            served: at(OUTSIDE, SERVED),
        });
    }
    let eth0 = |name| Interface::new(&arm.site.endpoint(name), "eth0");
    let (app, web) = (eth0("app"), eth0("web"));
    Ok(match way {
        Way::EndpointToEndpoint => Path {
            entry: port_of(&arm.host.name, &app)?,
            next: web.mac()?,
            from: at(APP, CLIENT),
            to: at(WEB, SERVED),
            client: app,
            server: web,
            served: at(WEB, SERVED),
        },
        Way::Masquerade => Path {
            entry: port_of(&arm.host.name, &app)?,
            next: gateway_of(&app, family)?,
            from: at(APP, CLIENT),
            to: at(OUTSIDE, SERVED),
            client: app,
            server: neighbour,
            served: at(OUTSIDE, SERVED),
        },
        Way::PublishedPort => Path {
            next: uplink.mac()?,
            entry: uplink,
            from: at(NEIGHBOUR, CLIENT),
            to: at(HOST, PUBLISHED),
            client: neighbour,
            server: web,
            served: at(WEB, SERVED),
        },
        Way::HostsOwn => {
            let what =
                "small packets end in the host's stack, where nothing counts them".to_owned();
            return Err(BenchError::Broken { arm: arm.site.kind, way: way.to_string(), what });
        }
    })
}

/// What `ip -json link` and `ip -json neighbour` say, as far as it is looked at.
#[derive(Deserialize)]
struct Said {
    ifname: Option<String>,
    link_index: Option<u32>,
    ifindex: Option<u32>,
    dst: Option<IpAddr>,
    lladdr: Option<String>,
}

fn ip(namespace: &str, words: &[&str]) -> Result<Vec<Said>, BenchError> {
    let said = process::output(Command::new("ip").args(["-n", namespace, "-json"]).args(words))?;
    serde_json::from_str(&said).map_err(|_| BenchError::Talk("ip", said))
}

/// The host's end of an endpoint's veth.
fn port_of(host: &str, inside: &Interface) -> Result<Interface, BenchError> {
    let peer = ip(&inside.namespace, &["link", "show", "dev", &inside.name])?;
    let index = peer.iter().find_map(|link| link.link_index);
    let links = ip(host, &["link", "show"])?;
    let port = links.iter().find(|link| link.ifindex.is_some() && link.ifindex == index);
    let name = port.and_then(|link| link.ifname.as_deref());
    let missing = || BenchError::from(FramesError::NoInterface(inside.clone()));
    name.map(|name| Interface::new(host, name)).ok_or_else(missing)
}

/// The Ethernet address of an endpoint's gateway, which it knows: its ways were tried.
fn gateway_of(inside: &Interface, family: Family) -> Result<Mac, BenchError> {
    let gateway = GATEWAY.of(family);
    let known = ip(&inside.namespace, &["neighbour", "show", "dev", &inside.name])?;
    let entry = known.into_iter().find(|entry| entry.dst == Some(gateway));
    let mac = entry.and_then(|entry| entry.lladdr).unwrap_or_default();
    let bytes: Vec<u8> =
        mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().map_err(|_| BenchError::Talk("neighbour", mac))
}
