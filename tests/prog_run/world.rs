//! The host around the programs: a throw-away namespace in which interfaces, addresses, routes and
//! sockets are those of the cases' topology.
//!
//! **Invariant**: the thread that makes it is in that namespace and ends with it; nothing is left.

use netebpf_common::{
    abi::Protocol,
    testkit::{
        DB, ENDPOINTS, HOST, Layout, MTU, ROUTER, SITES, Station, UPLINK, WORLD, WayOut, place_of,
    },
};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType, bind, socket_with},
    thread::{UnshareFlags, unshare_unsafe},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    process::Command,
    sync::Mutex,
};

/// The namespace of this thread, and what holds its ports.
pub(crate) struct World {
    mtu: u32,
    way: WayOut,
    tcp: Vec<(u16, TcpListener)>,
    udp: Vec<(u16, UdpSocket)>,
    /// Sockets that wait for an answer, and the ports that they have and ask.
    connecting: Vec<((u16, u16), OwnedFd)>,
}

/// The name of the uplink.
pub(crate) const UPLINK_NAME: &str = "up0";

impl World {
    /// Moves this thread into a new namespace and builds the topology there.
    pub(crate) fn new() -> Result<Self, String> {
        // SAFETY: this thread shares no descriptor table or file system state that is given up here.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|error| format!("cannot make a network namespace: {error}"))?;
        for path in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"]
        {
            fs::write(format!("/proc/sys/net/{path}"), "1")
                .map_err(|error| format!("{path}: {error}"))?;
        }
        ip("link set lo up")?;
        pair(UPLINK_NAME, UPLINK, Some(&HOST))?;
        addresses(UPLINK_NAME, &HOST)?;
        // Who asks for it in vain is told so, and waits for no answer any more.
        for router in [IpAddr::from(ROUTER.v4), IpAddr::from(ROUTER.v6)] {
            ip(&format!("neighbour add {router} lladdr {} dev {UPLINK_NAME}", ROUTER.mac))?;
        }
        for site in SITES {
            let (name, index, mac) = (site.name, site.bridge, site.gateway.mac);
            ip(&format!("link add {name} index {index} address {mac} type bridge"))?;
            addresses(name, &site.gateway)?;
            ip(&format!("link set {name} up"))?;
        }
        for station in ENDPOINTS {
            let (index, slot, site) = place_of(&station);
            pair(&format!("veth{slot}"), index, None)?;
            ip(&format!("link set veth{slot} master {}", site.name))?;
        }
        let mut world = Self {
            mtu: 0,
            way: WayOut::Unknown,
            tcp: Vec::new(),
            udp: Vec::new(),
            connecting: Vec::new(),
        };
        world.routes(MTU, WayOut::Router)?;
        Ok(world)
    }

    /// Makes routes and sockets as the layout says.
    pub(crate) fn arrange(&mut self, layout: &Layout) -> Result<(), String> {
        self.routes(layout.mtu, layout.way_out)?;
        let wanted =
            |protocol: Protocol, port: u16| layout.sockets.contains(&(protocol as u32, port));
        {
            let _nobody_runs = RUNNING.lock();
            self.tcp.retain(|(port, _)| wanted(Protocol::Tcp, *port));
            self.udp.retain(|(port, _)| wanted(Protocol::Udp, *port));
            self.connecting.retain(|(ports, _)| layout.connecting.contains(ports));
        }
        for ports in &layout.connecting {
            if !self.connecting.iter().any(|(held, _)| held == ports) {
                let sockets = connect(*ports).map_err(said)?;
                self.connecting.extend(sockets.map(|socket| (*ports, socket)));
            }
        }
        for (protocol, port) in &layout.sockets {
            let everywhere = (Ipv6Addr::UNSPECIFIED, *port);
            if *protocol == Protocol::Tcp as u32 && !self.tcp.iter().any(|(held, _)| held == port) {
                self.tcp.push((*port, TcpListener::bind(everywhere).map_err(said)?));
            }
            if *protocol == Protocol::Udp as u32 && !self.udp.iter().any(|(held, _)| held == port) {
                self.udp.push((*port, UdpSocket::bind(everywhere).map_err(said)?));
            }
        }
        Ok(())
    }

    fn routes(&mut self, mtu: u32, way: WayOut) -> Result<(), String> {
        if (self.mtu, self.way) == (mtu, way) {
            return Ok(());
        }
        let (v4, v6) = (Ipv4Addr::from(ROUTER.v4), Ipv6Addr::from(ROUTER.v6));
        for (family, router) in [("-4", v4.to_string()), ("-6", v6.to_string())] {
            if self.way != WayOut::Unknown {
                ip(&format!("{family} route del default"))?;
            }
            match way {
                // Only a locked MTU counts for what is forwarded.
                WayOut::Router => ip(&format!(
                    "{family} route add default via {router} dev {UPLINK_NAME} mtu lock {mtu}"
                ))?,
                WayOut::Elsewhere => ip(&format!("{family} route add default dev {}", DB.name))?,
                WayOut::Unreachable => ip(&format!("{family} route add unreachable default"))?,
                WayOut::Unknown => {}
            }
        }
        (self.mtu, self.way) = (mtu, way);
        Ok(())
    }
}

/// Asks `WORLD` from and to these ports, in both families. Nobody answers.
fn connect((from, to): (u16, u16)) -> rustix::io::Result<[OwnedFd; 2]> {
    let ask = |own: IpAddr, world: IpAddr| {
        let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        bind(&socket, &SocketAddr::new(own, from))?;
        match net::connect(&socket, &SocketAddr::new(world, to)) {
            Err(Errno::INPROGRESS) => Ok(socket),
            other => other.map(|()| socket),
        }
    };
    Ok([ask(HOST.v4.into(), WORLD.v4.into())?, ask(HOST.v6.into(), WORLD.v6.into())?])
}

/// A veth whose near end has an index of its own.
fn pair(name: &str, index: u32, station: Option<&Station>) -> Result<(), String> {
    let address = station.map_or(String::new(), |station| format!("address {}", station.mac));
    ip(&format!("link add {name} index {index} {address} type veth peer name {name}p"))?;
    ip(&format!("link set {name} up"))?;
    ip(&format!("link set {name}p up"))
}

fn addresses(name: &str, station: &Station) -> Result<(), String> {
    let (v4, v6) = (Ipv4Addr::from(station.v4), Ipv6Addr::from(station.v6));
    ip(&format!("address add {v4}/24 dev {name}"))?;
    ip(&format!("address add {v6}/64 dev {name} nodad"))
}

/// Held while another program runs: where it starts it has every socket of this one for a moment, also after `spawn`
/// has returned, and one that is closed here meanwhile goes on receiving.
static RUNNING: Mutex<()> = Mutex::new(());

/// `ip`, in the namespace of this thread.
fn ip(arguments: &str) -> Result<(), String> {
    let _alone = RUNNING.lock();
    let output = Command::new("ip").args(arguments.split_whitespace()).output().map_err(said)?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {error}")) }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
