//! The host's own sockets: which ports they hold, and whose they are.
//!
//! **Invariant**: read from `/proc/net` of the host's network namespace, and only to choose and to
//! explain: whether a port is free, binding it decides.

use crate::model::{Transport, resolve::HostSocket};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// A socket that holds a port.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    transport: Transport,
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// TCP sockets that listen, and UDP sockets that are bound.
pub(super) fn all() -> Vec<HostSocket> {
    let host_socket = |found: Found| HostSocket {
        transport: found.transport,
        // Most sockets bound to `::` take IPv4 too, and the table does not tell.
        address: (found.address != Ipv6Addr::UNSPECIFIED).then_some(found.address),
        port: found.port,
    };
    read().map(host_socket).collect()
}

/// The process that holds a port: `process 7 (nginx)`.
pub(super) fn holder(transport: Transport, address: IpAddr, port: u16) -> String {
    let unknown = || "another socket of this host".to_owned();
    let in_the_way = |found: &Found| {
        found.transport == transport
            && found.port == port
            && (found.address == address
                || found.address.is_unspecified()
                || address.is_unspecified())
    };
    let Some(found) = read().find(in_the_way) else { return unknown() };
    let wanted = format!("socket:[{}]", found.inode);
    let Ok(processes) = fs::read_dir("/proc") else { return unknown() };
    for process in processes.flatten() {
        // `self` and `thread-self` are there too.
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        };
        if files.flatten().any(has) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return format!("process {} ({})", process.file_name().display(), name.trim());
        }
    }
    unknown()
}

fn read() -> impl Iterator<Item = Found> {
    let tables = [Transport::Tcp, Transport::Udp].into_iter().flat_map(|transport| {
        ["", "6"]
            .into_iter()
            .map(move |suffix| (transport, format!("/proc/net/{transport}{suffix}")))
    });
    tables.flat_map(|(transport, path)| {
        // No IPv6, no table.
        let table = fs::read_to_string(path).unwrap_or_default();
        table.lines().filter_map(|line| parse(transport, line)).collect::<Vec<_>>()
    })
}

/// A line of proc_net_tcp(5): number, local address, remote address, state … the tenth is the inode.
fn parse(transport: Transport, line: &str) -> Option<Found> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if transport == Transport::Tcp && *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Found {
        transport,
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// 32-bit words in the host's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |place: usize| {
        let word = u32::from_str_radix(text.get(8 * place..8 * place + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn our_own_sockets_are_there() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = (Transport::Tcp, tcp.local_addr().unwrap());
        let udp = (Transport::Udp, udp.local_addr().unwrap());
        let sockets = all();
        for (transport, local) in [tcp, udp] {
            let expected = HostSocket { transport, address: Some(local.ip()), port: local.port() };
            assert!(sockets.contains(&expected), "{expected:?}");
        }
        let holder = holder(Transport::Tcp, tcp.1.ip(), tcp.1.port());
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
    }

    #[test]
    fn both_families() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1";
        let found = parse(Transport::Tcp, line).unwrap();
        assert_eq!((found.port, found.inode), (8080, 4711));
        #[cfg(target_endian = "little")]
        assert_eq!(found.address, Ipv4Addr::LOCALHOST);
        assert_eq!(parse_address(&"0".repeat(32)), Some(Ipv6Addr::UNSPECIFIED.into()));
        assert_eq!(parse(Transport::Tcp, &line.replace(" 0A ", " 01 ")), None);
    }
}
