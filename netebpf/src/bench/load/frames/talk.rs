//! A flow's beginning: one datagram there and one back, by sockets. After it the neighbours are known, and the flow is in
//! every table of the arm as one that was answered, which is what most packets of the world belong to.

use super::{Frame, FramesError, place};
use crate::kernel::netns;
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

/// How long one datagram may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is sent: the first one may be lost while a neighbour is looked for.
const ATTEMPTS: u32 = 3;

/// Opens every flow of a frame. `client` and `server` are namespaces; in the latter, `served` is the address that the
/// frame's destination leads to.
pub fn open(
    frame: &Frame,
    client: &str,
    server: &str,
    served: SocketAddr,
) -> Result<(), FramesError> {
    let bind = |namespace: &str, address: SocketAddr| -> Result<UdpSocket, FramesError> {
        let socket = netns::run_in(&place::path(namespace), move || UdpSocket::bind(address))?;
        let failed =
            FramesError::system(format!("listen on {address} (UDP) in namespace {namespace}"));
        let socket = socket.map_err(failed)?;
        let patience = socket.set_read_timeout(Some(PATIENCE));
        patience.map_err(FramesError::system("wait for a datagram"))?;
        Ok(socket)
    };
    let serving = bind(server, served)?;
    for number in 0..frame.flows.max(1).next_power_of_two() {
        let mut from = frame.from;
        from.set_port(from.port().wrapping_add(number));
        let asking = bind(client, from)?;
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            outcome = exchange(&asking, frame.to, &serving);
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|source| FramesError::NoAnswer { from, to: frame.to, source })?;
    }
    Ok(())
}

fn exchange(asking: &UdpSocket, to: SocketAddr, serving: &UdpSocket) -> io::Result<()> {
    let mut byte = [0];
    asking.send_to(b"?", to)?;
    let (_, client) = serving.recv_from(&mut byte)?;
    serving.send_to(b"!", client)?;
    let (_, server) = asking.recv_from(&mut byte)?;
    // Whatever was translated on the way there has to be translated back.
    match server == to {
        true => Ok(()),
        false => Err(io::Error::other(format!("the answer comes from {server}"))),
    }
}
